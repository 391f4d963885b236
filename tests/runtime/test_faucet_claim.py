"""The init container against a real faucet: every way it can end, and what it leaves behind.

Its program runs as a process of its own where that matters, and else in this one, which saves starting Python.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.contract import Env, ExitCode
from runtime.faucet_claim import Settings, main, result, write
from runtime.payments import Claim, ClaimOutcome
from runtime.sandbox.faults import Fault
from runtime.sandbox.testing import running_sandbox

DOC = Path(__file__).parents[2] / "docs" / "faucet.md"
KEY = "pf_live_never-show-this-key"
DIALECTS = ("kubernetes", "fly", "server")


@pytest.fixture(scope="module")
def mall():
    with running_sandbox(claim_per_ip=False) as running:
        yield running


@pytest.fixture
def faucet(mall):
    yield mall
    mall.clear_faults()


@pytest.fixture
def environment(faucet, tmp_path, request):
    """A container's environment for an agent of its own."""
    agent = "ag_" + re.sub(r"\W", "-", request.node.name)
    faucet.agents.issue_key(agent, KEY)
    return {
        Env.AGENT_ID: agent,
        Env.API_KEY: KEY,
        Env.FAUCET_URL: faucet.url,
        Env.ALLOW_HTTP: "true",
        Env.WORKSPACE: str(tmp_path),
        Env.FAUCET_DEADLINE_SECONDS: "20",
        "PATH": os.environ["PATH"],
    }


def start(environment):
    command = [sys.executable, "-m", "runtime.faucet_claim"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def run_process(environment):
    """Exit code, result (None without one) and all that was printed."""
    process = start(environment)
    printed = "".join(process.communicate())
    return check(environment, process.returncode, printed)


@pytest.fixture
def run(caplog):
    """The same, in this process."""
    caplog.set_level("INFO")

    def call(environment):
        caplog.clear()
        return check(environment, main(environment), caplog.text)

    return call


def check(environment, code, printed):
    left = sorted(Path(environment[Env.WORKSPACE]).glob("*"), key=str)
    for file in left:
        assert KEY not in file.read_text()
    assert KEY not in printed
    assert "Traceback" not in printed
    assert [file.name for file in left] in ([], ["faucet-result.json"])
    return code, json.loads(left[0].read_text()) if left else None, printed


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_new_agent_is_granted_its_dollar_and_a_second_pod_hears_that_it_was(run, environment, tmp_path, dialect):
    environment[Env.API_DIALECT] = dialect
    code, granted, _ = run_process(environment)
    assert (code, granted["outcome"], granted["amount_usdc"]) == (ExitCode.OK, "granted", "1.00")
    assert (granted["dialect"], granted["agent_id"]) == (dialect, environment[Env.AGENT_ID])
    other_pod = tmp_path / "other"
    other_pod.mkdir()
    code, again, _ = run(environment | {Env.WORKSPACE: str(other_pod)})
    assert (code, again["outcome"], again["amount_usdc"]) == (ExitCode.OK, "already", None)
    assert again["code"] == "already_claimed"


def test_a_restarted_container_keeps_the_result_and_asks_nothing(run, environment, faucet):
    _, first, _ = run(environment)
    faucet.service.faults.add(Fault("*", "reset"))
    assert run(environment)[:2] == (ExitCode.OK, first)


def test_a_result_that_is_another_agents_or_garbage_does_not_count(run, environment, tmp_path):
    file = tmp_path / "faucet-result.json"
    for text in ('{"schema": 1, "outcome": "granted", "agent_id": "ag_other"}', "{", "[]", '{"outcome": "granted"}'):
        file.write_text(text)
        assert run(environment)[1]["agent_id"] == environment[Env.AGENT_ID]


@pytest.mark.parametrize("dialect", ["kubernetes", "server"])
def test_a_lost_answer_is_asked_again_and_granted_once(run, environment, faucet, dialect):
    faucet.service.faults.add(Fault("claim", "reset", moment="after", times=1, dialect=dialect))
    code, found, _ = run(environment | {Env.API_DIALECT: dialect})
    assert (code, found["outcome"]) == (ExitCode.OK, "already")
    entries = faucet.statement()["entries"]
    assert [e["amount_usdc"] for e in entries if e["to"].endswith(":" + environment[Env.AGENT_ID])] == ["1.00"]


def test_a_faucet_that_recovers_in_time_grants(run, environment, faucet):
    faucet.service.faults.add(Fault("claim", "status", status=503, times=2))
    faucet.service.faults.add(Fault("register", "html", times=1))
    assert run(environment)[1]["outcome"] == "granted"


@pytest.mark.parametrize(
    ("dialect", "status", "code", "outcome"),
    [
        ("server", 429, "ip_rate_limited", "rate_limited"),
        ("server", 403, "has_deposits", "refused"),
        ("server", 404, "agent_not_found", "refused"),
        ("kubernetes", 401, "unauthorized", "refused"),
    ],
)
def test_a_no_is_an_outcome_and_keeps_no_pod_from_its_work(run, environment, faucet, dialect, status, code, outcome):
    faucet.service.faults.add(Fault("claim", "status", status=status, body={"error": code}, dialect=dialect))
    required = {Env.API_DIALECT: dialect, Env.FAUCET_REQUIRED: "true"}
    exit_code, found, _ = run(environment | required)
    assert (exit_code, found["outcome"], found["code"]) == (ExitCode.OK, outcome, code)
    assert found["reason"]


@pytest.mark.parametrize(("required", "code"), [("false", ExitCode.OK), ("true", ExitCode.FAUCET_UNAVAILABLE)])
def test_an_unreachable_faucet_is_tried_until_the_deadline_and_then_follows_the_setting(
    run, environment, required, code
):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: every connection is refused
        environment[Env.FAUCET_URL] = f"http://127.0.0.1:{closed.getsockname()[1]}"
        environment |= {Env.FAUCET_REQUIRED: required, Env.FAUCET_DEADLINE_SECONDS: "1"}
        exit_code, found, printed = run(environment)
    assert (exit_code, found["outcome"], found["amount_usdc"]) == (code, "unavailable", None)
    assert "no connection" in found["reason"]
    assert "unavailable" in printed


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({Env.AGENT_ID: " "}, "AGENT_ID is not set"),
        ({Env.FAUCET_URL: ""}, "PF_FAUCET_URL is not set"),
        ({Env.FAUCET_URL: "faucet.example"}, "not https://host"),
        ({Env.FAUCET_URL: f"http://user:{KEY}@127.0.0.1"}, "credentials"),
        ({Env.ALLOW_HTTP: "false"}, "in the clear"),
        ({Env.API_DIALECT: "graphql"}, "kubernetes"),
        ({Env.FAUCET_REQUIRED: "yes"}, "PF_FAUCET_REQUIRED"),
        ({Env.FAUCET_DEADLINE_SECONDS: "1.5"}, "PF_FAUCET_DEADLINE_SECONDS"),
        ({Env.API_KEY: "two words"}, "key"),
    ],
)
def test_a_wrong_setting_is_named_and_writes_nothing(run, environment, wrong, named):
    code, found, printed = run(environment | wrong)
    assert (code, found) == (ExitCode.BAD_SETTING, None)
    assert named in printed


