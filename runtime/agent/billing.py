"""One inference: locked, worked, released or cancelled. What stands in the ledger before it is sent survives a crash.

Who pays depends on the dialect. Where it has a create that names no other payer (`fly`, `kubernetes`), the key's owner
pays: with the agent's own key it bills itself, as the Fly guide's listing does. In `server` the caller locks the money
in an escrow in the agent's favour and hands over its id; the agent checks it before it works, and completes it.
"""

import asyncio
import hashlib
import json
import logging
import re
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from runtime.agent.database import LedgerFull
from runtime.agent.ledger import Inference, KeyTaken, Ledger, now_ms
from runtime.agent.outbox import Outbox, Refusal
from runtime.agent.settings import Settings
from runtime.agent.work import Work, WorkFailed
from runtime.contract import LedgerState
from runtime.errors import NotFound, PurpleFleaError
from runtime.money import Usdc
from runtime.payments import DialectName, Escrow, EscrowStatus, PaymentsClient
from runtime.settlement.driver import intent_after
from runtime.settlement.table import Intent

MOST_PROMPT_CHARACTERS: Final = 1_000_000
_MARGIN: Final = timedelta(minutes=5)
"""An escrow that the caller brought must outlive the work by so much, or its time-out refunds what was earned."""
_MACHINE: Final = re.compile(r"([A-Za-z0-9-]{1,64})\.")

_log = logging.getLogger("runtime.agent")


@dataclass(frozen=True, slots=True)
class Ask:
    """What a caller wants.

    Args:
        prompt: The work.
        payer: Who is billed, in words of the caller; only recorded, see the module.
        escrow_id: The escrow that the caller brings (`server`).
        key: The caller's idempotency key.
    """

    prompt: str
    payer: str | None = None
    escrow_id: str | None = None
    key: str | None = None

    @property
    def fingerprint(self) -> str:
        """Tells another request under the same key."""
        parts = (self.payer or "", self.escrow_id or "", self.prompt)
        return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


