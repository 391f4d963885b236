"""What a stack tells its agents' authors: one object an agent, nothing secret in it (docs/agent-config.md)."""

from components.manifests import agent_job, agent_pod, agent_workers, mcp_sidecar, services
from components.manifests.naming import Manifest
from components.settings import Agent, Settings, usdc_text
from components.settings.budget import exposure
from runtime.contract import AGENT_LABEL


def agent_config(settings: Settings) -> Manifest:
    """The stack's output `agentConfig`, and `agent-config.json`: names and addresses, secrets by name only."""
    return {
        "namespace": settings.namespace,
        "apiDialect": settings.api.dialect,
        "sandbox": settings.sandbox.enabled,
        "services": services.urls(settings),
        "mcp": services.mcp_urls(settings) if settings.mcp.enabled else {},
        "credentials": {
            "secretName": settings.payer_secret,
            "keys": settings.credentials.model_dump(exclude={"existing_secret", "agent_wallet"}, by_alias=True),
        },
        "maximumExposure": budget(settings),
        "agents": {agent.name: _agent(settings, agent) for agent in settings.agents} if settings.enabled else {},
        "workers": _workers(settings) if settings.enabled and settings.worker.enabled else {},
    }


def budget(settings: Settings) -> Manifest:
    """The most that may be locked at one time, with the arithmetic."""
    most = exposure(settings)
    return {
        "amountUsdc": usdc_text(most.amount),
        "feeUsdc": usdc_text(most.fee),
        "totalUsdc": usdc_text(most.total),
        "wholeBalance": [*settings.holds_payers_key] if settings.enabled else [],
        "arithmetic": str(most),
    }


def _agent(settings: Settings, agent: Agent) -> Manifest:
    manifest = agent_job.build(settings, agent)
    cron = manifest["kind"] == "CronJob"
    job = manifest["spec"]["jobTemplate"] if cron else manifest
    return {
        **_described(settings, manifest, job["spec"]["template"]["spec"]),
        "selector": f"{AGENT_LABEL}={agent.name}",
        "schedule": agent.schedule or None,
        "credential": agent.credential,
        "payee": agent.payee or None,
        "budgetUsdc": usdc_text(settings.task_budget(agent)),
        "funding": settings.funding.mode,
        "annotations": job["metadata"].get("annotations", {}),
    }


def _workers(settings: Settings) -> Manifest:
    manifest = agent_workers.deployment(settings)
    hpa = settings.hpa
    return {
        **_described(settings, manifest, manifest["spec"]["template"]["spec"]),
        "credential": settings.worker.credential,
        "budgetUsdc": usdc_text(settings.task_budget(settings.worker)),
        "replicas": [hpa.min_replicas, hpa.max_replicas] if hpa.enabled else [settings.worker.replicas] * 2,
    }


def _described(settings: Settings, manifest: Manifest, pod: Manifest) -> Manifest:
    agent = agent_pod.own_container(pod)
    return {
        "kind": manifest["kind"],
        "name": manifest["metadata"]["name"],
        "serviceAccount": pod["serviceAccountName"],
        "image": agent["image"],
        "environment": {variable["name"]: _value(variable) for variable in agent["env"]},
        "mcpProxyUrl": mcp_sidecar.proxy_url(settings) if settings.mcp.enabled else None,
    }


def _value(variable: Manifest) -> str | Manifest:
    if "valueFrom" not in variable:
        return variable.get("value", "")
    source = variable["valueFrom"]
    if "secretKeyRef" in source:
        return {"secret": source["secretKeyRef"]}
    return {"field": source["fieldRef"]["fieldPath"]} if "fieldRef" in source else {"source": source}
