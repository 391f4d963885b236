"""The most that a stack may lock at one time, by plain arithmetic, before anything is deployed."""

from collections import Counter
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import TYPE_CHECKING

from components.settings.values import usdc_text
from runtime.contract import FEE_RATE

if TYPE_CHECKING:
    from components.settings import Settings

_MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Line:
    """A number of escrows of one amount that can be open at once. `what`: workers, Jobs or CronJobs."""

    count: int
    what: str
    each: Decimal

    @property
    def amount(self) -> Decimal:
        """USDC of all of them."""
        return self.count * self.each

    @property
    def fee(self) -> Decimal:
        """USDC of their fees; each is rounded up, so that the sum is a bound."""
        return self.count * (self.each * Decimal(FEE_RATE)).quantize(_MICRO, ROUND_UP)

    def __str__(self) -> str:
        return f"{self.count} {self.what} x {usdc_text(self.each)}"


@dataclass(frozen=True, slots=True)
class Exposure:
    """The maximum exposure, with its arithmetic."""

    lines: tuple[Line, ...]

    @property
    def amount(self) -> Decimal:
        """USDC locked, fees aside."""
        return sum((line.amount for line in self.lines), Decimal(0))

    @property
    def fee(self) -> Decimal:
        """USDC of fees: 1 % of each escrow."""
        return sum((line.fee for line in self.lines), Decimal(0))

    @property
    def total(self) -> Decimal:
        """USDC that the payer's wallet must hold in the worst case."""
        return self.amount + self.fee

    def __str__(self) -> str:
        terms = " + ".join(map(str, self.lines)) or "nothing runs"
        amount, fee, total = (usdc_text(value) for value in (self.amount, self.fee, self.total))
        return f"{terms} = {amount} USDC, and {fee} USDC of fees, together {total} USDC"


def exposure(settings: "Settings") -> Exposure:
    """Maximum exposure: workers at full scale and one run of every agent, each with its budget.

    One escrow pays for a Job whatever its parallelism, and a schedule never runs twice at once.
    """
    runs: Counter[tuple[str, Decimal]] = Counter()
    if settings.enabled and settings.worker.enabled:
        count = settings.hpa.max_replicas if settings.hpa.enabled else settings.worker.replicas
        runs["workers", settings.task_budget(settings.worker)] += count
    for agent in settings.agents if settings.enabled else ():
        runs["CronJobs" if agent.schedule else "Jobs", settings.task_budget(agent)] += 1
    return Exposure(tuple(Line(count, what, each) for (what, each), count in runs.items()))
