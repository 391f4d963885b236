"""Any order of Jobs, their ends, deaths and restarts of operators, faults, meddling and time: money moves once.

Among them a tenant with every right in the namespace, a second payer's operator, deleted claims and accounts.

On a real API server with a real Job controller. What one rule does is not waited for by the next, so that an operator
meets Jobs in whatever state, and dies wherever it is.
"""

import contextlib
import json
import time
from collections import Counter as Tally
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from lightkube import ApiError
from lightkube.resources.batch_v1 import Job
from lightkube.resources.coordination_v1 import Lease
from lightkube.types import PatchType

from runtime.contract import ESCROW_ID_ANNOTATION, SETTLEMENT_FINALIZER, WITHHELD_ANNOTATION, WORK_ID_ANNOTATION, Env
from runtime.kubernetes.claims import LABELS
from runtime.kubernetes.shape import stamp
from runtime.money import ZERO, Usdc
from runtime.sandbox.refused import RefusedError
from tests.runtime.operator.hostile import hostile, patched, refused
from tests.runtime.operator.proof import agree, let_time_pass, numbered
from tests.runtime.operator.step_proxy import Counter
from tests.runtime.operator.world import PAYER, STRICT, Escrow, OperatorProcess, World, eventually

CLOSED = ("Settled", "NeedsReview")
FAULTS = ("reset", "half", "status", "html", "empty", "content_type", "duplicate", "delay")
ACTIVE = 2
LIMIT = "2.00"
EXAMPLES, STEPS = 6, 20
pick = st.integers(0, 9)


