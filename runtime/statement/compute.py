"""What the pods of each Job cost, by OpenCost's word: it stands beside what the Job was paid.

Asked is `GET /allocation/compute`, once for the whole period, by the label that Kubernetes gives each pod of a Job: the
Job's UID. By name OpenCost would add up all runs of a CronJob, and a name can be given to another Job.

Unknown is never zero: a Job that OpenCost does not name has no cost here. An answer that is not whole, or is about
another time, gives nobody any: then `why_not` says why, and the statement has no such column.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

import httpx
import msgspec

from runtime.contract import WorkKind
from runtime.environment import checked_url
from runtime.kubernetes.escrow import Work
from runtime.kubernetes.shape import Moment
from runtime.redaction import excerpt
from runtime.statement.period import Period

ROUTE: Final = "/allocation/compute"
JOB_UID: Final = "label:batch_kubernetes_io_controller_uid"
"""`batch.kubernetes.io/controller-uid`, as Prometheus and so OpenCost write a label's name."""

ANSWER_BYTES: Final = 64 << 20
"""Most that is read: 25,000 Jobs."""
ANSWER_SECONDS: Final = 120
"""OpenCost asks Prometheus for all of it, which takes a while."""
MOST: Final = Decimal(10**9)
"""A Job that cost more is a mistake."""

_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Compute:
    """What Jobs cost.

    Args:
        source: Who says so.
        why_not: Why it is not known for anybody; empty where it is.
    """

    source: str
    why_not: str = ""
    _costs: dict[str, int | None] = field(default_factory=dict)

    def take(self, work: Work) -> int | None:
        """What this work's pods cost, in millionths; None where nobody told. A second account of a Job has none."""
        return self._costs.pop(work.uid or "", None) if work.kind is WorkKind.JOB else None


class _Window(msgspec.Struct):
    start: Moment
    end: Moment


class _Allocation(msgspec.Struct, rename="camel"):
    window: _Window
    total_cost: Decimal | None


class _Answer(msgspec.Struct):
    code: int
    data: list[dict[str, _Allocation] | None] | None = None
    warning: str = ""


class _Unusable(Exception):
    """Its text says why there are no costs."""


_read_answer = msgspec.json.Decoder(_Answer).decode


async def read_compute(url: str, period: Period, now: datetime) -> Compute:
    """Ask OpenCost once; whatever it answers is told in `why_not`.

    Raises:
        BadInput: The URL is none.
    """
    source = f"OpenCost at {checked_url(url, allow_http=True)}"
    try:
        if period.since is None:
            raise _Unusable("it needs a time that begins: give --month or --since")
        start, end = (moment.astimezone(UTC).replace(microsecond=0) for moment in (period.since, min(period.end, now)))
        if start >= end:
            raise _Unusable("the period has not begun")
        return Compute(source, _costs=_costs(await _answer(url.rstrip("/") + ROUTE, start, end), start, end))
    except _Unusable as error:
        return Compute(source, f"{source}: {error}")


async def _answer(url: str, start: datetime, end: datetime) -> bytearray:
    window = ",".join(f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (start, end))
    asked = {"window": window, "aggregate": JOB_UID, "accumulate": "true", "includeIdle": "false", "shareIdle": "false"}
    content = bytearray()
    plain = {"Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5), headers=plain) as client,
            client.stream("GET", url, params=asked) as answer,
        ):
            async for piece in answer.aiter_raw():
                content += piece
                if len(content) > ANSWER_BYTES:
                    raise _Unusable(f"answers with more than {ANSWER_BYTES >> 20} MiB; make the period shorter")
    except TimeoutError:
        raise _Unusable("does not answer in time; make the period shorter") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise _Unusable(f"does not answer: {excerpt(str(error) or type(error).__name__, 200)}") from None
    if 300 <= answer.status_code < 400:
        raise _Unusable(f"answers {answer.status_code} and points elsewhere; give the address that answers itself")
    if answer.status_code != 200:
        words = excerpt(content.decode(errors="replace").strip(), 200)
        raise _Unusable(f"answers {answer.status_code}: {words or 'nothing'}")
    return content


def _costs(content: bytearray, start: datetime, end: datetime) -> dict[str, int | None]:
    try:
        answer = _read_answer(content)
    except (msgspec.DecodeError, ValueError) as error:
        raise _Unusable(f"its answer cannot be read: {excerpt(str(error), 200)}") from None
    if answer.code != 200 or answer.warning:
        raise _Unusable(f"its answer is not whole: {excerpt(answer.warning or f'code {answer.code}', 200)}")
    if answer.data is None or len(answer.data) != 1:
        raise _Unusable(f"its answer has {len(answer.data or ())} sets of costs, and one was asked for")
    found = _of_jobs(answer.data[0] or {}, start, end)
    if not found:
        raise _Unusable("names no Job in this period; does its Prometheus keep kube_pod_labels?")
    return found


def _of_jobs(named: Mapping[str, _Allocation], start: datetime, end: datetime) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for uid, allocation in named.items():
        if (allocation.window.start, allocation.window.end) != (start, end):
            raise _Unusable(f"its answer is about {allocation.window.start} to {allocation.window.end}")
        if _UID.fullmatch(uid):
            found[uid] = _micro(uid, allocation.total_cost)
    return found


def _micro(uid: str, cost: Decimal | None) -> int | None:
    """A null is OpenCost's own word for a cost that it could not work out."""
    if cost is None:
        return None
    if not cost.is_finite() or not 0 <= cost <= MOST:
        raise _Unusable(f"says that Job {uid} cost {excerpt(str(cost), 40)}")
    return int((cost * 10**6).to_integral_value(ROUND_HALF_EVEN))
