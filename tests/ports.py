"""Ports for programs that are told where to listen."""

import secrets
import socket
from typing import Final

RANGE: Final = range(15_000, 29_000)
"""Below the ports that the kernel gives to clients: of those, any connection on the machine may take one before the
program that was told to listen there has started. Below Kubernetes' node ports too."""


def free_port() -> int:
    """A port of the loopback interface on which nobody listens."""
    while True:
        port = secrets.choice(RANGE)  # hypothesis seeds `random`, so that two processes would choose the same
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
