"""The secrets script, really run, against an executable that reads its stdin as flyctl does."""

import os
import pty
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.manifests.fly_config import fly_files
from components.settings import Settings
from tests.components.manifests import fly_stand_in

KEY = f"pf_live_{uuid4()}"
WALLET = "0xAbCdEf0123456789"


@pytest.fixture
def script(tmp_path):
    fly_stand_in.install(tmp_path)
    path = tmp_path / "secrets.sh"
    path.write_text(fly_files(Settings())["fly/secrets.sh"])
    return path


def run(script: Path, *arguments, shell="sh", **environment) -> subprocess.CompletedProcess[str]:
    path = f"{script.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [shell, script, *arguments],
        env={"PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def commands(script: Path) -> list[str]:
    return [" ".join(call["arguments"]) for call in fly_stand_in.read(script.parent)["calls"]]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_stages_what_the_environment_holds(script, shell):
    done = run(script, shell=shell, PF_API_KEY=KEY, AGENT_WALLET=WALLET, REFERRAL_CODE="friend")
    assert done.returncode == 0, done.stderr
    state = fly_stand_in.read(script.parent)
    assert state["staged"] == {"PF_API_KEY": KEY, "AGENT_WALLET": WALLET, "REFERRAL_CODE": "friend"}
    assert commands(script) == ["secrets import --stage --app my-pf-agent", "secrets list --app my-pf-agent --json"]


def test_no_process_shows_a_value(script):
    done = run(script, PF_API_KEY=KEY, AGENT_WALLET=WALLET)
    state = fly_stand_in.read(script.parent)
    assert state["calls"][0]["visible"] == []
    assert KEY not in done.stdout + done.stderr + "".join(map(str, state["calls"]))


def test_tracing_the_script_shows_no_value(script):
    environment = {"PATH": f"{script.parent / 'bin'}:{os.environ['PATH']}", "PF_API_KEY": KEY, "AGENT_WALLET": WALLET}
    done = subprocess.run(
        ["sh", "-x", script], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (done.returncode, KEY in done.stderr) == (0, False)


def test_the_look_into_the_process_list_would_find_a_value(script):
    """The check above can fail: a process that has the value on its command line is seen."""
    shown = f"pf_live_shown_{uuid4()}"  # its own value: other tests look at the same process list meanwhile
    with subprocess.Popen(["sh", "-c", "read _", shown], stdin=subprocess.PIPE) as careless:
        run(script, PF_API_KEY=shown, AGENT_WALLET=WALLET)
        careless.communicate(b"\n")
    assert fly_stand_in.read(script.parent)["calls"][0]["visible"]


def test_referral_code_may_be_missing_but_the_key_may_not(script):
    assert run(script, PF_API_KEY=KEY, AGENT_WALLET=WALLET).returncode == 0
    refused = run(script, AGENT_WALLET=WALLET)
    assert refused.returncode == 2
    assert "PF_API_KEY has no value; set PF_API_KEY_FILE" in refused.stderr
    assert len(commands(script)) == 2, "the second run sent nothing"


def test_rotation_stages_one_and_restarts(script, tmp_path):
    (tmp_path / "key").write_text("pf_live_rotated\n")
    done = run(script, "--deploy", "PF_API_KEY", PF_API_KEY_FILE=str(tmp_path / "key"))
    assert done.returncode == 0, done.stderr
    assert fly_stand_in.read(script.parent)["secrets"] == {"PF_API_KEY": "pf_live_rotated"}
    assert commands(script)[-1] == "secrets deploy --app my-pf-agent"


@pytest.mark.parametrize("command", ["secrets import", "secrets list"])
def test_nothing_restarts_when_fly_fails(tmp_path, script, command):
    state = fly_stand_in.read(tmp_path)
    (tmp_path / fly_stand_in.STATE).write_text(fly_stand_in.json.dumps({**state, "break": {command: "exit"}}))
    done = run(script, "--deploy", PF_API_KEY=KEY, AGENT_WALLET=WALLET)
    assert done.returncode == 1
    assert not [line for line in commands(script) if "deploy" in line]


def test_nothing_restarts_when_fly_does_not_list_what_was_sent(tmp_path, script):
    state = fly_stand_in.read(tmp_path)
    (tmp_path / fly_stand_in.STATE).write_text(
        fly_stand_in.json.dumps({**state, "break": {"secrets list": '[{"name": "PF_API_KEY_OLD"}]'}})
    )
    done = run(script, "--deploy", PF_API_KEY=KEY, AGENT_WALLET=WALLET)
    assert (done.returncode, "PF_API_KEY was sent, but Fly does not list it" in done.stderr) == (1, True)
    assert commands(script)[-1].startswith("secrets list")


def test_values_are_never_arguments(script):
    done = run(script, f"PF_API_KEY={KEY}")
    assert done.returncode == 2
    assert "values are never arguments" in done.stderr
    assert commands(script) == []


HARD = st.text(alphabet="ab \"'#=\\$`%\n", min_size=1, max_size=12)


def importable(value: str) -> bool:
    """What the script documents: of values in several lines, two kinds have no form that flyctl reads."""
    first = value.partition("\n")[0]
    return "\n" not in value or ('"""' not in value and not ("#" in first and first.split("#")[0].count('"') % 2))


@settings(max_examples=12, deadline=None)
@given(key=HARD, wallet=HARD, code=HARD)
def test_every_value_arrives_whole_or_is_refused(key, wallet, code):
    with tempfile.TemporaryDirectory() as folder:
        fly_stand_in.install(Path(folder))
        script = Path(folder) / "secrets.sh"
        script.write_text(fly_files(Settings())["fly/secrets.sh"])
        done = run(script, PF_API_KEY=key, AGENT_WALLET=wallet, REFERRAL_CODE=code)
        values = {"PF_API_KEY": key, "AGENT_WALLET": wallet, "REFERRAL_CODE": code}
        if all(map(importable, values.values())):
            assert fly_stand_in.read(Path(folder))["staged"] == values
        else:
            assert done.returncode == 2
            assert "cannot be imported" in done.stderr
            assert commands(script) == []


def test_carriage_return_is_refused(script):
    done = run(script, PF_API_KEY="pf_live\r", AGENT_WALLET=WALLET)
    assert (done.returncode, "is the file from Windows?" in done.stderr, commands(script)) == (2, True, [])


def test_prompt_does_not_echo(script):
    """At a real terminal: what is typed is not shown, and the terminal echoes again afterwards."""
    terminal, line = pty.openpty()
    process = subprocess.Popen(
        ["sh", script, "PF_API_KEY"],
        env={"PATH": f"{script.parent / 'bin'}:{os.environ['PATH']}"},
        stdin=line,
        stdout=line,
        stderr=line,
        start_new_session=True,
    )
    os.close(line)
    shown = b""
    while b"(not shown)" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, f"{KEY}\n".encode())
    while chunk := _read_until_closed(terminal):
        shown += chunk
    assert process.wait() == 0, shown
    assert KEY.encode() not in shown
    assert fly_stand_in.read(script.parent)["staged"] == {"PF_API_KEY": KEY}


def _read_until_closed(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # Linux says so when the last process has closed the terminal
        os.close(terminal)
        return b""
