"""A stack beside what else writes to a cluster: the operator, colleagues, somebody's own Secret."""

import shutil
import subprocess
import threading
from contextlib import contextmanager, suppress

import lightkube
import pytest
import yaml
from lightkube import ApiError, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType
from pulumi import automation

from components import existing_secret, kubectl, open_accounts
from components.errors import BadInput
from components.manifests import naming
from components.settings import Settings
from runtime.contract import ESCROW_ID_ANNOTATION, SECRET_NAME, WORK_ID_ANNOTATION
from runtime.kubernetes.new_escrow import new_escrow
from tests.runtime.operator.world import Escrow, install_definition
from tests.toolchain import waiting
from tests.toolchain.fixtures import require

pytestmark = pytest.mark.engine
FUNDED = {"funding": {"mode": "request"}, "agents": [{"name": "pf-agent-job", "payee": "worker-agent-007"}]}
NO_WORKERS = {name: {"enabled": False} for name in ("worker", "payroll", "hpa", "mcp", "admission")}


@pytest.fixture
def stack(deploy, control_plane, namespace):
    def make(**sections):
        given = {"namespace": namespace.name, **NO_WORKERS, **sections}
        made = deploy(kubeconfig=str(control_plane.kubeconfig), stand_in=True, **given)
        configure = made.configure
        made.configure = lambda **changed: configure(**{**given, **changed})
        return made

    return make


@contextmanager
def releasing(pulumi_stack, client, operator, namespace):
    """Let go of each Job whose deletion is waited for; yields for each UID whether the operator was still there."""
    there, ended = {}, threading.Event()

    def run():
        for _, job in client.watch(Job, namespace=namespace):
            if ended.is_set():
                return
            waited = [line for line in pulumi_stack.log() if (line["kind"], line["moment"]) == ("Job", "wait")]
            deleted = job.metadata.deletionTimestamp and job.metadata.finalizers
            if deleted and len(waited) > len({*there} - {job.metadata.uid}):
                deployments = {each.metadata.name for each in client.list(Deployment, namespace=namespace)}
                there[job.metadata.uid] = naming.OPERATOR in deployments
                with suppress(ApiError):  # its garbage collector was faster
                    operator.patch(Job, job.metadata.name, {"metadata": {"finalizers": None}}, namespace=namespace)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield there
    finally:
        ended.set()
        client.create(_marker(namespace))
        thread.join()
        client.delete(Job, "end-of-watch", namespace=namespace)


