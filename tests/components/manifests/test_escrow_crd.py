"""The rules of the Escrow definition, asked of a real API server."""

import contextlib
import copy
import itertools

import httpx2
import pytest
from lightkube import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.types import PatchType

from components.manifests import escrow_crd
from components.settings import Settings
from runtime.contract import ESCROW_GROUP, ESCROW_KIND, ESCROW_PLURAL, ESCROW_VERSION, Phase
from tests.runtime.operator.world import eventually

Escrow = create_namespaced_resource(ESCROW_GROUP, ESCROW_VERSION, ESCROW_KIND, ESCROW_PLURAL)
SPEC = {"job": {"name": "pf-agent-job", "uid": "u-1"}, "dialect": "kubernetes", "token": "t-1"}
NOW = "2026-11-21T12:00:00Z"
SETTLED = {"phase": "Settled", "outcome": "Paid", "closedAt": NOW}
ACT = {"who": "ann", "when": NOW, "what": "retry", "reason": "the service is back"}


@pytest.fixture
def escrows(namespace):
    """A namespace on a server that knows Escrows."""
    rendered = CustomResourceDefinition.from_dict(escrow_crd.custom_resource_definition(Settings()))
    namespace.client.apply(rendered, field_manager="tests", force=True)
    for _ in namespace.client.watch(CustomResourceDefinition, fields={"metadata.name": escrow_crd.NAME}):
        found = namespace.client.get(CustomResourceDefinition, escrow_crd.NAME)
        if any(c.type == "Established" and c.status == "True" for c in found.status.conditions or ()):
            break
    return Book(namespace.client)


class Book:
    """Escrows of one namespace."""

    def __init__(self, client) -> None:
        self._client = client
        self._numbers = itertools.count()

    def create(self, spec, status=None) -> str:
        """A new Escrow, with a status where one is given; its name."""
        name = f"escrow-{next(self._numbers)}"
        self._client.create(Escrow({"metadata": {"name": name}, "spec": spec}))
        if status is not None:
            self.status(name, status)
        return name

    def spec(self, name, change):
        """Merge into the spec."""
        self._client.patch(Escrow, name, {"spec": change}, patch_type=PatchType.MERGE)

    def status(self, name, change):
        """Merge into the status."""
        self._client.patch(Escrow.Status, name, {"status": change}, patch_type=PatchType.MERGE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"job": {"uid": "u-2"}}, "the Job never changes"),
        ({"dialect": "server"}, "the dialect never changes"),
        ({"token": "t-2"}, "the token never changes"),
        ({"escrowId": "esc_2"}, "escrowId is set once"),
        ({"escrowId": None}, "escrowId is set once"),
        ({"payee": "someone-else"}, "payee is set once"),
        ({"amountUsdc": "0.11"}, "amountUsdc is set once"),
    ],
)
def test_what_was_agreed_stays(escrows, change, message):
    name = escrows.create(SPEC)
    escrows.spec(name, {"escrowId": "esc_1", "payee": "worker-agent-007", "amountUsdc": "0.10"})
    with pytest.raises(ApiError, match=message):
        escrows.spec(name, change)


@pytest.mark.parametrize("amount", ["0.1234567", "-1", "1e3", "1,5", "", "1.", "1234567890", " 1"])
def test_an_amount_is_a_plain_decimal(escrows, amount):
    with pytest.raises(ApiError, match=r"spec\.amountUsdc"):
        escrows.create({**SPEC, "amountUsdc": amount})


JOB = {"kind": "Job", "name": "pf-agent-job", "uid": "u-1"}
TASK = {"kind": "Task", "name": "summary", "taskId": "t-1", "id": "summary/2026-11-21"}
AGREED = {"dialect": "kubernetes", "token": "t-1"}


@pytest.mark.parametrize(
    "spec",
    [
        {"work": JOB},
        {"work": JOB | {"id": "daily/2026-11-21"}},
        {"work": JOB, "job": SPEC["job"]},
        {"work": TASK},
        {"job": SPEC["job"]},
    ],
)
def test_an_account_is_for_a_job_or_for_a_task(escrows, spec):
    name = escrows.create(AGREED | spec)
    escrows.spec(name, {"escrowId": "esc_1"})
    for change in ({"work": {"name": "another"}}, {"work": {"id": "another"}}, {"work": None}):
        if "work" in spec:
            with pytest.raises(ApiError, match="work is set once"):
                escrows.spec(name, change)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "say what it pays for"),
        ({"work": {"kind": "Job", "name": "n"}}, "a Job has its uid"),
        ({"work": {"kind": "Task", "name": "n"}}, "a Task its taskId"),
        ({"work": JOB | {"taskId": "t-1"}}, "a Job has its uid"),
        ({"work": TASK | {"uid": "u-1"}}, "a Task its taskId"),
        ({"work": {"kind": "CronJob", "name": "n", "uid": "u-1"}}, "Unsupported value"),
        ({"work": {"kind": "Job", "uid": "u-1"}}, "spec.work.name"),
        ({"work": JOB | {"id": ""}}, "spec.work.id"),
        ({"work": JOB | {"id": "x" * 254}}, "spec.work.id"),
        ({"work": JOB, "job": {"name": "pf-agent-job", "uid": "u-2"}}, "name the same Job"),
        ({"work": JOB, "job": {"name": "other", "uid": "u-1"}}, "name the same Job"),
        ({"work": TASK, "job": SPEC["job"]}, "name the same Job"),
    ],
)
def test_what_it_is_for_is_said_once_and_wholly(escrows, spec, message):
    with pytest.raises(ApiError, match=message):
        escrows.create(AGREED | spec)


