"""What an Escrow object is called, and what a new one says."""

import hashlib
import re
from collections.abc import Mapping

from runtime.contract import (
    BUDGET_LABEL,
    ESCROW_GROUP,
    ESCROW_KIND,
    ESCROW_VERSION,
    SETTLEMENT_FINALIZER,
    WorkKind,
)
from runtime.kubernetes.shape import Json
from runtime.money import Usdc


def escrow_name(job_uid: str) -> str:
    """Name of the Escrow object of a Job that has no work id, or is not the first of its work."""
    return f"job-{job_uid}"


def work_account(work_id: str) -> str:
    """Name of the Escrow object of a work's first run.

    Made of the work id, so that the API server creates it once, whichever Jobs and operators ask for it. The hash
    decides; what stands before it is for people.
    """
    words = re.sub(r"[^a-z0-9]+", "-", work_id.lower()).strip("-")[:40].strip("-")
    return "-".join(filter(None, ("work", words, hashlib.sha256(work_id.encode()).hexdigest()[:20])))


def task_account(escrow_id: str) -> str:
    """Name of the Escrow object of a task.

    Made of what pays for it: whichever runs, workers and people open it, the API server lets one create it.
    """
    return f"task-{hashlib.sha256(escrow_id.encode()).hexdigest()[:32]}"


def new_task_escrow(namespace: str, escrow_id: str, *, dialect: str, payee: str | None, amount: Usdc | None) -> Json:
    """The Escrow object of a task whose money is locked already; unlike a Job it needs no finalizer."""
    known = {"payee": payee, "amountUsdc": None if amount is None else str(amount)}
    return {
        "apiVersion": f"{ESCROW_GROUP}/{ESCROW_VERSION}",
        "kind": ESCROW_KIND,
        "metadata": {"name": task_account(escrow_id), "namespace": namespace},
        "spec": {
            "work": {"kind": WorkKind.TASK.value, "name": escrow_id, "taskId": escrow_id},
            "dialect": dialect,
            "token": task_account(escrow_id),
            "escrowId": escrow_id,
            **{key: value for key, value in known.items() if value is not None},
        },
    }


def new_escrow(
    namespace: str,
    job_name: str,
    job_uid: str,
    *,
    dialect: str,
    token: str,
    escrow_id: str | None,
    payee: str | None,
    amount: Usdc | None,
    work_id: str | None = None,
    run: int | None = None,
    counts: bool = False,
    payer: str | None = None,
    service: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Json:
    """The Escrow object of a Job; what is not known yet is left out and set once later.

    `spec.job` says what `spec.work` says, for operators of the version before: one may still run, or run again.
    """
    known = {
        **{"escrowId": escrow_id, "payee": payee, "amountUsdc": None if amount is None else str(amount)},
        **{"payer": payer, "service": service},
    }
    identity = {"id": work_id, "run": run}
    first = work_id is not None and run is None
    marks = {**(labels or {}), **({BUDGET_LABEL: "counts"} if counts else {})}
    return {
        "apiVersion": f"{ESCROW_GROUP}/{ESCROW_VERSION}",
        "kind": ESCROW_KIND,
        "metadata": {
            "name": work_account(work_id) if first else escrow_name(job_uid),
            "namespace": namespace,
            "finalizers": [SETTLEMENT_FINALIZER],
            **({"labels": marks} if marks else {}),
        },
        "spec": {
            "work": {
                "kind": WorkKind.JOB.value,
                "name": job_name,
                "uid": job_uid,
                **{key: value for key, value in identity.items() if value is not None},
            },
            "job": {"name": job_name, "uid": job_uid},
            "dialect": dialect,
            "token": token,
            **{key: value for key, value in known.items() if value is not None},
        },
    }