def _marker(namespace):
    """A Job whose creation wakes the watch, so that its thread sees that it should end."""
    container = {"name": "main", "image": "none"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    metadata = {"name": "end-of-watch", "namespace": namespace}
    return Job.from_dict({"metadata": metadata, "spec": {"suspend": True, "template": template}})


def only_job(client, namespace):
    return next(iter(client.list(Job, namespace=namespace)))


def operator_client(namespace):
    """A client with the operator's rights: the job gate lets nobody else do this."""
    return lightkube.Client(KubeConfig.from_file(namespace.kubeconfig_for(naming.OPERATOR_ACCOUNT)))


@pytest.mark.controlplane
@pytest.mark.parametrize("gate", ["policy", "manifest"])
def test_a_refresh_does_not_undo_what_the_operator_wrote(stack, namespace, gate):
    gated = {**FUNDED, "admission": {"enabled": False, "jobGate": gate}}
    pulumi_stack = stack(**gated)
    same = pulumi_stack.up()["create"]
    job = only_job(namespace.client, namespace.name)
    written = {"finalizers": None, "annotations": {ESCROW_ID_ANNOTATION: "esc_1"}}
    resumed = {"metadata": written, "spec": {"suspend": False}}
    operator_client(namespace).patch(Job, job.metadata.name, resumed, namespace=namespace.name)
    for prepare in (lambda: None, pulumi_stack.refresh):
        prepare()
        assert pulumi_stack.preview() == []
        assert pulumi_stack.up() == {"same": same}
    pulumi_stack.configure(**gated, operator={"resyncSeconds": 120})
    pulumi_stack.up()
    found = only_job(namespace.client, namespace.name)
    assert (found.metadata.uid, found.spec.suspend, found.metadata.finalizers) == (job.metadata.uid, False, None)
    if gate == "policy":
        comes_back_as_the_same_work(pulumi_stack, namespace, found)


def comes_back_as_the_same_work(pulumi_stack, namespace, job):
    """Gone after its payment, a refresh and the next `up` create it anew: held, and known again by its work id."""
    namespace.client.delete(Job, job.metadata.name, namespace=namespace.name)
    waiting.until("the Job is gone", lambda: not list(namespace.client.list(Job, namespace=namespace.name)))
    pulumi_stack.refresh()
    pulumi_stack.up()
    anew = only_job(namespace.client, namespace.name)
    assert (anew.metadata.uid != job.metadata.uid, anew.spec.suspend) == (True, True)
    assert anew.metadata.annotations[WORK_ID_ANNOTATION] == job.metadata.annotations[WORK_ID_ANNOTATION]


@pytest.mark.controlplane
def test_an_operator_outlives_the_jobs_it_settles_and_a_stable_name_is_free_before_it_is_used_again(stack, namespace):
    stable = {**FUNDED, "job": {"stableName": True}}
    pulumi_stack = stack(**stable)
    pulumi_stack.up()
    before = only_job(namespace.client, namespace.name)
    with releasing(pulumi_stack, namespace.client, operator_client(namespace), namespace.name) as operator_was_there:
        changed = [{**FUNDED["agents"][0], "task": "another"}]
        pulumi_stack.configure(**{**stable, "agents": changed})
        pulumi_stack.up()
        after = only_job(namespace.client, namespace.name)
        assert after.metadata.name == before.metadata.name
        assert after.metadata.uid != before.metadata.uid
        pulumi_stack.destroy()
    assert operator_was_there == {before.metadata.uid: True, after.metadata.uid: True}


def test_a_colleagues_kubeconfig_is_no_change_and_another_address_replaces_nothing(deploy, tmp_path, monkeypatch):
    mine = {
        "current-context": "mine",
        "contexts": [{"name": "mine", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}],
    }
    theirs = {**mine, "clusters": [{"name": "c", "cluster": {"server": "https://localhost:6443"}}]}
    for name, content in (("mine", mine), ("copy", mine), ("theirs", theirs)):
        (tmp_path / name).write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "mine"))
    stack = deploy(**NO_WORKERS)
    stack.up()
    for name in ("copy", "theirs"):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / name))
        assert stack.preview() == []

    def configured(kubeconfig, identifier=""):
        stack.stack.set_config("kubernetes:kubeconfig", automation.ConfigValue(yaml.safe_dump(kubeconfig), secret=True))
        if identifier:
            stack.stack.set_config("kubernetes:clusterIdentifier", automation.ConfigValue(identifier))

    def replaced():
        steps = [step for step in stack.preview() if step.op == automation.OpType.REPLACE]
        types = {step.urn.split("::")[2] for step in steps if "::default_" not in step.urn}
        return {each.rpartition(":")[2] for each in types}

    configured(mine)
    stack.up()
    configured(theirs)
    assert "Deployment" in replaced(), "the stand-in is kinder than the real provider"
    assert not replaced() & {"Namespace", "CustomResourceDefinition", "kubernetes"}, "the accounts would go"
    configured(mine, "the-cluster")
    stack.up()
    configured(theirs)
    assert replaced() == set()


def up_after_a_failure(stack) -> None:
    """A call that a failed run left behind fails the next program of this process, once: the SDK keeps both."""
    try:
        stack.up()
    except automation.CommandError as error:
        if "StatusCode.UNAVAILABLE" not in str(error):
            raise
        stack.up()


