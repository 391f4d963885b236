"""Three layers: agents without a key, the escrow app that keeps it, and the payment service; each a real process."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import httpx
import pytest

from runtime.agent.callers import Callers
from runtime.errors import BadInput
from runtime.sandbox.testing import running_sandbox
from tests.conformance import go_agent
from tests.conformance.checks import Since, it_answers_at_both_families
from tests.conformance.model import FAILS
from tests.conformance.world import REGION, WALLET
from tests.runtime.agent.conftest import PYTHON, ROOT, Warm

GUIDES = ROOT / "tests" / "bench" / "listings" / "guide_fly_agent.go.txt"
TOKENS = {"agents": "a" * 32, "others": "o" * 32}
ORDER = {"payer_wallet": "caller", "payee_wallet": WALLET, "amount_usdc": 0.01, "description": "x"}


class Escrows(Warm):
    """The escrow app as a process, with the key of the wallet."""

    def __init__(self, sandbox, folder):
        super().__init__([sys.executable, "-m", "runtime.agent.sidecar"], sandbox, folder)
        self.environment |= {
            "PYTHONPATH": str(ROOT),
            "PF_CALLERS": " ".join(f"{name}:{token}" for name, token in TOKENS.items()),
            "PF_CALLER_MOST_USDC": "1",
            "PF_CALLER_MOST_OPEN_USDC": "1.5",
        }

    def ask(self, act, body, caller="agents"):
        headers = {"authorization": f"Bearer {TOKENS.get(caller, caller)}"}
        return self.http.post(f"/api/escrow/{act}", json=body, headers=headers)

    def lock(self, token, **changed):
        return self.ask("create", ORDER | {"metadata": {"token": token, "fly_region": REGION}} | changed)


@pytest.fixture(scope="module")
def sandbox():
    with running_sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def escrows(sandbox, tmp_path_factory):
    built = Escrows(sandbox, tmp_path_factory.mktemp("escrows"))
    built.start()
    yield built
    built.close()


# First: the sandbox ends only after the delay, during which the others run.
def test_killed_while_it_sends_it_repeats_nothing(escrows, sandbox):
    kept = escrows.lock("kept-0001").json()["escrow_id"]
    escrow_id = escrows.lock("held-0001").json()["escrow_id"]
    received = len(sandbox.received)
    sandbox.fault("release", "delay", moment="after", seconds=6, times=1)
    body = {"escrow_id": escrow_id}
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(escrows.ask, "release", body)
        escrows.until(lambda: escrows.escrows()[escrow_id] == "released", "it has arrived")
        escrows.kill()
        assert isinstance(waiting.exception(), httpx.TransportError)
    sandbox.clear_faults()
    escrows.start()
    escrows.until(lambda: escrows.ask("release", body).status_code == 502, "a person is asked, not the service")
    assert len(sandbox.received) == received + 1
    assert escrows.ask("release", {"escrow_id": kept}).status_code == 200, "what was only locked waits for its caller"
    escrows.balanced()


def test_killed_while_it_locks_it_locks_nothing_again(escrows, sandbox):
    known, received = {*escrows.escrows()}, len(sandbox.received)
    sandbox.fault("create", "delay", moment="after", seconds=3, times=1)
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(escrows.lock, "lost-0001")
        escrows.until(lambda: len({*escrows.escrows()} - known) == 1, "it has arrived")
        escrows.kill()
        assert isinstance(waiting.exception(), httpx.TransportError)
    sandbox.clear_faults()
    escrows.start()
    answer = escrows.lock("lost-0001")
    assert (answer.status_code, answer.json()["error"]) == (502, "payment_unknown")
    assert len(sandbox.received) == received + 1


@pytest.mark.parametrize("language", ["python", "go"])
def test_an_agent_without_a_key_earns_by_the_escrow_app(request, escrows, sandbox, tmp_path, language):
    command = request.getfixturevalue("go") if language == "go" else PYTHON
    with ExitStack() as worlds:
        agent = Warm(command, sandbox, tmp_path)
        worlds.callback(agent.close)
        agent.environment |= {
            "PYTHONPATH": str(ROOT),
            "ESCROW_BASE": str(escrows.http.base_url).rstrip("/"),
            "PF_API_KEY": TOKENS["agents"],
            "FLY_REGION": "nrt",
        }
        agent.start()
        since = Since(agent)
        answer = agent.infer("hello")
        assert (answer.status_code, answer.json()["status"]) == (200, "released"), answer.text
        assert agent.infer(FAILS).json()["error"] == "work_failed"
        sandbox.fault("create", "reset", moment="after", times=1)
        assert agent.infer("lost").json()["error"] == "payment_unknown"
        sandbox.fault("create", "status", status=402, times=9)
        assert agent.infer("poor").json()["error"] == "payments_unavailable"
        sandbox.clear_faults()
        assert since.states == {"released": 1, "cancelled": 1, "review": 1}
        assert since.acts["release"] == since.acts["cancel"] == 1
        kept = json.loads(sandbox.escrows.get(answer.json()["escrow_id"])["metadata"])["metadata"]
        assert (kept["fly_region"], kept["caller"]) == ("nrt", "agents")
        agent.balanced()


def test_the_guides_own_agent_earns_by_it_as_it_is(escrows, sandbox, tmp_path, go):
    """It computes its prices in doubles."""
    (tmp_path / "main.go").write_text(GUIDES.read_text())
    (tmp_path / "go.mod").write_text("module guide\n\ngo 1.25.0\n")
    go_agent.run(tmp_path, "build", "-o", "guide", ".")
    with closing(Warm([str(tmp_path / "guide")], sandbox, tmp_path)) as agent:
        agent.environment |= {"ESCROW_BASE": str(escrows.http.base_url).rstrip("/"), "PF_API_KEY": TOKENS["agents"]}
        agent.start()
        for characters, usdc in ((104, "0.00104"), (700, "0.007")):
            answer = agent.infer("x" * characters)
            assert answer.status_code == 200, answer.text
            [kept] = [e for e in sandbox.statement()["escrows"] if e["escrow_id"] == answer.json()["escrow_id"]]
            assert (kept["status"], kept["locked_usdc"]) == ("released", usdc)
        agent.balanced()


def test_who_has_no_token_of_ours_is_told_so(escrows, sandbox):
    received = len(sandbox.received)
    for token in ("x" * 32, escrows.environment["PF_API_KEY"], "x"):
        answer = escrows.ask("create", ORDER, caller=token)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    it_answers_at_both_families(escrows)
    assert escrows.http.get("/health").json() == {"ok": True}
    headers = {"authorization": f"Bearer {TOKENS['agents']}"}
    with httpx.Client(base_url=sandbox.url, headers=headers, trust_env=False) as http:
        direct = http.post("/api/escrow/create", json=ORDER)
        assert direct.status_code == 401, "the payment service has never heard of it"
    assert len([call for call in sandbox.received[received:] if call.carried_out]) == 0


def test_the_rules_hold_before_anything_is_sent(escrows, sandbox):
    received = len(sandbox.received)
    for changed, status in (
        ({"payee_wallet": "thief"}, 403),
        ({"amount_usdc": 1.000001}, 403),
        ({"amount_usdc": 0}, 403),
        ({"amount_usdc": -1}, 400),
        ({"amount_usdc": "NaN"}, 400),
        ({"amount_usdc": 0.0010404}, 400),
        ({"amount_usdc": 1e300}, 400),
        ({"description": "x" * 70_000}, 413),
        ({"payer_wallet": ""}, 400),
        ({"metadata": []}, 200),
        ({"metadata": "x"}, 400),
    ):
        answer = escrows.ask("create", ORDER | changed)
        assert answer.status_code == status, (changed, answer.text)
        if status == 200:
            assert escrows.ask("cancel", {"escrow_id": answer.json()["escrow_id"]}).status_code == 200
    assert len(sandbox.received) == received + 2
    first = escrows.ask("create", ORDER | {"amount_usdc": 1}, caller="others").json()["escrow_id"]
    refused = escrows.ask("create", ORDER | {"amount_usdc": 0.6}, caller="others")
    assert (refused.status_code, "at a time" in refused.json()["message"]) == (403, True)
    assert escrows.ask("cancel", {"escrow_id": first}, caller="others").status_code == 200
    assert len(sandbox.received) == received + 4


def test_an_escrow_is_its_callers_alone_and_each_call_may_be_repeated(escrows):
    since = len(escrows.sandbox.received)
    first, again = escrows.lock("mine-0001"), escrows.lock("mine-0001")
    assert first.json() == again.json()
    assert escrows.lock("mine-0001", amount_usdc=0.02).status_code == 409
    body = {"escrow_id": first.json()["escrow_id"], "auto_release": True}
    assert escrows.ask("release", body, caller="others").status_code == 404
    released = [escrows.ask("release", body).json() for _ in range(2)]
    assert released[0] == released[1]
    assert (released[0]["status"], released[0]["amount_released"]) == ("released", 0.0099)
    assert escrows.ask("cancel", body).status_code == 409
    assert len(escrows.sandbox.received) == since + 2
    escrows.balanced()


def test_a_wrong_setting_or_a_volume_in_use_ends_it_at_once(escrows):
    wrong = {
        "PF_API_KEY": {"PF_API_KEY": ""},
        "PF_CALLERS": {"PF_CALLERS": ""},
        "PF_CALLER_MOST_USDC": {"PF_CALLER_MOST_USDC": "-1"},
        "PF_API_DIALECT": {"PF_API_DIALECT": "server"},
        "another agent": {},
    }
    for name, line in zip(wrong, escrows.refused(*wrong.values()), strict=True):
        assert name in line


LONG = "x" * 32


@pytest.mark.parametrize("listed", ["", "agents:xxx", "agents", f"a:{LONG} a:y{LONG}", f"a:{LONG} b:{LONG}"])
def test_callers_that_are_written_wrong_are_told_without_a_token(listed):
    with pytest.raises(BadInput, match="PF_CALLERS") as told:
        Callers(listed)
    assert "xxx" not in str(told.value)
