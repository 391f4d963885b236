"""An agent on version 1 of the Python SDK, run by a Python that has it."""

import asyncio
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client


async def main(url):
    async with streamablehttp_client(url) as (read, write, _), ClientSession(read, write) as session:
        print((await session.initialize()).protocolVersion)
        print(" ".join(tool.name for tool in (await session.list_tools()).tools))
        print((await session.call_tool("add", {"a": 1, "b": 2})).content[0].text)
        print((await session.call_tool("count", {"to": 5})).content[0].text)
        print((await session.read_resource("note://one")).contents[0].text)


asyncio.run(asyncio.wait_for(main(sys.argv[1]), 30))
