"""What the settlement tests share: a payer, a payee, escrows, and a settler whose clock jumps instead of sleeping."""

import asyncio
import itertools
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runtime.contract import Phase
from runtime.money import Usdc
from runtime.payments import Credentials, EscrowRequest, PaymentsClient, Retries, Timeouts, escrow_token
from runtime.sandbox.faults import Fault
from runtime.sandbox.testing import RunningSandbox
from runtime.settlement.driver import Policy, Settler, intent_after
from runtime.settlement.journal import SqliteJournal
from runtime.settlement.record import CLOSED, Case, Settlement
from runtime.settlement.table import Intent, Outcome

AMOUNT = Usdc.parse("0.10")
PATIENT = Timeouts(connect_seconds=30, read_seconds=60, write_seconds=30, pool_seconds=60, exchange_seconds=120)
"""So long that a busy machine never looks like a fault."""
IMPATIENT = Timeouts(connect_seconds=30, read_seconds=0.3, write_seconds=30, pool_seconds=60, exchange_seconds=120)
"""For faults that are a delay."""
ONCE = Retries(attempts=1)
TLS = ssl.create_default_context()  # one for all clients: loading the trust store takes longer than a settlement
READABLE = ("kubernetes", "server")
DIALECTS = (*READABLE, "fly")
STATUS_OF = {
    Outcome.PAID: "released",
    Outcome.DISPUTED: "disputed",
    Outcome.REFUNDED: "refunded",
    Outcome.CANCELLED: "cancelled",
    Outcome.COMPLETED: "completed",
}
_numbers = itertools.count()


class Crash(BaseException):
    """A process that dies here; a BaseException, so that nothing on the way can survive it."""


@dataclass
class Shop:
    """One payer and one payee in one dialect, with a journal on disk that outlives every settler.

    Args:
        offset: How far our clock is ahead of the real one.
    """

    sandbox: RunningSandbox
    dialect: str
    journal_file: Path
    policy: Policy = field(default_factory=Policy)
    offset: timedelta = timedelta()

    def __post_init__(self):
        number = next(_numbers)
        self.payer, self.payee = f"ag_payer_{number}", f"ag_payee_{number}"
        self.payer_key, self.payee_key = (self.sandbox.issue_key(agent) for agent in (self.payer, self.payee))
        self.sandbox.deposit(self.payer, "100")
        self.journal = SqliteJournal(self.journal_file)
        self.client = self.client_of(self.payer_key)

    def client_of(self, key, **options):
        """A client that takes no second try, so that a test sees each answer."""
        options = {"timeouts": PATIENT, "retries": ONCE, "tls": TLS} | options
        url = self.sandbox.url
        return PaymentsClient(self.dialect, url, Credentials(key), faucet_url=url, allow_http=True, **options)

    async def use(self, timeouts):
        """Go on with another client."""
        await self.client.close()
        self.client = self.client_of(self.payer_key, timeouts=timeouts)

    async def close(self):
        self.journal.close()
        await self.client.close()

    def now(self):
        return datetime.now(UTC) + self.offset

    def settler(self, journal=None, client=None, **options):
        return Settler(client or self.client, journal or self.journal, policy=self.policy, now=self.now, **options)

    async def case(self, *, succeeded=True, intent=None, amount=AMOUNT) -> Case:
        """A piece of work that ended, with money locked for it."""
        uid = f"job-{next(_numbers)}"
        order = EscrowRequest(
            payee=self.payee,
            amount=amount,
            token=escrow_token(uid),
            payer=self.payer if self.dialect == "fly" else None,
        )
        escrow = await self.client.create_escrow(order)
        intent = intent or intent_after(self.client, succeeded=succeeded)
        return Case(uid, escrow.id, intent, "Job complete" if succeeded else "Job failed: exit 3", amount, self.payee)

    async def until_closed(self, case, settler=None, *, rounds=60, jump=True) -> Settlement:
        """Go round until nothing is left to do. Waiting moves the clock, unless others are at it in real time."""
        settler = settler or self.settler()
        rounds = rounds if jump else 1500
        for _ in range(rounds):
            progress = await settler.settle(case)
            if progress.retry_after_seconds is None:
                return progress.record
            if jump:
                self.offset += timedelta(seconds=progress.retry_after_seconds)
            else:
                await asyncio.sleep(0.02)
        raise AssertionError(f"after {rounds} rounds still {progress}")

    def fault(self, operation, kind="status", **rule):
        """Break this dialect's operation."""
        self.sandbox.service.faults.add(Fault(operation, kind, dialect=self.dialect, **rule))

    def escrow(self, case) -> dict:
        """The escrow in the sandbox's own books."""
        return next(e for e in self.sandbox.statement()["escrows"] if e["escrow_id"] == case.escrow_id)

    def paid(self, case) -> list[str]:
        """Every payment to the payee out of this escrow, in the sandbox's own books."""
        return _payments(self.sandbox.statement(), case)

    def wait_until_paid(self, case):
        """Return once the sandbox's books show a payment."""
        while not self.paid(case):
            time.sleep(0.01)


def _payments(statement, case) -> list[str]:
    entries = statement["entries"]
    return [e["amount_usdc"] for e in entries if e["escrow_id"] == case.escrow_id and e["role"] == "paid"]


def check_against_books(shop: Shop, case: Case, record: Settlement):
    """What must hold of every closed settlement, whatever happened."""
    statement = shop.sandbox.statement()
    books = next(e for e in statement["escrows"] if e["escrow_id"] == case.escrow_id)
    payments = _payments(statement, case)
    assert statement["findings"] == []
    assert len(payments) <= 1
    assert record.phase in CLOSED
    assert record.intent is case.intent
    if record.phase is Phase.NEEDS_REVIEW:
        assert record.evidence
        assert record.remedy
        assert record.outcome is None
        return
    assert books["status"] == STATUS_OF[record.outcome]
    if record.outcome is Outcome.PAID:
        assert len(payments) == 1
        assert str(payments[0] if record.paid is None else record.paid) == payments[0]
        assert str(books["fee_usdc"] if record.fee is None else record.fee) == books["fee_usdc"]
    elif record.outcome is not Outcome.COMPLETED:
        assert payments == []
        assert record.paid is None
    if record.intent is not Intent.RELEASE and record.outcome is Outcome.PAID:
        assert record.drift
