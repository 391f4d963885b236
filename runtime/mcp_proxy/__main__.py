"""`python -m runtime.mcp_proxy`: the MCP sidecar. docs/mcp.md tells all of it."""

import asyncio
import contextlib
import logging
import socket
import sys
from typing import Final

from runtime.mcp_proxy.settings import Settings
from runtime.service import Program, Start

_FLUSH_SECONDS: Final = 3.0
"""After the grace, for the answers that tell the agents so."""
_LONGEST_GRACE_SECONDS: Final = 600.0
_log: Final = logging.getLogger("runtime.mcp_proxy")


async def run(start: Start[Settings]) -> None:
    """Serve until asked to stop, then finish what is under way, within the grace."""
    from runtime.http1.client import HttpClient
    from runtime.http1.tunnel import proxy_of
    from runtime.mcp_proxy.budgets import Ledger
    from runtime.mcp_proxy.cache import Cache
    from runtime.mcp_proxy.http_server import HttpServer
    from runtime.mcp_proxy.proxy import Proxy
    from runtime.mcp_proxy.rules_file import RulesFile
    from runtime.mcp_proxy.upstream import Upstream
    from runtime.network import trust_store
    from runtime.service.sockets import EVERY_ADDRESS, listen

    settings = start.settings
    tls = trust_store(plain=False) if any(url.startswith("https") for url in settings.urls.values()) else None
    # Beside a sandbox none is used, as by every program.
    through = {} if settings.allow_http else {name: proxy_of(url, tls) for name, url in settings.urls.items()}
    upstreams = [
        Upstream(name, HttpClient(url, tls, through.get(name)), settings.call_seconds, Cache(settings.cache_seconds))
        for name, url in settings.urls.items()
    ]
    rules = RulesFile(settings.rules_file, settings.urls, keeps_books=settings.state.directory is not None)
    ledger = Ledger(settings.state.directory)
    proxy = Proxy(upstreams, settings.key.credentials, rules, ledger)
    agents, probes = HttpServer(proxy.handle), HttpServer(proxy.handle_probe)
    await agents.start(_loopback(settings.port))
    await probes.start([each for port in settings.probes.ports for each in listen(EVERY_ADDRESS, port)])
    _log.info(
        "mcp proxy ready on port %s", settings.port, extra={"port": settings.port, "servers": list(settings.urls)}
    )

    await start.stop.wait()
    agents.refuse_new()
    proxy.stop(asyncio.get_running_loop().time() + settings.grace_seconds)
    await agents.finish(settings.grace_seconds + _FLUSH_SECONDS)
    probes.refuse_new()
    await probes.finish(_FLUSH_SECONDS)
    for upstream in upstreams:
        upstream.client.close()
    ledger.close()


def _loopback(port: int) -> list[socket.socket]:
    """`localhost` of either family: only this pod's containers share it, and with it what the key may do."""
    from runtime.errors import BadInput
    from runtime.service.sockets import listen

    sockets = listen("127.0.0.1", port)
    with contextlib.suppress(BadInput):  # a pod without IPv6
        sockets += listen("::1", port)
    return sockets


PROGRAM = Program(
    "python -m runtime.mcp_proxy",
    "The MCP sidecar: agents talk to localhost, it keeps the key and the rules. docs/mcp.md tells all of it.",
    Settings,
    run,
    stop_seconds=_LONGEST_GRACE_SECONDS + 2 * _FLUSH_SECONDS + 1,
)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
