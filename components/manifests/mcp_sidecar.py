"""The MCP proxy beside an agent, a native sidecar: an init container that keeps running and never holds up a Job.

It is one beside a worker, too: it starts before the worker and ends after it, so no call is cut off by a scale-in.
"""

import json

from components.manifests import credentials, naming, pod, services
from components.manifests.naming import Manifest, metadata
from components.settings import Settings, usdc_text
from runtime.contract import MCP_RULES_KEY, Env, MountPath, Port, ProgramName, Route, command

_STATE = "mcp-state"


def proxy_url(settings: Settings) -> str:
    """Where the agent finds the sidecar: in its own pod."""
    return f"http://localhost:{settings.mcp.container_port}"


def sidecar(settings: Settings) -> Manifest:
    """The container `pf-mcp-proxy`; the agent starts only once it answers."""
    return pod.container(
        settings,
        naming.MCP_PROXY,
        command("mcp_proxy"),
        settings.mcp.resources,
        restartPolicy="Always",
        env=[
            credentials.file_env(),
            *_upstream(settings, "faucet", Env.MCP_FAUCET_URL),
            *_upstream(settings, "escrow", Env.MCP_ESCROW_URL),
            *pod.env(
                {
                    Env.MCP_PORT: settings.mcp.container_port,
                    Env.HEALTH_PORT: Port.HEALTH.value,  # not the contract's two: the pod is the agent's, too
                    Env.MCP_STATE_DIRECTORY: MountPath.MCP_STATE.value,
                    Env.MCP_RULES_FILE: f"{MountPath.MCP_RULES.value}/{MCP_RULES_KEY}" if rules(settings) else "",
                    Env.ALLOW_HTTP: services.allow_http(settings) or "",
                    Env.LOG_LEVEL: pod.log_level(settings),
                }
            ),
        ],
        ports=[
            {"name": "mcp", "containerPort": settings.mcp.container_port},
            {"name": "health", "containerPort": Port.HEALTH.value},
        ],
        startupProbe=pod.http_probe(Route.READYZ, "health", periodSeconds=1, failureThreshold=60),
        livenessProbe=pod.http_probe(Route.LIVEZ, "health", periodSeconds=10, failureThreshold=6),
        volumeMounts=[credentials.mount(), *_mounts(settings)],
    )


def _upstream(settings: Settings, service: str, name: Env) -> list[Manifest]:
    """Its MCP server: the settings', else at the address that the Secret has, where the rest of the stack pays, too."""
    if getattr(settings.mcp, f"{service}_endpoint") or services.is_given(settings, service):
        return pod.env({name: services.mcp_urls(settings)[service]})
    address = credentials.url_env(settings, service)
    return [address, {"name": name.value, "value": f"$({address['name']})/mcp"}]


def volumes(settings: Settings) -> list[Manifest]:
    """Its own volumes, which no other container mounts: what was spent, for the pod's life, and the rules."""
    found: list[Manifest] = [{"name": _STATE, "emptyDir": {"sizeLimit": "64Mi"}}]
    if rules(settings):
        found.append({"name": naming.MCP_RULES, "configMap": {"name": naming.MCP_RULES}})
    return found


def _mounts(settings: Settings) -> list[Manifest]:
    found: list[Manifest] = [{"name": _STATE, "mountPath": MountPath.MCP_STATE.value}]
    if rules(settings):
        found.append({"name": naming.MCP_RULES, "mountPath": MountPath.MCP_RULES.value, "readOnly": True})
    return found


def rules(settings: Settings) -> Manifest:
    """What agents may call and spend, as docs/mcp.md has it; empty without any rule."""
    mcp = settings.mcp
    given = {
        "deny": [*mcp.deny_tools],
        "payees": [*mcp.payees],
        "spend_limit": "" if mcp.spend_limit_usdc is None else usdc_text(mcp.spend_limit_usdc),
    }
    budgets = [
        {"name": window, "limit": usdc_text(limit), "window": window, "on_exceed": _ON_EXCEED[mcp.on_exceed]}
        for window, limit in (("pod", mcp.pod_budget_usdc), ("day", mcp.pod_daily_budget_usdc))
        if limit is not None
    ]
    escrow = {name: value for name, value in given.items() if value}
    return ({"servers": {"escrow": escrow}} if escrow else {}) | ({"budgets": budgets} if budgets else {})


_ON_EXCEED = {"deny": "deny", "requireApproval": "require_approval"}


def rules_map(settings: Settings) -> Manifest:
    """The ConfigMap with the rules; a change reaches running sidecars without a restart."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(settings, naming.MCP_RULES, ProgramName.MCP_PROXY),
        "data": {MCP_RULES_KEY: json.dumps(rules(settings), indent=2) + "\n"},
    }
