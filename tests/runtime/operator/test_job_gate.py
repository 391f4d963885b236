"""The gate belongs to the API server: whoever creates, applies, edits or resumes a Job, it runs only once it is funded.

Asked of a real API server, with the policies as rendered, the operator's own account and the real kubectl.
"""

import json
from datetime import UTC, datetime, timedelta

import pytest
from lightkube import ApiError, codecs
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.types import PatchType

from components.manifests import job_gate
from runtime.contract import (
    ABANDONED_ANNOTATION,
    BY_HAND_ANNOTATION,
    ESCROW_ID_ANNOTATION,
    ESCROW_REQUEST_ANNOTATION,
    FUNDED_ANNOTATION,
    KUEUE_QUEUE_LABEL,
    SCHEDULED_ANNOTATION,
    SETTLEMENT_FINALIZER,
    WITHHELD_ANNOTATION,
    WORK_ID_ANNOTATION,
)
from runtime.kubernetes.shape import stamp
from tests.e2e.kubectl import Kubectl
from tests.runtime.operator.world import eventually
from tests.toolchain import tools

REQUEST = json.dumps({"payee": "worker-agent-007", "amountUsdc": "0.50"})
ASKING = {ESCROW_REQUEST_ANNOTATION: REQUEST}


def manifest(name: str, annotations: dict[str, str], metadata: dict | None = None, spec: dict | None = None) -> dict:
    container = {"name": "main", "image": "agent:1", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": annotations, **(metadata or {})},
        "spec": {"template": template, **(spec or {})},
    }


def cron_job(name: str) -> dict:
    job = manifest(name, ASKING)
    template = {"metadata": {"annotations": ASKING}, "spec": job["spec"]}
    spec = {"schedule": "* * * * *", "jobTemplate": template, "suspend": True}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


@pytest.fixture
def gated(world):
    """A world whose namespace has the gate in force."""
    settings = world.settings()
    made = [job_gate.policy(settings), job_gate.guard(settings)]
    made += [job_gate.policy_binding(settings), job_gate.guard_binding(settings)]
    for each in made:
        world.client.apply(codecs.from_dict(each), field_manager="tests", force=True)
    world.client.create(Job.from_dict(manifest("plain", {}, spec={"suspend": True})))

    def in_force() -> bool:
        """Each of the two bindings acts a moment late, at its own time."""
        try:
            probe = world.client.create(Job.from_dict(manifest("probe", ASKING)), dry_run=True)
        except ApiError:  # the guard alone is
            return False
        return held(probe) and bool(refusal(lambda: edit(world, "plain", {"annotations": ASKING}, dry_run=True)))

    eventually(in_force, "the gate is in force")
    yield world
    for each in reversed(made):
        remove(world, each)


def remove(world, part: dict) -> None:
    """Delete a part of the gate, unless the test did."""
    try:
        world.client.delete(type(codecs.from_dict(part)), part["metadata"]["name"])
    except ApiError as error:
        if error.status.code != 404:
            raise


@pytest.fixture
def kubectl(gated, tmp_path):
    return Kubectl(tools.find("kubectl").path, gated.cluster.kubeconfig, gated.namespace, tmp_path)


def held(job) -> bool:
    return bool(job.spec.suspend) and SETTLEMENT_FINALIZER in (job.metadata.finalizers or ())


def edit(world, name: str, metadata: dict | None = None, spec: dict | None = None, *, dry_run: bool = False) -> None:
    body = {"metadata": metadata or {}, "spec": spec or {}}
    world.client.patch(Job, name, body, patch_type=PatchType.MERGE, dry_run=dry_run)


def refusal(act) -> str:
    """The guard's words; empty if the API server does it."""
    try:
        act()
    except ApiError as error:
        if error.status.code != 403 or "job-gate.purpleflea.com" not in str(error):
            raise
        return str(error)
    return ""


