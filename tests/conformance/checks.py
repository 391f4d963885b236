"""What every agent does, in whatever language: each check gets a `World` whose agent serves, and leaves it serving.

A check counts from what was there before, so that they can share one agent in any order.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue

import httpx

from runtime.contract import LEDGER_RESTORED
from tests.conformance import surface
from tests.conformance.model import FAILS, WAITS
from tests.conformance.world import PAYER, REGION, SECONDS, WALLET, World

Check = Callable[[World], None]
CHECKS: list[Check] = []
"""In the order in which they were written."""


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


class Since:
    """What has changed since."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._states, self._acts = world.states(), world.acts()

    @property
    def states(self) -> Counter[str]:
        return self._world.settled() - self._states

    @property
    def acts(self) -> Counter[str]:
        return self._world.acts() - self._acts


# --- surface


@check
def health_names_the_region_and_asks_nobody(world: World) -> None:
    assert world.http.get("/health").json() == {"ok": True, "region": REGION}
    world.sandbox.fault("health", "reset")
    assert world.http.get("/health").status_code == 200
    world.sandbox.clear_faults()


@check
def it_answers_at_both_families(world: World) -> None:
    """Names of `.internal` have IPv6 addresses only."""
    for host in ["127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])]:
        with httpx.Client(trust_env=False) as http:
            assert http.get(f"http://{host}:{world.port}/health").status_code == 200


@check
def a_silent_payment_service_makes_it_unready_soon_and_no_more_than_that(world: World) -> None:
    """It accepts connections and never answers: all who ask are told within seconds, and the health check passes."""
    assert world.stop() == 0
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(3) as callers:
        world.start(ESCROW_BASE=f"http://127.0.0.1:{silent.getsockname()[1]}")
        asked = [callers.submit(world.http.get, "/ready", timeout=9) for _ in range(3)]
        assert world.http.get("/health", timeout=9).status_code == 200
        answers = [each.result() for each in asked]
        assert [(each.status_code, "does not answer" in each.text) for each in answers] == [(503, True)] * 3
        world.kill()
    world.start()
    assert world.http.get("/ready").json() == {"ready": True, "reasons": []}


@check
def an_inference_is_locked_worked_and_released(world: World) -> None:
    since = Since(world)
    answer = world.infer("hello")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["result"] == "echo: hello"
    assert (body["cost_usdc"], body["region"], body["status"]) == (0.001, REGION, "released")
    assert world.escrows()[body["escrow_id"]] == "released"
    assert body["paid_by"] == "agent"
    assert (since.states, since.acts) == ({"released": 1}, {"create": 1, "release": 1})


@check
def the_escrow_says_region_and_payer(world: World) -> None:
    escrow_id = world.infer("where").json()["escrow_id"]
    kept = world.sandbox.escrows.get(escrow_id)
    assert f"({REGION})" in kept["description"]
    metadata = json.loads(kept["metadata"])
    assert metadata["payer_wallet"] == PAYER
    assert metadata["metadata"]["fly_region"] == REGION


@check
def earnings_are_by_region_and_exact(world: World) -> None:
    before = world.http.get("/earnings").json()
    world.infer("x" * 700)
    after = world.http.get("/earnings").json()
    micro = [round(float(each["earned_usdc"]) * 1_000_000) for each in (before, after)]
    assert micro[1] - micro[0] == 7000
    assert (after["wallet"], after["region"]) == (WALLET, REGION)
    assert after["regions"][REGION]["released"]["escrows"] >= 1
    assert "key" in after["who_pays"]


@check
def the_ledgers_views_say_what_was_earned(world: World) -> None:
    def views() -> tuple[int, int]:
        with sqlite3.connect(world.folder / "ledger.db") as ledger:
            days = ledger.execute("SELECT max(earned_micro) FROM wallet_snapshots WHERE address = ?", (WALLET,))
            released = "SELECT amount_micro FROM earnings WHERE region = ? AND state = 'released'"
            found = days.fetchone()[0], ledger.execute(released, (REGION,)).fetchone()[0]
        ledger.close()
        return found

    world.infer()
    before = views()
    world.infer("x" * 700)
    world.infer("x" * 300)
    assert views() == (before[0] + 10_000, before[1] + 10_000)


@check
def metrics_are_on_their_own_port(world: World) -> None:
    world.infer()
    with httpx.Client(trust_env=False) as http:
        text = http.get(f"http://127.0.0.1:{world.metrics_port}/metrics").text
    assert 'pf_agent_requests_total{outcome="released"}' in text
    assert f'pf_agent_escrows{{region="{REGION}",state="released"}}' in text
    assert "pf_agent_request_seconds_count" in text
    assert world.environment["PF_API_KEY"] not in text


# --- errors


@check
def wrong_requests_cost_nothing(world: World) -> None:
    since = Since(world)
    surface.wrong_requests_are_named(world.http)
    assert (since.states, since.acts) == ({}, {})


@check
def a_prompt_that_is_too_long_is_refused(world: World) -> None:
    since = Since(world)
    assert world.infer("x" * 1_000_001).status_code == 413
    with suppress(httpx.TransportError):  # it may hang up in the middle of ten megabytes
        assert world.infer("x" * 10_000_000).status_code == 413
    assert (since.states, since.acts) == ({}, {})


@check
def half_a_body_costs_nothing(world: World) -> None:
    since = Since(world)
    with socket.create_connection(("127.0.0.1", world.port)) as half:
        half.sendall(b'POST /inference HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n{"payer_wallet": "w"')
    assert world.infer().status_code == 200
    assert since.acts == {"create": 1, "release": 1}


@check
def failed_work_is_cancelled(world: World) -> None:
    since = Since(world)
    answer = world.infer(FAILS)
    assert (answer.status_code, answer.json()["error"]) == (502, "work_failed")
    assert (since.states, since.acts) == ({"cancelled": 1}, {"create": 1, "cancel": 1})


# --- money


@check
def a_refused_create_charges_nothing(world: World) -> None:
    since = Since(world)
    for status in (402, 400, 403, 404, 429):
        world.sandbox.fault("create", "status", status=status, times=3)
        answer = world.infer()
        assert (answer.status_code, answer.json()["error"]) == (503, "payments_unavailable"), answer.text
        assert int(answer.headers["retry-after"]) >= 1
        world.sandbox.clear_faults()
    assert since.states == {}
    assert world.infer().status_code == 200


@check
def a_key_that_is_refused_charges_nothing_and_is_not_ready(world: World) -> None:
    since = Since(world)
    world.sandbox.fault("create", "status", status=401, times=9)
    refused, ready = world.infer(), world.http.get("/ready")
    world.sandbox.clear_faults()
    assert (refused.status_code, refused.json()["error"]) == (503, "payments_unavailable"), refused.text
    assert (ready.status_code, "key" in " ".join(ready.json()["reasons"])) == (503, True), ready.text
    assert since.states == {}
    assert world.infer().status_code == 200
    assert not [reason for reason in world.http.get("/ready").json()["reasons"] if "key" in reason]


@check
def a_create_without_an_answer_waits_for_a_person(world: World) -> None:
    """The dialect can neither read nor list, so nobody knows; it is sent once and never again."""
    since = Since(world)
    for kind, moment in (("reset", "before"), ("reset", "after"), ("html", "after"), ("half", "after")):
        world.sandbox.fault("create", kind, moment=moment, times=1)
        answer = world.infer()
        assert (answer.status_code, answer.json()["error"]) == (502, "payment_unknown"), answer.text
        world.sandbox.clear_faults()
    assert (since.states, since.acts) == ({"review": 4}, {"create": 4})


@check
def an_answer_that_names_another_amount_is_no_success(world: World) -> None:
    since = Since(world)
    for body in ({"amount_usdc": 5}, {"payee_wallet": "thief"}, {"Status": "released"}, {"escrow_id": None}):
        world.sandbox.fault("create", "replace", moment="after", body=body, times=1)
        answer = world.infer()
        world.sandbox.clear_faults()
        if "Status" in body:  # a key in other letters is another key
            assert answer.status_code == 200, answer.text
        else:
            assert answer.json()["error"] == "payment_unknown", (body, answer.text)
    assert since.states == {"review": 3, "released": 1}


@check
def an_escrow_that_paid_before_pays_for_nothing_else(world: World) -> None:
    since, before = Since(world), world.infer().json()["escrow_id"]
    world.sandbox.fault("create", "replace", moment="after", body={"escrow_id": before}, times=1)
    answer = world.infer()
    world.sandbox.clear_faults()
    assert (answer.status_code, answer.json()["error"]) == (502, "payment_unknown"), answer.text
    assert (since.states, since.acts) == ({"released": 1, "review": 1}, {"create": 2, "release": 1})


@check
def a_release_without_an_answer_is_never_repeated(world: World) -> None:
    since = Since(world)
    for moment in ("before", "after"):
        world.sandbox.fault("release", "reset", moment=moment, times=1)
        answer = world.infer()
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] in ("settling", "review")
        assert answer.json()["result"] == "echo: hello"
        world.sandbox.clear_faults()
    assert (since.states, since.acts) == ({"review": 2}, {"create": 2, "release": 2})


