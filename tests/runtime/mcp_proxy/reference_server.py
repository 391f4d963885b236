"""The Python SDK's own server, as a process: both eras, sessions, progress, cancellation."""

import asyncio
import os
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("reference")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Count, and tell how far it is."""
    for number in range(to):
        await ctx.report_progress(number, to)
    return f"counted to {to}"


@server.tool()
async def wait_for_ever(marker: str) -> str:
    """Wait until it is cancelled, and write down how far that is."""
    Path(marker).write_text("begun")  # noqa: ASYNC240 - a word
    try:
        await asyncio.Event().wait()
    finally:
        Path(marker).write_text("cancelled")  # noqa: ASYNC240
    return "never"


@server.resource("note://one")
def note() -> str:
    """A resource."""
    return "a note"


class Announcing(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    app = server.streamable_http_app(stateless_http="stateless" in sys.argv)
    asyncio.run(Announcing(uvicorn.Config(app, "127.0.0.1", 0, log_level="error")).serve())
    os._exit(0)
