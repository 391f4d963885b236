"""A real HTTP proxy on loopback for CONNECT: it notes what it was asked, and passes bytes on or refuses."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class ForwardProxy:
    """`heads` are the requests that came, as text; `refusal` is the status that is answered instead of a tunnel."""

    def __init__(self, tls=None) -> None:
        self.heads: list[str] = []
        self.refusal: str | None = None
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with suppress(OSError):
            peer = self._tls.wrap_socket(peer, server_side=True) if self._tls else peer
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += peer.recv(1)
            self.heads.append(head.decode())
            if self.refusal:
                peer.sendall(f"HTTP/1.1 {self.refusal}\r\ncontent-length: 0\r\n\r\n".encode())
                peer.close()
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            upstream = socket.create_connection((host, int(port)))
            peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=_copy, args=(upstream, peer), daemon=True).start()
            _copy(peer, upstream)

    def close(self) -> None:
        self._listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def running_proxy(tls=None) -> Iterator[ForwardProxy]:
    proxy = ForwardProxy(tls)
    try:
        yield proxy
    finally:
        proxy.close()
