"""How the machine and a node meet: one veth pair, and routes to the node's pods and Services.

A node takes a slot: one number in all its addresses. Slots of this machine never overlap, and none is taken that
overlaps a route the machine already has.
"""

import ipaddress
import json
import subprocess
from dataclasses import dataclass

from tests.toolchain.tools import Missing

HOST_NAME = "host.test.internal"
"""The machine's name inside the cluster."""

NODE_INTERFACE = "node0"


@dataclass(frozen=True)
class Network:
    """The addresses of the node in one slot."""

    slot: int

    @property
    def interface(self) -> str:
        """The machine's end of the veth pair."""
        return f"flea{self.slot}"

    @property
    def host_address(self) -> str:
        """Where pods reach a server that runs on the machine."""
        return f"10.250.{self.slot}.1"

    @property
    def node_address(self) -> str:
        """The node's own, with the API server and DNS."""
        return f"10.250.{self.slot}.2"

    @property
    def link(self) -> str:
        """The range of the veth pair."""
        return f"10.250.{self.slot}.0/30"

    @property
    def pods(self) -> str:
        """The range of pods."""
        return f"10.251.{self.slot}.0/24"

    @property
    def services(self) -> str:
        """The range of Services."""
        return f"10.252.{self.slot}.0/24"

    def connect(self, process: int) -> None:
        """Join the machine and the network namespace of `process`, the node's first."""
        _ip(f"link add {self.interface} type veth peer name {NODE_INTERFACE} netns {process}")
        _ip(
            f"address add {self.host_address}/30 dev {self.interface}",
            f"link set {self.interface} up",
            f"route add {self.pods} via {self.node_address}",
            f"route add {self.services} via {self.node_address}",
        )
        _ip(
            "link set lo up",
            f"address add {self.node_address}/30 dev {NODE_INTERFACE}",
            f"link set {NODE_INTERFACE} up",
            f"route add default via {self.host_address}",
            inside=process,
        )
        command = ["nsenter", "--target", f"{process}", "--net", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]
        subprocess.run(command, check=True, capture_output=True)


def free_network() -> Network:
    """A slot none of whose ranges meets a route of this machine."""
    answer = subprocess.run(
        ["ip", "-json", "route", "show", "table", "all"], check=True, capture_output=True, text=True
    )
    taken = [route["dst"] for route in json.loads(answer.stdout) if route["dst"] != "default"]
    ranges = [ipaddress.ip_network(one) for one in taken if ":" not in one]
    for slot in range(1, 255):
        network = Network(slot)
        wanted = [ipaddress.ip_network(one) for one in (network.link, network.pods, network.services)]
        if not any(one.overlaps(other) for one in wanted for other in ranges):
            return network
    raise Missing("the machine has routes to all of 10.250-252.x.x; take one down that is not needed")


def _ip(*commands: str, inside: int | None = None) -> None:
    enter = ["nsenter", "--target", f"{inside}", "--net"] if inside else []
    run = subprocess.run(
        [*enter, "ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise OSError(f"ip could not do `{'; '.join(commands)}`: {run.stderr.strip()}")
