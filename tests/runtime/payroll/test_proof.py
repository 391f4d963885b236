"""kill -9 at each step, runs beside each other and the operator, a service that fails: each task is paid once."""

import json
import random
from contextlib import ExitStack
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest

from components.manifests import naming
from runtime.contract import Env
from tests.runtime.operator.proof import let_time_pass, numbered
from tests.runtime.operator.step_proxy import Counter, Step, StepProxy, When
from tests.runtime.operator.world import PAYEE
from tests.runtime.payroll.pods import line, pod_server, says
from tests.runtime.payroll.world import PayrollWorld, RuntimeProcess
from tests.toolchain.faulty_link import FaultyLink


class Log:
    """A pod's log that a test goes on writing."""

    def __init__(self) -> None:
        self.content = b""

    def answer(self, handler, since: int) -> None:
        page = self.content[since:]
        handler.send_response(200)
        handler.send_header("PF-Next", str(since + len(page)))
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        handler.wfile.write(page)


class Killed:
    """A run of payroll that dies at the step of that name."""

    def __init__(self, world: PayrollWorld, target: str, when: When) -> None:
        self.world, self.target, self.when = world, target, when
        self.counter = Counter(self._kill)
        self.run: RuntimeProcess | None = None
        self.killed = False

    def _kill(self, step: Step, when: When) -> bool:
        if (step.name, when) != (self.target, self.when):
            return False
        assert self.run is not None
        self.run.kill()
        self.killed = True
        return True

    def go(self) -> None:
        login = self.world.cluster.kubeconfig_for(naming.PAYROLL_ACCOUNT, self.world.namespace)
        with numbered(self.world, self.counter, login) as (changes, _):
            self.run = self.world.payroll(**changes)
            self.run.wait()


def begin(world: PayrollWorld, log: Log, number: int) -> list[str]:
    """A task that is done, one that failed and one that waits."""
    done, failed, waits = (world.task(10 * number + kind) for kind in range(3))
    log.content += line(done) + line(failed, outcome="failed")
    return [done, failed, waits]


@pytest.mark.slow
def test_killed_at_every_step_the_next_run_pays_once(world):
    log, wanted = Log(), {}
    with pod_server(log.answer) as port:
        world.pod("worker-a", port)
        rehearsal = Killed(world, "", When.BEFORE)
        tasks = [begin(world, log, 0)]
        rehearsal.go()
        assert rehearsal.run is not None
        assert rehearsal.run.process.returncode == 0, rehearsal.run.log()
        # After a step is before the next one: of the first alone it is another moment.
        steps = [step.name for step in rehearsal.counter.steps]
        points = [(steps[0], When.BEFORE), *((name, When.AFTER) for name in steps)]
        assert {"POST", "PATCH"} <= {step.method for step in rehearsal.counter.steps}
        unreached = []
        for number, point in enumerate(points, 1):
            tasks.append(begin(world, log, number))
            killing = Killed(world, *point)
            killing.go()
            unreached += [] if killing.killed else [point[0]]
            let_time_pass(world)
            world.pay()
    assert [name for name in unreached if not name.startswith("GET")] == [], "who shares a list asks for fewer"
    for done, failed, waits in tasks:
        wanted |= {done: "Paid", failed: "Disputed", waits: "Funded"}
    assert world.outcomes() == wanted
    ledger = {"Paid": "released", "Disputed": "disputed", "Funded": "funded"}
    assert world.ledger() == {escrow: ledger[outcome] for escrow, outcome in wanted.items()}


def test_runs_at_the_same_time_and_the_operator_beside_them(world):
    escrows = [world.task(number) for number in range(12)]
    operator = world.operator()
    request = json.dumps({"payee": PAYEE, "amountUsdc": "0.50"})
    world.job("job-1", request=request, suspend=True)
    world.await_resumed("job-1")
    log = Log()
    log.content = b"".join(map(line, escrows))
    with pod_server(log.answer) as port:
        world.pod("worker-a", port)
        runs = [world.payroll() for _ in range(3)]
        world.finish("job-1")
        codes = [run.wait() for run in runs]
        world.pay()
    assert set(codes) <= {0, 1}, "a run may leave something to another"
    world.await_phase("job-1", "Settled")
    assert set(world.outcomes().values()) == {"Paid"}
    assert {world.ledger()[escrow] for escrow in escrows} == {"released"}
    assert operator.stop() == 0