CREATED = {
    "a request": (ASKING, {}, {}),
    "an escrow's id": ({ESCROW_ID_ANNOTATION: "esc_1"}, {}, {}),
    "an explicit resume": (ASKING, {}, {"suspend": False}),
    "another's finalizer": (ASKING, {"finalizers": ["example.com/other"]}, {}),
    "a queue": (ASKING, {"labels": {KUEUE_QUEUE_LABEL: "agents"}}, {}),
    "a generated name": (ASKING, {"name": None, "generateName": "job-"}, {}),
    "a malformed request": ({ESCROW_REQUEST_ANNOTATION: "{"}, {}, {}),
    "an empty request": ({ESCROW_REQUEST_ANNOTATION: ""}, {}, {}),
}


def test_a_job_that_asks_is_held_from_its_creation_however_it_is_made(gated, kubectl):
    for how, (annotations, metadata, spec) in CREATED.items():
        made = gated.client.create(Job.from_dict(manifest("job", annotations, metadata, spec)), dry_run=True)
        assert held(made), how
        assert set(metadata.get("finalizers", ())) <= set(made.metadata.finalizers), how
    applied = gated.client.apply(Job.from_dict(manifest("applied", ASKING)), field_manager="tests")
    assert held(applied)
    gated.client.create(CronJob.from_dict(cron_job("hourly")))
    kubectl("create", "job", "by-hand", "--from=cronjob/hourly")
    assert held(gated.get_job("by-hand"))
    assert BY_HAND_ANNOTATION in gated.get_job("by-hand").metadata.annotations, "by which its work is told"
    assert not gated.get_job("plain").metadata.finalizers, "a Job that asks for nothing is left alone"


def test_the_jobs_of_a_cron_job_are_held_from_their_creation(gated):
    """The controller makes one at once for a schedule that it missed: as if the last one were of two minutes ago."""
    gated.client.create(CronJob.from_dict(cron_job("hourly")))
    missed = {"status": {"lastScheduleTime": stamp(datetime.now(UTC) - timedelta(minutes=2))}}
    gated.client.patch(CronJob.Status, "hourly", missed, patch_type=PatchType.MERGE)
    gated.client.patch(CronJob, "hourly", {"spec": {"suspend": False}})
    found = gated.eventually(
        lambda: [job for job in gated.client.list(Job) if job.metadata.ownerReferences], "a Job is made", 75
    )
    assert all(held(job) for job in found)
    assert all(SCHEDULED_ANNOTATION in job.metadata.annotations for job in found), "by which its work is told"


UNDONE = {
    "resumed": ({}, {"suspend": False}, "money is not locked yet"),
    "asked for more": ({"annotations": {ESCROW_REQUEST_ANNOTATION: REQUEST + " "}}, {}, "is fixed when a Job"),
    "asked no more": ({"annotations": {ESCROW_REQUEST_ANNOTATION: None}}, {}, "is fixed when a Job"),
    "given an escrow": ({"annotations": {ESCROW_ID_ANNOTATION: "esc_1"}}, {}, "or by the operator"),
    "let go": ({"finalizers": []}, {}, "let-go"),
    "let go for no reason": ({"finalizers": None, "annotations": {ABANDONED_ANNOTATION: ""}}, {}, "let-go"),
}  # fmt: skip


def test_nobody_but_the_operator_opens_the_gate(gated, kubectl):
    gated.client.create(Job.from_dict(manifest("waits", ASKING)))
    for what, (metadata, spec, words) in UNDONE.items():
        assert words in refusal(lambda m=metadata, s=spec: edit(gated, "waits", m, s)), what
    assert "is fixed when a Job" in refusal(lambda: edit(gated, "plain", {"annotations": ASKING}))
    late = {"annotations": {ESCROW_ID_ANNOTATION: "esc_1"}}
    assert "is set when a Job" in refusal(lambda: edit(gated, "plain", late))
    replaced = json.loads(kubectl("get", "job", "waits", "--output", "json"))
    del replaced["metadata"]["finalizers"]
    with pytest.raises(AssertionError, match="let-go"):
        kubectl("replace", "--filename", "-", stdin=json.dumps(replaced))
    assert held(gated.get_job("waits"))
    edit(gated, "plain", {"labels": {"team": "a"}}, {"suspend": False})  # what does not ask is nobody's business
    edit(gated, "waits", {"labels": {"team": "a"}})
    edit(gated, "waits", {"finalizers": None, "annotations": {ABANDONED_ANNOTATION: "the agent was withdrawn"}})
    assert not gated.get_job("waits").metadata.finalizers, "with a reason, whoever may change accounts lets go"


