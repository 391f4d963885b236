"""The statement as a journal for plain text accounting: one for beancount, one for hledger.

Every amount is written, with six decimals, because both programs round what is left out or written more coarsely. Each
account ends with an assertion of its balance: it holds even inside a journal that lets transactions be a little off.
Dates are days where the period's zone is; what one cannot say with a day stands in the metadata.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, TextIO

from runtime.kubernetes.shape import stamp
from runtime.statement.lines import Line
from runtime.statement.period import Period
from runtime.statement.sums import shown
from runtime.statement.writing import Result

WALLET: Final = "Assets:PurpleFlea:Wallet"
ESCROW: Final = "Assets:PurpleFlea:Escrow"
OPENING: Final = "Equity:PurpleFlea:Opening"
FEE: Final = "Expenses:PurpleFlea:Fee"
REFERRAL: Final = "Expenses:PurpleFlea:Referral"
_TARGETS: Final = {
    "paid": "Expenses:PurpleFlea:Work",
    "refunded": WALLET,
    "disputed": "Assets:PurpleFlea:Disputed",
    "review": "Assets:PurpleFlea:InReview",
    "unexplained": "Assets:PurpleFlea:Unexplained",
}
ACCOUNTS: Final = (*_TARGETS.values(), ESCROW, OPENING, FEE, REFERRAL)

HEADER: Final = """A statement of Purple Flea escrows: {period}, in USDC.
Every amount is written with six decimals, and each account ends with an assertion of its balance.
Include one statement at a time: two periods side by side are one statement over both."""


@dataclass(frozen=True)
class Entry:
    """One transaction: postings in micro-USDC that are to add up to zero."""

    day: date
    line: Line
    words: str
    postings: tuple[tuple[str, int], ...]

    @property
    def tags(self) -> dict[str, str]:
        """What is known of the account, for whoever looks it up."""
        line = self.line
        found = {"escrow": line.escrow_id, "account": line.account, "agent": line.agent, "region": line.region}
        closed = stamp(line.closed_at) if line.closed_at else ""
        found |= {"locked-at": stamp(line.locked_at), "closed-at": closed, "outcome": line.outcome or line.phase}
        return {name: text for name, text in found.items() if text}


def entries(line: Line, period: Period) -> Iterator[Entry]:
    """The transactions of a line: what came into the escrow, and what left it or is held by another reason."""
    came = line.opening + line.locked
    if not line.amount_known:
        return
    if line.opening:
        opened = _day(period.start, period)
        yield Entry(opened, line, "held before", ((ESCROW, came), (OPENING, -came)))
    else:
        opened = _day(line.locked_at, period)
        yield Entry(opened, line, "locked", ((ESCROW, came), (WALLET, -came)))
    referral = line.referral or 0
    gone = [(account, getattr(line, name)) for name, account in _TARGETS.items()]
    gone += [(FEE, line.fee - referral), (REFERRAL, referral)]
    moved = tuple((account, amount) for account, amount in gone if amount)
    if moved:
        closed = _day(line.closed_at or line.locked_at, period)
        yield Entry(max(opened, closed), line, line.outcome or line.phase, (*moved, (ESCROW, line.open - came)))


def _day(moment: datetime, period: Period) -> date:
    return period.day(max(moment, period.start))


@dataclass
class _Journal:
    """What both have in common.

    Args:
        last: The last day on which anything happened.
    """

    out: TextIO
    period: Period
    last: date = date(1970, 1, 1)

    def __post_init__(self) -> None:
        self.out.write("".join(f"; {text}\n" for text in HEADER.format(period=self.period).splitlines()))

    def line(self, line: Line) -> None:
        """Its transactions."""
        if not line.amount_known:
            self.out.write(f"; {_plain(line.account)}, escrow {_plain(line.escrow_id)}: the amount is not known\n\n")
        for entry in entries(line, self.period):
            self.last = max(self.last, entry.day)
            self.write(entry)

    def write(self, entry: Entry) -> None:
        raise NotImplementedError

    def end(self, result: Result) -> None:
        """An assertion for each account, from sums that were made without these transactions."""
        total = result.statement.total
        gone = {account: total.amount(name) for name, account in _TARGETS.items()}
        gone[WALLET] -= total.locked
        gone |= {ESCROW: total.open, OPENING: -total.opening, REFERRAL: total.referral, FEE: total.fee - total.referral}
        self.assert_balances(gone, self.last + timedelta(days=1))

    def assert_balances(self, balances: dict[str, int], day: date) -> None:
        raise NotImplementedError


class Beancount(_Journal):
    """For beancount 3. A `balance` with the tolerance `~ 0` is exact; without, it lets pass twice the last digit."""

    def __init__(self, out: TextIO, period: Period) -> None:
        super().__init__(out, period)
        out.write('option "operating_currency" "USDC"\n\n')
        out.write("".join(f"1970-01-01 open {account} USDC\n" for account in ACCOUNTS) + "\n")

    def write(self, entry: Entry) -> None:
        """One transaction; the escrow is a link, so that all of one escrow's are found together."""
        link = re.sub(r"[^A-Za-z0-9_/.-]", "-", entry.line.escrow_id)
        head = f"{_quoted(entry.line.payee or 'unknown')} {_quoted(f'{entry.words} {entry.line.work}')} ^{link}"
        self.out.write(f"{entry.day} * {head}\n")
        self.out.write("".join(f"  {name}: {_quoted(text)}\n" for name, text in entry.tags.items()))
        self.out.write("".join(f"  {name}  {shown(amount)} USDC\n" for name, amount in entry.postings) + "\n")

    def assert_balances(self, balances: dict[str, int], day: date) -> None:
        """At the beginning of that day."""
        for account, micro in balances.items():
            self.out.write(f"{day} balance {account}  {shown(micro)} ~ 0 USDC\n")


class Hledger(_Journal):
    """For hledger. The `commodity` line has six decimals: a coarser one would let that much be missing."""

    def __init__(self, out: TextIO, period: Period) -> None:
        super().__init__(out, period)
        out.write("commodity 1000.000000 USDC\n\n")
        out.write("".join(f"account {account.lower()}\n" for account in ACCOUNTS) + "\n")

    def write(self, entry: Entry) -> None:
        """One transaction; the escrow is its code, and a tag."""
        code = re.sub(r"[()\s]", "-", entry.line.escrow_id)
        said = f"{_plain(entry.line.payee or 'unknown')} | {_plain(f'{entry.words} {entry.line.work}')}"
        self.out.write(f"{entry.day} * ({code}) {said}\n")
        self.out.write("".join(f"    ; {name}: {_plain(text)}\n" for name, text in entry.tags.items()))
        self.out.write("".join(f"    {name.lower()}  {shown(amount)} USDC\n" for name, amount in entry.postings) + "\n")

    def assert_balances(self, balances: dict[str, int], day: date) -> None:
        """At the end of a transaction of nothing."""
        self.out.write(f"{day} * balances\n")
        for account, micro in balances.items():
            self.out.write(f"    {account.lower()}  0.000000 USDC = {shown(micro)} USDC\n")


def _quoted(text: str) -> str:
    return json.dumps(_plain(text), ensure_ascii=False)


def _plain(text: str) -> str:
    """Free text, e.g. a payee, without what a line, a tag or a comment ends with."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029;|,\"\\]", " ", text)