class Agent(Outbox):
    """Sells inferences, and finishes what was begun.

    Args:
        settings: See there.
        ledger: Opened.
        client: Of the payment service.
        work: What is sold.
    """

    def __init__(self, settings: Settings, ledger: Ledger, client: PaymentsClient, work: Work) -> None:
        super().__init__(settings.billing, settings.machine, settings.workers, ledger, client)
        self._settings = settings
        self._work = work
        self._turns = asyncio.Semaphore(settings.billing.concurrency)
        self._taken = 0

    @property
    def brought(self) -> bool:
        """Whether callers bring their escrows."""
        return self.client.dialect.name is DialectName.SERVER

    def quote(self, prompt: str) -> dict[str, Any]:
        """The terms of an escrow that a caller may bring for this prompt to this Machine.

        The Machine stands in the escrow's own description, so that no two Machines take the same escrow: each has a
        ledger of its own, and the payment service is the only thing that they share.
        """
        amount = self._price(prompt)
        return {
            "amount_usd": amount.to_json_number(),
            "counterparty_agent_id": self._settings.billing.wallet,
            "description": f"Inference [{self._settings.machine}.{secrets.token_hex(8)}]",
        }

    async def infer(self, ask: Ask) -> dict[str, Any]:
        """Do it and return the answer. Raises `Refusal`."""
        amount = self._price(ask.prompt)
        if self.stopping:
            raise Refusal(503, "stopping", "this Machine is about to stop", Retry_After="1")
        bound = self._settings.billing.concurrency + self._settings.billing.queue_length
        if self._taken >= bound:
            raise Refusal(429, "busy", f"{bound} requests are under way here", Retry_After="1")
        self._taken += 1
        try:
            async with self._turns:
                return await self._turn(ask, amount)
        except LedgerFull:
            raise Refusal(503, "ledger_full", "the ledger's disk is full; nothing was charged") from None
        finally:
            self._taken -= 1

    def _price(self, prompt: str) -> Usdc:
        amount = self._settings.billing.price.of(prompt) if len(prompt) <= MOST_PROMPT_CHARACTERS else None
        if amount is None:
            raise Refusal(413, "prompt_too_long", f"the prompt has {len(prompt)} characters, more than is sold at once")
        return amount

    async def _turn(self, ask: Ask, amount: Usdc) -> dict[str, Any]:
        if not self.ledger.database.has_room():
            raise LedgerFull
        if unconfirmed := self.ledger.unconfirmed:
            raise Refusal(503, "restored", unconfirmed)
        inference = Inference(
            id=f"pf-{secrets.token_hex(16)}",
            slot=self.ledger.slot,
            idempotency_key=ask.key,
            fingerprint=ask.fingerprint,
            payer=ask.payer or "",
            payee=self._settings.billing.wallet,
            amount_micro=amount.micro,
            region=self._settings.region,
            machine=self._settings.machine,
            created_ms=now_ms(),
        )
        try:
            funded = await (self._take(ask, inference) if self.brought else self.lock(inference))
        except KeyTaken as taken:
            return self._again(ask, taken.inference)
        return await self._worked(funded, ask.prompt)

    async def _take(self, ask: Ask, inference: Inference) -> Inference:
        """Check the escrow that the caller brought and claim it. Raises `KeyTaken`, `Refusal`."""
        if not ask.escrow_id:
            raise Refusal(
                402, "escrow_required", "ask /quote for the terms, create that escrow, and send its escrow_id"
            )
        if earlier := await self.ledger.by_escrow(ask.escrow_id):
            raise KeyTaken(earlier)
        try:
            escrow = await self.client.read_escrow(ask.escrow_id)
        except NotFound:
            raise Refusal(402, "escrow_refused", "the payment service knows no such escrow") from None
        except PurpleFleaError as error:
            self.note_key(error)
            _log.warning("the escrow could not be read: %s", error)
            raise Refusal(503, "payments_unavailable", "the escrow cannot be read now", Retry_After="1") from None
        named = _MACHINE.match(escrow.token or "")
        machine = named[1] if named else ""
        if machine and machine != self._settings.machine and escrow.payee == inference.payee:
            # Fly's proxy sends the request again to the Machine whose ledger the escrow belongs to.
            raise Refusal(409, "other_machine", "another Machine takes this escrow", fly_replay=f"instance={machine}")
        if wrong := self._wrong(escrow, inference, machine):
            raise Refusal(402, "escrow_refused", wrong)
        assert escrow.amount is not None  # noqa: S101 - else it would be wrong
        taken = replace(
            inference,
            state=LedgerState.LOCKED,
            escrow_id=escrow.id,
            amount_micro=escrow.amount.micro,
            payer=escrow.payer or inference.payer,
        )
        await self.ledger.begin(taken)
        return taken

    def _wrong(self, escrow: Escrow, inference: Inference, machine: str) -> str:
        if escrow.status is not EscrowStatus.LOCKED:
            return f"the escrow is {escrow.status}"
        if escrow.payee != inference.payee:
            return f"the escrow pays somebody else than {inference.payee}"
        if escrow.amount is None or escrow.amount < inference.amount:
            return f"the escrow holds {escrow.amount} USDC, this costs {inference.amount}"
        if not machine:
            return "the escrow's description names no Machine: take it from /quote"
        end = self.client.now() + timedelta(seconds=self._settings.work.seconds) + _MARGIN
        if escrow.auto_release_at is not None and escrow.auto_release_at < end:
            return "the escrow ends before the work surely would"
        return ""

    def _again(self, ask: Ask, earlier: Inference) -> dict[str, Any]:
        """Answer a repeated request from the ledger."""
        if earlier.fingerprint != ask.fingerprint:
            what = "escrow" if ask.key is None or earlier.idempotency_key != ask.key else "idempotency key"
            raise Refusal(409, "conflict", f"this {what} was used for another request")
        if earlier.result is not None:
            return json.loads(earlier.result) | {"status": earlier.state, "replayed": True}
        if earlier.state is LedgerState.REVIEW:
            raise Refusal(502, "payment_unknown", "whether money was locked is not known; a person looks into it")
        raise Refusal(409, "in_progress", "the first request with this key is still under way", Retry_After="1")

    # --- the work, and what follows from it

    async def _worked(self, inference: Inference, prompt: str) -> dict[str, Any]:
        try:
            result = await self._work(prompt)
            answer = self._answer(inference, result)
            text = json.dumps(answer, allow_nan=False)
        except (WorkFailed, TypeError, ValueError) as error:
            state = await self._failed(inference, str(error))
            charged = "nothing was charged" if state in _RETURNED else "what was locked is being returned"
            raise Refusal(502, "work_failed", f"{error}; {charged}") from None
        self.journal.results[inference.id] = text
        self.journal.begun.add(inference.id)
        intent = Intent.COMPLETE if self.brought else Intent.RELEASE
        return answer | {"status": await self.settle(inference, intent, "the work is done")}

    def _answer(self, inference: Inference, result: Any) -> dict[str, Any]:
        return {
            "result": result,
            "cost_usdc": inference.amount.to_json_number(),
            "escrow_id": inference.escrow_id,
            "region": inference.region,
            "paid_by": "caller" if self.brought else "agent",
        }

    async def unworked(self, inference: Inference) -> None:
        """Nobody would get the result of work that was not done before its caller was gone."""
        await self._failed(inference, "the agent stopped before the work was done")

    async def _failed(self, inference: Inference, reason: str) -> LedgerState:
        """Return what was locked by us; an escrow that was brought is only given up."""
        if self.brought:
            note = f"not done: {reason}"
            await self.ledger.update(inference.id, state=LedgerState.DECLINED, note=note, settled_ms=now_ms())
            return LedgerState.DECLINED
        return await self.settle(inference, intent_after(self.client, succeeded=False), reason)


_RETURNED: Final = (LedgerState.CANCELLED, LedgerState.DECLINED)