@check
def a_release_that_is_put_off_is_sent_again(world: World) -> None:
    since = Since(world)
    world.sandbox.fault("release", "status", status=429, headers={"retry-after": "1"}, times=2)
    answer = world.infer()
    assert (answer.status_code, answer.json()["status"]) in ((200, "settling"), (200, "released"))
    assert since.states == {"released": 1}
    world.sandbox.clear_faults()
    world.balanced()


@check
def money_calls_arrive_once_whatever_the_connections(world: World) -> None:
    """Warm connections that the service closes meanwhile: a client that repeats a POST on the next one pays twice."""
    since = Since(world)
    with ThreadPoolExecutor(2) as callers:
        list(callers.map(lambda _: world.infer(), range(6)))
    world.sandbox.fault("create", "reset", moment="after", times=1)
    world.infer(key="once")
    world.sandbox.clear_faults()
    assert since.acts["create"] == 7
    world.balanced()


# --- replay


@check
def the_same_key_is_worked_and_paid_once(world: World) -> None:
    since, asked = Since(world), len(world.model.asked)
    first, again = world.infer("once", key="key-1"), world.infer("once", key="key-1")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json() | {"replayed": True}
    assert len(world.model.asked) == asked + 1
    assert since.acts == {"create": 1, "release": 1}
    other = world.infer("another", key="key-1")
    assert (other.status_code, other.json()["error"]) == (409, "conflict")
    assert world.infer("once", key="key-1", payer_wallet="somebody").status_code == 409


