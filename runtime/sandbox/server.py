"""Serving: one process, one socket, a word when it is ready, a graceful end."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.money import Usdc
from runtime.sandbox.app import build_app
from runtime.sandbox.database import Database
from runtime.sandbox.rest import Service
from runtime.sandbox.wire import FaultableProtocol
from runtime.service.http import BoundedProtocol, HttpServer
from runtime.service.sockets import EVERY_ADDRESS, listen

START_AGENT: Final = "sandbox-payer"
"""The agent that the start key belongs to."""
START_FUNDS: Final = Usdc.parse(1000)
_READ_BACK_SECONDS: Final = 5
"""How long a payer has to read back the last act, when the sandbox was asked to end meanwhile."""
_LINGER_LOOK_SECONDS: Final = 0.1

_log: Final = logging.getLogger("runtime.sandbox")


@dataclass(frozen=True)
class Options:
    """How a sandbox is run.

    Args:
        host: An address, or `::` for every one of both families.
        start_key: A key that works from the first request on; its agent has a funded wallet.
        admin_token: Opens `/admin`.
        float_balances: Whether the `server` dialect decides a create by binary floats, as published.
        dialect: The only one that is served; None: all three.
        linger_seconds: How long a stop is put off at most while money is locked, so that a payer that ends at the
            same moment (a namespace is deleted) can still settle.
        protocol: The connection's class; its bounds are what a test may want to shorten.
    """

    database: Path
    host: str = "127.0.0.1"
    port: int = 0
    start_key: str | None = None
    admin_token: str | None = None
    rate_limits: bool = True
    claim_per_ip: bool = True
    float_balances: bool = True
    dialect: str | None = None
    linger_seconds: int = 0
    protocol: type[BoundedProtocol] = FaultableProtocol


class SandboxServer:
    """A sandbox that is open and listening, but does not serve before `run_until_stopped`.

    Args:
        options: How it is run.
        stop: Set when it shall end; `stop_soon` does that from another thread.
        on_ready: Called once it serves.

    Raises:
        BadInput: The address or the database cannot be used.
    """

    def __init__(
        self, options: Options, stop: asyncio.Event, on_ready: Callable[["SandboxServer"], None] | None = None
    ) -> None:
        (self._socket,) = listen(options.host, options.port)
        try:
            self.service = Service(
                Database(options.database), options.rate_limits, options.claim_per_ip, options.float_balances
            )
        except BaseException:
            self._socket.close()
            raise
        if options.start_key:
            self._fund(options.start_key)
        host = "127.0.0.1" if options.host == EVERY_ADDRESS else options.host
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._socket.getsockname()[1]}"
        self._on_ready = on_ready
        self._linger_seconds = options.linger_seconds
        self._stop = stop
        self._ended = asyncio.Event()
        app = build_app(self.service, options.admin_token, options.dialect)
        self.http = HttpServer(app, [self._socket], self._ended, options.protocol, lifespan=True, on_ready=self._ready)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run_until_stopped(self) -> None:
        """Serve; returns once it was asked to end and has lingered, with the database closed."""
        self._loop = asyncio.get_running_loop()
        lingering = asyncio.create_task(self._end_after_lingering())
        try:
            await self.http.run_until_stopped()
        finally:
            lingering.cancel()
            self.service.database.close()

    def stop_soon(self) -> None:
        """Ask it to end, from whatever thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    def _ready(self) -> None:
        _log.info("sandbox ready on %s", self.url, extra={"url": self.url})
        if self._on_ready:
            self._on_ready(self)

    async def _end_after_lingering(self) -> None:
        await self._stop.wait()
        serve_until, needed_until = time.monotonic() + self._linger_seconds, 0.0
        while (now := time.monotonic()) < serve_until:
            if self.service.escrows.any_open():
                needed_until = now + _READ_BACK_SECONDS
            if now >= needed_until:
                break
            await asyncio.sleep(_LINGER_LOOK_SECONDS)
        self._ended.set()

    def _fund(self, start_key: str) -> None:
        with self.service.database.transaction():
            if self.service.agents.ensure(START_AGENT):
                self.service.deposit(START_AGENT, START_FUNDS.micro)
            self.service.agents.issue_key(START_AGENT, start_key)
