"""Which time a statement covers: from its beginning on, and up to its end, which is no longer in it."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runtime.errors import BadInput

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` on, before `until`; both in UTC.

    Args:
        since: None for all that there is.
        until: None for all that there is, also by a clock that is ahead of ours.
        zone: Whose days the statement counts by.
    """

    since: datetime | None
    until: datetime | None
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise BadInput(f"the period is empty: {self}")

    @property
    def start(self) -> datetime:
        """When it begins; for all that there is, before everything."""
        return self.since or _BEGINNING

    @property
    def end(self) -> datetime:
        """When it ends; for all that there is, after everything."""
        return self.until or _END

    def has(self, moment: datetime) -> bool:
        """Whether that moment is in it."""
        return self.start <= moment < self.end

    def day(self, moment: datetime) -> date:
        """The day of that moment, where `zone` is."""
        return moment.astimezone(self.zone).date()

    def __str__(self) -> str:
        begun = "the beginning" if self.since is None else _shown(self.since, self.zone)
        return f"{begun} to {'now' if self.until is None else _shown(self.until, self.zone)}"


def read_period(since: str | None, until: str | None, month: str | None, zone: str) -> Period:
    """The period of a command line: two ends, each a date or a time, or one month.

    Raises:
        BadInput: No such zone, date, time or month; both a month and an end; an end before its beginning.
    """
    where = _zone(zone)
    if month is not None:
        if since or until:
            raise BadInput("--month is a period of its own: leave out --since and --until")
        try:
            first = date.fromisoformat(f"{month}-01")
            following = (first + timedelta(days=31)).replace(day=1)
            return Period(_midnight(first, where), _midnight(following, where), where)
        except (ValueError, OverflowError):
            raise BadInput(f"--month {month}: expected a month like 2026-11") from None
    ends = [
        None if text is None else _moment(name, text, where) for name, text in (("--since", since), ("--until", until))
    ]
    return Period(*ends, where)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(
            f"--time-zone {name}: not in this machine's database; expected a name like Europe/Berlin"
        ) from None


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _moment(option: str, text: str | None, zone: tzinfo) -> datetime | None:
    if text is None:
        return None
    try:
        if not (found := re.match(r"\d{4}-\d{2}-\d{2}", text)):
            raise ValueError("what else ISO 8601 has, as 2026-W48, is more often a mistake")
        if found[0] == text:
            return _midnight(date.fromisoformat(text), zone)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        expected = "a date like 2026-11-27, or a time like 2026-11-27T13:00:00Z"
        raise BadInput(f"{option} {text}: expected {expected}") from None


def _shown(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="seconds")