def test_a_wrong_setting_of_the_process_ends_it_without_a_traceback(environment):
    assert run_process(environment | {Env.AGENT_ID: ""})[0] == ExitCode.BAD_SETTING


def test_a_workspace_that_is_not_there_is_said(run, environment):
    code, _, printed = run(environment | {Env.WORKSPACE: environment[Env.WORKSPACE] + "/missing"})
    assert code == ExitCode.FAILED
    assert "could not be written" in printed


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_pod_that_is_stopped_stops(environment, faucet, signal_number):
    faucet.service.faults.add(Fault("claim", "delay", seconds=3))
    before = faucet.faults()["injected"]
    process = start(environment)
    while faucet.faults()["injected"] == before and process.poll() is None:
        pass  # each look is a request, and so takes its time
    process.send_signal(signal_number)
    printed = "".join(process.communicate())
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in printed
    assert not list(Path(environment[Env.WORKSPACE]).iterdir())


def test_a_reader_sees_all_of_a_result_or_none(tmp_path):
    file = tmp_path / "faucet-result.json"

    async def read_while_it_is_written():
        writing = asyncio.create_task(asyncio.to_thread(write_often))
        while not writing.done():
            await asyncio.sleep(0)
            assert len(set(json.loads(file.read_text())["n"])) == 1
        await writing

    def write_often():
        for n in range(10):
            write(file, {"n": [n] * 20_000})

    write(file, {"n": [9]})
    asyncio.run(read_while_it_is_written())


def test_the_document_names_every_field_outcome_setting_and_exit_code():
    text = DOC.read_text()
    settings = Settings.from_environment({Env.AGENT_ID: "ag_1", Env.FAUCET_URL: "https://faucet.example"})
    found = result(settings, Claim(outcome=ClaimOutcome.GRANTED, agent_id="ag_1"), datetime.now(UTC))
    assert re.findall(r"^\| `(\w+)` \|", text.split("## The result")[1], re.MULTILINE) == list(found)
    for outcome in (*ClaimOutcome, "unavailable"):
        assert f"`{outcome}`" in text
    source = Path(sys.modules[Settings.__module__].__file__).read_text()
    for name in set(re.findall(r"Env\.([A-Z_]+)", source)) - {"ALLOW_HTTP", "LOG_LEVEL"} | {"API_KEY", "API_KEY_FILE"}:
        assert f"`{Env[name]}`" in text
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert codes == sorted(ExitCode)
