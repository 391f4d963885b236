"""`python -m runtime.agent_worker --once`: what a Job's pod runs, as a real process."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.contract import RUN_ONCE, Env
from runtime.work_log import TaskOutcome, WorkLog

PROJECT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "runtime.agent_worker", RUN_ONCE]


def environment(workspace: Path, **more: str) -> dict[str, str]:
    known = {"PATH": os.environ["PATH"], Env.WORKSPACE: f"{workspace}", Env.TASK_DESCRIPTION: "add up the prices"}
    return known | {Env.TASK_BUDGET_USDC: "0.10"} | more


def once(workspace: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = environment(workspace, **more)
    return subprocess.run(COMMAND, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60, check=False)


def ended(workspace: Path):
    (entry,) = [e for e in WorkLog(workspace / "work-log.jsonl").entries() if e.outcome]
    return entry


def test_out_of_the_box_it_does_something_small_and_true(tmp_path):
    done = once(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    sha256 = hashlib.sha256(b"add up the prices").hexdigest()
    assert said["message"].startswith("done: add up the prices: ")
    assert '"words": 4' in said["message"]
    assert sha256 in said["message"]
    assert ended(tmp_path).outcome is TaskOutcome.DONE
    assert ended(tmp_path).evidence == said["evidence"]


def test_a_command_reads_the_task_and_its_output_is_the_evidence(tmp_path):
    code = (
        "import json, os, sys; t = json.load(sys.stdin); print(t['description'], t['amountUsdc'], os.getcwd(), end='')"
    )
    script = tmp_path / "task.py"
    script.write_text(code)
    done = once(tmp_path, PF_TASK_COMMAND=f"{sys.executable} '{script}'")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ended(tmp_path).evidence == hashlib.sha256(f"add up the prices 0.10 {tmp_path}".encode()).hexdigest()


def test_a_function_of_the_users_own_is_called(tmp_path):
    (tmp_path / "mine.py").write_text(
        "async def work(task):\n    print('noise')\n    return task['description'].upper()\n"
    )
    done = once(tmp_path, PF_TASK_CALLABLE="mine:work")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ended(tmp_path).evidence == hashlib.sha256(b"ADD UP THE PRICES").hexdigest()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"PF_TASK_COMMAND": "sh -c 'echo bad luck; exit 7'"}, 7, "exit code 7: bad luck"),
        ({"PF_TASK_COMMAND": "sh -c 'kill -9 $$'"}, 137, "exit code 137"),
        ({"PF_TASK_COMMAND": "/no/such/program"}, 127, "No such file or directory"),
        ({"PF_TASK_COMMAND": "sleep 60", "PF_TASK_SECONDS": "1"}, 124, "longer than 1 s"),
        ({"PF_TASK_COMMAND": "head -c 2000000 /dev/zero"}, 1, "printed more than 1048576 bytes"),
        ({"PF_TASK_CALLABLE": "no_such_module:work"}, 1, "exit code 1"),
    ],
)
def test_a_task_that_fails_says_why_and_is_logged_as_failed(tmp_path, changes, code, words):
    done = once(tmp_path, **changes)
    assert done.returncode == code, done.stdout + done.stderr
    entry = ended(tmp_path)
    assert entry.outcome is TaskOutcome.FAILED
    assert words in entry.note
    assert words in json.loads(done.stdout.splitlines()[-1])["message"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PF_TASK_COMMAND": "true", "PF_TASK_CALLABLE": "a:b"}, "both set"),
        ({"PF_TASK_CALLABLE": "a.b"}, "expected module:function"),
        ({"PF_TASK_COMMAND": "echo 'open"}, "cannot be split"),
        ({"WORKSPACE": "/no/such/folder"}, "there is no folder"),
    ],
)
def test_a_wrong_setting_ends_it_before_anything_is_done(tmp_path, changes, words):
    done = once(tmp_path, **changes)
    assert done.returncode == 2
    assert words in done.stdout
    assert not [*tmp_path.iterdir()]


def test_asked_to_stop_it_ends_its_task_with_all_its_children(tmp_path):
    command = "sh -c 'sleep 1000 & echo $! > child; wait'"
    process = subprocess.Popen(COMMAND, cwd=PROJECT, env=environment(tmp_path, PF_TASK_COMMAND=command))
    child = tmp_path / "child"
    while not (child.exists() and child.read_text().strip()):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    pid = int(child.read_text())
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()
    assert not [e for e in WorkLog(tmp_path / "work-log.jsonl").entries() if e.outcome]
