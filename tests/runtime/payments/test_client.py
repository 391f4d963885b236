import pytest

from runtime.money import Usdc
from runtime.payments import EscrowRequest, EscrowStatus, escrow_token
from tests.runtime.payments.conftest import KEY
from tests.runtime.payments.scripted_server import Reply

pytestmark = pytest.mark.anyio
ORDER = EscrowRequest(payee="ag_payee", amount=Usdc.parse("0.10"), token=escrow_token("uid-1"), description="Scrape")
RELEASED = {"escrow_id": "esc_1", "status": "released", "amount_released": 0.099}


async def test_create_sends_exact_amount_key_and_token_and_reads_the_escrow(server, client_of):
    server.replies(Reply(201, {"escrow_id": "esc_1", "amount_usd": 0.1, "status": "funded"}))
    escrow = await client_of().create_escrow(ORDER)
    (request,) = server.received
    assert request.body == (
        b'{"amount_usd": 0.1, "description": "Scrape ['
        + ORDER.token.encode()
        + b']", "counterparty_agent_id": "ag_payee"}'
    )
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert (escrow.id, escrow.status, escrow.amount) == ("esc_1", EscrowStatus.LOCKED, ORDER.amount)


async def test_one_connection_serves_many_calls(server, client_of):
    server.replies(Reply(200, RELEASED))
    client = client_of()
    for _ in range(3):
        await client.release("esc_1", ORDER.amount)
    assert (len(server.received), server.connections) == (3, 1)
