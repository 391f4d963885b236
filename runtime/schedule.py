"""CronJob schedules as the API server parses them: robfig/cron 3, standard parser, and no time zone in the text.

No Python library speaks this dialect: cronsim (Debian's cron), croniter and APScheduler differ in Sunday as 7, in `L`,
`W`, `#` and `?`, in descriptors, and in when both day fields are given. So this is a small exact parser, held against
robfig/cron itself in the tests.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

_BLANK = re.compile("[\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_DESCRIPTORS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY: Final = "@every "
_NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,
    "\u03bcs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_MINUTE: Final = timedelta(minutes=1)
_INT64 = 2**63
EXAMPLE: Final = "e.g. '0 * * * *' or '@hourly'"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a CronJob runs: sets of minutes, hours, days and months, or every so many seconds."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days_of_month: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    days_of_week: frozenset[int] = frozenset()
    """0 is Sunday."""
    any_day: bool = True
    """Whether `*` or `?` stands in one of the two day fields: then both must match, else either is enough."""
    every_seconds: int = 0
    """Of an `@every` schedule; otherwise 0."""

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Read a schedule; raises `ValueError` with what is wrong exactly where the API server refuses it."""
        if "TZ" in text:
            raise ValueError(f"{text!r}: a schedule names no time zone; use timeZone")
        if text.startswith("@"):
            if text.startswith(_EVERY):
                return cls(every_seconds=max(_seconds(text[len(_EVERY) :]), 1))
            if text not in _DESCRIPTORS:
                raise ValueError(f"{text!r} is none of {', '.join(_DESCRIPTORS)} and '@every 1h30m'")
            text = _DESCRIPTORS[text]
        words = [word for word in _BLANK.split(text) if word]
        if len(words) != len(_FIELDS):
            names = " ".join(name.replace(" ", "-") for name, *_ in _FIELDS)
            raise ValueError(f"{text!r} has {len(words)} fields, five are needed: {names}, {EXAMPLE}")
        try:
            parsed = [_field(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
        except ValueError as error:
            raise ValueError(f"{text!r}: {error}") from None
        return cls(*(values for values, _ in parsed), any_day=parsed[2][1] or parsed[4][1])

    @property
    def either_day_is_enough(self) -> bool:
        """Whether it runs on days that match only one of the two day fields."""
        return not self.every_seconds and not self.any_day

    def runs_in(self, year: int) -> int:
        """How often it runs in a year, clock changes aside."""
        if self.every_seconds:
            return 86400 * (date(year + 1, 1, 1) - date(year, 1, 1)).days // self.every_seconds
        days = (date(year, month, day) for month in self.months for day in range(1, monthrange(year, month)[1] + 1))
        return sum(map(self._runs_on, days)) * len(self.hours) * len(self.minutes)

    def ever_runs(self) -> bool:
        """Whether there is a run in the next years; Kubernetes accepts `0 0 30 2 *` and then never runs it."""
        return any(self.runs_in(year) for year in range(2024, 2029))

    def runs_at(self, moment: datetime) -> bool:
        """Whether it runs in the minute of that local time; of an `@every` schedule nobody knows."""
        return moment.minute in self.minutes and moment.hour in self.hours and self._runs_on(moment.date())

    def runs_between(self, start: datetime, end: datetime, zone: ZoneInfo, most: int) -> int:
        """How often it runs after `start`, until `end`, counted to `most`. A local time that is twice counts twice."""
        minute, found = start.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE, 0
        while minute <= end and found < most:
            local = minute.astimezone(zone)
            if self._runs_on(local.date()):
                found += self.runs_at(local)
                minute += _MINUTE
            else:  # every zone's days begin at a quarter of an hour
                minute += timedelta(minutes=15 - minute.minute % 15)
        return found

    def _runs_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        matches = (day.day in self.days_of_month, day.isoweekday() % 7 in self.days_of_week)
        return all(matches) if self.any_day else any(matches)


def _field(text: str, name: str, low: int, high: int, names: dict[str, int]) -> tuple[frozenset[int], bool]:
    """The field's values, and whether all of them are meant."""
    values: set[int] = set()
    star = False
    for part in filter(None, text.split(",")):
        try:
            found, all_of_them = _range(part, low, high, names)
        except ValueError as error:
            raise ValueError(f"{part!r} is no {name}: {error}") from None
        values.update(found)
        star = star or all_of_them
    return frozenset(values), star


def _range(part: str, low: int, high: int, names: dict[str, int]) -> tuple[range, bool]:
    bounds, *steps = part.split("/")
    first, *rest = bounds.split("-")
    star = first in ("*", "?")  # whatever follows a hyphen after it is not read
    if star:
        start, end = low, high
    elif len(rest) > 1:
        raise ValueError("it has more than one hyphen")
    else:
        start = _number(first, names)
        end = _number(rest[0], names) if rest else start
    if len(steps) > 1:
        raise ValueError("it has more than one slash")
    step = _number(steps[0], {}) if steps else 1
    if steps and not rest:
        end = high
    if start < low or end > high:
        raise ValueError(f"{low} to {high} are allowed")
    if start > end or not step:
        raise ValueError("it goes backwards" if step else "a step is at least 1")
    return range(start, end + 1, step), star and step == 1


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not _INTEGER.fullmatch(text) or not 0 <= int(text) < _INT64:
        raise ValueError(f"{text!r} is no number" + (" or name" if names else ""))
    return int(text)


def _seconds(text: str) -> int:
    """Whole seconds of a duration as Go writes it: `90m`, `1h30m`, `1.5h`."""
    rest = text[1:] if text[:1] in ("-", "+") else text
    total, at = Decimal(0), 0
    while at < len(rest) and rest != "0":
        match = _DURATION.match(rest, at)
        if match is None or not (match[1] or match[2]):
            break
        total += (Decimal(match[1] or 0) + Decimal(f"0.{match[2] or 0}")) * _NANOSECONDS[match[3]]
        at = match.end()
    if not rest or (at < len(rest) and rest != "0") or total >= _INT64 + text.startswith("-"):
        raise ValueError(f"{text!r} is no duration; write e.g. '@every 1h30m'")
    return 0 if text.startswith("-") else int(total // 10**9)
