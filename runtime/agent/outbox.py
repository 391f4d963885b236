"""The outbox: an escrow is on record before it is asked for, and how it ends before that is asked for.

What is about to be sent stands in the ledger first, so that a crash loses no money and no record: whoever holds the
ledger next finishes what was begun. An answer that cannot be believed is no success, and nothing is sent again blindly.
"""

import asyncio
import logging
from collections import Counter
from typing import Final

from runtime.agent.ledger import CreationEntry, EscrowTaken, Inference, Ledger, SettlementJournal, now_ms, state_of
from runtime.agent.settings import PaymentSettings
from runtime.contract import LedgerState
from runtime.errors import Permanent, PurpleFleaError, Retryable, Unauthorized
from runtime.payments import Created, DialectName, EscrowRequest, NeedsReview, PaymentsClient, create_once
from runtime.payments.creation import NotCreatedError, fingerprint
from runtime.settlement.driver import Progress, Settler
from runtime.settlement.record import Case
from runtime.settlement.table import Intent

LEFT_ALONE: Final = (
    "%d unfinished inferences are left alone: Machine %s began them, and may be working on them; if it is gone for "
    "good, hand them over by `python -m runtime.agent.books adopt %s` and restart this Machine"
)
_WAIT_SECONDS: Final = 5

_log = logging.getLogger("runtime.agent")


class Refusal(Exception):
    """Why there is no result: status, code and words for the caller. Nothing was charged unless the code says so."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Outbox:
    """Locks and settles, on record.

    Args:
        payments: See there.
        machine: Which Machine this is.
        workers: How many server processes share the ledger.
        ledger: Opened.
        client: Of the payment service.
    """

    def __init__(
        self, payments: PaymentSettings, machine: str, workers: int, ledger: Ledger, client: PaymentsClient
    ) -> None:
        self._payments = payments
        self._machine = machine
        self._workers = workers
        self.ledger = ledger
        self.client = client
        self.journal = SettlementJournal(ledger)
        # By the service's time: a note of a Machine whose clock was days ahead would be waited for so long.
        self._settler = Settler(client, self.journal, policy=payments.policy, now=client.now)
        self._finishing: set[asyncio.Task[None]] = set()
        self.key_problem = ""
        """Why the service does not accept our key; empty while it does."""
        self.stopping = False

    def metadata(self, inference: Inference) -> dict[str, str]:
        """What the escrow carries beside the token, where the dialect has a place for it."""
        return {"fly_region": inference.region, "fly_machine_id": inference.machine}

    async def unworked(self, inference: Inference) -> None:
        """What becomes of one that is locked while nobody works on it any more."""
        raise NotImplementedError

    # --- the money is locked

    def _order(self, inference: Inference) -> EscrowRequest:
        fly = self.client.dialect.name is DialectName.FLY
        return EscrowRequest(
            payee=inference.payee,
            amount=inference.amount,
            token=inference.id,
            description=f"Inference ({inference.region})",
            payer=inference.payer if fly else None,
            referral_code=self._payments.referral_code,
            metadata=self.metadata(inference),
        )

    async def lock(self, inference: Inference) -> Inference:
        """Create the escrow with our key. Raises `KeyTaken`, `Refusal`."""
        order = self._order(inference)
        entry = CreationEntry(self.ledger, inference, fingerprint(order))
        try:
            made = await self._create(entry, order)
        except (Retryable, Permanent) as error:
            self.note_key(error)
            if entry.inference.creates:  # it may have been created, and is looked for from now on
                self._finish_later(entry.inference, getattr(error, "delay_seconds", None) or 0)
                raise Refusal(502, "payment_unknown", "whether money was locked is not known yet") from None
            _log.warning("no escrow could be created: %s", error)
            wait = max(1, round(getattr(error, "delay_seconds", None) or 1))
            message = "the payment service cannot be charged now; nothing was charged"
            raise Refusal(503, "payments_unavailable", message, Retry_After=str(wait)) from None
        self.key_problem = ""
        if isinstance(made, NeedsReview):
            await self._review(entry.inference, made.reason)
            raise Refusal(502, "payment_unknown", "whether money was locked is not known; a person looks into it")
        return entry.inference

    async def _create(self, entry: CreationEntry, order: EscrowRequest, *, again: bool = True) -> Created | NeedsReview:
        try:
            return await create_once(self.client, entry, order, again=again)
        except EscrowTaken as error:
            return NeedsReview(token=order.token, reason=str(error))

    async def settle(self, inference: Inference, intent: Intent, reason: str) -> LedgerState:
        """One round; what is left goes on in the background. Returns where it stands."""
        assert inference.escrow_id is not None  # noqa: S101 - the ledger's own constraint
        case = Case(inference.id, inference.escrow_id, intent, reason, inference.amount, inference.payee)
        progress: Progress = await self._settler.settle(case)
        if progress.error is not None:
            self.note_key(progress.error)
        if progress.retry_after_seconds is not None:
            self._finish_later(inference, progress.retry_after_seconds)
        state = state_of(progress.record)
        if state is LedgerState.REVIEW:
            _log.error("escrow %s needs a manual decision: %s", inference.escrow_id, progress.record.evidence)
        return state

    # --- finishing what was begun

    async def recover(self) -> int:
        """Begin to finish what an earlier process of this Machine left open; returns how many there are.

        What another Machine began stays as it is. This ledger may be a copy (a fork or a snapshot of its volume), and
        that Machine may be working still: who cancelled its escrow would take its pay.
        """
        left = await self.ledger.unfinished(self._workers)
        own = [inference for inference in left if inference.machine == self._machine]
        for inference in own:
            self._finish_later(inference, 0)
        for machine, count in Counter(each.machine for each in left if each not in own).items():
            _log.error(LEFT_ALONE, count, machine, machine)
        return len(own)

    async def drain(self) -> None:
        """Take nothing more, and give what is being finished a moment; the rest waits in the ledger."""
        self.stopping = True
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)

    def _finish_later(self, inference: Inference, seconds: float) -> None:
        task = asyncio.create_task(self._finish(inference.id, seconds))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _finish(self, inference_id: str, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                inference = await self.ledger.by_id(inference_id)
                if inference is None or inference.settled_ms is not None:
                    return
                await self._step(inference)
                return
            except (PurpleFleaError, OSError) as error:
                self.note_key(error)
                _log.warning("inference %s is not finished yet: %s", inference_id, error)
                seconds = max(_WAIT_SECONDS, getattr(error, "delay_seconds", None) or 0)

    async def _step(self, inference: Inference) -> None:
        """Finish one whose caller is gone: nobody would get the result of work that was not done yet."""
        if inference.state is LedgerState.CREATING:
            order = self._order(inference)
            entry = CreationEntry(self.ledger, inference, fingerprint(order))
            try:
                made = await self._create(entry, order, again=False)
            except NotCreatedError:
                return None
            if isinstance(made, NeedsReview):
                return await self._review(inference, made.reason)
            inference = entry.inference
        if inference.intent is None:
            return await self.unworked(inference)
        await self.settle(inference, inference.intent, "on record")
        return None

    async def _review(self, inference: Inference, reason: str) -> None:
        _log.error("inference %s needs a manual decision: %s", inference.id, reason)
        await self.ledger.update(inference.id, state=LedgerState.REVIEW, note=reason, settled_ms=now_ms())

    def note_key(self, error: BaseException) -> None:
        """Remember that the service does not accept our key."""
        if isinstance(error, Unauthorized):
            self.key_problem = error.message
