"""The identity of a Job's work: its annotation, and for a CronJob's Jobs which run of the schedule it is."""

from collections.abc import Mapping
from typing import Final

from runtime.contract import BY_HAND_ANNOTATION, SCHEDULED_ANNOTATION, WORK_ID_ANNOTATION, WORK_ID_LIMIT
from runtime.redaction import excerpt

LONGEST: Final = 253
"""Characters of a work id with the run of a schedule, as an Escrow takes it."""


def work_id(annotations: Mapping[str, str], job_name: str) -> str | None:
    """The work id of a Job; None where it has none, or one that cannot be used: `work_id_problem` says why.

    Each scheduled time of a CronJob is a work of its own, `ID@TIME`. So is each Job that a person made of the CronJob
    by hand, `ID@by-hand/NAME`: made anew under its name it is the same.
    """
    given = annotations.get(WORK_ID_ANNOTATION)
    if given is None or work_id_problem(annotations):
        return None
    if time := annotations.get(SCHEDULED_ANNOTATION):
        return f"{given}@{time}"[:LONGEST]
    return f"{given}@by-hand/{job_name}"[:LONGEST] if BY_HAND_ANNOTATION in annotations else given


def work_id_problem(annotations: Mapping[str, str]) -> str:
    """What is wrong with the annotation; empty where nothing is, or where there is none."""
    given = annotations.get(WORK_ID_ANNOTATION)
    if given is None or (0 < len(given) <= WORK_ID_LIMIT and given.isprintable() and given == given.strip()):
        return ""
    shown = repr(excerpt(given, 40))
    wanted = f"1 to {WORK_ID_LIMIT} printable characters with no blank at either end"
    return f"annotation {WORK_ID_ANNOTATION}: {shown} cannot be used; expected {wanted}"
