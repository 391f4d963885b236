"""The guide's checklist as marks on tests, and what they saw: a pytest plugin.

    @pytest.mark.checklist("K5")
    def test_the_first_dollar(seen):
        seen("claimed", "1.00 USDC", "K5")  # in the line of that item, where a test shows several

    @pytest.mark.trial("the clock an hour off")  # a fault, with money under way
    def test_a_clock(seen):
        seen.books(Books.of(sandbox.statement(), {"payee": "0.10"}))

With `--e2e-results FILE` a run writes what became of the tests that bear such a mark (`Result`). Without it, those
that `make e2e` runs alone (`opt_in`) are skipped.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from tests.e2e.books import Books

CHECKLIST = {
    "K1": "Credentials Secret",
    "K2": "RBAC",
    "K3": "Encryption at rest",
    "K4": "Agent Job",
    "K5": "Faucet init container",
    "K6": "Operator",
    "K7": "Escrow at creation",
    "K8": "Payroll CronJob",
    "K9": "Referral income",
    "K10": "Helm",
    "K11": "MCP sidecar",
    "K12": "Queue metric",
    "K13": "Autoscaler",
    "K14": "Budget cap",
    "K15": "Six services",
}
"""The Kubernetes guide's items, by their numbers."""

MARKS = ("checklist", "trial")
OPT_IN = "[e2e] minutes on a node of its own, or for a cluster of yours; `make e2e` runs it"


@dataclass
class Result:
    """What became of one test. `outcome` is `passed`, `failed` or `skipped`; `seconds` is wall time, all of it."""

    test: str
    checklist: list[str] = field(default_factory=list)
    trial: str = ""
    outcome: str = "passed"
    seconds: float = 0.0
    reason: str = ""
    seen: list[list[str]] = field(default_factory=list)
    figures: list[list[str]] = field(default_factory=list)
    books: list[dict[str, str]] = field(default_factory=list)


class Seen:
    """Evidence of one test: `seen("paid", "0.099 USDC")`; a `figure` stands in the report's own table too."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record

    def __call__(self, what: str, value: object, *items: str) -> None:
        """`items`: those of the test's that it is about; none for all of them."""
        self._record("seen", [what, f"{value}", *items])

    def figure(self, what: str, value: object) -> None:
        self._record("figures", [what, f"{value}"])

    def books(self, books: Books) -> None:
        """What a trial came to."""
        self._record("books", {name: f"{value}" for name, value in vars(books).items()})


@pytest.fixture
def seen(record_property) -> Seen:
    """Where a test writes down what it saw; costs nothing in a run without a report."""
    return Seen(record_property)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--e2e-results", type=Path, metavar="FILE", help="run what is opt-in, and write what was seen")


def pytest_configure(config: pytest.Config) -> None:
    if (file := config.getoption("--e2e-results")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Results(file))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers():
            if mark.name in MARKS:
                item.user_properties.extend((mark.name, name) for name in mark.args)
        if item.get_closest_marker("opt_in") and not config.getoption("--e2e-results"):
            item.add_marker(pytest.mark.skip(reason=OPT_IN))


class _Results:
    """Collects in the process that sees all reports, xdist's workers' included."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: dict[str, Result] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        given = dict(report.user_properties)
        if not given.keys() & {*MARKS, "figures"}:
            return
        found = self._found.setdefault(report.nodeid, Result(report.nodeid.partition("@")[0]))
        found.seconds += report.duration
        if report.outcome != "passed":
            found.outcome = report.outcome
            found.reason = _reason(report)
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == "trial":
                    found.trial = value
                elif hasattr(found, name):
                    getattr(found, name).append(value)

    def pytest_sessionfinish(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps([asdict(one) for one in self._found.values()], indent=1))


def _reason(report: pytest.TestReport) -> str:
    """Why it was skipped, or the beginning of what failed."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return f"{crash.message if crash else report.longrepr}".strip()[:300]
