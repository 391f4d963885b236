"""Drives the client through the contract table: what it sends, and what it makes of the answer."""

import json

import pytest

from runtime.errors import Conflict, NotFound, RateLimited, Rejected
from runtime.money import Usdc
from runtime.payments import ClaimOutcome, Escrow, EscrowRequest, Operation
from runtime.payments.answer import STATUS_WORDS
from runtime.payments.client import DIALECTS
from tests.runtime.payments.conftest import KEY
from tests.runtime.payments.exchanges import EXCHANGES, Actor, fill, mismatch
from tests.runtime.payments.scripted_server import Reply

VALUES = {
    "escrow_id": "esc_0123456789abcdef",
    "payer": "ag_payer",
    "payee": "ag_payee",
    "agent": "ag_new",
    "token": "pf-0123456789abcdef0123456789abcdef",
}
ESCROW_ID, PAYEE, AMOUNT = VALUES["escrow_id"], VALUES["payee"], Usdc.parse("0.10")
CLAIMS = {
    Conflict: ClaimOutcome.ALREADY,
    RateLimited: ClaimOutcome.RATE_LIMITED,
    NotFound: ClaimOutcome.REFUSED,
    Rejected: ClaimOutcome.REFUSED,
}


def order_of(exchange):
    body = fill(exchange.body, VALUES)
    return EscrowRequest(
        payee=body.get("payee_id") or body.get("payee_wallet") or body["counterparty_agent_id"],
        amount=Usdc.parse(str(body.get("amount") or body.get("amount_usdc") or body["amount_usd"])),
        token=VALUES["token"],
        description=body.get("description", "").partition(" [")[0],
        payer=body.get("payer_wallet"),
        timeout_hours=body.get("timeout_hours"),
        referral_code=body.get("referral_code"),
        metadata={k: v for k, v in body.get("metadata", {}).items() if k != "token"},
    )


async def perform(client, exchange):
    operation = exchange.operation
    body = fill(exchange.body or {}, VALUES)
    match operation:
        case Operation.CREATE:
            return await client.create_escrow(order_of(exchange))
        case Operation.READ:
            return await client.read_escrow(ESCROW_ID)
        case Operation.LIST:
            status = STATUS_WORDS[exchange.path.partition("status=")[2].partition("&")[0]]
            return [escrow async for escrow in client.list_escrows(status)]
        case Operation.LEDGER:
            ledger = await client.read_ledger()
            assert [debit.escrow_id for debit in ledger.debits] == [ESCROW_ID]
            return ledger
        case Operation.RELEASE:
            return await client.release(ESCROW_ID, AMOUNT, PAYEE)
        case Operation.DISPUTE:
            return await client.dispute(ESCROW_ID, body["reason"])
        case Operation.REGISTER:
            return await client.register(VALUES["agent"])
        case Operation.CLAIM:
            name = body.get("params", {}).get("arguments", {}).get("agent_name")
            return await client.claim(body.get("agent_casino_id", VALUES["agent"]), name)
        case _:
            return await getattr(client, operation)(
                *([] if exchange.body is None and "{" not in exchange.path else [ESCROW_ID])
            )


def reply_to(exchange):
    answer = fill(exchange.answer, VALUES)
    if exchange.operation is Operation.CREATE and exchange.error is None:
        answer |= {"escrow_id": ESCROW_ID} | (
            {"description": exchange.body["description"]} if "description" in answer else {}
        )
        answer = fill(answer, VALUES)
    if exchange.sse:
        data = json.dumps({"jsonrpc": "2.0", "id": 1} | answer)
        return Reply(
            exchange.statuses[0], f"event: message\ndata: {data}\n\n".encode(), content_type="text/event-stream"
        )
    return Reply(exchange.statuses[0], answer)


@pytest.mark.anyio
@pytest.mark.parametrize("exchange", [e for e in EXCHANGES if e.by_client], ids=str)
async def test_the_client_keeps_the_contract(exchange, server, client_of):
    server.replies(reply_to(exchange))
    client = client_of(exchange.dialect)
    if exchange.operation is Operation.CLAIM:
        claim = await perform(client, exchange)
        expected = (
            ClaimOutcome.REFUSED if exchange.note == "refused" else CLAIMS.get(exchange.error, ClaimOutcome.GRANTED)
        )
        assert claim.outcome is expected
    elif exchange.error:
        with pytest.raises(exchange.error) as caught:
            await perform(client, exchange)
        assert type(caught.value) is exchange.error
        assert caught.value.operation == exchange.operation
        assert caught.value.status == exchange.statuses[0]
    else:
        result = await perform(client, exchange)
        if isinstance(result, Escrow):
            assert result.id == ESCROW_ID
            assert result.amount in (AMOUNT, None)

    (request,) = server.received
    assert (request.method, request.target) == (exchange.method, fill(exchange.path, VALUES))
    assert mismatch(exchange.body, request.json(), VALUES, "request") is None
    assert set(request.json() or {}) == set(exchange.body or {})
    for name, value in exchange.headers.items():
        assert request.headers[name] == value
    # The key goes where it is asked for, and nowhere else.
    assert request.headers.get("authorization") == (None if exchange.actor is Actor.NOBODY else f"Bearer {KEY}")


def test_the_table_has_a_success_for_every_operation_of_every_dialect():
    shown = {(e.dialect, e.operation) for e in EXCHANGES if e.error is None}
    named = {(d.name, operation) for d in DIALECTS.values() for operation in d.endpoints}
    # The published server lacks the list that its docs name: test_client has the list as the docs describe it.
    assert named - shown == {("server", "list")}
    assert shown <= named
