"""`python -m runtime.retention`: moves settled accounts into the archive, and removes their objects only then.

An account leaves when all of this holds: it was settled longer ago than PF_ARCHIVE_AFTER_DAYS; each micro-USDC of it
is explained, so nothing of it is disputed or unknown; it holds nothing in a Budget; nobody can ask for its work again.
That is so for a Job without a work id once it is gone, because its UID never comes back, for a past run of a schedule,
and for a Task: payroll pays what the service has open, and what is settled is not. The account of a work with an id
that may be created anew stays: without it the work would be paid again.

Written, read back, then removed, a file at a time: whenever it is stopped, what is not in the archive is still an
object, and what is in both is counted once.
"""

import logging
import re
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec

from runtime.contract import BUDGET_LABEL, Env, ExitCode, Phase, WorkKind
from runtime.environment import number, text
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.command import run_for_people
from runtime.kubernetes.errors import ObjectNotFound, WriteConflict
from runtime.kubernetes.escrow import ESCROW, Escrow
from runtime.kubernetes.escrow_objects import escrow_path, escrows_path
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import NAMED, Shape
from runtime.kubernetes.watched import Watched
from runtime.service import Kind, Program, Start
from runtime.statement.archive import FILE_BYTES, Archive
from runtime.statement.lines import line_of, locked_at
from runtime.statement.period import Period

NAME: Final = "purpleflea-retention"
"""Its user agent."""

_SCHEDULED: Final = re.compile(r".+@\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_ALL: Final = Period(None, None)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What goes where, and when."""

    watch: str = text(Env.WATCH_NAMESPACE, "Whose accounts: a namespace, `a,b,c`, or `selector:team=agents`")
    archive: str = text(Env.ARCHIVE_URL, "Where to: `file:///folder` or `s3://bucket/folder`")
    after_days: int = number(
        Env.ARCHIVE_AFTER_DAYS, "How long an account stays after it was settled", least=1, most=3650
    )

    def __post_init__(self) -> None:
        Watched.parse(self.watch)  # a mistake is told at the start


class Settled(msgspec.Struct, frozen=True):
    """An account, and its object on one line of JSON."""

    escrow: Escrow
    content: bytes


def _whole(raw: Any, _gone: bool) -> Settled:
    return Settled(ESCROW.read(raw), bytes(msgspec.json.format(bytes(raw), indent=-1)))


SETTLED: Final[Shape[Settled]] = Shape("Escrow", _whole)


def may_leave(escrow: Escrow, before: datetime, job_uids: set[str]) -> bool:
    """Whether the account may become a line of the archive: see the top of this module."""
    status, metadata, work = escrow.status, escrow.metadata, escrow.work
    if escrow.phase is not Phase.SETTLED or status.closed_at is None or status.closed_at >= before:
        return False
    if metadata.finalizers or metadata.deletion_timestamp or BUDGET_LABEL in metadata.labels or status.run is not None:
        return False
    if work.kind is WorkKind.JOB and (work.uid in job_uids or (work.id and not _SCHEDULED.fullmatch(work.id))):
        return False
    if locked_at(escrow) is None:
        return True  # nothing was ever locked for it
    line = line_of(escrow, _ALL)
    return line is not None and line.amount_known and line.held == line.imbalance == 0


class Retention:
    """One run."""

    def __init__(self, api: KubernetesApi, archive: Archive, before: datetime) -> None:
        self._api = api
        self._archive = archive
        self._before = before
        self.archived = self.files = 0

    async def move(self, namespace: str) -> None:
        """Everything of one namespace that may leave."""
        jobs = Listing(self._api, f"/apis/batch/v1/namespaces/{namespace}/jobs", NAMED, only_metadata=True)
        # The Jobs first: one that is created afterwards has a UID that no account of the past can have.
        uids = {job.metadata.uid async for job in jobs}
        waiting: dict[tuple[str, date], list[Settled]] = defaultdict(list)
        held = 0
        async for settled in self._candidates(namespace, uids):
            closed_at = settled.escrow.status.closed_at
            assert closed_at is not None  # noqa: S101 - see `may_leave`
            waiting[settled.escrow.namespace, closed_at.astimezone(UTC).date()].append(settled)
            held += len(settled.content)
            if held >= FILE_BYTES:
                await self._flush(waiting)
                held = 0
        await self._flush(waiting)

    async def _candidates(self, namespace: str, uids: set[str]) -> AsyncIterator[Settled]:
        selectors = {"fieldSelector": f"status.phase={Phase.SETTLED}"}
        async for settled in Listing(self._api, escrows_path(namespace), SETTLED, selectors):
            if may_leave(settled.escrow, self._before, uids):
                yield settled

    async def _flush(self, waiting: dict[tuple[str, date], list[Settled]]) -> None:
        for (namespace, day), group in waiting.items():
            name = self._archive.write(namespace, day, [settled.content for settled in group])
            self.files += 1
            for settled in group:
                await self._remove(settled.escrow)
            _log.info("archived %d accounts of %s in %s", len(group), namespace, name)
        waiting.clear()

    async def _remove(self, escrow: Escrow) -> None:
        """Remove the object as it was archived; one that was changed since stays for the next run."""
        metadata = escrow.metadata
        try:
            await self._api.delete(escrow_path(escrow), metadata.uid, metadata.resource_version)
        except ObjectNotFound:
            pass
        except WriteConflict:
            _log.info(
                "%s/%s was changed while it was archived; the next run archives it", escrow.namespace, escrow.name
            )
            return
        self.archived += 1


async def move(settings: Settings) -> int:
    """One run over every namespace; how many accounts left."""
    archive = Archive(settings.archive, create=True)
    before = datetime.now(UTC) - timedelta(days=settings.after_days)
    async with KubernetesApi(NAME) as api:
        retention = Retention(api, archive, before)
        for namespace in await Watched.parse(settings.watch).namespaces(api):
            await retention.move(namespace)
    _log.info("%d accounts left for %s in %d files", retention.archived, settings.archive, retention.files)
    return retention.archived


def run(start: Start[Settings]) -> int:
    """Archive what may leave; the exit code."""
    run_for_people(move(start.settings))
    return ExitCode.OK


PROGRAM = Program("python -m runtime.retention", __doc__.partition(": ")[2], Settings, run, Kind.TASK)

if __name__ == "__main__":
    sys.exit(PROGRAM.main())
