"""What settings say in Kubernetes' own words: real agents' needs fit, and what is the stack's own is refused by its path."""

# ruff: noqa: E501 - a table is read by its rows

import json
from pathlib import Path

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import Namespace, Pod, ServiceAccount
from lightkube.types import PatchType

from components.manifests import agent_job, credentials_policy, overrides, stack
from components.manifests.agent_config import agent_config
from components.settings import BadSettings, Settings
from components.stack_yaml import load
from tests.components import strict_schemas

AGENTS = sorted((Path(__file__).parents[3] / "examples" / "agents").glob("*.yaml"))
FUNDED = {"funding": {"mode": "request"}}
SECURE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def of(agent, **more) -> Settings:
    settings = Settings.parse({"agents": [{"name": "a", **agent}], "escrow": {"timeoutHours": 24}, **more})
    overrides.check(settings)
    return settings


def real(file: Path) -> Settings:
    return of({**load(file.read_text()), "payee": "worker-agent-007"}, **FUNDED)


@pytest.mark.parametrize("file", AGENTS, ids=lambda file: file.stem)
def test_a_real_agents_needs_fit_the_api_server_takes_them(file, namespace):
    """As the strict schema has it, and under the restricted level; a Job's pod is made here, as its controller would."""
    settings = real(file).model_copy(update={"namespace": namespace.name})
    agent = settings.agents[0]
    manifest = agent_job.build(settings, agent)
    assert strict_schemas.complaint(manifest) is None
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace.client.patch(Namespace, namespace.name, {"metadata": {"labels": labels}}, patch_type=PatchType.MERGE)
    pod = agent_job.template(settings, agent)
    for account in {pod["spec"]["serviceAccountName"]}:
        namespace.client.create(ServiceAccount(metadata=ObjectMeta(name=account)))
    # Names of a priority and a runtime that this cluster does not have.
    spec = {key: value for key, value in pod["spec"].items() if key not in ("priorityClassName", "runtimeClassName")}
    namespace.client.create(Pod.from_dict({"metadata": {"name": "pod", **pod["metadata"]}, "spec": spec}), dry_run=True)
    kind = CronJob if agent.schedule else Job
    namespace.client.create(kind.from_dict(manifest), dry_run=True)


def test_there_are_seven_of_them():
    assert len(AGENTS) == 7


def container(settings, name="agent", where="containers"):
    spec = agent_job.template(settings, settings.agents[0])["spec"]
    return next(one for one in spec[where] if one["name"] == name)


def test_an_image_of_its_own_runs_its_own_entrypoint():
    by_podtemplate = {"podTemplate": {"spec": {"containers": [{"name": "agent", "image": "team/a:1"}]}}}
    assert "command" not in container(of({"image": "team/a:1"}))
    assert "command" not in container(of(by_podtemplate))
    assert container(of({"image": "team/a:1", "command": ["run"]}))["command"] == ["run"]
    assert container(of({}))["command"][-2:] == ["runtime.agent_worker", "--once"]


def test_what_is_said_is_part_of_the_jobs_name_and_of_what_agents_are_told():
    said = {"podTemplate": {"spec": {"serviceAccountName": "mine", "nodeSelector": {"pool": "gpu"}}}}
    names = {agent_job.build(settings, settings.agents[0])["metadata"]["name"] for settings in (of({}), of(said))}
    assert len(names) == 2
    assert agent_config(of(said))["agents"]["a"]["serviceAccount"] == "mine"
    assert "mine" in credentials_policy.allowed_accounts(of(said)), "its faucet claim needs the key"


def test_every_program_of_a_stack_can_be_placed():
    part = {
        "metadata": {"annotations": {"team": "a"}},
        "spec": {"nodeSelector": {"pool": "x"}, "tolerations": [{"operator": "Exists"}], "priorityClassName": "p"},
    }
    section = {"podTemplate": part}
    mapping = {
        "worker": section,
        "operator": section,
        "payroll": section,
        "hpa": {"metricsServer": section},
        "sandbox": {"enabled": True, **section},
    }
    settings = Settings.parse({**mapping, "agents": [{"name": "a", **section}]})
    overrides.check(settings)
    pods = [
        o for o in stack.objects(settings) if "template" in json.dumps(o) and "containers" in json.dumps(o.get("spec"))
    ]
    assert len(pods) == 6
    for o in pods:
        spec = o["spec"].get("jobTemplate", o)["spec"] if "jobTemplate" in o["spec"] else o["spec"]
        assert spec["template"]["metadata"]["annotations"]["team"] == "a"
        assert spec["template"]["spec"]["priorityClassName"] == "p"
        assert strict_schemas.complaint(o) is None


