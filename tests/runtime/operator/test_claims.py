"""An escrow pays for one Job, however many operators ask for it at the same moment, as long as its Escrow object is."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import lightkube
import pytest
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Namespace

from runtime.contract import ESCROW_ID_ANNOTATION, SETTLEMENT_FINALIZER, Env
from runtime.kubernetes.claims import LABELS, Claims, ReviewRequired, claim_name
from runtime.kubernetes.client import KubernetesApi
from runtime.kubernetes.escrow import ESCROW
from runtime.kubernetes.escrow import Escrow as Account
from runtime.kubernetes.escrow_objects import EscrowObjects
from tests.runtime.operator.world import Escrow, await_list, eventually

ESCROW_ID = "esc_1"


def ask(world, monkeypatch, work: Callable[[Claims], Awaitable], namespace: str = "") -> object:
    """What `work` makes of the claims of an operator with the declared rights."""
    monkeypatch.setenv("KUBECONFIG", str(world.kubeconfig))

    async def run() -> object:
        async with KubernetesApi("tests") as api:
            return await work(Claims(api, EscrowObjects(api), namespace or world.namespace))

    return asyncio.run(run())


def escrow(world, uid: str, escrow_id: str = ESCROW_ID, status: dict | None = None, **metadata: object) -> Account:
    """An Escrow object that names an escrow, as the API server has it."""
    spec = {"job": {"name": uid, "uid": uid}, "escrowId": escrow_id, "dialect": "server", "token": f"pf-token-{uid}"}
    made = world.client.create(Escrow({"metadata": {"name": f"job-{uid}", **metadata}, "spec": spec})).to_dict()
    return ESCROW.read(json.dumps(made | ({"status": status} if status else {})).encode())


async def outcome(claims: Claims, found: Account) -> str:
    """The claim, or why there is none."""
    try:
        return (await claims.hold(found))["claim"]
    except ReviewRequired as case:
        return case.problem


def holders(client: lightkube.Client) -> dict[str, str]:
    return {lease.metadata.name: lease.spec.holderIdentity for lease in client.list(Lease, labels=LABELS)}


def test_of_many_that_ask_at_once_one_holds_the_claim(world, monkeypatch):
    asking = [escrow(world, f"job{n:02d}") for n in range(16)]

    async def everybody(claims: Claims) -> list[str]:
        return await asyncio.gather(*(outcome(claims, found) for found in asking))

    answers = ask(world, monkeypatch, everybody)
    winner = answers.index(claim_name(ESCROW_ID))
    assert holders(world.client) == {claim_name(ESCROW_ID): f"{world.namespace}/job{winner:02d}"}
    refused = answers[:winner] + answers[winner + 1 :]
    assert all(f"already pays for the Job with UID job{winner:02d}" in answer for answer in refused)


def test_a_claim_is_held_again_after_a_crash_and_when_somebody_deleted_it(world, monkeypatch):
    mine, other = escrow(world, "mine"), escrow(world, "other")
    recorded = escrow(world, "recorded", "esc_2", status={"claim": claim_name("esc_2")})
    forged = escrow(world, "forged", status={"claim": "any text"})

    async def crash(claims: Claims) -> list:
        again = [await outcome(claims, mine), await outcome(claims, mine), await outcome(claims, other)]
        return [*again, await claims.hold(recorded), await claims.hold(recorded), await outcome(claims, forged)]

    first, again, refused, *nothing, untrue = ask(world, monkeypatch, crash)
    assert first == again == claim_name(ESCROW_ID)
    assert "UID mine" in refused
    assert nothing == [{}, {}]
    assert "UID mine" in untrue, "what counts is the Lease, not what a status says of it"


@pytest.mark.parametrize("escrow_id", ["x" * 200, "UPPER.lower_1~2", "0xABCDEF"])
def test_any_escrow_id_has_a_claim_that_names_it(world, monkeypatch, escrow_id):
    name = ask(world, monkeypatch, lambda claims: outcome(claims, escrow(world, "job", escrow_id)))
    assert world.client.get(Lease, name).metadata.annotations[ESCROW_ID_ANNOTATION] == escrow_id


def test_a_claim_ends_with_its_escrow_object_and_not_before(world, monkeypatch):
    first, second = escrow(world, "first"), escrow(world, "second")
    ask(world, monkeypatch, lambda claims: outcome(claims, first))
    assert "UID first" in ask(world, monkeypatch, lambda claims: outcome(claims, second))
    world.client.delete(Escrow, "job-first")
    assert ask(world, monkeypatch, lambda claims: outcome(claims, second)) == claim_name(ESCROW_ID)
    assert list(holders(world.client).values()) == [f"{world.namespace}/second"]


def test_kubernetes_removes_the_claim_of_an_escrow_in_the_operators_own_namespace(world, monkeypatch):
    ask(world, monkeypatch, lambda claims: outcome(claims, escrow(world, "gone")))
    assert holders(world.client)
    world.client.delete(Escrow, "job-gone")
    eventually(lambda: not holders(world.client), "it goes with its owner")


def test_a_sweep_removes_the_claims_of_escrows_that_are_gone_from_other_namespaces(world, monkeypatch):
    other = world.sibling("swept")
    world.let_serve(other)
    for uid in ("kept", "gone"):
        ask(world, monkeypatch, lambda claims, uid=uid: outcome(claims, escrow(other, uid, f"esc_{uid}")))
    metadata = {"name": claim_name("esc_foreign"), "labels": LABELS}
    world.client.create(Lease.from_dict({"metadata": metadata, "spec": {"holderIdentity": "not-ours/gone"}}))
    world.client.create(Lease.from_dict({"metadata": {"name": "somebody-elses"}, "spec": {"holderIdentity": "x"}}))
    odd = {"task": f"{other.namespace}/Task/t-1", "blank": "", "nonsense": "///", "no-job": f"{other.namespace}/"}
    for name, holder in odd.items():  # of a Task, or of nobody knows what: one of them shall not end the sweep
        metadata = {"name": claim_name(name), "labels": LABELS}
        world.client.create(Lease.from_dict({"metadata": metadata, "spec": {"holderIdentity": holder or None}}))
    other.client.delete(Escrow, "job-gone")
    ask(world, monkeypatch, lambda claims: claims.sweep([world.namespace, other.namespace]))
    left = {"esc_kept", "esc_foreign", *odd}
    assert set(holders(world.client)) == {claim_name(name) for name in left}
    assert world.client.get(Lease, "somebody-elses")


def test_in_a_namespace_that_ends_it_goes_without(world, monkeypatch):
    """Nothing can be created there, and what is locked for a Job that is deleted with it shall be disputed."""
    ending = world.sibling("ends")
    held = {"finalizers": [SETTLEMENT_FINALIZER]}
    found = escrow(ending, "late", **held)
    first, second = (escrow(ending, uid, "esc_taken", **held) for uid in ("first", "second"))
    world.kubeconfig, kubeconfig = ending.kubeconfig, world.kubeconfig
    ask(world, monkeypatch, lambda claims: outcome(claims, first), ending.namespace)
    lease = ending.client.get(Lease, claim_name("esc_taken"))
    ending.client.patch(Lease, lease.metadata.name, {"metadata": {"finalizers": ["example.com/kept"]}})
    world.client.delete(Namespace, ending.namespace)
    eventually(lambda: world.client.get(Namespace, ending.namespace).status.phase == "Terminating", "it ends")
    try:
        answer = ask(world, monkeypatch, lambda claims: outcome(claims, found), ending.namespace)
        assert answer == claim_name(ESCROW_ID)
        assert "UID first" in ask(world, monkeypatch, lambda claims: outcome(claims, second), ending.namespace)
    finally:
        ending.client.patch(Lease, lease.metadata.name, {"metadata": {"finalizers": None}})
        world.kubeconfig = kubeconfig


def test_two_active_operators_bind_one_of_two_jobs_that_name_one_escrow(world):
    world.operator()
    world.operator()
    ids = [world.fund(token=f"by-hand-{n:02d}") for n in range(8)]
    pairs = [(f"a-{n}", f"b-{n}") for n in range(8)]
    for pair, escrow_id in zip(pairs, ids, strict=True):
        for name in pair:
            world.job(name, escrow_id)
            world.finish(name)
    for pair, escrow_id in zip(pairs, ids, strict=True):
        ends = {name: world.await_phase(name, "Settled", "NeedsReview") for name in pair}
        phases = sorted(end["status"]["phase"] for end in ends.values())
        assert phases == ["NeedsReview", "Settled"], ends
        paid, refused = sorted(ends.values(), key=lambda end: end["status"]["phase"], reverse=True)
        assert (paid["status"]["outcome"], paid["status"]["drift"]) == ("Paid", False)
        assert paid["spec"]["job"]["uid"] in refused["status"]["evidence"]
        assert world.payments()[escrow_id] == "released"


def test_one_escrow_named_in_two_namespaces_pays_for_one(world):
    other = world.sibling("too")
    escrow_id = world.fund()
    world.survivor([world, other])
    world.job("here", escrow_id)
    world.await_phase("here", "Funded")
    other.job("there", escrow_id)
    status = other.await_phase("there", "NeedsReview")["status"]
    assert f"in namespace {world.namespace}" in status["evidence"]


def test_of_two_that_waited_for_an_operator_the_older_is_bound(world):
    escrow_id = world.fund()
    world.job("zebra", escrow_id)
    born = world.get_job("zebra").metadata.creationTimestamp

    def younger() -> object:
        """A Job of a later second, because that is as exactly as the API server tells."""
        if job := world.get_job("ant"):
            if job.metadata.creationTimestamp > born:
                return job
            world._let_everything_go()
            world.client.delete(type(job), "ant")
            world.await_gone("ant")
        return world.job("ant", escrow_id) and None

    world.eventually(younger, "a younger Job")
    world.operator()
    assert world.await_phase("ant", "NeedsReview")
    assert world.await_phase("zebra", "Funded")


def test_a_request_that_was_funded_holds_the_claim_before_anybody_can_name_it(world):
    world.operator()
    world.job("asks", request=json.dumps({"payee": "worker-agent-007", "amountUsdc": "0.50"}), suspend=True)
    found = world.await_phase("asks", "Funded")
    world.job("copies", found["spec"]["escrowId"])
    status = world.await_phase("copies", "NeedsReview")["status"]
    assert found["spec"]["job"]["uid"] in status["evidence"]
    assert found["status"]["claim"] == claim_name(found["spec"]["escrowId"])


def test_nothing_is_sent_for_a_job_that_does_not_hold_the_claim_even_if_a_person_says_so(world):
    operator = world.operator(**{Env.RESYNC_SECONDS: "1"})
    escrow_id = world.fund()
    world.job("first", escrow_id)
    world.await_phase("first", "Funded")
    world.job("second", escrow_id)
    world.await_phase("second", "NeedsReview")
    await_list(operator)
    name = world.escrow("second")["metadata"]["name"]
    now = "2026-01-01T00:00:00Z"
    act = {"who": "somebody tired", "when": now, "what": "to be tried again: release", "reason": "it was done"}
    decided = {"phase": "Decided", "intent": "release", "decidedAt": now, "reason": "it was done", "acts": [act]}
    world.client.patch(Escrow.Status, name, {"status": decided}, patch_type=lightkube.types.PatchType.MERGE)
    eventually(lambda: operator.log().count("already pays for the Job") >= 2, "it was looked at again")
    assert world.await_phase("second", "NeedsReview")["status"].get("lastAnswer") is None
    assert world.payments() == {escrow_id: "funded"}