@pytest.mark.parametrize("own", ["example.com/other", SETTLEMENT_FINALIZER])
@pytest.mark.parametrize("flags", [(), ("--server-side",)], ids=["client", "server"])
def test_a_manifest_that_drops_its_own_finalizers_does_not_drop_ours(gated, kubectl, flags, own):
    """kubectl sends `null` for the key; to server-side apply ours is the manifest's own, set while it was applied."""
    apply = ("apply", "--filename", "-", *flags)
    kubectl(*apply, stdin=json.dumps(manifest("drops", ASKING, {"finalizers": [own]})))
    with pytest.raises(AssertionError, match="let-go"):
        kubectl(*apply, stdin=json.dumps(manifest("drops", ASKING)))
    assert held(gated.get_job("drops"))


@pytest.mark.parametrize("flags", [(), ("--server-side",)], ids=["client", "server"])
def test_a_manifest_without_finalizers_is_applied_again_and_may_change(gated, kubectl, flags):
    apply = ("apply", "--filename", "-", *flags)
    for labels in ({}, {}, {"team": "a"}):
        kubectl(*apply, stdin=json.dumps(manifest("again", ASKING, {"labels": labels})))
        assert held(gated.get_job("again")), labels


def test_a_manifest_that_resumes_its_job_is_refused_at_the_second_apply(gated, kubectl):
    text = json.dumps(manifest("eager", ASKING, spec={"suspend": False}))
    apply = ("apply", "--filename", "-")
    kubectl(*apply, stdin=text)
    for flags in ((), ("--server-side", "--force-conflicts")):
        with pytest.raises(AssertionError, match="money is not locked"):
            kubectl(*apply, *flags, stdin=text)
        assert held(gated.get_job("eager")), flags
    gated.operator()
    gated.await_resumed("eager")
    kubectl(*apply, stdin=text)
    assert not gated.get_job("eager").spec.suspend


EDITS = {
    "s/suspend: true/suspend: false/": "money is not locked",
    f"/- {SETTLEMENT_FINALIZER.replace('/', '.')}/d;/^  finalizers:/d": "let-go",
    "s/worker-agent-007/worker-agent-008/": "is fixed when a Job",
}


def test_kubectl_edit_opens_no_gate(gated, kubectl):
    gated.client.create(Job.from_dict(manifest("edited", ASKING)))
    for change, words in EDITS.items():
        with pytest.raises(AssertionError, match=words):
            kubectl("edit", "job", "edited", editor=f"sed -i '{change}'")
        assert held(gated.get_job("edited")), change
    kubectl("edit", "job", "edited", editor="sed -i 's/parallelism: 1/parallelism: 2/'")
    assert gated.get_job("edited").spec.parallelism == 2, "the editor does edit"


def test_a_jobs_status_is_no_way_around_the_gate(gated, kubectl):
    """The API server takes metadata from a write to the status, too."""
    gated.client.create(Job.from_dict(manifest("around", ASKING)))
    for change, words in (
        ({"finalizers": None}, "let-go"),
        ({"annotations": {ESCROW_ID_ANNOTATION: "esc_1"}}, "or by the operator"),
    ):
        with pytest.raises(AssertionError, match=words):
            kubectl("patch", "job", "around", "--subresource=status", "--type=merge",
                    "--patch", json.dumps({"metadata": change}))  # fmt: skip
    job = gated.get_job("around")
    assert held(job)
    assert ESCROW_ID_ANNOTATION not in job.metadata.annotations


