"""The long-running agents (`pf-agent-workers`) that the autoscaler scales and payroll pays."""

from components.manifests import agent_pod, credentials, naming, pod
from components.manifests.naming import Manifest
from components.settings import Settings, usdc_text
from runtime.contract import Env, Port, ProgramName, command

PORT = "worker"
_LAST_SECONDS = 15
"""Of the grace period, for what follows a task: its end goes on record."""


def account(settings: Settings) -> str:
    """Their ServiceAccount: with a work log one of their own, which may claim tasks and ask who reads the log."""
    return naming.WORKER_ACCOUNT if settings.worker.work_log else naming.AGENT_ACCOUNT


def deployment(settings: Settings) -> Manifest:
    """The Deployment; without `replicas` where an autoscaler owns them, or every `up` would undo its work."""
    template = agent_pod.spec(
        settings,
        container(settings),
        _identity(settings),
        account(settings),
        terminationGracePeriodSeconds=settings.worker.termination_grace_period_seconds,
    )
    count: Manifest = {} if settings.hpa.enabled else {"replicas": settings.worker.replicas}
    marks = credentials.read_at_start(settings)
    overrides = settings.worker.pod_template
    return pod.deployment(
        settings, naming.WORKERS, ProgramName.WORKER, template, annotations=marks, overrides=overrides, **count
    )


def _identity(settings: Settings) -> agent_pod.Identity:
    return agent_pod.Identity(agent_holds_key=settings.worker.credential == "payer")


def container(settings: Settings) -> Manifest:
    """The worker's own container."""
    identity = _identity(settings)
    worker = settings.worker
    values = {Env.TASK_DESCRIPTION: worker.task, Env.TASK_BUDGET_USDC: usdc_text(settings.task_budget(worker))}
    logs: list[Manifest] = []
    if worker.work_log:
        values[Env.WORK_LOG_READER] = f"system:serviceaccount:{settings.namespace}:{naming.PAYROLL_ACCOUNT}"
        values[Env.GRACE_SECONDS] = str(max(0, worker.termination_grace_period_seconds - _LAST_SECONDS))
        logs = [credentials.wallet_env(settings)]
    return agent_pod.agent_container(
        settings,
        agent_pod.command_of(worker, command("agent_worker")),
        worker.resources,
        worker.image,
        [
            *agent_pod.agent_env(settings, values, worker.env, identity),
            *logs,
            pod.field_env(Env.POD_NAME, "metadata.name"),
        ],
        ports=[{"name": PORT, "containerPort": Port.WORKER.value}],
        **(pod.probes(PORT) if worker.probes else {}),
    )
