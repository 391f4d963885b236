"""What a stack's settings may say in Kubernetes' own words (`podTemplate`, `job`), and what they may not.

Checked is what comes of it: by Kubernetes' strict schema and by the `restricted` Pod Security level. What the
accounting or the keeping of the key rests on is the stack's own, and a part that touches it is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from components.manifests import (
    agent_job,
    agent_pod,
    agent_workers,
    credentials,
    kinds,
    metrics_server,
    naming,
    operator,
    payroll,
    retention,
    sandbox,
)
from components.manifests.naming import Manifest
from components.manifests.restricted import violations
from components.manifests.strategic_merge import NotMergeable
from components.settings import Agent, BadSettings, Problem, Settings
from components.settings.checks import RESERVED_ENV
from components.settings.description import ROOT
from components.settings.values import pinned_image
from runtime.contract import DOMAIN, FAUCET_CONTAINER

_METADATA: Final = ("labels", "annotations")
_OURS_IN_A_CONTAINER: Final = ("resources", "imagePullPolicy")
"""Of one of the stack's own containers, all that may be changed."""
OUR_CONTAINERS: Final = (
    FAUCET_CONTAINER,
    naming.MCP_PROXY,
    "operator",
    "payroll",
    "metrics-server",
    "sandbox",
    "retention",
)
OUR_VOLUMES: Final = ("credentials", "tls", "ledger", "ca-bundle", "mcp-state", "archive", naming.MCP_RULES)
PROGRAMS_ACCOUNTS: Final = (
    naming.OPERATOR_ACCOUNT,
    naming.PAYROLL_ACCOUNT,
    naming.METRICS_ACCOUNT,
    naming.RETENTION_ACCOUNT,
    naming.SANDBOX_ACCOUNT,
)
_OURS_IN_A_JOB: Final = {
    "template": "write it as podTemplate",
    "suspend": "the job gate and the operator suspend and resume a Job",
    "selector": "the API server makes it",
    "manualSelector": "the API server makes the selector",
}


@dataclass(frozen=True, slots=True)
class _Part:
    """One `podTemplate` of the settings."""

    path: str
    patch: Mapping[str, Any]
    is_agent: bool
    """Whether its pods have a container of the user's own, called `agent`."""
    holds_key: bool = False
    """Whether that container has the payer's key by `credential: payer`."""


def check(settings: Settings) -> None:
    """Raise `BadSettings` with everything that is wrong in what the settings say in Kubernetes' own words."""
    if settings.enabled and (found := [*problems(settings)]):
        raise BadSettings(found)


def problems(settings: Settings) -> Iterator[Problem]:
    """Every finding; none, and no schema is loaded, where the settings have no such part."""
    for part, build in _parts(settings):
        if part.patch:
            found = [*_not_theirs(part), *_payers_secret(settings, part)]
            yield from found or _of_the_whole(part, build)
    for index, agent in enumerate(settings.agents):
        if agent.job or agent.pod_template:
            path = f"{ROOT}.agents[{index}].job"
            found = [*_not_theirs_in_a_job(settings, path, agent.job, scheduled=bool(agent.schedule))]
            yield from found or _job(settings, path, agent)


def _parts(settings: Settings) -> Iterator[tuple[_Part, Any]]:
    for index, agent in enumerate(settings.agents):
        part = _Part(f"{ROOT}.agents[{index}].podTemplate", agent.pod_template, True, agent.credential == "payer")
        yield part, lambda agent=agent: agent_job.template(settings, agent)
    own: dict[str, tuple[Mapping[str, Any], bool, Any]] = {
        "worker": (settings.worker.pod_template, settings.worker.enabled, agent_workers.deployment),
        "operator": (settings.operator.pod_template, settings.operator.enabled, operator.deployment),
        "payroll": (settings.payroll.pod_template, settings.pays_workers, payroll.cron_job),
        "retention": (settings.retention.pod_template, settings.retention.archives, retention.cron_job),
        "hpa.metricsServer": (
            settings.hpa.metrics_server.pod_template, settings.scales_workers, metrics_server.deployment,
        ),
        "sandbox": (settings.sandbox.pod_template, settings.sandbox.enabled, sandbox.deployment),
    }  # fmt: skip
    for name, (patch, is_there, build) in own.items():
        if is_there:
            is_worker = name == "worker"
            part = _Part(
                f"{ROOT}.{name}.podTemplate", patch, is_worker, is_worker and settings.worker.credential == "payer"
            )
            yield part, lambda build=build: _template(build(settings))


def _template(manifest: Manifest) -> Manifest:
    spec = manifest["spec"]
    return spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]


# --- what is the stack's own


def _not_theirs(part: _Part) -> Iterator[Problem]:
    yield from _metadata(part.path, part.patch)
    spec = part.patch.get("spec", {})
    path = f"{part.path}.spec"
    account = spec.get("serviceAccountName")
    if "serviceAccount" in spec:
        yield Problem(f"{path}.serviceAccount", "is the old name of serviceAccountName; write that")
    if account and not part.is_agent:
        yield Problem(f"{path}.serviceAccountName", "the program has its rights by the stack's own ServiceAccount")
    if account in PROGRAMS_ACCOUNTS:
        yield Problem(f"{path}.serviceAccountName", f"{account!r} is a program's of the stack; name one of your own")
    if spec.get("automountServiceAccountToken") and not account:
        message = "goes with a serviceAccountName of your own; the stack's has no business with the API server"
        yield Problem(f"{path}.automountServiceAccountToken", message)
    if spec.get("shareProcessNamespace"):
        yield Problem(f"{path}.shareProcessNamespace", "every container of the pod could read the API key")
    for kind in ("containers", "initContainers"):
        for index, one in enumerate(spec.get(kind, ())):
            yield from _container(part, f"{path}.{kind}[{index}]", one)
    for index, volume in enumerate(spec.get("volumes") or ()):
        if isinstance(volume, Mapping) and volume.get("name") in OUR_VOLUMES:
            yield Problem(f"{path}.volumes[{index}]", f"{volume['name']!r} is the stack's own; choose another name")


