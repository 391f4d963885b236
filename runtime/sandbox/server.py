"""Serving: one process, one socket, a word when it is ready, a graceful end."""

import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from runtime.money import Usdc
from runtime.sandbox.app import build_app
from runtime.sandbox.database import Database
from runtime.sandbox.rest import Service
from runtime.sandbox.wire import FaultableProtocol

START_AGENT: Final = "sandbox-payer"
"""The agent that the start key belongs to."""
START_FUNDS: Final = Usdc.parse(1000)
_DRAIN_SECONDS: Final = 5
_READ_BACK_SECONDS: Final = 5
"""How long a payer has to read back the last act, when the sandbox was asked to end meanwhile."""


class PortUnusableError(Exception):
    """The address cannot be listened on; the text is for a person."""


@dataclass(frozen=True)
class Options:
    """How a sandbox is run.

    Args:
        start_key: A key that works from the first request on; its agent has a funded wallet.
        admin_token: Opens `/admin`.
        linger_seconds: How long SIGTERM is put off at most while money is locked, so that a payer that ends at the
            same moment (a namespace is deleted) can still settle.
    """

    database: Path
    host: str = "127.0.0.1"
    port: int = 0
    start_key: str | None = None
    admin_token: str | None = None
    rate_limits: bool = True
    claim_per_ip: bool = True
    linger_seconds: int = 0


class SandboxServer(uvicorn.Server):
    """A sandbox that is open and listening, but does not serve before `run`."""

    def __init__(self, options: Options, on_ready: Callable[["SandboxServer"], None]) -> None:
        self._socket = _listen(options.host, options.port)
        try:
            self.service = Service(Database(options.database), options.rate_limits, options.claim_per_ip)
        except BaseException:
            self._socket.close()
            raise
        if options.start_key:
            self._fund(options.start_key)
        host = f"[{options.host}]" if ":" in options.host else options.host
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        self._on_ready = on_ready
        self._linger_seconds = options.linger_seconds
        self._serve_until = self._needed_until = 0.0
        super().__init__(
            uvicorn.Config(
                build_app(self.service, options.admin_token),
                http=FaultableProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,  # the application sends its own clock's
                proxy_headers=False,  # the client's address is a rule's key: nobody may claim another's
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )

    def run_until_stopped(self) -> None:
        """Serve; returns after SIGTERM, SIGINT or `should_exit`, with the database closed."""
        try:
            super().run(sockets=[self._socket])
        finally:
            self.service.database.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready(self)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal; from SIGTERM on the time to linger runs."""
        if sig == signal.SIGTERM and not self.should_exit:
            self._serve_until = time.monotonic() + self._linger_seconds
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Whether to end now."""
        return await super().on_tick(counter) and (self.force_exit or not self._lingers())

    def _lingers(self) -> bool:
        now = time.monotonic()
        if now < self._serve_until and self.service.escrows.any_open():
            self._needed_until = now + _READ_BACK_SECONDS
        return now < min(self._serve_until, self._needed_until)

    def _fund(self, start_key: str) -> None:
        with self.service.database.transaction():
            if self.service.agents.ensure(START_AGENT):
                self.service.deposit(START_AGENT, START_FUNDS.micro)
            self.service.agents.issue_key(START_AGENT, start_key)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise PortUnusableError(
            f"Cannot listen on {host} port {port}: {error.strerror}. Stop what uses it, or name another --host or "
            "--port (--port 0 takes a free one)."
        ) from None