def test_one_escrow_for_a_job_and_a_task_is_paid_once(world):
    """A Job that names a task's escrow, after payroll has opened its account: one claim, one payment."""
    escrow = world.task(1)
    world.pay()
    operator = world.operator()
    world.job("thief", escrow)
    world.await_event("thief", "EscrowNeedsReview")
    log = Log()
    log.content = line(escrow)
    with pod_server(log.answer) as port:
        world.pod("worker-a", port)
        world.pay()
    assert world.ledger() == {escrow: "funded"}, "a Job names it, so that a person decides"
    operator.stop()


class Cut:
    """At that moment the API server's answers are lost, until one is; then every connection breaks."""

    def __init__(self, link: FaultyLink, moment: str) -> None:
        self._link, self._moment, self._fault = link, moment, ExitStack()
        self._lost: Event | None = None

    def __call__(self, moment: str) -> None:
        """What happens now."""
        if moment == self._moment and self._lost is None:
            self._lost = self._fault.enter_context(self._link.answers_lost())

    def go(self, world: PayrollWorld, code: int, **changes: str) -> RuntimeProcess:
        """A run that meets it, and ends with that code."""
        run = world.payroll(KUBERNETES_SERVICE_PORT=f"{self._link.port}", **changes)
        world.await_(lambda: self._lost and self._lost.is_set(), "an answer is lost")
        self._fault.close()
        assert run.wait() == code, run.log()
        return run


def test_an_api_server_that_cuts_half_way_has_each_task_paid_once(world):
    """A run that reads again what it lost, one that cannot put on record what it has paid, and one on a good day."""
    escrows = [world.task(0)]
    server = urlsplit(world.cluster.url)

    def log(*asked: Any) -> Any:
        return says(b"".join(map(line, escrows)))(*asked)

    with ExitStack() as stack:
        link = stack.enter_context(FaultyLink(server.hostname, server.port))
        cut = Cut(link, "log")
        world.pod("worker-a", stack.enter_context(pod_server(lambda *asked: (cut("log"), log(*asked)))))
        cut.go(world, 0)
        assert world.outcomes() == {escrows[0]: "Paid"}
        escrows += [world.task(number) for number in range(1, 12)]
        cut = Cut(link, "POST /api/escrow/release #4 after")
        counter = Counter(lambda step, when: cut(f"{step} {when}") or False)
        payments = stack.enter_context(StepProxy(world.sandbox.url, counter, all_steps=True))
        run = cut.go(world, 1, **{Env.ESCROW_URL: payments.url})
        left = {one["escrow"] for one in run.said() if "left for the next run" in one["message"]}
        assert left, run.log()
        assert left <= {*escrows}, "each is named"
        let_time_pass(world)  # so that none of them is waited for
        world.pay()
    assert world.outcomes() == dict.fromkeys(escrows, "Paid")
    assert world.ledger() == dict.fromkeys(escrows, "released")


@pytest.mark.parametrize("seed", [1, 2])
def test_faults_runs_and_workers_in_any_order(world, seed):
    """Until nothing is wrong any more: then all is settled as the ledger has it, and nothing was sent twice."""
    choose = random.Random(seed)
    operator = world.operator()
    workers = [world.worker_with_pod(f"worker-{name}") for name in "ab"]
    escrows: list[str] = []
    for number in range(6):
        world.sandbox.clear_faults()
        escrows += [world.task(10 * number + one) for one in range(3)]
        kind = choose.choice(["reset", "status", "half"])
        operation = choose.choice(["release", "list"])
        moment = "before" if operation == "list" else choose.choice(["before", "after"])
        world.sandbox.fault(operation, kind, moment=moment, nth=choose.randint(1, 3))
        run = world.payroll()
        if choose.random() < 0.4:
            run.kill()
        else:
            run.wait()
        if choose.random() < 0.3:
            victim = choose.choice(workers)
            victim.kill()
            workers[workers.index(victim)] = world.worker(victim.workspace.name, port=victim.port)
    world.sandbox.clear_faults()

    def settled() -> bool:
        world.payroll().wait()
        return set(world.outcomes()) == {*escrows} and set(world.outcomes().values()) <= {"Paid", "NeedsReview"}

    world.await_(settled, "all is settled or in review", 90)
    ledger = world.ledger()
    for escrow, outcome in world.outcomes().items():
        if outcome == "Paid":
            assert ledger[escrow] == "released"
    assert list(world.outcomes().values()).count("NeedsReview") <= 3, world.outcomes()
    operator.stop()
