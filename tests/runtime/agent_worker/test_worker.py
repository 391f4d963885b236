"""Workers as real processes on a real API server: who does what, what is kept, and who may read it."""

import signal

import pytest

from components.manifests import naming
from runtime.contract import Env
from runtime.work_log import TaskOutcome, read_lines
from tests.runtime.payroll.world import WALLET

SLOW = "sh -c 'echo $$ > began; sleep 600'"


def test_tasks_that_are_handed_out_are_done_once_by_one_of_the_workers(world):
    escrows = [world.task(number) for number in range(8)]
    other = world.task(99, payee="somebody-else")
    for escrow in escrows:
        world.handed(escrow)
    world.handed(other, payee="somebody-else")
    workers = [world.worker(f"worker-{name}") for name in "ab"]
    world.await_(lambda: len(world.kept()) == 8, "all is done and kept at the API server")
    done = [escrow for worker in workers for escrow in worker.done()]
    assert sorted(done) == sorted(escrows), "each once, and nobody else's"
    assert sorted(world.kept()) == sorted(escrows)
    world.await_(lambda: not world.holders(), "every claim is let go")
    assert [worker.stop() for worker in workers] == [0, 0]
    assert set(world.ledger().values()) == {"funded"}, "a worker moves no money"


def test_with_a_key_the_payers_list_is_the_queue(world):
    escrow, other = world.task(1), world.task(2, payee="somebody-else")
    worker = world.worker("worker-a", **{Env.API_KEY: world.key})
    world.await_(lambda: world.kept() == [escrow], "it is done")
    assert other not in worker.done()


def test_a_claim_is_taken_over_when_its_holder_dies(world):
    escrow = world.task(1)
    world.handed(escrow)
    first = world.worker("worker-a", PF_TASK_COMMAND=SLOW, PF_CLAIM_SECONDS="3")
    world.await_(lambda: (first.workspace / "began").exists(), "it has begun")
    second = world.worker("worker-b", PF_CLAIM_SECONDS="3")
    assert world.holders() == {"worker-a"}
    first.kill()
    world.await_(lambda: world.kept() == [escrow], "the other has done it")
    assert (first.done(), second.done()) == ([], [escrow])


def test_a_worker_that_only_hangs_stops_once_another_may_have_its_claim(world):
    """SIGSTOP and SIGCONT, as a node that comes back: it must not go on beside whoever took over."""
    escrow = world.task(1)
    world.handed(escrow)
    first = world.worker("worker-a", PF_TASK_COMMAND=SLOW, PF_CLAIM_SECONDS="3")
    world.await_(lambda: (first.workspace / "began").exists(), "it has begun")
    first.process.send_signal(signal.SIGSTOP)
    second = world.worker("worker-b", PF_CLAIM_SECONDS="3")
    world.await_(lambda: world.kept() == [escrow], "the other has done it")
    first.process.send_signal(signal.SIGCONT)
    world.await_(lambda: "is broken off" in first.log(), "it stops")
    assert (first.done(), second.done()) == ([], [escrow])


def test_asked_to_stop_it_finishes_what_it_has_begun(world):
    escrows = [world.task(number) for number in range(2)]
    for escrow in escrows:
        world.handed(escrow)
    wait = "sh -c 'touch began; while [ ! -e go ]; do sleep 0.05; done; rm go began; echo result'"
    worker = world.worker("worker-a", PF_TASK_COMMAND=wait)
    world.await_(lambda: (worker.workspace / "began").exists(), "it has begun")
    worker.process.send_signal(signal.SIGTERM)
    world.await_(lambda: worker.get("/readyz") == 503, "it takes no more")
    (worker.workspace / "go").touch()
    assert worker.wait() == 0
    assert len(worker.done()) == 1, "the one that had begun, and no other"
    assert world.kept() == worker.done()
    assert not world.holders()


