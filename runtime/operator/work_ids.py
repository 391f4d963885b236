"""The identity of a Job's work: its annotation, and for a CronJob's Jobs which run of the schedule it is.

And how an escrow says which work it was made for: whoever holds the payer's key wrote its terms, and nobody else can.
"""

from collections.abc import Mapping
from typing import Final

from runtime.contract import BY_HAND_ANNOTATION, SCHEDULED_ANNOTATION, WORK_ID_ANNOTATION, WORK_ID_LIMIT
from runtime.money import Usdc
from runtime.payments.model import escrow_token
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


def service_token(namespace: str, uid: str, identity: str | None, run: int | None) -> str:
    """The token of an escrow that the operator creates; from the work, so that the service knows it again even where
    the cluster has lost the account."""
    return escrow_token(f"{namespace}/{identity}" if identity else uid, run or 0)


def by_hand_token(namespace: str, job_name: str, payee: str, amount: Usdc) -> str:
    """The token of an escrow that a person has `escrowctl fund` create for a Job."""
    return escrow_token(f"{namespace}/{job_name}/{payee}/{amount}")
