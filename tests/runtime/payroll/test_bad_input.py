"""Pods that lie, break off or hang, and lists that change underneath: nothing is paid wrongly, and all is named."""

import socket
import threading
import time

import pytest

from runtime.contract import Env
from runtime.payroll.evidence import Evidence
from runtime.work_log import read_lines
from tests.runtime.operator.world import PAYEE
from tests.runtime.payroll.pods import line, pod_server, says
from tests.toolchain.clock import Clock
from tests.toolchain.tools import Missing


def run(world, answer, **changes):
    """One run with one pod that answers so."""
    with pod_server(answer) as port:
        world.pod("liar", port)
        return world.pay(**changes).log()


def test_lies_are_named_and_not_paid(world):
    mine, future, early, backwards = (world.task(number) for number in range(4))
    theirs, of_a_job = world.task(8, payee=PAYEE), world.task(9)
    world.job("job-1", of_a_job, finalizer=False)
    lies = [
        line(theirs),
        line(of_a_job),
        line("esc_that_never_was"),
        line(future, ends_in=3600),
        line(early, ends_in=-7200),
        line(backwards, began=+3600),
        line(None, task="mine-alone"),
        line(mine),
        line(mine),
        b"nonsense\n",
        b'{"task": "torn", "sta',
        b"\n\x00\x00\n",
    ]
    log = run(world, says(b"".join(lies)))
    assert world.ledger() == dict.fromkeys((future, early, backwards, theirs, of_a_job), "funded") | {mine: "released"}
    for words in (
        f"is locked for {PAYEE}, not for the workers",
        "it pays for a Job",
        "ends in the future",
        "was done before its money was locked",
        "ended before it began",
        "task mine-alone names no escrow",
        "3 lines of its work log are no entries",
    ):
        assert words in log, log


def test_a_task_for_two_escrows_is_paid_once(world):
    first, second = world.task(1), world.task(2)
    log = run(world, says(line(first, "invoice-17", ends_in=-5) + line(second, "invoice-17")))
    assert world.outcomes() == {first: "Paid", second: "NeedsReview"}
    assert f"its task was done before, under escrow {first}" in log
    assert world.ledger() == {first: "released", second: "funded"}


def test_a_task_that_was_paid_before_is_not_paid_under_another_escrow(world):
    """Whatever times its log tells."""
    first, second = world.task(1), world.task(2)
    content = line(first, "invoice-17")
    with pod_server(lambda *asked: says(content)(*asked)) as port:
        world.pod("liar", port)
        world.pay()
        content += line(second, "invoice-17", ends_in=-60)
        log = world.pay().log()
    assert world.outcomes() == {first: "Paid", second: "NeedsReview"}
    assert f"its task was done before, under escrow {first}" in log


def test_what_is_settled_is_not_kept():
    evidence = Evidence(lambda escrow: escrow != "esc_open")
    evidence.add("a pod", read_lines(b"".join(line(f"esc_{n}") for n in range(100)) + line("esc_open"))[0])
    assert ([*evidence.reports], evidence.past) == (["esc_open"], {})


def test_done_and_failed_is_for_a_person(world):
    escrow = world.task(1)
    log = run(world, says(line(escrow, ends_in=-1) + line(escrow, outcome="failed")))
    assert world.outcomes() == {escrow: "NeedsReview"}
    assert "is said to be done and to have failed" in log


def _hundred_megabytes(handler, _since):
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b"x" * (1 << 20))
    except OSError:
        return


def _for_ever(handler, since):
    page = line("esc_x") * 2000
    handler.send_response(200)
    handler.send_header("PF-Next", str(since + 1))
    handler.send_header("Content-Length", str(len(page)))
    handler.end_headers()
    handler.wfile.write(page)


def _status(code, **headers):
    def answer(handler, _since):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def _nowhere(handler, _since):
    page = line("esc_x")
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(page)))
    handler.end_headers()
    handler.wfile.write(page)


def _cut(handler, _since):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_hundred_megabytes, "answers with more than"),
        (_for_ever, "has a work log of more than"),
        (_status(500), "refuses to show its work log: 500"),
        (_status(302, Location="http://127.0.0.1:1/"), "refuses to show its work log: 302"),
        (_nowhere, "says not where its work log goes on"),
        (_cut, "does not answer for its work log"),
    ],
    ids=["100 MB", "for ever", "500", "redirect", "no offset", "cut"],
)
def test_a_pod_that_misbehaves_keeps_nobody_from_being_paid(world, answer, words):
    escrow = world.task(1)
    with pod_server(says(line(escrow))) as port:
        world.pod("worker-a", port)
        log = run(world, answer)
    assert words in log, log
    assert world.ledger() == {escrow: "released"}


