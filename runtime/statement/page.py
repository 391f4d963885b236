"""The statement as one page of HTML: no script, nothing from elsewhere, for a screen, a phone and A4 paper."""

import heapq
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final, TextIO

from jinja2 import Environment, PackageLoader

from runtime.statement.lines import Line
from runtime.statement.period import Period
from runtime.statement.sums import Sums, shown
from runtime.statement.writing import Result, cell, columns, words

MOST: Final = 100
"""Groups and accounts that are shown, the largest; the rest is summed up: one row for each account is the CSV's."""
MOST_BARS: Final = 62
"""Days that are drawn one by one; a longer time is drawn by months, and of those the last."""
MOST_AGENTS: Final = 12

_TEMPLATES: Final = Environment(
    loader=PackageLoader("runtime.statement", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


class Page:
    """Holds no more lines than it shows."""

    def __init__(self, out: TextIO, period: Period) -> None:
        self._out = out
        self._period = period
        self._held: list[tuple[int, int, Line]] = []
        self._number = self._more = 0

    def line(self, line: Line) -> None:
        """Kept if it is one of the largest of which the money is still held, or not known."""
        if not (line.held or not line.amount_known):
            return
        self._number += 1
        entry = (line.held, -self._number, line)
        if len(self._held) < MOST:
            heapq.heappush(self._held, entry)
        else:
            self._more += 1
            heapq.heappushpop(self._held, entry)

    def end(self, result: Result) -> None:
        """The whole page."""
        statement = result.statement
        groups = sorted(statement.groups.items(), key=lambda group: (-group[1].locked - group[1].opening, group[0]))
        self._out.write(
            _TEMPLATES.get_template("page.html.jinja").render(
                result=result,
                statement=statement,
                total=statement.total,
                words=words(result),
                columns=columns(result),
                cell=cell,
                groups=groups[:MOST],
                rest=_together([sums for _, sums in groups[MOST:]]),
                days=bars(_over_time(statement.days)),
                agents=bars(_largest(statement.agents)),
                held=[line for *_, line in sorted(self._held, key=lambda entry: entry[:2], reverse=True)],
                more=self._more,
                shown=shown,
            )
        )


def _over_time(days: Mapping[date, int]) -> dict[str, int]:
    """What was paid on each day from the first to the last, those without a payment too; by months if it is long."""
    if not days:
        return {}
    first, last = min(days), max(days)
    count = (last - first).days + 1
    form = "%Y-%m-%d" if count <= MOST_BARS else "%Y-%m"
    found = dict.fromkeys(((first + timedelta(days=number)).strftime(form) for number in range(count)), 0)
    for day, paid in days.items():
        found[day.strftime(form)] += paid
    return dict([*found.items()][-MOST_BARS:])


def _largest(paid: dict[str, int]) -> dict[str, int]:
    """The agents that were paid most, and what all others were paid together."""
    ordered = sorted(((name, micro) for name, micro in paid.items() if micro), key=lambda one: (-one[1], one[0]))
    others = sum(micro for _, micro in ordered[MOST_AGENTS:])
    return dict(ordered[:MOST_AGENTS]) | ({f"{len(ordered) - MOST_AGENTS} others": others} if others else {})


def _together(sums: list[Sums]) -> Sums | None:
    if not sums:
        return None
    total = Sums()
    for one in sums:
        total.join(one)
    return total


def bars(amounts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Each amount with its length in thousandths of the longest, for a chart."""
    most = max(amounts.values(), default=0)
    return [
        {"name": name, "amount": micro, "length": max(1, micro * 1000 // most) if micro else 0}
        for name, micro in amounts.items()
    ]