def pods(**spec):
    return {"podTemplate": {"spec": spec}}


def in_agent(**more):
    return pods(containers=[{"name": "agent", **more}])


T, J = "purpleflea.agents[0].podTemplate", "purpleflea.agents[0].job"
REFUSED = {
    "a part beside spec": ({"podTemplate": {"nodeSelector": {}}}, f"{T}: 'nodeSelector' is no part of a template; put it below `spec`"),
    "no mapping": ({"podTemplate": {"spec": ["x"]}}, f"{T}: spec: a mapping of keys is needed"),
    "an unknown field": (pods(nodeSelektor={"a": "b"}), f"{T}: spec: "),
    "an unknown field of a container": (in_agent(imagee="x"), f"{T}: spec.containers[0]: "),
    "a wrong type": (pods(nodeSelector={"a": 1}), f"{T}: spec.nodeSelector.a: "),
    "a container without a name": (pods(containers=[{"image": "a:1"}]), f"{T}.spec.containers[0]: name is required"),
    "a container that is not restricted": (pods(containers=[{"name": "x", "image": "a:1"}]), f"{T}: x: allowPrivilegeEscalation: the namespace enforces"),
    "a host path": (pods(volumes=[{"name": "x", "hostPath": {"path": "/"}}]), f"{T}: volume x: the namespace enforces"),
    "the node's network": (pods(hostNetwork=True), f"{T}: hostNetwork: the namespace enforces"),
    "root": (in_agent(securityContext={"runAsUser": 0}), f"{T}: agent: runAsUser: "),
    "an image without a tag": (pods(initContainers=[{"name": "x", "image": "a", "securityContext": SECURE}]), f"{T}.spec.initContainers[0].image: 'a': pin the image"),
    "a variable of ours": (in_agent(env=[{"name": "PF_API_KEY", "value": "x"}]), f"{T}.spec.containers[0].env[0]: PF_API_KEY is set by the stack"),
    "the faucet claim's variables": (pods(initContainers=[{"name": "faucet-claim", "env": []}]), f"{T}.spec.initContainers[0].env: the container faucet-claim is the stack's own"),
    "the sidecar away": (pods(initContainers=[{"name": "pf-mcp-proxy", "$patch": "delete"}]), f"{T}.spec.initContainers[0].$patch: the container pf-mcp-proxy"),
    "the agent away": (pods(containers=[{"name": "agent", "$patch": "delete"}]), f"{T}.spec.containers[0]: the agent's own container stays"),
    "the key's volume": (pods(volumes=[{"name": "credentials", "emptyDir": {}}]), f"{T}.spec.volumes[0]: 'credentials' is the stack's own"),
    "shared processes": (pods(shareProcessNamespace=True), f"{T}.spec.shareProcessNamespace: every container"),
    "a token of the stack's account": (pods(automountServiceAccountToken=True), f"{T}.spec.automountServiceAccountToken: goes with a serviceAccountName"),
    "an old name": (pods(serviceAccount="x"), f"{T}.spec.serviceAccount: is the old name"),
    "a label of ours": ({"podTemplate": {"metadata": {"labels": {"app.kubernetes.io/component": "sandbox"}}}}, f"{T}.metadata.labels.app.kubernetes.io/component: is set by the stack alone"),
    "an annotation of ours": ({"job": {"metadata": {"annotations": {"purpleflea.com/escrow-request": "{}"}}}}, f"{J}.metadata.annotations.purpleflea.com/escrow-request: is set by the stack alone"),
    "a name": ({"job": {"metadata": {"name": "x"}}}, f"{J}.metadata.name: only labels and annotations"),
    "a finalizer": ({"job": {"metadata": {"finalizers": ["a/b"]}}}, f"{J}.metadata.finalizers: only labels and annotations"),
    "pods in the Job": ({"job": {"spec": {"template": {}}}}, f"{J}.spec.template: is the stack's own: write it as podTemplate"),
    "a Job that waits": ({"job": {"spec": {"suspend": True}}}, f"{J}.spec.suspend: is the stack's own"),
    "a Job that vanishes": ({"job": {"spec": {"ttlSecondsAfterFinished": 0}}}, f"{J}.spec.ttlSecondsAfterFinished: a Job that vanishes would be created anew"),
    "a Job without end": ({"job": {"spec": {"activeDeadlineSeconds": None}}}, f"{J}.spec.activeDeadlineSeconds: must be a number below the escrow's time-out"),
    "a Job longer than its escrow": ({"job": {"spec": {"activeDeadlineSeconds": 86400}}}, f"{J}.spec.activeDeadlineSeconds: must be a number below"),
    "an unknown field of the Job": ({"job": {"spec": {"backofLimit": 1}}}, f"{J}: spec: "),
    "restarts beside a failure policy": (pods(restartPolicy="OnFailure"), f"{J}.spec.podFailurePolicy: is for restartPolicy Never"),
    "the payer's key in a variable": (in_agent(env=[{"name": "K", "valueFrom": {"secretKeyRef": {"name": "purpleflea-creds", "key": "api-key"}}}]), f"{T}.spec.containers[0].env[0].valueFrom.secretKeyRef: is the payer's Secret"),
    "all of the payer's Secret": (in_agent(envFrom=[{"secretRef": {"name": "purpleflea-creds"}}]), f"{T}.spec.containers[0].envFrom[0].secretRef: is the payer's Secret"),
    "the payer's Secret as files": (pods(volumes=[{"name": "x", "secret": {"secretName": "purpleflea-creds"}}]), f"{T}.spec.volumes[0].secret: is the payer's Secret"),
    "the payer's key as one file": (pods(volumes=[{"name": "x", "projected": {"sources": [{"secret": {"name": "purpleflea-creds", "items": [{"key": "api-key", "path": "k"}]}}]}}]), f"{T}.spec.volumes[0].projected.sources[0].secret: is the payer's Secret"),
    "the operator's account": (pods(serviceAccountName="pf-operator-sa"), f"{T}.spec.serviceAccountName: 'pf-operator-sa' is a program's of the stack"),
    "a directive that is none of ours": (pods(**{"$retainKeys": ["x"]}), f"{T}: spec: "),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_is_refused_by_its_path(name):
    agent, told = REFUSED[name]
    with pytest.raises(BadSettings) as caught:
        of(agent)
    assert [str(problem)[: len(told)] for problem in caught.value.problems][:1] == [told]
    assert not str(caught.value.problems[0]).endswith(": ")


def test_an_agent_may_read_the_payers_secret_where_it_is_told_or_where_nothing_is_secret():
    def reads(key):
        return in_agent(env=[{"name": "K", "valueFrom": {"secretKeyRef": {"name": "purpleflea-creds", "key": key}}}])

    of(reads("api-key") | {"credential": "payer"})
    of(reads("agent-wallet"))
    of(in_agent(envFrom=[{"secretRef": {"name": "mine"}}]))


@pytest.mark.parametrize("name", ["operator", "payroll", "sandbox"])
def test_our_programs_stay_as_they_are(name):
    other = {"containers": [{"name": name, "image": "evil:1"}], "serviceAccountName": "other"}
    settings = Settings.parse({"sandbox": {"enabled": True}, name: {"enabled": True, "podTemplate": {"spec": other}}})
    told = [str(problem) for problem in overrides.problems(settings)]
    assert len(told) == 2
    assert f"purpleflea.{name}.podTemplate.spec.serviceAccountName: the program has its rights" in told[0]
    assert f"the container {name} is the stack's own" in told[1]
    resources = {"resources": {"limits": {"memory": "1Gi"}}}
    changed = Settings.parse(
        {"sandbox": {"enabled": True}, name: {"podTemplate": {"spec": {"containers": [{"name": name, **resources}]}}}}
    )
    assert [*overrides.problems(changed)] == []