def test_of_a_log_that_has_grown_too_long_the_end_is_read(world):
    """Its beginning was read by earlier runs."""
    escrow = world.task(1)
    log = run(world, says(line("esc_of_long_ago", note="x" * 400) * 30_000 + line(escrow)))
    assert "its last 8388608 are read" in log
    assert "are no entries" not in log
    assert world.ledger() == {escrow: "released"}


def test_pods_that_are_not_there_are_named(world):
    escrow = world.task(1)
    world.pod("gone", 1)
    world.pod("ended", 1, phase="Failed")
    world.pod("pending", 1, address="127.0.0.1", phase="Pending")
    with pod_server(says(line(escrow))) as port:
        world.pod("worker-a", port)
        log = world.pay().log()
    assert "pod gone does not answer" in log
    assert "pod ended has ended" in log
    assert world.ledger() == {escrow: "released"}


def test_a_token_that_is_not_payrolls_opens_no_log(world):
    escrow = world.task(1)
    world.handed(escrow)
    world.worker_with_pod("worker-a")
    world.await_(lambda: world.kept() == [escrow], "it is done")
    (world.folder / "other").write_text(world.token_of("pf-worker-sa"))
    log = world.pay(**{Env.WORK_LOG_TOKEN_FILE: f"{world.folder / 'other'}"}).log()
    assert "refuses to show its work log: 403" in log
    assert world.ledger() == {escrow: "released"}, "by what its claim keeps"


def test_an_escrow_that_somebody_released_meanwhile_is_paid_no_second_time(world):
    escrow = world.task(1)
    world.handed(escrow)
    world.sandbox.escrows.release(escrow, "payer-agent")
    run(world, says(line(escrow)))
    assert world.outcomes() == {escrow: "Paid"}
    assert world.task_status(escrow)["drift"] is True
    assert [call for call in world.sandbox.received if call.act == "release"] == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_release_whose_answer_is_lost_is_sent_once(world, moment):
    escrow = world.task(1)
    world.sandbox.fault("release", "reset", moment=moment, nth=1)
    with pod_server(says(line(escrow))) as port:
        world.pod("worker-a", port)
        world.pay()
    assert world.outcomes() == {escrow: "Paid"}
    assert world.ledger() == {escrow: "released"}


def test_a_service_that_is_down_leaves_all_for_the_next_run(world):
    escrow = world.task(1)
    world.sandbox.fault("list", "status", status=503)
    with pod_server(says(line(escrow))) as port:
        world.pod("worker-a", port)
        world.pay(code=1)
        assert world.ledger() == {escrow: "funded"}
        world.sandbox.clear_faults()
        world.pay()
    assert world.ledger() == {escrow: "released"}


def test_a_list_that_changes_while_it_is_read_loses_nothing(world):
    """Somebody releases and locks while payroll reads and pays."""
    escrows = [world.task(number) for number in range(30)]
    stop = threading.Event()

    def others() -> None:
        number = 100
        while not stop.is_set():
            world.sandbox.escrows.release(world.task(number, "0.10", PAYEE), "payer-agent")
            number += 1
            time.sleep(0)

    thread = threading.Thread(target=others)
    with pod_server(says(b"".join(map(line, escrows)))) as port:
        world.pod("worker-a", port)
        thread.start()
        try:
            world.pay()
        finally:
            stop.set()
            thread.join()
    assert {world.ledger()[escrow] for escrow in escrows} == {"released"}


@pytest.mark.parametrize("hours", [24, -1])
def test_a_clock_that_is_wrong_pays_nothing_twice_and_loses_nothing(world, tmp_path, hours):
    """A run ahead of the pods, or behind them, and then one on time: by the first, what ends "in the future" waits."""
    try:
        clock = Clock(tmp_path)
    except Missing as missing:
        pytest.skip(f"[controlplane] {missing}")
    escrows = [world.task(number) for number in range(3)]
    with pod_server(says(b"".join(map(line, escrows)))) as port:
        world.pod("worker-a", port)
        with clock.shifted(hours * 3600):
            run = world.payroll(**clock.environment)
            assert run.wait() in (0, 1), run.log()
            assert clock.lives_in(run.log())
        assert set(world.ledger().values()) == {"released" if hours > 0 else "funded"}
        world.pay()
        world.pay()
    assert world.ledger() == dict.fromkeys(escrows, "released")
    assert world.outcomes() == dict.fromkeys(escrows, "Paid")
    assert len([call for call in world.sandbox.received if call.act == "release"]) == len(escrows)
