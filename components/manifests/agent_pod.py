"""The pod of an agent, the same for a Job's run and for a long-running worker."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.manifests import credentials, mcp_sidecar, naming, pod, services
from components.manifests.naming import Manifest
from components.settings import Settings
from components.settings.section import Resources
from runtime.contract import FAUCET_CONTAINER, Env, MountPath, command

WORKSPACE_VOLUME = "agent-workspace"
_WORKSPACE = {"name": WORKSPACE_VOLUME, "mountPath": MountPath.WORKSPACE.value}
_TEMPORARY = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a volume of the pod's own, not the host's


def agent_env(settings: Settings, values: Mapping[Env, str], own: Mapping[str, str], agent_id: str) -> list[Manifest]:
    """Environment of the agent's container: the guide's, the six services, the sidecar, then the user's own."""
    beside = {
        variable: services.url(settings, service)
        for service, variable in services.SERVICES.items()
        if variable is not Env.ESCROW_URL
    }
    return [
        _secret(settings, Env.API_KEY),
        _identity(settings, agent_id),
        *pod.api_env(settings),
        *pod.env({Env.WORKSPACE: MountPath.WORKSPACE.value, **values, **beside}),
        *pod.env({Env.MCP_PROXY_URL: mcp_sidecar.proxy_url(settings) if settings.mcp.enabled else ""}),
        *[{"name": name, "value": value} for name, value in own.items()],
    ]


def faucet_claim(settings: Settings, agent_id: str) -> Manifest:
    """The init container that claims the one free dollar of the agent id and writes what came of it."""
    return pod.container(
        settings,
        FAUCET_CONTAINER,
        command("faucet_claim"),
        settings.faucet.resources,
        env=[
            _secret(settings, Env.API_KEY),
            _identity(settings, agent_id),
            _secret(settings, Env.FAUCET_URL),
            *pod.env(
                {
                    Env.API_DIALECT: settings.api.dialect,
                    Env.ALLOW_HTTP: services.allow_http(settings) or "",
                    Env.FAUCET_REQUIRED: settings.faucet.required,
                    Env.FAUCET_DEADLINE_SECONDS: settings.faucet.deadline_seconds,
                    Env.WORKSPACE: MountPath.WORKSPACE.value,
                }
            ),
        ],
        volumeMounts=[_WORKSPACE],
    )


def agent_container(
    settings: Settings, command: Sequence[str], amounts: Resources, image: str, environment: list[Manifest], **more: Any
) -> Manifest:
    """The agent itself, with a workspace that the faucet's result is in and a writable `/tmp`."""
    return pod.container(
        settings, "agent", command, amounts, image, env=environment, volumeMounts=[_WORKSPACE, _TEMPORARY], **more
    )


def spec(settings: Settings, agent: Manifest, agent_id: str, **more: Any) -> Manifest:
    """A pod's `spec` around the agent's container."""
    init = [faucet_claim(settings, agent_id)] if settings.faucet.claim_on_startup else []
    if settings.mcp.enabled:
        init.append(mcp_sidecar.sidecar(settings))
    volumes: list[Manifest] = [
        {"name": WORKSPACE_VOLUME, "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]
    if settings.mcp.enabled:
        volumes.append(credentials.volume(settings))
    if init:
        more["initContainers"] = init
    return pod.spec(settings, naming.AGENT_ACCOUNT, [agent], api_access=False, volumes=volumes, **more)


def _identity(settings: Settings, agent_id: str) -> Manifest:
    return {"name": Env.AGENT_ID.value, "value": agent_id} if agent_id else _secret(settings, Env.AGENT_ID)


def _secret(settings: Settings, name: Env) -> Manifest:
    return credentials.env_from_secret(settings, name)