def test_without_the_policy_that_holds_jobs_none_is_created_and_without_the_gate_none_is_funded(gated):
    settings = gated.settings()
    remove(gated, job_gate.policy_binding(settings))
    create = lambda: gated.client.create(Job.from_dict(manifest("early", ASKING)), dry_run=True)  # noqa: E731
    assert "not in force (yet)" in eventually(lambda: refusal(create), "the guard alone is in force")
    born_held = manifest("early", ASKING, {"finalizers": [SETTLEMENT_FINALIZER]}, {"suspend": True})
    assert held(gated.client.create(Job.from_dict(born_held), dry_run=True)), "who holds it by hand may create it"
    remove(gated, job_gate.guard_binding(settings))
    eventually(lambda: not refusal(create), "the guard is gone, too")
    gated.operator()
    gated.client.create(Job.from_dict(manifest("early", ASKING)))
    assert "runs before its money is locked" in gated.await_phase("early", "NeedsReview")["status"]["evidence"]
    assert not gated.sandbox.received, "nothing was sent for it"


def test_applying_a_manifest_again_leaves_a_funded_job_running(gated, kubectl):
    gated.operator()
    text = json.dumps(manifest("works", ASKING))
    apply = ("apply", "--filename", "-")
    kubectl(*apply, stdin=text)
    gated.await_resumed("works")
    pod = gated.pod_of("works")
    server_side = ("--server-side", "--force-conflicts")
    for way in ((), server_side, (*server_side, "--field-manager=other")):
        kubectl(*apply, *way, stdin=text)
        job = gated.get_job("works")
        assert not job.spec.suspend, way
        assert SETTLEMENT_FINALIZER in job.metadata.finalizers, way
    assert gated.pod_of("works") == pod
    gated.finish("works")
    assert gated.await_phase("works", "Settled")["status"]["outcome"] == "Paid"
    kubectl(*apply, stdin=text)
    assert list(gated.payments().values()) == ["released"]


def test_a_job_that_brings_its_escrow_is_held_until_it_is_bound(gated):
    escrow_id = gated.fund()
    gated.client.create(Job.from_dict(manifest("brings", {ESCROW_ID_ANNOTATION: escrow_id})))
    assert held(gated.get_job("brings"))
    gated.operator()
    gated.await_resumed("brings")
    gated.finish("brings")
    assert gated.await_phase("brings", "Settled")["status"]["outcome"] == "Paid"


def test_a_job_that_brings_its_escrow_is_resumed_by_nobody_before_it_is_bound(gated):
    """It carries the escrow's id from its creation, so that alone says nothing."""
    escrow_id = gated.fund()
    brings = {ESCROW_ID_ANNOTATION: escrow_id}
    gated.client.create(Job.from_dict(manifest("brings", brings, {"labels": {KUEUE_QUEUE_LABEL: "agents"}})))
    resume = lambda: edit(gated, "brings", spec={"suspend": False})  # noqa: E731
    assert "money is not locked" in refusal(resume)
    forged = {"annotations": {FUNDED_ANNOTATION: gated.get_job("brings").metadata.uid}}
    assert "is the operator's" in refusal(lambda: edit(gated, "brings", forged, {"suspend": False}))
    gated.operator()
    gated.eventually(lambda: FUNDED_ANNOTATION in gated.get_job("brings").metadata.annotations, "it is bound")
    assert gated.get_job("brings").spec.suspend, "Kueue resumes it"
    resume()
    gated.finish("brings")
    assert gated.await_phase("brings", "Settled")["status"]["outcome"] == "Paid"


def test_a_copy_of_a_funded_job_is_resumed_by_nobody(gated):
    copied = {ESCROW_ID_ANNOTATION: "esc_1", FUNDED_ANNOTATION: "11111111-2222-3333-4444-555555555555"}
    gated.client.create(Job.from_dict(manifest("copy", copied)))
    assert "money is not locked" in refusal(lambda: edit(gated, "copy", spec={"suspend": False}))