@check
def a_key_whose_work_failed_may_be_used_again(world: World) -> None:
    since = Since(world)
    assert world.infer(FAILS, key="key-2").status_code == 502
    assert world.infer("hello", key="key-2").status_code == 200
    assert since.states == {"cancelled": 1, "released": 1}


@check
def a_key_in_use_says_so(world: World) -> None:
    world.model.go_on.clear()
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(world.infer, f"{WAITS} for it", "key-3")
        world.model.arrived.acquire()
        second = world.infer(f"{WAITS} for it", key="key-3")
        assert (second.status_code, second.json()["error"]) == (409, "in_progress")
        assert "retry-after" in second.headers
        world.model.go_on.set()
        assert first.result().status_code == 200


# --- back-pressure


@check
def more_than_it_takes_is_told_to_wait(world: World) -> None:
    """Two are worked on and one waits: the fourth is refused at once, and the others are served."""
    since = Since(world)
    world.model.go_on.clear()
    with ThreadPoolExecutor(3) as callers:
        taken = [callers.submit(world.infer, f"{WAITS} {n}") for n in range(3)]
        world.model.arrived.acquire()
        world.model.arrived.acquire()
        world.until(lambda: _in_flight(world) == 3, "the third is taken")
        refused = world.infer()
        assert (refused.status_code, refused.json()["error"]) == (429, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        world.model.go_on.set()
        assert [each.result().status_code for each in taken] == [200] * 3
    world.model.arrived.acquire()  # the third's
    assert since.acts == {"create": 3, "release": 3}


def _in_flight(world: World) -> float:
    with httpx.Client(trust_env=False) as http:
        text = http.get(f"http://127.0.0.1:{world.metrics_port}/metrics").text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith("pf_agent_in_flight ")))


