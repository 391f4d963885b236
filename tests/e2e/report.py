"""What `make e2e` writes: a line for every item of the checklist and every trial, with what was seen."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2

from runtime.money import Usdc
from tests.e2e.checklist import CHECKLIST

TEMPLATE = Path(__file__).with_name("report.html.jinja")


def document(results: Sequence[dict[str, Any]], figures: list[list[str]]) -> dict[str, Any]:
    """The report as JSON; `results` as in `tests.e2e.checklist.Result`."""
    lines = {key: _line(item, [*_about(key, results)]) for key, item in CHECKLIST.items()}
    named = sorted({one["trial"] for one in results if one["trial"]})
    trials = [_line(name, [one for one in results if one["trial"] == name]) for name in named]
    return {
        "checklist": lines,
        "trials": trials,
        "totals": _totals(results),
        "figures": figures + [figure for one in results for figure in one["figures"]],
    }


def _about(key: str, results: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The tests of one item, with what they saw of it."""
    for one in results:
        if key in one["checklist"]:
            yield {**one, "seen": [[what, value] for what, value, *items in one["seen"] if key in (items or [key])]}


def _line(item: str, tests: list[dict[str, Any]]) -> dict[str, Any]:
    """One item: passed when a test passed and none failed; not run when no test ran, which is no success."""
    outcomes = {one["outcome"] for one in tests}
    ran = outcomes - {"skipped"}
    result = "failed" if "failed" in outcomes else "passed" if ran else "not run"
    return {"item": item, "result": result, "tests": tests}


def _totals(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over the trials that ran; unknown is not zero, so a trial without books is counted as such."""
    ran = [one for one in results if one["trial"] and one["outcome"] != "skipped"]
    books = [each for one in ran for each in one["books"]]
    return {
        "faults_tried": len(ran),
        "without_books": sum(1 for one in ran if not one["books"]),
        "payments": sum(int(each["payments"]) for each in books),
        "paid_usdc": f"{sum((Usdc.parse(each['paid']) for each in books), Usdc(0))}",
        "lost_usdc": f"{sum((Usdc.parse(each['lost']) for each in books), Usdc(0))}",
        "paid_twice": sum(int(each["paid_twice"]) for each in books),
    }


def page(report: dict[str, Any]) -> str:
    """One file that loads nothing."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(TEMPLATE.read_text()).render(**report, name=_name)


def text(report: dict[str, Any]) -> str:
    """The same in a line each, for a terminal."""
    lines = [(key, line) for key, line in report["checklist"].items()] + [("day 2", line) for line in report["trials"]]
    told = [f"{key:<6} {line['result']:<8} {line['item']}" for key, line in lines]
    totals = report["totals"]
    told += [
        f"faults tried {totals['faults_tried']}, lost {totals['lost_usdc']} USDC, paid twice {totals['paid_twice']}"
    ]
    return "\n".join(told + [": ".join(figure) for figure in report["figures"]])


def _name(test: str) -> str:
    """A test's name in words."""
    return test.rpartition("::")[2].removeprefix("test_").replace("_", " ")
