"""What workers say: read from each pod's log and from what their claims keep. Nothing of it is believed here."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from runtime.contract import Port, ProgramName, Route
from runtime.http1.client import HttpClient, NotSent, TooLong
from runtime.http1.connection import Broken
from runtime.http1.written import Headers
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.listing import Listing
from runtime.kubernetes.shape import Metadata, Shape
from runtime.kubernetes.task_claims import TaskClaims
from runtime.payroll.bounded import for_each
from runtime.redaction import excerpt, protect
from runtime.work_log import PAGE_BYTES, Entry, read_lines

AT_ONCE: Final = 32
POD_SECONDS: Final = 20.0
"""For the whole log of one pod."""
POD_BYTES: Final = 16 << 20
"""Of one pod's log."""
LAST_BYTES: Final = POD_BYTES // 2
"""Of a log that is longer its end is read: what stands before was read by earlier runs, and the end by none."""
KEPT_BY_CLAIMS: Final = "a claim"


@dataclass(frozen=True, slots=True)
class Report:
    """What one worker says about one task."""

    source: str
    """The pod, or `KEPT_BY_CLAIMS`."""
    entry: Entry


@dataclass
class Evidence:
    """All that was said.

    Logs are long: most of what they tell is settled. Of that no more is kept than what says whether a task comes again.

    Args:
        closed: Whether an escrow of that id is known to be open no more.
        reports: By escrow; tasks that go on are left out.
        past: Tasks that have a name of their own and were done under an escrow that is open no more, and which that is.
        without_escrow: Those that name none.
        problems: What could not be read, a line each.
        kept: Entries that claims keep.
    """

    closed: Callable[[str], bool] = lambda _: False
    past: dict[str, str] = field(default_factory=dict)
    reports: dict[str, list[Report]] = field(default_factory=dict)
    without_escrow: list[Report] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)

    def add(self, source: str, entries: list[Entry]) -> None:
        """Take in what one source says; the same word twice is once."""
        for entry in entries:
            if entry.outcome is None:
                continue
            report = Report(source, entry)
            if not entry.escrow:
                self.without_escrow.append(report)
            elif self.closed(entry.escrow):
                if entry.task != entry.escrow:
                    self.past.setdefault(entry.task, entry.escrow)
            elif report.entry not in (known.entry for known in self.reports.get(entry.escrow, ())):
                self.reports.setdefault(entry.escrow, []).append(report)


class _Port(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    container_port: int = 0


class _Container(msgspec.Struct, frozen=True):
    ports: tuple[_Port, ...] = ()


class _Spec(msgspec.Struct, frozen=True):
    containers: tuple[_Container, ...] = ()


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")


class WorkerPod(msgspec.Struct, frozen=True):
    """A worker's pod."""

    metadata: Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()

    @property
    def url(self) -> str:
        """Where its log is."""
        address = f"[{self.status.pod_ip}]" if ":" in self.status.pod_ip else self.status.pod_ip
        named = (p.container_port for one in self.spec.containers for p in one.ports if p.name == ProgramName.WORKER)
        return f"http://{address}:{next(named, Port.WORKER.value)}{Route.WORK_LOG.value}"


_POD: Final[Shape[WorkerPod]] = Shape.of("Pod", WorkerPod)


async def read_pods(api: KubernetesApi, namespace: str, token_file: Path, found: Evidence) -> None:
    """Read the log of each worker's pod. One that does not answer is named, and loses nothing: its log is there."""
    labels = f"app.kubernetes.io/component={ProgramName.WORKER},app.kubernetes.io/part-of=purpleflea"
    pods = [pod async for pod in Listing(api, f"/api/v1/namespaces/{namespace}/pods", _POD, {"labelSelector": labels})]
    try:
        token = await asyncio.to_thread(token_file.read_text)
    except OSError as error:
        if pods:
            found.problems.append(f"no work log can be read: the token {token_file}: {error.strerror}")
        return
    token = token.strip()
    protect(token)
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"accept-encoding", b"identity")]

    async def read(pod: WorkerPod) -> None:
        name = pod.metadata.name
        if pod.status.phase != "Running" or not pod.status.pod_ip:
            if pod.status.phase in ("Failed", "Succeeded"):
                found.problems.append(f"pod {name} has ended; what it has done is kept by its claims")
            return
        try:
            async with asyncio.timeout(POD_SECONDS):
                with closing(HttpClient(pod.url, None, connect_seconds=3)) as client:
                    await _read_log(client, headers, name, found)
        except TimeoutError:
            found.problems.append(f"pod {name} does not answer for its work log within {POD_SECONDS:g} s")
        except (NotSent, Broken, ValueError) as error:
            words = excerpt(str(error), 200)
            found.problems.append(f"pod {name} does not answer for its work log: {words}")

    await for_each(pods, read, AT_ONCE)


async def _read_log(client: HttpClient, headers: Headers, pod: str, found: Evidence) -> None:
    since, bad, length, whole = 0, 0, 0, True
    while length < POD_BYTES:
        with closing(await client.send("GET", f"?since={since}", headers, seconds=None)) as answer:
            if answer.status != 200:
                found.problems.append(f"pod {pod} refuses to show its work log: {answer.status}")
                return
            try:
                page = await answer.whole(PAGE_BYTES)
            except TooLong:
                found.problems.append(f"pod {pod} answers with more than {PAGE_BYTES} bytes; the rest is not read")
                return
            after, size = _offset(answer.header(b"pf-next")), _offset(answer.header(b"pf-size"))
        if whole and size > POD_BYTES:
            found.problems.append(f"pod {pod} has a work log of {size} bytes; its last {LAST_BYTES} are read")
            since, whole = size - LAST_BYTES, False
            continue
        if not whole and not length:
            del page[: page.find(b"\n") + 1]  # it begins within a line
        entries, torn = read_lines(bytes(page))
        found.add(f"pod {pod}", entries)
        bad, length = bad + torn, length + len(page)
        if not page:
            break
        if after <= since:
            found.problems.append(f"pod {pod} says not where its work log goes on; the rest is not read")
            break
        since = after
    else:
        found.problems.append(f"pod {pod} has a work log of more than {POD_BYTES} bytes; the rest is not read")
    if bad:
        found.problems.append(f"pod {pod}: {bad} lines of its work log are no entries")


def _offset(text: str) -> int:
    """As a header has it; -1 for what can be none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else -1


async def read_claims(claims: TaskClaims, found: Evidence) -> None:
    """Add what claims keep of pods that may be gone."""
    found.kept = await claims.kept()
    found.add(KEPT_BY_CLAIMS, found.kept)


def doubled(found: Evidence) -> Iterator[tuple[str, str]]:
    """Escrows of a task that was done under another escrow before, and that other: one task is paid once."""
    first: dict[str, str] = {}
    said = [report.entry for reports in found.reports.values() for report in reports]
    for entry in sorted(said, key=lambda e: (e.finished or e.started, e.escrow or "")):
        escrow = entry.escrow or ""
        before = found.past.get(entry.task) or first.setdefault(entry.task, escrow)
        if before != escrow:
            yield escrow, before