def test_an_account_of_the_version_before_may_be_given_its_own_job_and_no_other(escrows):
    name = escrows.create(SPEC)
    with pytest.raises(ApiError, match="name the same Job"):
        escrows.spec(name, {"work": JOB | {"uid": "u-2"}})
    escrows.spec(name, {"work": JOB})
    with pytest.raises(ApiError, match="the Job never changes"):
        escrows.spec(name, {"job": None})


def test_accounts_are_found_by_their_work(escrows, namespace):
    escrows.create(AGREED | {"work": TASK})
    escrows.create(AGREED | {"work": JOB})
    escrows.create(SPEC)

    def names(**fields):
        return [found["spec"].get("work") for found in namespace.client.list(Escrow, fields=fields)]

    assert names(**{"spec.work.kind": "Task"}) == [TASK]
    assert names(**{"spec.work.id": TASK["id"]}) == [TASK]


def test_what_was_stored_by_the_definition_before_is_kept_and_goes_on(namespace):
    """The definition before knew no `work`; under another name, because others use ours."""
    group = f"before-{namespace.name}.example.com"
    kind = create_namespaced_resource(group, ESCROW_VERSION, ESCROW_KIND, ESCROW_PLURAL)

    def apply(version):
        rendered = escrow_crd.custom_resource_definition(Settings())
        rendered["metadata"]["name"] = f"{ESCROW_PLURAL}.{group}"
        rendered["spec"] |= {"group": group, "versions": [version]}
        namespace.client.apply(CustomResourceDefinition.from_dict(rendered), field_manager="tests", force=True)

    (now,) = escrow_crd.custom_resource_definition(Settings())["spec"]["versions"]
    before = copy.deepcopy(now)
    before["selectableFields"] = [{"jsonPath": ".spec.escrowId"}, {"jsonPath": ".status.phase"}]
    spec = before["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["work"]
    spec["required"].append("job")
    spec["x-kubernetes-validations"] = [r for r in spec["x-kubernetes-validations"] if "work" not in r["rule"]]
    apply(before)
    stored = {"metadata": {"name": "stored"}, "spec": SPEC | {"escrowId": "esc_1"}}
    try:
        eventually(lambda: _created(namespace.client, kind(stored)), "the definition is served")
        funded = {"status": {"phase": "Funded", "lockedUsdc": "0.10"}}
        namespace.client.patch(kind.Status, "stored", funded, patch_type=PatchType.MERGE)
        apply(now)
        eventually(lambda: not list(_listed(namespace.client, kind)), "the new definition is served")
        decided = {"status": {"phase": "Decided", "intent": "release"}}
        namespace.client.patch(kind.Status, "stored", decided, patch_type=PatchType.MERGE)
        found = namespace.client.get(kind, "stored").to_dict()
        assert found["spec"] == stored["spec"]
        assert found["status"] == funded["status"] | decided["status"]
    finally:
        namespace.client.delete(CustomResourceDefinition, f"{ESCROW_PLURAL}.{group}")


def _created(client, stored) -> bool:
    try:
        return bool(client.create(stored))
    except ApiError as error:
        if error.status.code not in (404, 429):
            raise
    except httpx2.HTTPStatusError as error:  # a path that is not served yet is answered in plain text
        if error.response.status_code != 404:
            raise
        return False


def _listed(client, kind):
    """Accounts of Tasks, which only the new definition can tell; some until then."""
    try:
        yield from client.list(kind, fields={"spec.work.kind": "Task"})
    except ApiError as error:
        yield error


def test_phases_only_move_forward(escrows):
    """Every pair of phases, both ways; Decided and Verifying alternate, NeedsReview needs a person."""
    rank = {"Pending": 0, "Funded": 1, "Decided": 2, "Verifying": 2, "NeedsReview": 3, "Settled": 4}
    for before, after in itertools.product(Phase, Phase):
        name = escrows.create(
            {**SPEC, "escrowId": "esc_1"}, {"phase": before.value, "outcome": "Paid", "closedAt": NOW}
        )
        refused = rank[after.value] < rank[before.value] or (before, after) == (Phase.NEEDS_REVIEW, Phase.SETTLED)
        with pytest.raises(ApiError, match=r"phase only|person's act") if refused else contextlib.nullcontext():
            escrows.status(name, {"phase": after.value})


@pytest.mark.parametrize("after", ["Pending", "Decided", "Settled"])
def test_only_an_act_leads_out_of_review(escrows, after):
    name = escrows.create(SPEC, {"phase": "NeedsReview", "outcome": "Paid", "closedAt": NOW, "intent": "release"})
    with pytest.raises(ApiError, match="only a person's act"):
        escrows.status(name, {"phase": after})
    with pytest.raises(ApiError, match="changed only by a person's act"):
        escrows.status(name, {"intent": "cancel"})
    escrows.status(name, {"phase": after, "intent": "cancel", "acts": [ACT]})


def test_an_act_stays(escrows):
    name = escrows.create(SPEC, {"phase": "NeedsReview", "acts": [ACT]})
    for acts in ([], [{**ACT, "who": "bob"}], None):
        with pytest.raises(ApiError, match="acts are kept"):
            escrows.status(name, {"acts": acts})
    with pytest.raises(ApiError, match="only a person's act"):
        escrows.status(name, {"phase": "Decided"})
    escrows.status(name, {"phase": "Decided", "acts": [ACT, {**ACT, "who": "bob"}]})


def test_an_act_goes_only_into_the_sum_of_the_earlier_ones(escrows):
    acts = [{**ACT, "who": f"person-{number}"} for number in range(16)]
    name = escrows.create(SPEC, {"phase": "NeedsReview", "acts": acts})
    new = [*acts[1:], ACT]
    with pytest.raises(ApiError, match="acts are kept"):
        escrows.status(name, {"acts": new})
    with pytest.raises(ApiError, match="acts are kept"):
        escrows.status(name, {"acts": [*acts[2:], ACT], "earlierActs": {"count": 1, "text": "two of them"}})
    escrows.status(name, {"phase": "Decided", "acts": new, "earlierActs": {"count": 1, "text": "person-0"}})
    for earlier in ({"count": 1, "text": "person-0"}, None):
        with pytest.raises(ApiError, match=r"acts are kept|never goes back"):
            escrows.status(name, {"acts": new[1:], "earlierActs": earlier})


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ({"phase": "Decided", "intent": "release"}, {"intent": "dispute"}, "an intent is decided once"),
        ({"phase": "Decided", "intent": "release"}, {"intent": None}, "an intent is decided once"),
        ({**SETTLED, "paidUsdc": "0.099"}, {"paidUsdc": "0.1"}, "paidUsdc is set once"),
        (SETTLED, {"outcome": "Refunded"}, "outcome is set once"),
        ({"phase": "Decided"}, {"phase": None}, "the phase only moves forward"),
        ({}, {"phase": "Settled"}, "Settled needs outcome and closedAt"),
        ({}, {"phase": "Settled", "outcome": "Paid"}, "Settled needs outcome and closedAt"),
        ({}, {"phase": "Funded"}, "no escrow is bound yet"),
        ({"phase": "Decided"}, {"phase": "Verifying"}, "no escrow is bound yet"),
        ({}, {"phase": "Paid"}, "Unsupported value"),
        ({}, {"intent": "refund"}, "Unsupported value"),
        ({}, {"lockedUsdc": "0.0000001"}, "lockedUsdc"),
        ({}, {"acts": [ACT] * 17}, "must have at most 16 items"),
    ],
)
def test_what_was_decided_stays(escrows, first, then, message):
    name = escrows.create(SPEC, first)
    with pytest.raises(ApiError, match=message):
        escrows.status(name, then)


def test_a_status_is_never_taken_away(escrows, namespace):
    name = escrows.create(SPEC, {"phase": "Decided"})
    found = namespace.client.get(Escrow, name)
    del found["status"]
    with pytest.raises(ApiError, match="a status is never taken away"):
        namespace.client.replace(Escrow.Status(found))


def test_statement_in_a_terminal(escrows, namespace):
    """`kubectl get escrows` needs no program of ours."""
    columns = escrow_crd.custom_resource_definition(Settings())["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")][:2] == ["Work", "Phase"]
    properties = escrow_crd.schema()["properties"]
    for column in columns[:-1]:
        _, section, *path = column["jsonPath"].split(".")
        part = properties[section]
        for key in path:
            part = part["properties"][key]
        assert part["type"] == "string", column
