"""What lies in examples/ to be copied: taken by a real API server, the pods by a `restricted` namespace."""

from pathlib import Path

import pytest
import yaml
from lightkube import codecs
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.types import PatchType

from components.stack_values import StackValues
from components.synth import rendering
from runtime.escrowctl.manifest import read_manifest
from runtime.operator.annotations import parse_request
from runtime.operator.jobs import read_job

EXAMPLES = Path(__file__).parents[2] / "examples"
JOBS = sorted((EXAMPLES / "jobs").glob("*.yaml"))


@pytest.fixture
def restricted(namespace):
    """The namespace of the test, at the Pod Security level that a stack's namespace has."""
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    namespace.client.patch(Namespace, namespace.name, enforced, patch_type=PatchType.MERGE)
    return namespace.client


def job_of(manifest: dict) -> dict:
    """The Job, or the one that a CronJob makes."""
    return manifest["spec"]["jobTemplate"] | {"kind": "Job"} if manifest["kind"] == "CronJob" else manifest


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.stem)
def test_a_job_to_copy_is_taken_and_so_are_its_pods(file, restricted):
    manifest = yaml.safe_load(file.read_text())
    restricted.create(codecs.from_dict(manifest), dry_run=True)
    template = job_of(manifest)["spec"]["template"]
    restricted.create(Pod.from_dict({"metadata": ObjectMeta(name="pod").to_dict(), **template}), dry_run=True)


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.stem)
def test_a_job_to_copy_asks_for_money_as_the_operator_reads_it(file):
    job = job_of(yaml.safe_load(file.read_text()))
    added = {"namespace": "n", "uid": "u", "creationTimestamp": "2026-11-27T03:00:00Z", "resourceVersion": "1"}
    facts = read_job({**job, "metadata": {"name": "x", **added, **job["metadata"]}})
    assert facts.asks
    assert facts.work_id
    if facts.request is not None:
        assert str(parse_request(facts.request).amount) == "0.25"


def test_what_fund_makes_of_the_one_is_the_other():
    funded = read_manifest(EXAMPLES / "jobs/on-request.yaml").funded("esc_0123456789abcdef")
    by_hand = (EXAMPLES / "jobs/by-hand.yaml").read_text()
    assert yaml.safe_load(funded) == yaml.safe_load(by_hand)


@pytest.mark.parametrize("file", sorted((EXAMPLES / "stacks").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_stack_to_copy_renders(file, tmp_path):
    for name, text in (
        ("Pulumi.yaml", (EXAMPLES.parent / "Pulumi.yaml").read_text()),
        ("Pulumi.copy.yaml", file.read_text()),
    ):
        (tmp_path / name).write_text(text)
    values = StackValues.from_files(tmp_path, "copy")
    kinds = {Path(path).name.split("-")[0] for path in rendering.render(values, tmp_path)}
    assert {"job", "cronjob"} <= kinds
