"""The escrow operator's Deployment (`pf-escrow-operator`)."""

import json
from collections.abc import Iterator

from components.manifests import agent_job, credentials, naming, pod
from components.manifests.naming import Manifest, metadata, selector
from components.settings import Settings, usdc_text
from runtime.contract import Env, Port, ProgramName, command


def watch_namespace(settings: Settings) -> str:
    """`WATCH_NAMESPACE`: one namespace, a comma-separated list, or a selector."""
    return settings.operator.watch_namespace or settings.namespace


def namespace_selector(settings: Settings) -> str:
    """The label `key=value` by which the operator picks namespaces; empty where it knows them by name."""
    watched = watch_namespace(settings)
    return watched.removeprefix("selector:") if watched.startswith("selector:") else ""


def watched_namespaces(settings: Settings) -> tuple[str, ...]:
    """The namespaces that the operator watches by name; empty where it watches by a selector."""
    return () if namespace_selector(settings) else tuple(watch_namespace(settings).split(","))


def deployment(settings: Settings) -> Manifest:
    """The operator; several replicas elect a leader."""
    return pod.deployment(
        settings,
        naming.OPERATOR,
        ProgramName.OPERATOR,
        pod.spec(
            settings,
            naming.OPERATOR_ACCOUNT,
            [container(settings)],
            api_access=True,
            affinity=_spread(),
            terminationGracePeriodSeconds=30,
            volumes=[credentials.volume(settings)],
        ),
        annotations=credentials.read_at_start(settings),
        overrides=settings.operator.pod_template,
        replicas=settings.operator.replicas,
        # Never two configurations side by side: one that elects no leader would act beside one that does. And one
        # type for any number, since the API server refuses to turn a RollingUpdate into a Recreate by apply.
        strategy={"type": "Recreate"},
    )


def pod_disruption_budget(settings: Settings) -> Manifest:
    """Keeps a drain from taking every replica at once; only where there are several."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(settings, naming.OPERATOR, ProgramName.OPERATOR),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(ProgramName.OPERATOR)}},
    }


def container(settings: Settings) -> Manifest:
    """The operator's container."""
    operator, budget = settings.operator, settings.budget
    bounds = {
        Env.NAMESPACE_BUDGET_USDC: budget.namespace_usdc,
        Env.NAMESPACE_DAILY_BUDGET_USDC: budget.namespace_daily_usdc,
        Env.AGENT_BUDGET_USDC: budget.agent_usdc,
        Env.AGENT_DAILY_BUDGET_USDC: budget.agent_daily_usdc,
        Env.PAYEE_BUDGET_USDC: budget.payee_usdc,
        Env.PAYEE_DAILY_BUDGET_USDC: budget.payee_daily_usdc,
        Env.JOB_BUDGET_USDC: budget.job_usdc,
    }
    return pod.container(
        settings,
        "operator",
        command("operator"),
        operator.resources,
        operator.image,
        env=[
            credentials.file_env(),
            credentials.identity_env(settings),
            *pod.payer_env(settings),
            *pod.env(
                {
                    Env.WATCH_NAMESPACE: watch_namespace(settings),
                    Env.DEFAULT_BUDGET_USDC: usdc_text(settings.escrow.default_budget_usdc),
                    **{name: "" if amount is None else usdc_text(amount) for name, amount in bounds.items()},
                    Env.BUDGET_TIME_ZONE: budget.time_zone,
                    Env.PAYEES: json.dumps(budget.payees),
                    Env.BRING_ESCROWS: budget.bring_escrows,
                    Env.ALLOWED_ESCROWS: json.dumps([*budget.allowed_escrows, *_agents_escrows(settings)]),
                    Env.FORMER_URLS: json.dumps(operator.former_escrow_urls),
                    Env.ESCROW_TIMEOUT_HOURS: settings.escrow.timeout_hours,
                    Env.RESYNC_SECONDS: operator.resync_seconds,
                    Env.RERUN_FAILED_WORK: operator.rerun_failed_work,
                    Env.SCHEDULED_WAIT_SECONDS: 60 * operator.scheduled_wait_minutes,
                    Env.KUEUE_ADMISSION_CHECK: operator.admission_check,
                    Env.AUTO_RELEASE: settings.escrow.auto_release_on_job_complete,
                    Env.LEADER_ELECTION: operator.replicas > 1,
                }
            ),
            pod.field_env(Env.POD_NAME, "metadata.name"),
            pod.field_env(Env.POD_NAMESPACE, "metadata.namespace"),
        ],
        ports=[
            {"name": "health", "containerPort": Port.HEALTH.value},
            {"name": "metrics", "containerPort": Port.METRICS.value},
        ],
        volumeMounts=[credentials.mount()],
        **pod.probes("health"),
    )


def _agents_escrows(settings: Settings) -> Iterator[str]:
    """Those that the settings give to agents, each for its Job alone: whoever wrote these need not name it again."""
    for agent in settings.agents:
        if agent.escrow_id and settings.funding.mode == "annotation":
            job = agent_job.build(settings, agent)["metadata"]
            yield f"{agent.escrow_id}={settings.namespace}/{job['name']}"


def _spread() -> Manifest:
    term = {"labelSelector": {"matchLabels": selector(ProgramName.OPERATOR)}, "topologyKey": "kubernetes.io/hostname"}
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
        }
    }
