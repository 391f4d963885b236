"""The init container against a real faucet: every way it can end, and what it leaves behind.

Its program runs as a process of its own where that matters, and else in this one, which saves starting Python.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import faucet_claim
from runtime.contract import Env, ExitCode
from runtime.environment import read
from runtime.errors import BadInput
from runtime.faucet_claim import PERHAPS_GRANTED, Settings, record, write
from runtime.payments import ClaimOutcome, FaucetClaim
from runtime.sandbox.faults import Fault
from runtime.sandbox.testing import running_sandbox
from runtime.service import Failure, Start

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
        try:
            code = asyncio.run(faucet_claim.run(Start(read(Settings, environment), argparse.Namespace())))
        except BadInput as error:  # what `Program.main` makes of it
            return check(environment, ExitCode.BAD_INPUT, f"{error} {caplog.text}")
        except Failure as error:
            return check(environment, error.code, f"{error} {caplog.text}")
        return check(environment, code, caplog.text)

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


def dollars(faucet, environment):
    """What the ledger granted to the agent."""
    entries = faucet.statement()["entries"]
    return [e["amount_usdc"] for e in entries if e["to"].endswith(":" + environment[Env.AGENT_ID])]


@pytest.mark.parametrize("dialect", ["kubernetes", "server"])
def test_after_a_lost_answer_already_means_perhaps_granted(run, environment, faucet, dialect):
    faucet.service.faults.add(Fault("claim", "reset", moment="after", times=1, dialect=dialect))
    code, found, _ = run(environment | {Env.API_DIALECT: dialect})
    assert (code, found["outcome"], found["code"]) == (ExitCode.OK, PERHAPS_GRANTED, "already_claimed")
    assert (found["amount_usdc"], found["answer_lost"]) == (None, True)
    assert dollars(faucet, environment) == ["1.00"]
    faucet.service.faults.add(Fault("*", "reset"))
    assert run(environment)[:2] == (ExitCode.OK, found)  # nothing could come of asking again


def test_after_a_lost_answer_the_days_rule_means_perhaps_granted(run, environment, faucet):
    faucet.service.faults.add(Fault("claim", "reset", moment="after", times=1, dialect="server"))
    refusal = {"body": {"error": "ip_rate_limited"}, "dialect": "server"}
    faucet.service.faults.add(Fault("claim", "status", status=429, **refusal))
    found = run(environment | {Env.API_DIALECT: "server"})[1]
    assert (found["outcome"], found["code"], found["answer_lost"]) == (PERHAPS_GRANTED, "ip_rate_limited", True)


def test_a_lost_answer_before_anything_was_done_is_granted_with_the_doubt_on_record(run, environment, faucet):
    """The published faucet can have credited the first one as well, when it died before its record."""
    faucet.service.faults.add(Fault("claim", "reset", moment="before", times=1))
    found = run(environment)[1]
    assert (found["outcome"], found["amount_usdc"], found["answer_lost"]) == ("granted", "1.00", True)


def test_killed_before_the_answer_the_next_start_knows_of_the_doubt(environment, faucet):
    faucet.service.faults.add(Fault("claim", "delay", moment="after", seconds=60, times=1))
    process = start(environment)
    result_file = Path(environment[Env.WORKSPACE]) / "faucet-result.json"
    while not dollars(faucet, environment) and process.poll() is None:
        pass  # each look is a request, and so takes its time
    process.kill()
    process.communicate()
    between = json.loads(result_file.read_text())
    assert (between["outcome"], between["answer_lost"], between["amount_usdc"]) == ("unavailable", True, None)
    code, found, _ = run_process(environment)
    assert (code, found["outcome"], found["amount_usdc"]) == (ExitCode.OK, PERHAPS_GRANTED, None)
    assert dollars(faucet, environment) == ["1.00"]


def test_the_limit_per_minute_is_waited_out_within_the_deadline(run, environment, faucet):
    refusal = {"body": {"error": "rate_limited"}, "headers": {"Retry-After": "1"}}
    faucet.service.faults.add(Fault("claim", "status", status=429, times=2, dialect="server", **refusal))
    code, found, _ = run(environment | {Env.API_DIALECT: "server"})
    assert (code, found["outcome"], found["answer_lost"]) == (ExitCode.OK, "granted", False)


def test_the_limit_per_minute_at_the_deadline_is_an_outcome(run, environment, faucet):
    refusal = {"body": {"error": "rate_limited"}, "headers": {"Retry-After": "9"}}
    faucet.service.faults.add(Fault("claim", "status", status=429, **refusal))
    changes = {Env.FAUCET_DEADLINE_SECONDS: "1", Env.FAUCET_REQUIRED: "true"}
    code, found, _ = run(environment | changes)
    assert (code, found["outcome"], found["code"]) == (ExitCode.OK, "rate_limited", "rate_limited")


@pytest.mark.parametrize(("required", "code"), [("false", ExitCode.OK), ("true", ExitCode.FAUCET_UNAVAILABLE)])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_no_faucet_is_an_error_that_required_heeds(run, environment, dialect, required, code):
    environment[Env.FAUCET_URL] += "/elsewhere"  # the sandbox answers 404 not_found, as the published server does
    exit_code, found, _ = run(environment | {Env.API_DIALECT: dialect, Env.FAUCET_REQUIRED: required})
    assert (exit_code, found["outcome"], found["code"]) == (code, "unavailable", "not_found")
    assert "PF_FAUCET_URL or PF_API_DIALECT" in found["reason"]
    assert found["answer_lost"] is False


def test_an_mcp_server_without_the_tool_is_no_faucet(run, environment, faucet):
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "Unknown tool: claim_faucet"}}
    faucet.service.faults.add(Fault("claim", "status", status=200, body=error, dialect="fly"))
    _, found, _ = run(environment | {Env.API_DIALECT: "fly"})
    assert found["outcome"] == "unavailable"
    assert "Unknown tool" in found["reason"]


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
        ({Env.ALLOW_HTTP: "yes"}, "PF_ALLOW_HTTP is 'yes'"),
        ({Env.API_DIALECT: "graphql"}, "kubernetes"),
        ({Env.FAUCET_REQUIRED: "yes"}, "PF_FAUCET_REQUIRED"),
        ({Env.FAUCET_DEADLINE_SECONDS: "1.5"}, "PF_FAUCET_DEADLINE_SECONDS"),
        ({Env.API_KEY: "two words"}, "key"),
    ],
)
def test_a_wrong_setting_is_named_and_writes_nothing(run, environment, wrong, named):
    code, found, printed = run(environment | wrong)
    assert (code, found) == (ExitCode.BAD_INPUT, None)
    assert named in printed


def test_a_wrong_setting_of_the_process_ends_it_without_a_traceback(environment):
    assert run_process(environment | {Env.AGENT_ID: ""})[0] == ExitCode.BAD_INPUT


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
    left = json.loads((Path(environment[Env.WORKSPACE]) / "faucet-result.json").read_text())
    assert (left["outcome"], left["answer_lost"]) == ("unavailable", True)


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


def test_the_document_names_every_field_outcome_and_exit_code():
    text = DOC.read_text()
    settings = read(Settings, {Env.AGENT_ID: "ag_1", Env.FAUCET_URL: "https://faucet.example"})
    found = record(settings, FaucetClaim(outcome=ClaimOutcome.GRANTED, agent_id="ag_1"), answer_lost=False)
    assert re.findall(r"^\| `(\w+)` \|", text.split("## The result")[1], re.MULTILINE) == list(found)
    for outcome in (*ClaimOutcome, PERHAPS_GRANTED, "unavailable"):
        assert f"`{outcome}`" in text
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert codes == sorted(ExitCode)
