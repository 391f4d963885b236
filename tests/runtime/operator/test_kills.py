"""kill -9 of the operator before and after every request that it makes, in every course that a Job can take.

What survives a kill is at the two servers. So after a request is before the next one, and one kill tries both.
An undisturbed rehearsal lists the requests, so that a new one is killed at from the day it is sent; and it must send
every kind of write that the operator has the right to, so that none is left out.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from lightkube.resources.batch_v1 import Job
from lightkube.types import PatchType

from components.manifests.rbac import CLAIM_GRANTS, OPERATOR_GRANTS
from runtime.contract import Env
from tests.runtime.operator.proof import agree, let_time_pass, numbered
from tests.runtime.operator.step_proxy import Counter, Step, When
from tests.runtime.operator.world import DEADLINE_SECONDS, START_SECONDS, OperatorProcess, World, eventually

AT_ONCE = 4
BUDGET = {Env.NAMESPACE_BUDGET_USDC: "0.50"}
"""One Job's: what is reserved twice would keep it from its money, and what is never returned shows in the end."""
WRITES = {"create": "POST", "patch": "PATCH", "delete": "DELETE"}
OF_NO_JOB = {("DELETE", "leases")}
"""Writes that come by the clock: claims of deleted Escrows are swept with the list."""
RESOURCE = re.compile(r"/namespaces/[^/]+/(\w+)(?:/[^/]+(/status)?)?$")


@dataclass(frozen=True)
class Course:
    """What becomes of a Job: `pays` asks for an escrow and completes, the other brings one and fails."""

    pays: bool

    @property
    def act(self) -> str:
        """The one act that ends its escrow."""
        return "release" if self.pays else "dispute"

    def allowed(self, dialect: str) -> set[str]:
        """How it may end: what the payer's ledger no longer shows is for a person, and these Jobs share one payer."""
        return {"Settled", "NeedsReview"} if self.pays and dialect == "server" else {"Settled"}


class Killing:
    """One Job in a namespace of its own, whose operator dies at the step of that name."""

    def __init__(self, parent: World, course: Course, number: int, target: str, when: When) -> None:
        self.name = f"job-{number:02d}-{when}"
        self.payee = f"worker-{number:02d}-{when}"
        parent.sandbox.issue_key(self.payee)
        self.world = parent.sibling(f"{number:02d}{when[0]}")
        self.course, self.target, self.when = course, target, when
        self.counter = Counter(self._kill)
        self.operator: OperatorProcess | None = None
        self.killed = False
        self.start_steps = 0
        """How many steps the operator took before there was a Job."""

    def _kill(self, step: Step, when: When) -> bool:
        if (step.name, when) != (self.target, self.when):
            return False
        assert self.operator is not None
        self.operator.kill()
        self.killed = True
        self.world.changes.note()
        return True

    def run(self) -> None:
        """Ask for an escrow or bring one, do the work, be paid or disputed: as far as the operator lives."""
        with numbered(self.world, self.counter) as (changes, _):
            # No second pass and no comparison: what comes by the clock is not the same in every run.
            changes[Env.RESYNC_SECONDS] = "600"
            changes |= BUDGET
            self.operator = operator = self.world.operator(wait=False, AGENT_ID="payer-agent", **changes)
            ready = lambda: not self._alive() or operator.probe("/readyz") == 200  # noqa: E731
            eventually(ready, f"{self.name}: ready, or dead at a step before that", START_SECONDS)
            self.start_steps = len(self.counter.steps)
            self._begin()
            self._until(self._runs)
            if self._alive() and self.course.pays:
                self._suspend()
            if self._alive():
                self.finish()
                self._until(self._closed)
            operator.kill()
        self.world.changes.stop()

    def _begin(self) -> None:
        """Nothing holds the Job yet that asks: the operator does, before it sends anything."""
        if self.course.pays:
            request = json.dumps({"payee": self.payee, "amountUsdc": "0.50"})
            self.world.job(self.name, request=request, suspend=True, finalizer=False)
        else:
            self.world.job(self.name, self.world.fund("0.50", self.payee, f"by-hand-{self.name}"), suspend=True)

    def _suspend(self) -> None:
        """Somebody applies a manifest with `suspend: true`: the operator resumes the Job, which gets another pod."""
        before = self.world.pod_of(self.name)
        self.world.client.patch(Job, self.name, {"spec": {"suspend": True}}, patch_type=PatchType.MERGE)
        self._until(lambda: self._runs() and self.world.pod_of(self.name) != before)

    def finish(self) -> None:
        """End its pod as its course wants."""
        self.world.finish(self.name, succeeded=self.course.pays)

    def _alive(self) -> bool:
        return self.operator is not None and self.operator.process.poll() is None

    def _runs(self) -> bool:
        return not self.world.get_job(self.name).spec.suspend

    def _until(self, reached, seconds: float = DEADLINE_SECONDS) -> None:
        try:
            self.world.eventually(lambda: not self._alive() or reached(), self.name, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.counter.steps}\n{self.operator.log()}") from None

    def _closed(self) -> bool:
        """Whether the operator has done all that it does for a Job: the last is to let go of the Escrow."""
        escrow, job = self.world.escrow(self.name), self.world.get_job(self.name)
        settled = escrow is not None and escrow.get("status", {}).get("phase") == "Settled"
        return settled and not job.metadata.finalizers and not escrow["metadata"].get("finalizers")

    def course_taken(self) -> str:
        """The steps that its operator took, and its last words."""
        return f"{[step.name for step in self.counter.steps]} {self.operator and self.operator.log()[-1000:]}"

    def phase(self) -> str:
        """Where its Escrow is now."""
        return self.world.escrow(self.name)["status"]["phase"]

    def sent(self) -> list[tuple[str, bool]]:
        """What arrived at the service for its escrow, and whether it was carried out."""
        escrow_id = self.world.escrow(self.name)["spec"].get("escrowId")
        return [(call.act, call.carried_out) for call in self.world.sandbox.received if call.subject == escrow_id]