class Operators(RuleBasedStateMachine):
    """The Jobs of one namespace, the operators that serve it, and all that may happen to both."""

    def __init__(self, parent: World, number: int) -> None:
        super().__init__()
        self.number = number
        self.world = parent.sibling(f"s{number}")
        self.world.sandbox.deposit(PAYER, "20.00")
        self.jobs: dict[str, str | None] = {}
        """By name, and how it shall end once its pod is there."""
        self.escrow_ids: list[str] = []
        self.active: list[OperatorProcess] = []
        self.quiet = True
        """Nothing has happened yet after which a person may be asked."""
        self.strict = number % 2 == 0
        """Whether an escrow has to name the Job that brings it; else any Job may bring any."""
        self.made_for: dict[str, str] = {}
        """Names of the Jobs by the escrows that were made for them."""
        self.forgotten: set[str] = set()
        """UIDs of the Jobs whose accounts were deleted."""
        self.second_payer = False
        self.second_key = self.world.sandbox.issue_key("rich")
        self.world.sandbox.deposit("rich", "20.00")
        self._cleanup = contextlib.ExitStack()
        self.tenant = self._cleanup.enter_context(hostile(self.world))
        self.changes, self.api = self._cleanup.enter_context(numbered(self.world, Counter()))
        self.changes[Env.NAMESPACE_BUDGET_USDC] = LIMIT
        self.changes |= STRICT if self.strict else {}

    # --- Jobs

    def _name(self) -> str:
        name = f"job-{len(self.jobs)}"
        self.jobs[name] = None
        return name

    def _payee(self) -> str:
        payee = f"worker-{self.number}-{len(self.jobs)}"
        self.world.sandbox.issue_key(payee)
        return payee

    @precondition(lambda self: len(self.jobs) < 8)
    @rule(finalizer=st.booleans())
    def a_job_names_its_escrow(self, finalizer):
        payee, name = self._payee(), self._name()
        self.world.sandbox_pause(lambda: self.escrow_ids.append(self.world.fund("0.50", payee, job=name)))
        self.made_for[self.escrow_ids[-1]] = name
        self.world.job(name, self.escrow_ids[-1], finalizer=finalizer)

    @precondition(lambda self: len(self.jobs) < 8)
    @rule(amount=st.sampled_from([None, "0.10", "1.00"]))
    def a_job_asks_for_an_escrow(self, amount):
        request = {"payee": self._payee()} | ({"amountUsdc": amount} if amount else {})
        self.world.job(self._name(), request=json.dumps(request), suspend=True)

    @precondition(lambda self: len(self.jobs) < 8)
    @rule(work=st.integers(0, 1))
    def a_job_of_a_work_is_created_once_more(self, work):
        """All Jobs of a work have one payee: a second payment to it would be one for the same work."""
        payee = f"worker-{self.number}-work-{work}"
        self.world.sandbox.issue_key(payee)
        request = json.dumps({"payee": payee, "amountUsdc": "0.50"})
        identity = {WORK_ID_ANNOTATION: f"work-{work}"}
        self.world.job(self._name(), request=request, suspend=True, annotations=identity)

    @precondition(lambda self: self.escrow_ids and len(self.jobs) < 8)
    @rule(n=pick)
    def a_job_names_anothers_escrow(self, n):
        self.quiet = False
        self.world.job(self._name(), self.escrow_ids[n % len(self.escrow_ids)])

    @precondition(lambda self: self.jobs)
    @rule(n=pick, succeeded=st.booleans())
    def a_job_ends(self, n, succeeded):
        name = list(self.jobs)[n % len(self.jobs)]
        self.jobs[name] = "Complete" if succeeded else "Failed"
        self._end(name)

    def _end(self, name):
        """End its pod if it has one by now; `_all_end` sees to the others."""
        with contextlib.suppress(ApiError):  # it is being deleted
            if self.world.get_job(name) and self.world.unfinished(name):
                self.world.finish(name, succeeded=self.jobs[name] != "Failed")

    @precondition(lambda self: self.jobs)
    @rule(n=pick)
    def a_manifest_that_suspends_is_applied_again(self, n):
        """Its pods are deleted at once; the operator resumes it if it is funded."""
        with contextlib.suppress(ApiError):  # it is gone
            name = list(self.jobs)[n % len(self.jobs)]
            self.world.client.patch(Job, name, {"spec": {"suspend": True}}, patch_type=PatchType.MERGE)

    @precondition(lambda self: self.jobs)
    @rule(n=pick)
    def a_job_is_deleted(self, n):
        with contextlib.suppress(ApiError):  # it is gone already
            self.world.client.delete(Job, list(self.jobs)[n % len(self.jobs)])

    @precondition(lambda self: self.jobs)
    @rule(n=pick)
    def an_annotation_is_changed(self, n):
        patch = {"metadata": {"annotations": {ESCROW_ID_ANNOTATION: "esc_0000000000000000"}}}
        self.quiet = False
        with contextlib.suppress(ApiError):
            self.world.client.patch(Job, list(self.jobs)[n % len(self.jobs)], patch, patch_type=PatchType.MERGE)

    @rule()
    def somebody_writes_to_every_escrow(self):
        touch = {"metadata": {"annotations": {"touched": stamp(datetime.now(UTC))}}}
        for escrow in self.world.escrows():
            self.world.client.patch(Escrow, escrow["metadata"]["name"], touch, patch_type=PatchType.MERGE)

    # --- what is deleted, and who would do it

    @rule(n=pick)
    def a_claim_is_deleted(self, n):
        """By the platform's slip: it is made anew before anything is sent."""
        self.quiet = self.quiet and self.strict
        claims = list(self.world.client.list(Lease, labels=LABELS))
        if claims:
            try:
                self.world.client.delete(Lease, claims[n % len(claims)].metadata.name)
            except ApiError as error:
                if error.status.code != 404:  # its account was deleted
                    raise

    @rule(n=pick)
    def an_account_is_deleted(self, n):
        """By the platform's slip. Not of a work, which would be forgotten by that and paid again."""
        found = [e for e in self.world.escrows() if e.get("status", {}).get("phase") == "Settled"]
        found = [escrow for escrow in found if "id" not in escrow["spec"]["work"]]
        if found:
            self.quiet = False
            escrow = found[n % len(found)]
            self.forgotten.add(escrow["spec"]["job"]["uid"])
            self.world.client.delete(Escrow, escrow["metadata"]["name"])

    @rule(n=pick, m=pick)
    def a_tenant_tries_to_write_an_account(self, n, m):
        escrows = self.world.escrows()
        if not escrows:
            return
        name = escrows[n % len(escrows)]["metadata"]["name"]
        news = [{"paidUsdc": "9.00"}, {"phase": "NeedsReview"}, {"creation": None}, {"reservation": None}]
        tries = [
            lambda: refused(lambda: self.tenant.delete(Escrow, name)),
            lambda: patched(self.tenant, Escrow, name, {"spec": {"payee": "tenant"}}),
            *(lambda status=status: patched(self.tenant, Escrow.Status, name, {"status": status}) for status in news),
        ]
        with contextlib.suppress(ApiError):  # it is gone, or the definition refuses it, too
            assert tries[m % len(tries)](), "a tenant may write accounts"

    # --- operators and what they talk to

    @precondition(lambda self: len(self.active) < ACTIVE)
    @rule()
    def an_operator_of_another_payer_starts(self):
        """It opens accounts of its own for Jobs to come, and leaves all others alone."""
        self.quiet, self.second_payer = False, True
        self.active.append(self.world.operator(wait=False, **self.changes, **self._second()))

    def _second(self):
        return {"AGENT_ID": "rich", Env.API_KEY: self.second_key}

    @precondition(lambda self: len(self.active) < ACTIVE)
    @rule()
    def an_operator_starts(self):
        self.active.append(self.world.operator(wait=False, AGENT_ID=PAYER, **self.changes))

    @precondition(lambda self: self.active)
    @rule(n=pick, seconds=st.sampled_from([0, 0.3, 1, 2]))
    def an_operator_dies(self, n, seconds):
        time.sleep(seconds)  # a moment by chance, which is the point
        self.quiet = self.quiet and self.world.dialect != "server"  # which cannot be searched for a lost create
        self.active.pop(n % len(self.active)).kill()

    @precondition(lambda self: self.active)
    @rule(n=pick)
    def an_operator_is_asked_to_stop(self, n):
        """Another may start before it has ended."""
        self.active.pop(n % len(self.active)).process.terminate()

    @rule(expired=st.booleans())
    def the_watches_break(self, expired):
        self.api.expire_watches = 2 if expired else 0
        self.api.cut_watches()

    @rule(
        operation=st.sampled_from(["create", "read", "list", "release", "dispute", "*"]),
        kind=st.sampled_from(FAULTS),
        moment=st.sampled_from(["before", "after"]),
        times=st.integers(1, 3),
    )
    def the_service_will_fail(self, operation, kind, moment, times):
        self.quiet = False
        extra = {"seconds": 0.3} if kind == "delay" else {}
        self.world.sandbox.fault(operation, kind, moment=moment, times=times, **extra)

    @rule()
    def the_service_recovers(self):
        self.world.sandbox.clear_faults()

    @precondition(lambda self: self.escrow_ids)
    @rule(n=pick, act=st.sampled_from(["release", "dispute"]))
    def somebody_else_acts(self, n, act):
        self.quiet = False
        escrow_id = self.escrow_ids[n % len(self.escrow_ids)]
        with contextlib.suppress(RefusedError):
            if act == "release":
                self.world.sandbox.escrows.release(escrow_id, PAYER)
            else:
                self.world.sandbox.escrows.dispute(escrow_id, PAYER, "not what was agreed")

    @rule()
    def the_escrows_time_out(self):
        self.quiet = False
        self.world.sandbox.advance(hours=25)

    @invariant()
    def no_more_is_locked_than_the_limit(self):
        """Of what operators locked: what people locked by hand they did themselves."""
        ours = [
            entry
            for entry in self.world.sandbox.statement()["escrows"]
            if entry["to"].startswith(f"worker-{self.number}-") and entry["escrow_id"] not in self.escrow_ids
        ]
        held = sum(Usdc.parse(entry["locked_usdc"]).micro for entry in ours if entry["status"] == "funded")
        assert held <= Usdc.parse(LIMIT).micro, ours

    # --- and in the end

    def teardown(self):
        try:
            self.world.sandbox.clear_faults()
            self._kill_all()
            let_time_pass(self.world)
            changes = self.changes | {Env.NAMESPACE_BUDGET_USDC: "100.00"}
            for payer in ({"AGENT_ID": PAYER}, *([self._second()] if self.second_payer else [])):
                self.world.operator(**changes, **payer)
            eventually(self._all_end, f"{self.world.namespace} comes to rest", 100)
            self._check()
            eventually(self._returned, "what is settled is returned to the budget")
        except AssertionError as error:
            logs = "\n".join(operator.log()[-4000:] for operator in self.world.operators)
            raise AssertionError(f"{error}\n{json.dumps(self.world.escrows(), indent=1)}\n{logs}") from None
        finally:
            self._kill_all()
            self._cleanup.close()

    def _kill_all(self):
        for operator in self.world.operators:
            if operator.process.poll() is None:
                operator.kill()

    def _all_end(self) -> bool:
        """Whether every Job has ended and is let go of, and every Escrow closed."""
        for name in self.jobs:
            self._end(name)
            self._delete_if_withheld(name)
        jobs = list(self.world.client.list(Job, namespace=self.world.namespace))
        escrows = self.world.escrows()
        known = {escrow["spec"]["job"]["uid"] for escrow in escrows}
        return (
            all(SETTLEMENT_FINALIZER not in (job.metadata.finalizers or ()) for job in jobs)
            and not any(job.metadata.deletionTimestamp for job in jobs)
            and all(job.metadata.uid in known | self.forgotten for job in jobs)
            and all(escrow.get("status", {}).get("phase") in CLOSED for escrow in escrows)
        )

    def _delete_if_withheld(self, name):
        """It would wait for a person; nothing is to hold it."""
        job = self.world.get_job(name)
        if job and WITHHELD_ANNOTATION in (job.metadata.annotations or {}) and not job.metadata.deletionTimestamp:
            self.world.client.delete(Job, name)

    def _returned(self) -> bool:
        """Whether the budget holds what is in review, and no more."""
        held = [escrow["status"] for escrow in self.world.escrows() if escrow["status"]["phase"] == "NeedsReview"]
        amounts = [Usdc.parse(status["reservation"]["amountUsdc"]) for status in held if "reservation" in status]
        return self.world.budget().get("lockedUsdc", "0.00") == str(sum(amounts, ZERO))

    def _check(self):
        phases = agree(self.world, unfunded=True)
        escrows = self.world.escrows()
        settled = [e for e in escrows if e["status"]["phase"] == "Settled" and "escrowId" in e["spec"]]
        assert set(Tally(e["spec"]["escrowId"] for e in settled).values()) <= {1}, "one escrow settles one Job"
        for escrow in settled if self.strict else ():
            assert escrow["spec"]["job"]["name"] == self.made_for.get(
                escrow["spec"]["escrowId"], escrow["spec"]["job"]["name"]
            )
        if self.quiet:
            assert set(phases.values()) <= {"Settled"}, phases
        for status in (escrow["status"] for escrow in settled if not escrow["status"]["drift"]):
            assert status["outcome"] == ("Paid" if status["jobEnding"]["type"] == "Complete" else "Disputed"), status
        held = [escrow["status"] for escrow in escrows if "finalizers" in escrow["metadata"]]
        assert all(status["phase"] == "NeedsReview" for status in held), (
            "in review money may be locked, until a person acts"
        )


@pytest.mark.slow
@pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)
def test_whatever_happens_to_jobs_and_operators_money_moves_once(world):
    numbers = iter(range(1_000_000))
    run_state_machine_as_test(
        lambda: Operators(world, next(numbers)),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # what the clock takes part in does not shrink
            suppress_health_check=list(HealthCheck),
        ),
    )
