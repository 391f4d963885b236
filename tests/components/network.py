"""Who may reach whom: NetworkPolicies as the API reference defines them, worked out on paper.

The network plug-in of the test cluster enforces none, so this stands for it. A connection passes when every policy
that selects the source allows it out, and every policy that selects the target allows it in.
"""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """A pod with its labels, or without a namespace an address outside the cluster."""

    address: str
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def reaches(
    policies: list[dict[str, Any]], source: Endpoint, target: Endpoint, port: int, protocol: str = "TCP"
) -> bool:
    """Whether the policies let a connection through."""
    return _passes(policies, source, "egress", target, port, protocol) and _passes(
        policies, target, "ingress", source, port, protocol
    )


def _passes(policies, here: Endpoint, direction: str, there: Endpoint, port: int, protocol: str) -> bool:
    holding = [p["spec"] for p in policies if direction.capitalize() in p["spec"]["policyTypes"] and _holds(p, here)]
    rules = [rule for spec in holding for rule in spec.get(direction, ())]
    side = "to" if direction == "egress" else "from"
    return not holding or any(
        _peer(rule.get(side), here, there) and _port(rule.get("ports"), port, protocol) for rule in rules
    )


def _holds(policy, pod: Endpoint) -> bool:
    return pod.namespace == policy["metadata"]["namespace"] and _matches(policy["spec"]["podSelector"], pod.labels)


def _peer(peers, here: Endpoint, there: Endpoint) -> bool:
    return not peers or any(_is(peer, here, there) for peer in peers)


def _is(peer, here: Endpoint, there: Endpoint) -> bool:
    if "ipBlock" in peer:
        address, block = ip_address(there.address), peer["ipBlock"]
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(b) for b in block.get("except", ())
        )
    if not there.namespace:
        return False
    if "namespaceSelector" in peer:
        named = {"kubernetes.io/metadata.name": there.namespace}
        return _matches(peer["namespaceSelector"], named) and _matches(peer.get("podSelector", {}), there.labels)
    return there.namespace == here.namespace and _matches(peer["podSelector"], there.labels)


def _matches(selector, labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "matchExpressions are not worked out here"
    return selector.get("matchLabels", {}).items() <= labels.items()


def _port(ports, port: int, protocol: str) -> bool:
    return not ports or any(p["port"] == port and p["protocol"] == protocol for p in ports)
