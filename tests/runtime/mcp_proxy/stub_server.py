"""An MCP server that does nothing, quickly: what a proxy adds is not lost in it. Prints its port."""

import asyncio
import json

TOOL = {"name": "get_escrow", "inputSchema": {"type": "object", "properties": {"escrow_id": {"type": "string"}}}}
RESULTS = {
    "initialize": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                   "serverInfo": {"name": "stub", "version": "1"}},
    "tools/list": {"tools": [TOOL]},
    "tools/call": {"content": [{"type": "text", "text": '{"status": "funded"}'}]},
}  # fmt: skip


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            writer.write(answer(lines[0], await reader.readexactly(length)))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def answer(first: bytes, body: bytes) -> bytes:
    if not first.startswith(b"post"):
        return b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"
    message = json.loads(body)
    if "id" not in message:
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    found = {"result": RESULTS[message["method"]]} if message["method"] in RESULTS else {"result": {}}
    if message["method"] == "server/discover":
        found = {"error": {"code": -32601, "message": "Method not found"}}
    document = json.dumps({"jsonrpc": "2.0", "id": message["id"], **found})
    event = f"event: message\ndata: {document}\n\n".encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(event) + event


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
