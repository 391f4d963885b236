"""Which containers of a stack hold the payer's key, and how a policy knows them again.

By more than name, image and command: whoever makes a pod could have our own program send the key elsewhere by a
variable, run another program in it by a hook, a probe or a mounted folder, or write the key into a shared volume by
`$(PF_API_KEY)` in a value or a path. So all that a container can do harm with is compared with what the stack renders.
"""

from collections.abc import Iterator

from components.manifests import (
    agent_job,
    agent_pod,
    agent_workers,
    credentials,
    mcp_sidecar,
    metrics_server,
    naming,
    operator,
    payroll,
    sandbox,
)
from components.manifests.admission import cel
from components.manifests.naming import Manifest
from components.settings import Settings
from runtime.contract import Env

_ACCOUNT_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder
"""The API server itself mounts the account's token there."""


def programs(settings: Settings) -> list[Manifest]:
    """The stack's own containers that hold the key, as they are rendered."""
    payer = agent_pod.Identity()
    found: list[Manifest] = []
    if settings.faucet.claim_on_startup:
        found.append(agent_pod.faucet_claim(settings, payer))
    if settings.mcp.enabled:
        found.append(mcp_sidecar.sidecar(settings))
    if settings.operator.enabled:
        found.append(operator.container(settings))
    if settings.pays_workers:
        found.append(payroll.container(settings))
    if settings.scales_workers:
        found.append(metrics_server.container(settings))
    if settings.sandbox.enabled:
        found.append(sandbox.container(settings))
    return found


def agents(settings: Settings) -> list[Manifest]:
    """Agents' own containers that hold the payer's key, as they are rendered: those with `credential: payer`."""
    pods = [agent_job.template(settings, agent)["spec"] for agent in settings.agents if agent.credential == "payer"]
    if settings.worker.enabled and settings.worker.credential == "payer":
        pods.append(agent_workers.deployment(settings)["spec"]["template"]["spec"])
    return [agent_pod.own_container(spec) for spec in pods]


def names(settings: Settings) -> list[str]:
    """Names of all of them."""
    return sorted({container["name"] for container in (*programs(settings), *agents(settings))})


def holds_key(settings: Settings, container: str, key_volumes: str) -> str:
    """CEL: whether a container of a pod holds the key, or may: every key of the Secret counts but those known."""
    name, public = cel(settings.payer_secret), cel([*credentials.public_keys(settings)])
    return (
        f"{container}.?env.orValue([]).exists(e, e.?valueFrom.?secretKeyRef.?name.orValue('') == {name}"
        f" && !(e.valueFrom.secretKeyRef.key in {public}))"
        f" || {container}.?envFrom.orValue([]).exists(e, e.?secretRef.?name.orValue('') == {name})"
        f" || {container}.?volumeMounts.orValue([]).exists(m, m.name in {key_volumes})"
    )


def is_known(settings: Settings, container: str) -> str:
    """CEL: whether a container is one that the stack renders with the key."""
    ways = [
        f"({_same(one, container)} && {_is_plain(container)} && {_environment(one, container)}"
        f" && {_mounts(one, container)})"
        for one in programs(settings)
    ]
    # What an agent's own container does with the key is its author's: `credential: payer` says so.
    ways += sorted({f"({_same(one, container)})" for one in agents(settings)})
    return " || ".join(ways) or "false"


def _same(one: Manifest, container: str) -> str:
    command = cel(one["command"]) if "command" in one else "[]"
    return (
        f"{container}.name == {cel(one['name'])} && {container}.image == {cel(one['image'])}"
        f" && {container}.?command.orValue([]) == {command}"
    )


def _is_plain(container: str) -> str:
    """Nothing else runs in it: no arguments, no hook, no probe by a command, no other folder to load modules from."""
    execs = [f"!{container}.?{probe}.?exec.hasValue()" for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    empty = [f"{container}.?{field}.orValue([]).size() == 0" for field in ("args", "envFrom", "volumeDevices")]
    unset = [f"!{container}.?{flag}.orValue(false)" for flag in ("stdin", "tty")]
    return " && ".join(
        [*empty, *execs, *unset, f"{container}.?workingDir.orValue('') == ''", f"!has({container}.lifecycle)"]
    )


def _environment(one: Manifest, container: str) -> str:
    """Every variable is set as rendered; the agent's id alone is free, but for a reference to another variable."""
    known = sorted({*map(_variable, one.get("env", ()))})
    written = (
        "(e.?valueFrom.?secretKeyRef.hasValue()"
        " ? e.name + '<' + e.valueFrom.secretKeyRef.name + '/' + e.valueFrom.secretKeyRef.key"
        " : e.?valueFrom.?fieldRef.hasValue() ? e.name + '<' + e.valueFrom.fieldRef.fieldPath"
        " : has(e.valueFrom) ? '' : e.name + '=' + e.?value.orValue(''))"
    )
    free = f"(e.name == '{Env.AGENT_ID.value}' && !has(e.valueFrom) && !e.?value.orValue('').contains('$('))"
    return f"{container}.?env.orValue([]).all(e, {free} || {written} in {cel(known)})"


def _variable(variable: Manifest) -> str:
    source = variable.get("valueFrom", {})
    if "secretKeyRef" in source:
        return f"{variable['name']}<{source['secretKeyRef']['name']}/{source['secretKeyRef']['key']}"
    if "fieldRef" in source:
        return f"{variable['name']}<{source['fieldRef']['fieldPath']}"
    return f"{variable['name']}={variable['value']}"


def _mounts(one: Manifest, container: str) -> str:
    known = sorted(f"{mount['name']}:{mount['mountPath']}" for mount in one.get("volumeMounts", ()))
    return (
        f"{container}.?volumeMounts.orValue([]).all(m, ((m.name + ':' + m.mountPath) in {cel(known)}"
        f" || m.mountPath == {cel(_ACCOUNT_TOKEN)}) && !has(m.subPath) && !has(m.subPathExpr))"
    )


def agents_accounts(settings: Settings) -> Iterator[str]:
    """ServiceAccounts of agents' pods: the stack's, or their own."""
    for one in (*settings.agents, *([settings.worker] if settings.worker.enabled else [])):
        usual = agent_workers.account(settings) if one is settings.worker else naming.AGENT_ACCOUNT
        yield (one.pod_template.get("spec") or {}).get("serviceAccountName") or usual


def accounts(settings: Settings) -> Iterator[str]:
    """ServiceAccounts of the stack itself that run a program with the key."""
    yield naming.AGENT_ACCOUNT
    yield from sorted({*agents_accounts(settings)} - {naming.AGENT_ACCOUNT})
    if settings.operator.enabled:
        yield naming.OPERATOR_ACCOUNT
    if settings.pays_workers:
        yield naming.PAYROLL_ACCOUNT
    if settings.scales_workers:
        yield naming.METRICS_ACCOUNT
    if settings.sandbox.enabled:
        yield naming.SANDBOX_ACCOUNT