def test_what_is_not_finished_within_the_grace_is_let_go(world):
    escrow = world.task(1)
    world.handed(escrow)
    worker = world.worker("worker-a", PF_TASK_COMMAND=SLOW, PF_GRACE_SECONDS="1")
    world.await_(lambda: (worker.workspace / "began").exists(), "it has begun")
    assert worker.stop() == 0
    assert not worker.done()
    assert not world.holders(), "so that another can do it at once"
    other = world.worker("worker-b")
    world.await_(lambda: world.kept() == [escrow], "the other has done it")
    other.stop()


def test_killed_after_it_logged_a_task_it_does_it_no_second_time(world, tmp_path):
    """What its log has and the API server has not is handed over by the container that is started in its place."""
    escrow = world.task(1)
    world.handed(escrow)
    first = world.worker("worker-a")
    world.await_(lambda: world.kept() == [escrow], "it is done")
    first.kill()
    from lightkube.resources.coordination_v1 import Lease

    for lease in world.client.list(Lease, namespace=world.namespace):
        world.client.delete(Lease, lease.metadata.name)  # as if it had been killed just before it handed over
    again = world.worker("worker-a")
    world.await_(lambda: world.kept() == [escrow], "it is handed over")
    assert again.done() == [escrow]


def test_a_task_that_fails_is_kept_as_failed(world):
    escrow = world.task(1)
    world.handed(escrow)
    worker = world.worker("worker-a", PF_TASK_COMMAND="sh -c 'echo no luck; exit 3'")
    world.await_(lambda: world.kept() == [escrow], "it is kept")
    (entry,) = [entry for entry in worker.entries() if entry.outcome]
    assert entry.outcome is TaskOutcome.FAILED
    assert "exit code 3: no luck" in entry.note
    assert 'worker_tasks_total{outcome="failed"} 1.0' in worker.read("/metrics").text


def test_the_log_is_for_payroll_alone(world):
    escrow = world.task(1)
    world.handed(escrow)
    worker = world.worker("worker-a")
    world.await_(lambda: world.kept() == [escrow], "it is done")
    page = worker.read("/work-log?since=0", world.token)
    assert page.status_code == 200
    assert [entry.escrow for entry in read_lines(page.content)[0]] == [escrow, escrow]
    after = page.headers["pf-next"]
    assert (after, page.headers["pf-size"]) == (f"{len(page.content)}", f"{len(page.content)}")
    assert worker.read(f"/work-log?since={after}", world.token).content == b""
    assert worker.get("/work-log") == 401
    assert worker.get("/work-log", "nonsense") == 401
    assert worker.get("/work-log", "x" * 100_000) in (400, 401, 0)
    assert worker.get("/work-log", world.token_of(naming.PAYROLL_ACCOUNT, "somebody-else")) == 401
    assert worker.get("/work-log", world.token_of(naming.WORKER_ACCOUNT)) == 403
    assert worker.get("/work-log?since=minus", world.token) == 400
    assert "worker_log_read_timestamp_seconds 1" in worker.read("/metrics").text
    assert world.token not in worker.log()


def test_the_log_of_an_agent_with_its_own_loop_is_served_alone(world):
    worker = world.worker("worker-a", "--serve-log", **{Env.WORKER_WALLET: ""})
    assert worker.get("/work-log", world.token) == 200
    assert worker.stop() == 0


def test_without_a_wallet_it_says_so(world):
    with pytest.raises(AssertionError, match="PF_WORKER_WALLET is not set"):
        world.worker("worker-a", **{Env.WORKER_WALLET: ""})


@pytest.mark.parametrize("world", ["server"], indirect=True)
def test_with_its_own_key_it_tells_the_service_that_it_is_done(world):
    escrow = world.task(1)
    world.handed(escrow)
    world.worker("worker-a", **{Env.API_KEY: world.sandbox.issue_key(WALLET)})
    world.await_(lambda: world.kept() == [escrow], "it is done")
    assert world.payments() == {escrow: "completed"}
