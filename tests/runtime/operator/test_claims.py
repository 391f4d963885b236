"""Several Escrows name one escrow: whichever operator asks, and however old its memory, one and the same keeps it."""

import asyncio
from copy import deepcopy

import pytest
from lightkube.types import PatchType

from runtime.operator.api import KubernetesApi
from runtime.operator.claims import Claims, rank
from runtime.operator.escrows import EscrowObjects
from tests.runtime.operator.world import Escrow

SECOND = "2026-01-01T00:00:00Z"


def escrow(uid: str, phase: str = "Pending", **status: object) -> dict:
    """An Escrow object of a given Job that names the one escrow, as read from a list."""
    spec = {"job": {"name": uid, "uid": uid}, "escrowId": "esc_1", "dialect": "server", "token": f"pf-token-{uid}"}
    metadata = {"name": f"job-{uid}", "namespace": "n", "creationTimestamp": SECOND}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, **status}}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (escrow("a"), escrow("b")),
        (escrow("b", "Funded"), escrow("a")),
        (escrow("b", "Verifying"), escrow("a", "Funded")),
        (escrow("b", "Settled", lastAnswer={}), escrow("a", "Funded")),
        (escrow("b", "NeedsReview", lockedAt=SECOND), escrow("a")),
    ],
)
def test_who_is_further_comes_first_and_then_who_is_older(first, second):
    assert rank(first) < rank(second)


@pytest.mark.parametrize("closed", [escrow("a", "NeedsReview"), escrow("a", "Settled", outcome="Cancelled")])
def test_one_that_was_never_bound_holds_nothing(closed):
    assert rank(closed) is None


@pytest.fixture
def objects(world, monkeypatch):
    """Make an Escrow on the API server; its object as read back."""
    monkeypatch.setenv("KUBECONFIG", str(world.kubeconfig))

    def make(uid: str, **status: object) -> dict:
        found = escrow(uid)
        world.client.create(Escrow({"metadata": {"name": f"job-{uid}"}, "spec": found["spec"]}))
        return change(uid, **status) if status else read(uid)

    def change(uid: str, **status: object) -> dict:
        world.client.patch(Escrow.Status, f"job-{uid}", {"status": status}, patch_type=PatchType.MERGE)
        return read(uid)

    def read(uid: str) -> dict:
        return world.client.get(Escrow, f"job-{uid}").to_dict()

    make.change = change
    return make


def test_a_pass_that_is_older_than_a_decision_does_not_take_it_back(objects):
    """Both were pending when the pass read them; since then one was bound and the other, which sorts first, refused."""
    first, second = objects("a"), objects("b")

    async def ask() -> list[str | None]:
        async with KubernetesApi() as api:
            claims = Claims(EscrowObjects(api))
            survey = claims.survey()
            for pending in (first, second):
                seen = deepcopy(pending)
                seen["metadata"]["creationTimestamp"] = SECOND
                survey.note(seen)
            assert await claims.other(second) is None
            bound = objects.change("b", phase="Funded", lockedAt=SECOND)
            refused = await claims.other(first)
            objects.change("a", phase="NeedsReview", evidence="taken")
            claims.renew(survey)
            return [refused, await claims.other(bound)]

    assert asyncio.run(ask()) == ["b", None]


def test_two_operators_with_opposite_memories_agree(objects):
    first, second = objects("a", phase="Funded"), objects("b", phase="Funded")
    older = min(first, second, key=rank)["spec"]["job"]["uid"]

    async def ask() -> list[str | None]:
        async with KubernetesApi() as api:
            one, other = Claims(EscrowObjects(api)), Claims(EscrowObjects(api))
            for claims, remembered in ((one, second), (other, first)):
                survey = claims.survey()
                survey.note(remembered)
                claims.renew(survey)
            return [await one.other(first), await other.other(second)]

    assert asyncio.run(ask()) == [None if uid == older else older for uid in ("a", "b")]


def test_what_was_claimed_since_a_pass_began_outlives_it(objects):
    found = objects("a", phase="Funded")

    async def ask() -> str | None:
        async with KubernetesApi() as api:
            claims = Claims(EscrowObjects(api))
            survey = claims.survey()
            assert await claims.other(found) is None
            claims.renew(survey)
            return await claims.other(objects("b"))

    assert asyncio.run(ask()) == "a"
