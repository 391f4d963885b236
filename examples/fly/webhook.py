"""A spot agent that a webhook starts: it lives for one job, is paid when it ends well, and not when it dies.

The delivery is signed, and its id is remembered: senders of webhooks repeat themselves. Here the agent is a process; on
Fly it is a Machine that `fly machine run --rm` starts.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
import sys

import httpx
from fastapi import FastAPI, HTTPException, Request

from examples.fly.paying import escrowed, service
from runtime.payments import PaymentsClient

SECRET = os.environ.get("WEBHOOK_SECRET", secrets.token_hex(16)).encode()
AGENT = "import sys; sys.exit('crash' in sys.argv[1])"
"""Your agent; this one dies of a job with that word."""


class AgentDied(Exception):
    """It ended with an error."""


def app(client: PaymentsClient) -> FastAPI:
    """Receives webhooks; a delivery that was seen is answered as it was then. Keep `seen` in a database of yours."""
    built, seen = FastAPI(), dict[str, asyncio.Task[str]]()

    async def spot(job: str) -> str:
        try:
            async with escrowed(client, "agent", "0.02", f"spot: {job}"):
                agent = await asyncio.create_subprocess_exec(sys.executable, "-IS", "-c", AGENT, job)
                if await agent.wait():
                    raise AgentDied(job)
        except AgentDied:
            return "died, nothing paid"
        return "done, 0.02 USDC"

    @built.post("/webhook")
    async def webhook(request: Request) -> str:
        body = await request.body()
        signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, request.headers.get("x-signature", "")):
            raise HTTPException(401, "the signature is wrong")
        delivery = request.headers["x-delivery"]
        if delivery not in seen:  # nothing is awaited between the look and the entry
            seen[delivery] = asyncio.create_task(spot(body.decode()))
        return await asyncio.shield(seen[delivery])

    return built


async def main() -> None:
    with service() as purple_flea:
        async with (
            purple_flea.client("caller") as client,
            httpx.AsyncClient(transport=httpx.ASGITransport(app(client)), base_url="http://spot") as http,
        ):
            for delivery, job in (("1", "resize"), ("1", "resize"), ("2", "crash")):
                headers = {"x-delivery": delivery, "x-signature": hmac.new(SECRET, job.encode(), "sha256").hexdigest()}
                answer = await http.post("/webhook", content=job, headers=headers)
                print(f"delivery {delivery}: {answer.json()}")
            forged = await http.post("/webhook", content="resize", headers={"x-delivery": "3", "x-signature": "00"})
            print(f"forged: {forged.status_code}")


if __name__ == "__main__":
    asyncio.run(main())