@pytest.mark.controlplane
def test_a_missing_secret_is_one_message_with_the_commands_that_make_it(stack, namespace, control_plane, monkeypatch):
    require("controlplane", "kubectl")
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    named = {"credentials": {"existingSecret": SECRET_NAME}, "sandbox": {"enabled": False}}
    pulumi_stack = stack(**named, operator={"enabled": False})
    missing = f"Secret {SECRET_NAME} in namespace {namespace.name} does not exist"
    with pytest.raises(automation.CommandError, match=missing) as error:
        pulumi_stack.preview()
    words = str(error.value)
    create = next(line.strip() for line in words.splitlines() if "kubectl create secret" in line)
    assert f"kubectl create namespace {namespace.name}" in words
    subprocess.run(create, shell=True, check=True, env={**_environment(control_plane), "API_KEY": "pf_live_planted"})
    up_after_a_failure(pulumi_stack)
    state = (pulumi_stack.folder / "state/.pulumi/stacks/purpleflea/test.json").read_text()
    assert "pf_live_planted" not in state + "\n".join(pulumi_stack.said)
    namespace.client.delete(Secret, SECRET_NAME)
    pulumi_stack.destroy()  # never asks for it


@pytest.mark.controlplane
def test_what_is_known_of_an_existing_secret(namespace, control_plane, tmp_path, monkeypatch):
    require("controlplane", "kubectl")
    access = {"kubeconfig": str(control_plane.kubeconfig), "context": "", "cluster": ""}
    settings = Settings.parse({"namespace": namespace.name})
    keys = {"api-key": "aw==", "agent-wallet": "aw==", "faucet-url": "aw=="}
    namespace.client.create(Secret(metadata=ObjectMeta(name=SECRET_NAME), data=keys))
    with pytest.raises(BadInput, match=r"has no escrow-url; add"):
        existing_secret.check(settings, access)
    elsewhere = {"services": {"escrowUrl": "https://pay.example"}}
    existing_secret.check(Settings.parse({"namespace": namespace.name, **elsewhere}), access)
    namespace.client.patch(Secret, SECRET_NAME, {"data": {"escrow-url": "aw=="}})
    existing_secret.check(settings, access)
    existing_secret.check(settings, {**access, "kubeconfig": control_plane.kubeconfig.read_text()})
    reader = namespace.kubeconfig_for("default")
    with pytest.raises(kubectl.UnknownError, match="forbidden"):
        existing_secret.check(settings, {**access, "kubeconfig": str(reader)})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(kubectl.UnknownError, match="no `kubectl` on the PATH"):
        existing_secret.check(settings, access)


@pytest.mark.controlplane
def test_open_accounts_of_another_payment_service_are_named(namespace, control_plane):
    require("controlplane", "kubectl")
    access = {"kubeconfig": str(control_plane.kubeconfig), "context": "", "cluster": ""}
    install_definition(control_plane)
    mine = {"namespace": namespace.name, "services": {"escrowUrl": "https://pay.example"}}

    def check(**changes) -> None:
        open_accounts.check(Settings.parse(mine | changes), access)

    def account(uid: str, **spec: str) -> None:
        opened = {"dialect": "kubernetes", "token": f"pf-{uid}", "escrow_id": None, "payee": None, "amount": None}
        body = new_escrow(namespace.name, "job", uid, **opened)
        namespace.client.create(Escrow({**body, "spec": body["spec"] | spec}))

    check()
    account("0", service="https://pay.example")
    account("1")
    settled = {"phase": "Settled", "outcome": "Paid", "closedAt": "2026-01-01T00:00:00Z"}
    account("2", service="https://long-ago.example")
    namespace.client.patch(Escrow.Status, "job-2", {"status": settled}, patch_type=PatchType.MERGE)
    check()
    with pytest.raises(
        BadInput, match=r"2 accounts are open at another payment service .*/job-0 \(kubernetes, https://pay"
    ):
        check(api={"dialect": "server"})
    with pytest.raises(BadInput, match=r"1 accounts .*/job-0"):
        check(services={"escrowUrl": "https://other.example"})
    check(services={"escrowUrl": "https://other.example"}, operator={"formerEscrowUrls": ["https://pay.*"]})
    reader = namespace.kubeconfig_for("default")
    with pytest.raises(kubectl.UnknownError, match="forbidden"):
        open_accounts.check(Settings.parse(mine), {**access, "kubeconfig": str(reader)})


def _environment(cluster):
    kubectl = shutil.which("kubectl")
    assert kubectl
    return {"PATH": f"{kubectl.rpartition('/')[0]}:/usr/bin:/bin", "KUBECONFIG": str(cluster.kubeconfig)}
