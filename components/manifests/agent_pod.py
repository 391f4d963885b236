"""The pod of an agent, the same for a Job's run and for a long-running worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.manifests import credentials, mcp_sidecar, naming, pod, services
from components.manifests.naming import Manifest
from components.settings import Agent, Settings, Worker
from components.settings.section import Resources
from runtime.contract import FAUCET_CONTAINER, Env, MountPath, command

WORKSPACE_VOLUME = "agent-workspace"
CONTAINER = "agent"
_WORKSPACE = {"name": WORKSPACE_VOLUME, "mountPath": MountPath.WORKSPACE.value}
_TEMPORARY = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a volume of the pod's own, not the host's


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an agent's pod is at the payment service, and which of its containers hold whose key."""

    agent_id: str = ""
    """Empty: the one in the Secret."""
    secret: str = ""
    """The agent's own Secret, for all containers of the pod; empty: the payer's."""
    agent_holds_key: bool = False
    """Whether the agent's own container holds the key too. What it runs is its author's."""

    @classmethod
    def of(cls, agent: Agent) -> "Identity":
        """An agent's, by its settings."""
        own = (agent.own_secret or f"{agent.name}-creds") if agent.credential == "own" else ""
        return cls(agent.agent_id, own, agent.credential != "none")


def agent_env(
    settings: Settings, values: Mapping[Env, str], own: Mapping[str, str], identity: Identity
) -> list[Manifest]:
    """Environment of the agent's container: the guide's, the six services, the sidecar, then the user's own."""
    beside = {
        variable: services.url(settings, service)
        for service, variable in services.SERVICES.items()
        if service not in ("escrow", "faucet")  # of these the Secret's address may count
    }
    return [
        *([credentials.key_env(settings, secret=identity.secret)] if identity.agent_holds_key else []),
        credentials.identity_env(settings, identity.agent_id, identity.secret),
        *pod.api_env(settings, identity.secret),
        credentials.url_env(settings, "faucet", identity.secret),
        *pod.env({Env.WORKSPACE: MountPath.WORKSPACE.value, **values, **beside}),
        *pod.env({Env.MCP_PROXY_URL: mcp_sidecar.proxy_url(settings) if settings.mcp.enabled else ""}),
        *[{"name": name, "value": value} for name, value in own.items()],
    ]


def faucet_claim(settings: Settings, identity: Identity) -> Manifest:
    """The init container that claims the one free dollar of the agent id and writes what came of it."""
    return pod.container(
        settings,
        FAUCET_CONTAINER,
        command("faucet_claim"),
        settings.faucet.resources,
        env=[
            credentials.key_env(settings, secret=identity.secret),
            credentials.identity_env(settings, identity.agent_id, identity.secret),
            credentials.url_env(settings, "faucet", identity.secret),
            *pod.env(
                {
                    Env.API_DIALECT: settings.api.dialect,
                    Env.ALLOW_HTTP: services.allow_http(settings) or "",
                    Env.FAUCET_REQUIRED: settings.faucet.required,
                    Env.FAUCET_DEADLINE_SECONDS: settings.faucet.deadline_seconds,
                    Env.WORKSPACE: MountPath.WORKSPACE.value,
                    Env.LOG_LEVEL: pod.log_level(settings),
                }
            ),
        ],
        volumeMounts=[_WORKSPACE],
    )


def own_container(spec: Manifest) -> Manifest:
    """The agent's own container in a pod's `spec`."""
    return next(one for one in spec["containers"] if one["name"] == CONTAINER)


def command_of(of: Agent | Worker, ours: Sequence[str]) -> Sequence[str]:
    """The command of the agent's container: its own; ours in our image; none in an image of its own."""
    containers = of.pod_template.get("spec", {}).get("containers", ())
    own_image = of.image or any("image" in one for one in containers if one.get("name") == CONTAINER)
    return of.command or (() if own_image else ours)


def agent_container(
    settings: Settings, command: Sequence[str], amounts: Resources, image: str, environment: list[Manifest], **more: Any
) -> Manifest:
    """The agent itself, with a workspace that the faucet's result is in and a writable `/tmp`."""
    return pod.container(
        settings, CONTAINER, command, amounts, image, env=environment, volumeMounts=[_WORKSPACE, _TEMPORARY], **more
    )


def spec(
    settings: Settings, agent: Manifest, identity: Identity, account: str = naming.AGENT_ACCOUNT, **more: Any
) -> Manifest:
    """A pod's `spec` around the agent's container. Agents have no account at the API server; workers have."""
    init = [faucet_claim(settings, identity)] if settings.faucet.claim_on_startup else []
    if settings.mcp.enabled:
        init.append(mcp_sidecar.sidecar(settings))
    volumes: list[Manifest] = [
        {"name": WORKSPACE_VOLUME, "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    if settings.mcp.enabled:
        volumes += [credentials.volume(settings, identity.secret), *mcp_sidecar.volumes(settings)]
    if init:
        more["initContainers"] = init
    api_access = account != naming.AGENT_ACCOUNT
    return pod.spec(settings, account, [agent], api_access=api_access, volumes=volumes, **more)
