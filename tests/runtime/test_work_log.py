"""The work log: what is written is there after every end of its writer, and nothing else is taken for an entry."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from runtime.work_log import LINE_BYTES, LogFull, TaskOutcome, WorkLog, digest, read_lines

PROJECT = Path(__file__).parents[2]


def python(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


def test_an_agents_own_loop_logs_what_it_did(tmp_path):
    log = WorkLog(tmp_path / "work-log.jsonl")
    with log.task("invoice-17", escrow="esc_1") as task:
        task.evidence = digest("the result")
    with pytest.raises(ValueError, match="no such invoice"), log.task("invoice-18"):
        raise ValueError("no such invoice")
    begun, done, _, failed = log.entries()
    assert (begun.outcome, begun.finished) == (None, None)
    assert (done.task, done.escrow, done.outcome, done.evidence) == (
        "invoice-17",
        "esc_1",
        TaskOutcome.DONE,
        digest("the result"),
    )
    assert begun.started == done.started < done.finished
    assert (failed.outcome, failed.note) == (TaskOutcome.FAILED, "ValueError: no such invoice")


def test_a_torn_line_is_a_line_of_its_own(tmp_path):
    log = WorkLog(tmp_path / "work-log.jsonl")
    log.end(log.begin("one", "esc_1"))
    with log.path.open("ab") as file:
        file.write(b'{"task":"two","sta')
    page, after = log.read()
    assert page.count(b"\n") == 2, "a reader sees whole lines only"
    again = WorkLog(log.path)
    again.end(again.begin("three", "esc_3"))
    entries, torn = read_lines(again.read()[0])
    assert [entry.task for entry in entries] == ["one", "one", "three", "three"]
    assert torn == 1
    rest, _ = again.read(after)
    assert read_lines(rest) == (entries[2:], 1), "an offset stays right, whatever is written later"


def test_killed_at_any_moment_it_has_what_it_said_it_has(tmp_path):
    code = """
    import os, pathlib, signal, sys
    from runtime.work_log import WorkLog
    log = WorkLog(pathlib.Path(sys.argv[1]))
    for number in range(20):
        log.end(log.begin(str(number), f"esc_{number}"))
        print(number, flush=True)
    log.begin("unfinished")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "work-log.jsonl"
    said = python(code, path).stdout.split()
    done = [entry.task for entry in WorkLog(path).entries() if entry.outcome]
    assert done == said == [str(number) for number in range(20)]


def test_two_writers_do_not_mix_their_lines(tmp_path):
    code = """
    import pathlib, sys
    from runtime.work_log import WorkLog
    log = WorkLog(pathlib.Path(sys.argv[1]))
    for number in range(100):
        log.end(log.begin(f"{sys.argv[2]}-{number}"))
    """
    path = tmp_path / "work-log.jsonl"
    command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
    writers = [subprocess.Popen([*command, name], cwd=PROJECT) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    entries, torn = read_lines(path.read_bytes())
    assert (len(entries), torn) == (400, 0)


def test_on_a_full_disk_no_task_begins_and_the_one_under_way_is_logged(tmp_path):
    """On a real file system that is full, in a mount namespace of the test's own."""
    if os.geteuid():
        pytest.skip("[root] mounting a small file system needs root")
    code = """
    import pathlib, sys
    from runtime.work_log import LogFull, WorkLog
    folder = pathlib.Path(sys.argv[1])
    log = WorkLog(folder / "work-log.jsonl")
    log.end(log.begin("one"))
    running = log.begin("two")
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 512): pass
        except OSError as error:
            print(error.strerror)
    for _ in range(40):  # a tmpfs page is 4 kB: fill what is left of the log's own
        try:
            log.begin("x" * 200)
        except LogFull: pass
    log.end(running)
    try:
        log.begin("three")
        print("it began")
    except LogFull as error:
        print(error)
    print(*[e.task for e in log.entries() if e.outcome])
    """
    script = f'mount -t tmpfs -o size=64k tmpfs "{tmp_path}" && exec "$@"'
    done = python(code, tmp_path, prefix=("unshare", "--mount", "sh", "-c", script, "sh"))
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"[root] {done.stderr}")
    full, refused, ended = done.stdout.splitlines()
    assert full == "No space left on device"
    assert "no task can begin" in refused
    assert ended == "one two"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "[]",
        "null",
        '{"task": "a"}',
        '{"task": "", "started": "2026-01-01T00:00:00Z"}',
        '{"task": "a", "started": "2026-01-01T00:00:00"}',
        '{"task": "a", "started": "yesterday"}',
        '{"task": "a", "started": "2026-01-01T00:00:00Z", "outcome": "paid"}',
        '{"task": "a", "started": "2026-01-01T00:00:00Z", "escrow": 7}',
        json.dumps({"task": "a", "started": "2026-01-01T00:00:00Z", "more": "x" * LINE_BYTES}),
        "\N{SNOWMAN}",
        "\x00\x00",
    ],
)
def test_what_is_no_entry_is_counted_and_no_more(line):
    good = b'{"task": "b", "started": "2026-01-01T00:00:00Z"}\n'
    entries, bad = read_lines(line.encode() + b"\n" + good)
    assert [entry.task for entry in entries] == ["b"]
    assert bad == bool(line)


def test_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(LogFull, match="no task can begin"):
        WorkLog(tmp_path / "gone" / "work-log.jsonl").begin("one")
