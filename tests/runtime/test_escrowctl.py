"""What people do about escrows, against a real API server and with the operator beside them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lightkube.resources.batch_v1 import Job
from lightkube.types import PatchType

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION, SETTLEMENT_FINALIZER, Env
from tests.runtime.operator import world as worlds
from tests.runtime.operator.world import PAYEE, Escrow, eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world(control_plane, namespace, sandbox):
    worlds.install_definition(control_plane)
    with worlds.world(control_plane, namespace.name, namespace.client, sandbox, "server") as built:
        yield built


def escrowctl(world, *words: str, expect: int = 0, output: bool = False, **environment: str) -> str:
    """Run it as a person would, with the administrator's kubeconfig.

    Returns its output; its error where another exit code is expected, but for `output`.
    """
    done = subprocess.run(
        [sys.executable, "-m", "runtime.escrowctl", *words],
        env={"PATH": os.environ["PATH"], "KUBECONFIG": str(world.cluster.kubeconfig), **environment},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if expect and not output else done.stdout


def vanished(world, name: str = "lost") -> str:
    """A NeedsReview: a Job that asked in a way nobody can fulfil, naming a real escrow by hand afterwards."""
    escrow_id = world.fund()
    world.job("holder", escrow_id)
    world.await_phase("holder", "Funded")
    world.job(name, escrow_id)
    world.await_phase(name, "NeedsReview")
    return escrow_id


def test_a_review_is_listed_explained_and_closed_on_a_persons_word(world):
    world.operator()
    escrow_id = vanished(world)
    where = ("-n", world.namespace)
    listing = escrowctl(world, "list", *where)
    assert "NeedsReview" in listing
    assert escrow_id in listing
    assert "holder" not in escrowctl(world, "list", *where, "--phase", "NeedsReview")
    words = escrowctl(world, "explain", "lost", *where)
    assert "already pays for the Job" in words
    assert "kubectl purpleflea resolve" in words
    escrowctl(world, "resolve", "lost", *where, "--as", "Cancelled", "--reason", "the Job was a mistake")
    escrow = json.loads(escrowctl(world, "show", "lost", *where))
    act = escrow["status"]["acts"][0]
    assert (escrow["status"]["phase"], escrow["status"]["outcome"]) == ("Settled", "Cancelled")
    assert (act["who"], act["what"], act["reason"]) == ("admin", "closed as Cancelled", "the Job was a mistake")
    assert world.payments() == {escrow_id: "funded"}, "nothing was sent"
    rows = {row["workName"]: row for row in json.loads(escrowctl(world, "list", *where, "-o", "json"))}
    lost, holder = rows["lost"], rows["holder"]
    assert (lost["workName"], lost["phase"], lost["outcome"], lost["paidUsdc"]) == (
        "lost",
        "Settled",
        "Cancelled",
        None,
    )
    assert (holder["workName"], holder["phase"], holder["lockedUsdc"]) == ("holder", "Funded", "1.00")
    assert "in another namespace: -n NAMESPACE" in escrowctl(world, "explain", "lost", expect=2)
    assert "-n NAMESPACE" not in escrowctl(world, "explain", "nobody", *where, expect=2)


def test_a_review_that_is_tried_again_is_settled_by_the_operator_at_once(world):
    world.operator(**{Env.RESYNC_SECONDS: "600"})
    escrow_id = world.fund()
    world.job("unlucky", escrow_id)
    world.await_phase("unlucky", "Funded")
    world.sandbox.fault("read", "status", status=404, body={"error": "not_found"})
    world.finish("unlucky")
    world.await_phase("unlucky", "NeedsReview")
    world.sandbox.clear_faults()
    escrowctl(world, "retry", "unlucky", "-n", world.namespace, "--reason", "the service was restored from a backup")
    assert world.await_phase("unlucky", "Settled")["status"]["outcome"] == "Paid"
    assert world.payments() == {escrow_id: "released"}


def test_the_seventeenth_act_and_the_next_are_recorded_too(world):
    """The list takes sixteen; what is older is summed up, and the API server holds that nothing just goes."""
    world.operator()
    vanished(world)
    name = world.escrow("lost")["metadata"]["name"]
    acts = [
        {"who": f"person-{n}", "when": "2026-01-01T00:00:00Z", "what": f"act {n}", "reason": "because"}
        for n in range(16)
    ]
    world.client.patch(Escrow.Status, name, {"status": {"acts": acts}}, patch_type=PatchType.MERGE)
    where = ("-n", world.namespace, "--reason", "once more")
    for _ in range(2):
        escrowctl(world, "resolve", "lost", *where, "--release")
        world.eventually(lambda: world.escrow("lost")["status"]["phase"] == "NeedsReview", "it cannot be released")
    status = world.escrow("lost")["status"]
    assert (len(status["acts"]), status["earlierActs"]["count"]) == (16, 2)
    assert status["acts"][-1]["reason"] == "once more"
    explained = escrowctl(world, "explain", "lost", "-n", world.namespace)
    assert "2 earlier acts: 2026-01-01T00:00:00Z person-0: act 0; 2026-01-01T00:00:00Z person-1: act 1" in explained


def test_mistakes_are_explained(world):
    where = ("-n", world.namespace)
    assert "there is no Escrow at all" in escrowctl(world, "explain", "nobody", *where, expect=2)
    world.operator()
    world.job("fine", world.fund())
    world.await_phase("fine", "Funded")
    assert "of the Jobs fine" in escrowctl(world, "explain", "nobody", *where, expect=2)
    reason = ("--reason", "because")
    assert "only a NeedsReview" in escrowctl(world, "resolve", "fine", *where, "--release", *reason, expect=2)
    world.job("crooked", "not an id")
    world.await_phase("crooked", "NeedsReview")
    assert "say why" in escrowctl(world, "resolve", "crooked", *where, "--as", "Paid", "--reason", " ", expect=2)
    assert "nothing was decided" in escrowctl(world, "retry", "crooked", *where, *reason, expect=2)
    assert "no escrow is bound" in escrowctl(world, "resolve", "crooked", *where, "--release", *reason, expect=2)
    funding = ("fund", "-f", "/nonexistent.yaml")
    unset = escrowctl(world, *funding, expect=2)
    assert unset.count("escrowctl: ") == 2
    assert "PF_ESCROW_URL is not set" in unset
    assert "no API key" in unset
    payments = {Env.ESCROW_URL: "https://escrow.example", Env.API_KEY: "some-key"}
    assert "cannot be read" in escrowctl(world, *funding, expect=2, **payments)
    assert "/nonexistent not found" in escrowctl(world, "list", expect=2, KUBECONFIG="/nonexistent")


def test_an_api_server_out_of_reach_is_said_in_one_line(world, tmp_path):
    away = tmp_path / "away.kubeconfig"
    away.write_text(world.cluster.kubeconfig.read_text().replace(world.cluster.url, "https://127.0.0.1:1"))
    assert "cannot be reached" in escrowctl(world, "list", "-n", world.namespace, expect=1, KUBECONFIG=str(away))


def test_a_stuck_job_is_let_go_and_the_act_recorded(world):
    operator = world.operator()
    world.job("stuck", world.fund())
    world.await_phase("stuck", "Funded")
    operator.stop()
    job = world.get_job("stuck")
    world.client.delete(type(job), "stuck")
    assert SETTLEMENT_FINALIZER in world.get_job("stuck").metadata.finalizers
    escrowctl(world, "let-go", "stuck", "-n", world.namespace, "--reason", "the operator was uninstalled")
    eventually(lambda: world.get_job("stuck") is None, "the Job goes")
    assert world.escrow("stuck")["status"]["acts"][0]["what"] == "let go of the Job"


def test_an_escrow_that_is_deleted_itself_is_let_go_with_its_job(world):
    """Else a namespace whose operator is gone could never end."""
    operator = world.operator()
    world.job("stranded", world.fund())
    name = world.await_phase("stranded", "Funded")["metadata"]["name"]
    operator.stop()
    world.client.delete(Job, "stranded")
    world.client.delete(Escrow, name)
    assert world.escrow("stranded"), "money is locked: it stays until somebody decides"
    said = escrowctl(world, "let-go", "stranded", "-n", world.namespace, "--reason", "the namespace goes")
    assert "Phase: Funded" in said
    eventually(lambda: world.get_job("stranded") is None and world.escrow("stranded") is None, "both go")


def test_all_that_is_deleted_is_let_go_and_nothing_else(world):
    """What is left where the rights went before the Jobs: one command ends it, and says where the money is."""
    operator = world.operator()
    names = ("one", "two", "orphaned", "stays")
    escrows = {}
    for name in names:
        world.job(name, world.fund(token=f"by-hand-{name}"))
        escrows[name] = world.await_phase(name, "Funded")["metadata"]["name"]
    operator.stop()
    for name in ("one", "two", "orphaned"):
        world.client.delete(Job, name)
        world.client.delete(Escrow, escrows[name])
    world.client.patch(Job, "orphaned", {"metadata": {"finalizers": None}}, patch_type=PatchType.MERGE)
    where = ("-n", world.namespace, "--reason", "the foundation went first")
    assert "not allowed with" in escrowctl(world, "let-go", "one", "--all", *where, expect=2)
    assert "required" in escrowctl(world, "let-go", *where, expect=2)
    said = escrowctl(world, "let-go", "--all", *where)
    assert said.count("Phase: Funded") == 3
    assert [name for name in names if world.get_job(name)] == ["stays"]
    assert [escrow["spec"]["job"]["name"] for escrow in world.escrows()] == ["stays"]
    assert SETTLEMENT_FINALIZER in world.get_job("stays").metadata.finalizers
    assert "nothing" in escrowctl(world, "let-go", "--all", *where)


@pytest.fixture
def by_hand(world, tmp_path):
    """A manifest that asks for an escrow, and `fund` for it."""
    request = json.dumps({"payee": PAYEE, "amountUsdc": "0.75"})
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "by-hand", "annotations": {ESCROW_REQUEST_ANNOTATION: request}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}},
    }
    manifest = tmp_path / "job.yaml"
    manifest.write_text(yaml.safe_dump(job))
    environment = {
        Env.API_KEY: world.key,
        Env.API_DIALECT: "server",
        Env.ESCROW_URL: world.sandbox.url,
        Env.ALLOW_HTTP: "true",
    }

    def fund(*more: str, expect: int = 0) -> str:
        return escrowctl(world, "fund", "-f", str(manifest), *more, expect=expect, **environment)

    return fund


def test_fund_creates_one_escrow_however_often_it_runs(world, by_hand):
    first, second = yaml.safe_load(by_hand()), yaml.safe_load(by_hand())
    assert first == second
    assert world.payments() == {first["metadata"]["annotations"][ESCROW_ID_ANNOTATION]: "funded"}
    assert ESCROW_REQUEST_ANNOTATION not in first["metadata"]["annotations"]


def test_what_fund_makes_is_taken_from_the_job_it_was_made_for_and_is_accounted_for(world, by_hand):
    funded = yaml.safe_load(by_hand("-n", world.namespace))
    escrow_id = funded["metadata"]["annotations"][ESCROW_ID_ANNOTATION]
    payments = {Env.API_KEY: world.key, Env.API_DIALECT: "server", Env.ESCROW_URL: world.sandbox.url}
    payments |= {Env.CASINO_URL: world.sandbox.url, Env.ALLOW_HTTP: "true"}
    listed = escrowctl(world, "list", "--unaccounted", **payments)
    assert escrow_id in listed
    assert "0.75" in listed
    world.operator(**worlds.STRICT)
    world.client.create(Job.from_dict(funded))
    world.await_phase("by-hand", "Funded")
    assert "every open escrow of this key has an account" in escrowctl(world, "list", "--unaccounted", **payments)


def test_fund_does_not_give_out_an_escrow_that_has_ended(world, by_hand, tmp_path):
    """The Job that names it would run, and never be paid for."""
    funded = by_hand()
    escrow_id = yaml.safe_load(funded)["metadata"]["annotations"][ESCROW_ID_ANNOTATION]
    kept = tmp_path / "funded.yaml"
    kept.write_text(funded)
    assert by_hand("-f", str(kept)) == funded, "it is funded already"
    world.sandbox.resolve(escrow_id, "release")
    assert f"escrow {escrow_id} of this Job has ended already" in by_hand("-f", str(kept), expect=2)
    complaint = by_hand(expect=2)
    assert f"escrow {escrow_id} of this Job has ended already" in complaint
    assert "another name" in complaint
    assert len(world.payments()) == 1