def _payers_secret(settings: Settings, part: _Part) -> Iterator[Problem]:
    """The payer's key by another way than `credential`: nothing that is told of the stack would show it."""
    if part.holds_key:
        return
    public = credentials.public_keys(settings)
    for path, secret in _secrets(part.patch.get("spec", {}), f"{part.path}.spec"):
        named = settings.payer_secret in (secret.get("name"), secret.get("secretName"))
        items = [item for item in secret.get("items") or () if isinstance(item, Mapping)]
        keys = [one.get("key") for one in (items or [secret])]
        if named and not all(key in public for key in keys):
            message = "is the payer's Secret, and its key can spend the whole balance"
            yield Problem(path, f"{message}; name one of the agent's own, or write credential: payer")


def _secrets(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every place that refers to a Secret: in variables, `envFrom` and volumes of all kinds."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key in ("secretKeyRef", "secretRef", "secret", "nodePublishSecretRef") and isinstance(part, Mapping):
                yield f"{path}.{key}", part
            yield from _secrets(part, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _secrets(part, f"{path}[{index}]")


def _container(part: _Part, path: str, one: Mapping[str, Any]) -> Iterator[Problem]:
    name = one.get("name")
    if part.is_agent and name == agent_pod.CONTAINER:
        if "$patch" in one:
            yield Problem(path, "the agent's own container stays; say what is to change in it")
        for index, variable in enumerate(one.get("env") or ()):
            if isinstance(variable, Mapping) and variable.get("name") in RESERVED_ENV:
                message = f"{variable['name']} is set by the stack; choose another name"
                yield Problem(f"{path}.env[{index}]", message)
    elif name in OUR_CONTAINERS:
        for key in sorted({*one} - {"name", *_OURS_IN_A_CONTAINER}):
            changeable = " and ".join(_OURS_IN_A_CONTAINER)
            message = f"the container {name} is the stack's own: only {changeable} can be changed"
            yield Problem(f"{path}.{key}", message)
    if isinstance(image := one.get("image"), str):
        try:
            pinned_image(image)
        except ValueError as error:
            yield Problem(f"{path}.image", str(error))


def _metadata(path: str, patch: Mapping[str, Any]) -> Iterator[Problem]:
    metadata = patch.get("metadata", {})
    for key in metadata:
        if key not in _METADATA:
            yield Problem(f"{path}.metadata.{key}", "only labels and annotations can be added")
    for kind in _METADATA:
        entries = metadata.get(kind) or {}
        for key in entries if isinstance(entries, Mapping) else ():
            ours = key in ("app.kubernetes.io/component", "app.kubernetes.io/part-of", "app")
            if ours or key.partition("/")[0] == DOMAIN or "$" in key:
                yield Problem(f"{path}.metadata.{kind}.{key}", "is set by the stack alone")


def _not_theirs_in_a_job(
    settings: Settings, path: str, job: Mapping[str, Any], *, scheduled: bool
) -> Iterator[Problem]:
    yield from _metadata(path, job)
    spec = job.get("spec", {})
    for key, why in _OURS_IN_A_JOB.items():
        if key in spec:
            yield Problem(f"{path}.spec.{key}", f"is the stack's own: {why}")
    if "ttlSecondsAfterFinished" in spec and not scheduled:
        message = "a Job that vanishes would be created anew by whatever applies the manifests again, and paid again"
        yield Problem(f"{path}.spec.ttlSecondsAfterFinished", message)
    hours, deadline = settings.escrow.timeout_hours, spec.get("activeDeadlineSeconds", 1)
    if not isinstance(deadline, int) or isinstance(deadline, bool) or deadline >= hours * 3600:
        message = f"must be a number below the escrow's time-out, {hours * 3600}: after {hours} h the money goes back"
        yield Problem(f"{path}.spec.activeDeadlineSeconds", message)


# --- what comes of it


def _of_the_whole(part: _Part, build: Any) -> Iterator[Problem]:
    try:
        template = build()
    except NotMergeable as error:
        yield Problem(f"{part.path}.{error.path}", error.message)
        return
    whole = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
    if complaint := kinds.schema_complaint(whole):
        yield Problem(part.path, complaint.removeprefix("template."))
    else:
        for violation in violations(template["spec"]):
            message = f"{violation}: the namespace enforces the restricted Pod Security level, which refuses such a pod"
            yield Problem(part.path, message)


def _job(settings: Settings, path: str, agent: Agent) -> Iterator[Problem]:
    try:
        template = agent_job.job_template(settings, agent)
    except NotMergeable:
        return  # its podTemplate's, and told there
    spec = template["spec"]
    # Without its pods: what is wrong with those is told of the podTemplate.
    alone = {**spec, "template": {"spec": {"containers": [{"name": "x"}]}}}
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", **template["metadata"]}, "spec": alone}
    if complaint := kinds.schema_complaint(whole):
        yield Problem(path, complaint)
    if spec.get("podFailurePolicy") and spec["template"]["spec"].get("restartPolicy") != "Never":
        message = "is for restartPolicy Never; with OnFailure write `job: {spec: {podFailurePolicy: null}}`"
        yield Problem(f"{path}.spec.podFailurePolicy", message)
