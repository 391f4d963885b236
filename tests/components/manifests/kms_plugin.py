"""A KMS v2 plug-in for tests: serves the real gRPC interface on a Unix socket, with AES-GCM under a key of its own.

The interface's messages have only bytes, strings and maps of bytes, so a dozen lines of wire format stand in for
generated code.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_ID = b"test-key-1"


def message(*fields: tuple[int, bytes]) -> bytes:
    """Length-delimited fields in protobuf's wire format."""
    return b"".join(bytes([number << 3 | 2]) + varint(len(value)) + value for number, value in fields)


def varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def field(data: bytes, wanted: int) -> bytes:
    """The value of a length-delimited field; empty when it is not there."""
    at = 0
    while at < len(data):
        number, (length, at) = data[at] >> 3, _read_varint(data, at + 1)
        if number == wanted:
            return data[at : at + length]
        at += length
    return b""


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return number, at


class Plugin(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(256))
        self.calls: list[str] = []

    def service(self, details):
        method = details.method.removeprefix("/v2.KeyManagementService/")
        answer = {"Status": self._status, "Encrypt": self._encrypt, "Decrypt": self._decrypt}[method]

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append(method)
            return answer(request)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _status(self, request: bytes) -> bytes:
        return message((1, b"v2"), (2, b"ok"), (3, KEY_ID))

    def _encrypt(self, request: bytes) -> bytes:
        nonce = os.urandom(12)
        return message((1, nonce + self._cipher.encrypt(nonce, field(request, 1), None)), (2, KEY_ID))

    def _decrypt(self, request: bytes) -> bytes:
        sealed = field(request, 1)
        return message((1, self._cipher.decrypt(sealed[:12], sealed[12:], None)))


@contextmanager
def serving(socket: Path) -> Iterator[Plugin]:
    """A plug-in that listens on `socket` for the duration."""
    plugin = Plugin()
    server = grpc.server(ThreadPoolExecutor(2), handlers=(plugin,))
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        yield plugin
    finally:
        server.stop(grace=None).wait()