# --- the outbox: killed at every step, and started again


def _killed_at(world: World, operation: str, moment: str) -> Since:
    """Kill the agent while it waits for the answer to an act; returns what has changed since before."""
    since = Since(world)
    carried_out = len([call for call in world.sandbox.received if call.carried_out])
    received = len(world.sandbox.received) + (operation != "create")
    world.sandbox.fault(operation, "delay", moment=moment, seconds=2, times=1)
    caller = threading.Thread(target=_asks_in_vain, args=(world, "to be killed"))
    caller.start()
    world.until(lambda: len(world.sandbox.received) > received, f"{operation} has arrived")
    wanted = carried_out + (operation != "create") + (moment == "after")
    world.until(lambda: len([c for c in world.sandbox.received if c.carried_out]) >= wanted, f"{operation} is done")
    world.kill()
    caller.join()
    world.start()
    world.sandbox.clear_faults()
    return since


@check
def killed_while_it_creates(world: World) -> None:
    for moment in ("before", "after"):
        since = _killed_at(world, "create", moment)
        assert since.states == {"review": 1}
        assert since.acts == {"create": 1}, "sent again, though nobody knows of the first"


@check
def killed_while_it_works(world: World) -> None:
    since = _killed_at_work(world, f"{WAITS} for the end")
    world.start()
    assert since.states == {"cancelled": 1}
    assert since.acts == {"create": 1, "cancel": 1}


def _killed_at_work(world: World, prompt: str) -> Since:
    """Kill the agent while its model answers; returns what has changed since before."""
    since = Since(world)
    world.model.go_on.clear()
    caller = threading.Thread(target=_asks_in_vain, args=(world, prompt))
    caller.start()
    world.working()
    world.kill()
    caller.join()
    world.model.go_on.set()
    return since


def _asks_in_vain(world: World, prompt: str) -> None:
    with suppress(httpx.TransportError):
        world.infer(prompt)


@check
def killed_while_it_releases(world: World) -> None:
    for moment in ("before", "after"):
        since = _killed_at(world, "release", moment)
        assert since.states == {"review": 1}
        assert since.acts == {"create": 1, "release": 1}
    world.balanced()


@check
def killed_under_load_it_loses_no_record_and_has_told_nothing_untrue(world: World) -> None:
    """Where writes are committed together, each stands for itself, and is on the disk before its caller is answered."""
    before, told = {*world.escrows()}, SimpleQueue[str]()
    assert world.stop() == 0
    world.start(PF_CONCURRENCY="20")

    def ask(number: int) -> None:
        with suppress(httpx.TransportError):
            told.put(world.infer(f"{number}").json()["escrow_id"])

    with ThreadPoolExecutor(20) as callers:
        asked = [callers.submit(ask, number) for number in range(100)]
        released = {told.get(timeout=SECONDS) for _ in range(30)}
        world.kill()
    assert not [each for each in asked if each.exception()]
    world.start()
    world.settled()
    with closing(sqlite3.connect(world.folder / "ledger.db")) as ledger:
        rows = {row[0]: row[1:] for row in ledger.execute("SELECT id, escrow_id, state FROM escrows")}
    states = {escrow_id: state for escrow_id, state in rows.values() if state != "review"}
    assert {states[escrow_id] for escrow_id in released} == {"released"}
    for escrow_id, status in world.escrows().items():
        if escrow_id not in before:
            token = world.sandbox.escrows.get(escrow_id)["description"].partition("[")[2].rstrip("]")
            assert token in rows, "no record of it"
            assert states.get(escrow_id, status) == status
    world.balanced()


# --- the ledger


@check
def a_second_agent_on_the_same_volume_is_refused(world: World) -> None:
    [told] = world.refused({})
    assert "another agent" in told
    assert world.infer().status_code == 200


def _copy(world: World, name: str) -> Path:
    """A folder beside the volume, with a copy of the ledger: the agent goes on meanwhile."""
    folder = world.folder.parent / f"{world.folder.name} {name}"
    folder.mkdir()
    with (
        closing(sqlite3.connect(world.folder / "ledger.db")) as ledger,
        closing(sqlite3.connect(folder / "ledger.db")) as copy,
    ):
        ledger.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    return folder


