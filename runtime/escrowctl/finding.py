"""What `escrowctl doctor` finds."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It could not be checked, which is never taken for well."""
    WARNING = "warning"
    ERROR = "error"
    """No payment is made, or money is at stake, until somebody acts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Args:
        check: Which check.
        level: How bad it is.
        what: What was seen, in one sentence.
        command: What mends it, or shows more; empty where nothing is to be done.
    """

    check: str
    level: Level
    what: str
    command: str = ""


def exit_code(findings: Sequence[Finding]) -> int:
    """0 if all is well, 3 for warnings and what could not be checked, 4 for an error."""
    levels = {finding.level for finding in findings}
    if Level.ERROR in levels:
        return 4
    return 0 if levels <= {Level.OK} else 3


def as_table(findings: Sequence[Finding]) -> str:
    """The findings as lines, each with its command below."""
    width = max((len(finding.check) for finding in findings), default=0)
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.check:<{width}}  {finding.what}")
        if finding.command:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.command}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """The same as a list of objects."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)