def test_a_work_id_is_fixed_while_the_job_waits_and_never_changes(gated):
    named = {**ASKING, WORK_ID_ANNOTATION: "report"}
    gated.client.create(Job.from_dict(manifest("named", named)))
    gated.client.create(Job.from_dict(manifest("unnamed", ASKING)))
    for name, work_id in (("named", "other"), ("named", None), ("unnamed", "report")):
        words = refusal(lambda n=name, w=work_id: edit(gated, n, {"annotations": {WORK_ID_ANNOTATION: w}}))
        assert "is fixed when a Job" in words, (name, work_id)
    gated.operator()
    gated.await_resumed("unnamed")
    edit(gated, "unnamed", {"annotations": {WORK_ID_ANNOTATION: "unnamed"}})
    gated.finish("unnamed")
    assert gated.await_phase("unnamed", "Settled")["status"]["outcome"] == "Paid"


@pytest.mark.parametrize(
    "way",
    [("apply",), ("apply", "--server-side"), ("apply", "--force"), ("replace", "--force")],
    ids=["client", "server", "force", "replace"],
)
def test_a_job_that_is_deleted_and_applied_again_waits_for_a_person(gated, kubectl, way):
    """`replace --force` deletes and creates, as Argo CD's Replace and Helm's `--force` do."""
    gated.operator()
    text = json.dumps(manifest("again", {**ASKING, WORK_ID_ANNOTATION: f"again {way}"}))
    apply = (*way, "--filename", "-")
    kubectl(*apply, stdin=text)
    gated.await_resumed("again")
    gated.finish("again")
    gated.eventually(lambda: not gated.get_job("again").metadata.finalizers, "it is paid")
    for _ in range(2):
        kubectl("delete", "job", "again")
        kubectl(*apply, stdin=text)
        gated.eventually(lambda: WITHHELD_ANNOTATION in gated.get_job("again").metadata.annotations, "it waits")
        kubectl(*apply, stdin=text)
        assert held(gated.get_job("again"))
    assert list(gated.payments().values()) == ["released"]


def test_a_job_that_was_not_born_held_is_never_funded(world):
    """A binding acts a second late, or the gate was removed: such a Job may have done half its work already."""
    world.operator()
    world.job("runs", request=REQUEST, suspend=False)
    status = world.await_phase("runs", "NeedsReview")["status"]
    assert "runs before its money is locked" in status["evidence"]
    assert not world.sandbox.received, "nothing was sent for it"
    world.await_event("runs", "EscrowNeedsReview")


def test_a_funded_job_that_somebody_suspended_is_resumed_and_says_so(world):
    world.operator()
    world.job("works", request=REQUEST, suspend=True)
    world.await_resumed("works")
    for _ in range(2):
        edit(world, "works", spec={"suspend": True})
        world.await_resumed("works")
    world.await_event("works", "JobResumed")


def test_a_suspended_job_with_an_escrow_of_its_own_is_resumed_once_it_is_bound(world):
    """`kubectl apply` of a file with `suspend: true` would else leave it waiting for nobody."""
    world.operator()
    world.job("brings", world.fund(), suspend=True)
    world.await_resumed("brings")


def test_a_queued_job_is_funded_and_left_for_kueue_to_resume(gated):
    gated.client.create(Job.from_dict(manifest("queued", ASKING, {"labels": {KUEUE_QUEUE_LABEL: "agents"}})))
    assert "money is not locked" in refusal(lambda: edit(gated, "queued", spec={"suspend": False}))
    gated.operator()
    gated.eventually(
        lambda: ESCROW_ID_ANNOTATION in gated.get_job("queued").metadata.annotations, "it is told its escrow"
    )
    assert gated.get_job("queued").spec.suspend
    edit(gated, "queued", spec={"suspend": False})  # as Kueue does once the Job is admitted
    gated.finish("queued")
    assert gated.await_phase("queued", "Settled")["status"]["outcome"] == "Paid"


def test_a_job_that_waits_for_funds_cannot_vanish(world):
    """Without the finalizer from the start it could be gone while its money is being locked."""
    world.operator()
    request = json.dumps({"payee": "worker-agent-007", "amountUsdc": "250.00"})
    world.job("poor", request=request, suspend=True, finalizer=False)
    world.eventually(lambda: SETTLEMENT_FINALIZER in (world.get_job("poor").metadata.finalizers or ()), "it is held")
    assert world.get_job("poor").spec.suspend