def granted() -> set[tuple[str, str]]:
    """Method and resource of each write that the operator has the right to, and makes for a Job."""
    grants = [*OPERATOR_GRANTS, *CLAIM_GRANTS]
    writes = {
        (WRITES[verb], resource)
        for grant in grants
        for resource in grant.resources
        for verb in grant.verbs
        if verb in WRITES
    }
    return writes - OF_NO_JOB


def written(steps: list[Step]) -> set[tuple[str, str]]:
    """The same of what it sent to the API server."""
    found = [(step.method, RESOURCE.search(step.path)) for step in steps]
    return {(method, "".join(part or "" for part in match.groups())) for method, match in found if match}


@pytest.mark.slow
@pytest.mark.parametrize("course", [Course(pays=True), Course(pays=False)], ids=lambda course: course.act)
@pytest.mark.parametrize("world", ["server", "kubernetes"], indirect=True)
def test_killed_at_every_step_it_pays_once(world, course):
    rehearsal = Killing(world, course, 0, "", When.BEFORE)
    rehearsal.run()
    assert not rehearsal.killed
    assert written(rehearsal.counter.steps) == granted(), "every kind of write is rehearsed, so that it is killed at"
    # The steps before there is a Job are the same in every course.
    steps = [step.name for step in rehearsal.counter.steps[0 if course.pays else rehearsal.start_steps :]]
    points = [(steps[0], When.BEFORE), *((name, When.AFTER) for name in steps)]
    killings = [Killing(world, course, number, *point) for number, point in enumerate(points, 1)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(Killing.run, killings))
    unreached = {f"{k.when} {k.target}": k.course_taken() for k in killings if not k.killed}
    assert not unreached, f"these steps never came; rehearsed were {steps}"
    for killing in killings:
        let_time_pass(killing.world)
    survivor = world.survivor([killing.world for killing in killings], **BUDGET)
    for killing in killings:
        _bring_home(killing)
    for killing in (rehearsal, *killings):
        (phase,) = agree(killing.world).values()
        assert phase in course.allowed(world.dialect), json.dumps(killing.world.escrow(killing.name)["status"])
        expected = [(course.act, True)] if phase == "Settled" else []
        assert killing.sent() == expected, f"killed {killing.when} {killing.target}"
        killing.world.eventually(lambda k=killing, p=phase: _is_returned(k, p), f"the budget of {killing.name}")
        killing.world.changes.stop()
    assert survivor.stop() == 0


def _is_returned(killing: Killing, phase: str) -> bool:
    """Whether nothing is locked in its namespace any more, but for what is in review."""
    return killing.world.budget()["lockedUsdc"] == ("0.00" if phase == "Settled" else "0.50")


def _bring_home(killing: Killing) -> None:
    world = killing.world

    def closed() -> bool:
        escrow = world.escrow(killing.name)
        if escrow and escrow.get("status", {}).get("phase") in ("Settled", "NeedsReview"):
            return True
        if not world.get_job(killing.name).spec.suspend and world.unfinished(killing.name):
            killing.finish()
        return False

    world.eventually(closed, f"{killing.name} ends: {world.escrow(killing.name)}")
    world.changes.stop()