@check
def a_ledger_of_another_app_or_wallet_is_refused(world: World) -> None:
    others = [
        {"DATA_DIR": str(_copy(world, f"of another {name}")), name: "another"}
        for name in ("FLY_APP_NAME", "AGENT_WALLET")
    ]
    for told in world.refused(*others):
        assert "conformance" in told


@check
def a_damaged_newer_or_older_ledger_is_refused(world: World) -> None:
    folders = {name: _copy(world, name) for name in ("damaged", "text", "version 99", "version 0")}
    whole = (folders["damaged"] / "ledger.db").read_bytes()
    (folders["damaged"] / "ledger.db").write_bytes(whole[:4096] + os.urandom(4096) + whole[8192:])
    (folders["text"] / "ledger.db").write_bytes(b"no database at all, but some text" * 200)
    for name in ("version 99", "version 0"):
        with closing(sqlite3.connect(folders[name] / "ledger.db")) as other:
            other.execute(f"PRAGMA user_version = {name.split()[1]}")
    lines = world.refused(*({"DATA_DIR": str(folder)} for folder in folders.values()))
    told = dict(zip(folders, lines, strict=True))
    for name, folder in folders.items():
        assert str(folder) in told[name]
    assert "version 99" in told["version 99"]
    assert "newer" in told["version 99"]
    assert "version 0" in told["version 0"]
    assert "newer" not in told["version 0"]


@check
def what_another_machine_began_is_left_alone(world: World) -> None:
    """A successor on a copy of the volume works; the stale Machine comes back then, and finishes what was its own."""
    since = _killed_at_work(world, f"{WAITS} for a successor")
    copy = world.folder.parent / f"{world.folder.name} of the successor"
    shutil.copytree(world.folder, copy)
    world.start(FLY_MACHINE_ID="successor", DATA_DIR=str(copy))
    assert world.infer().json()["status"] == "released"
    assert world.states()["locked"] == 1
    assert "Machine machine-1 began them" in world.log()
    assert world.stop() == 0
    assert since.acts == {"create": 2, "release": 1}
    world.start()
    assert since.states == {"cancelled": 1}
    assert since.acts == {"create": 2, "release": 1, "cancel": 1}
    world.balanced()


@check
def a_restored_ledger_begins_nothing_before_a_person_says_so(world: World) -> None:
    """Its marker lies beside it; whoever restores it elsewhere may lack the last payments (docs/fly.md)."""
    since, marker = Since(world), world.folder / LEDGER_RESTORED
    marker.write_text("s3://bucket/app/machine-1\n")
    refused, ready = world.infer(), world.http.get("/ready")
    assert (refused.status_code, refused.json()["error"]) == (503, "restored")
    assert (ready.status_code, "restored" in ready.text) == (503, True)
    assert (since.states, since.acts) == ({}, {})
    marker.unlink()
    assert world.infer().json()["status"] == "released"


@check
def a_wrong_setting_ends_it_at_once(world: World) -> None:
    wrong = {
        "PF_API_KEY": "",
        "AGENT_WALLET": "",
        "ESCROW_BASE": "ftp://x",
        "PF_PRICE_PER_CHARACTER_USDC": "-1",
        "PF_PRICE_LEAST_USDC": "0",
        "PF_PRICE_MOST_USDC": "9" * 30,
        "DATA_DIR": "/nowhere/at/all",
    }
    told = world.refused(*({name: value} for name, value in wrong.items()))
    for name, line in zip(wrong, told, strict=True):
        assert name in line


@check
def what_is_under_way_is_finished_before_it_stops(world: World) -> None:
    since = Since(world)
    world.model.go_on.clear()
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(world.infer, f"{WAITS} a little")
        world.working()
        assert world.process is not None
        world.process.send_signal(signal.SIGTERM)
        world.until(lambda: _refuses(world), "it takes nothing more")
        world.model.go_on.set()
        assert waiting.result().json()["status"] == "released"
    assert world.process.wait(30) == 0
    world.start()
    assert since.states == {"released": 1}
    world.balanced()


def _refuses(world: World) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", world.port), 1):
            return False
    except OSError:
        return True
