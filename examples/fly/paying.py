"""What the examples share: a payment service to run at, and one way to pay at it.

With `ESCROW_BASE` they run at that service, each agent with the key in `KEY_<NAME>`; without it at a local sandbox that
ends with the program.
"""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from runtime.money import Usdc
from runtime.payments import Credentials, DialectName, Escrow, EscrowRequest, Operation, PaymentsClient


class Service(NamedTuple):
    """Where it is, and how an agent of it comes by its key."""

    url: str
    key: Callable[[str], str]

    def client(self, agent: str | Credentials, dialect: str = "fly") -> PaymentsClient:
        """A client with the agent's key; `async with` it."""
        credentials = Credentials(self.key(agent)) if isinstance(agent, str) else agent
        local = self.url.startswith("http://127.0.0.1:")
        return PaymentsClient(dialect, self.url, credentials, faucet_url=self.url, allow_http=local)


@contextmanager
def service() -> Iterator[Service]:
    """The payment service."""
    if url := os.environ.get("ESCROW_BASE"):
        yield Service(url, lambda agent: os.environ[f"KEY_{agent.upper()}"])
        return
    from runtime.sandbox.testing import running_sandbox

    with running_sandbox() as sandbox:

        def key(agent: str) -> str:
            sandbox.deposit(agent, "1.00")
            return sandbox.issue_key(agent)

        yield Service(sandbox.url, key)


@asynccontextmanager
async def escrowed(client: PaymentsClient, payee: str, usdc: str, why: str, **more: str) -> AsyncIterator[Escrow]:
    """Lock it; pay when the block ends well, take it back when it fails. `more` is metadata, in `fly` only.

    Nothing is sent twice: an answer that is not clear raises, and a person looks at the service before paying again. An
    agent that must survive its own crash keeps a ledger as well, as `runtime.agent` does.
    """
    order = EscrowRequest(
        payee=payee,
        amount=Usdc.parse(usdc),
        token=f"example-{secrets.token_hex(8)}",
        description=why,
        payer="caller" if client.dialect.name is DialectName.FLY else None,
        metadata=more,
    )
    escrow = await client.create_escrow(order)
    try:
        yield escrow
    except BaseException:
        if client.supports(Operation.CANCEL):  # elsewhere the time-out returns it
            await client.cancel(escrow.id)
        raise
    await client.release(escrow.id, order.amount, payee)
