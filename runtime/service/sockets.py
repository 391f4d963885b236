"""Listening on an address, for whichever server is built on it."""

import errno
import socket
from typing import Final

from runtime.errors import BadInput

EVERY_ADDRESS: Final = "::"
"""Listens on every address of both families."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on an address; `EVERY_ADDRESS` takes both families, or the one that the machine has.

    Raises:
        BadInput: The address cannot be listened on, e.g. because somebody else does.
    """
    try:
        if host == EVERY_ADDRESS:
            return [_every_address(port)]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return [socket.create_server((host, port), family=family, backlog=2048)]
    except OSError as error:
        shown = "every address" if host == EVERY_ADDRESS else host
        what = f"cannot listen on {shown} port {port}: {error.strerror}"
        raise BadInput(f"{what}; stop what uses it, or choose another") from None


def _every_address(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=2048, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise  # in use, or forbidden: IPv4 alone would hide that
    return socket.create_server(("", port), backlog=2048)
