"""An agent's Job, or CronJob where it has a schedule."""

import json

from components.manifests import agent_pod, naming
from components.manifests.naming import Manifest, content_hash, labels, metadata
from components.manifests.strategic_merge import merge
from components.settings import Agent, Settings, usdc_text
from runtime.contract import (
    AGENT_LABEL,
    ESCROW_ID_ANNOTATION,
    ESCROW_REQUEST_ANNOTATION,
    FAUCET_CONTAINER,
    RUN_ONCE,
    SETTLEMENT_FINALIZER,
    WORK_ID_ANNOTATION,
    Env,
    ExitCode,
    ProgramName,
    command,
)


def build(settings: Settings, agent: Agent) -> Manifest:
    """The Job of one agent, or its CronJob.

    A Job's template cannot change, so its name ends in a hash of its content: a changed agent is a new Job, in
    Pulumi, Helm and kubectl alike. It is found by its label: `kubectl get jobs -l purpleflea.com/agent=NAME`.
    """
    return _cron_job(settings, agent) if agent.schedule else _job(settings, agent)


def _job(settings: Settings, agent: Agent) -> Manifest:
    found = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        **job_template(settings, agent),
    }
    found["metadata"] = {"namespace": settings.namespace, **found["metadata"]}
    content = f"{agent.name}-{content_hash(found)}"
    found["metadata"]["name"] = agent.name if settings.job.stable_name else content
    # After the hash: an identity that changed the name would make every Job new work.
    _identify(found["metadata"], agent.work_id or content)
    if _held_by_manifest(settings):
        # From the manifest on, so that even a TTL of zero cannot remove the Job before it is recorded.
        found["metadata"]["finalizers"] = [SETTLEMENT_FINALIZER]
    return found


def _cron_job(settings: Settings, agent: Agent) -> Manifest:
    # No finalizer here: the CronJob controller copies labels and annotations only. The job gate adds it at creation.
    own = metadata(settings, agent.name, ProgramName.AGENT)
    own["labels"] |= {AGENT_LABEL: agent.name}
    template = job_template(settings, agent)
    # The operator adds the scheduled time: a run is one work, whatever the CronJob's content was then.
    _identify(template["metadata"], agent.work_id or agent.name)
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": own,
        "spec": {
            "schedule": agent.schedule,
            "timeZone": agent.time_zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "successfulJobsHistoryLimit": 5,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": template,
        },
    }


def job_template(settings: Settings, agent: Agent) -> Manifest:
    """`metadata` and `spec` of its Job, with what the settings say about them in Kubernetes' own words."""
    return merge({"metadata": _job_metadata(settings, agent), "spec": _job_spec(settings, agent)}, agent.job)


def _job_metadata(settings: Settings, agent: Agent) -> Manifest:
    found: Manifest = {"labels": _labels(agent)}
    if settings.funding.mode == "request":
        request = {"payee": agent.payee, "amountUsdc": usdc_text(settings.task_budget(agent))}
        found["annotations"] = {ESCROW_REQUEST_ANNOTATION: json.dumps(request)}
    elif agent.escrow_id:
        found["annotations"] = {ESCROW_ID_ANNOTATION: agent.escrow_id}
    return found


def _identify(metadata: Manifest, work_id: str) -> None:
    metadata["annotations"] = {**metadata.get("annotations", {}), WORK_ID_ANNOTATION: work_id}


def _job_spec(settings: Settings, agent: Agent) -> Manifest:
    pods = template(settings, agent)
    found: Manifest = {
        "backoffLimit": settings.job.backoff_limit,
        "activeDeadlineSeconds": settings.job.active_deadline_seconds,
        "parallelism": agent.parallelism,
        "completions": agent.parallelism if agent.completions is None else agent.completions,
        "podFailurePolicy": {"rules": _failure_rules(pods["spec"])},
        "template": pods,
    }
    if agent.schedule:
        # A Job of the manifests themselves has none: whatever applies them again would create it anew, and pay again.
        found["ttlSecondsAfterFinished"] = settings.job.ttl_seconds_after_finished
    if _held_by_manifest(settings) and settings.funding.mode == "request":
        found["suspend"] = True  # until the operator has locked the money
    return found


def template(settings: Settings, agent: Agent) -> Manifest:
    """Its pod template, with what the settings say about it in Kubernetes' own words."""
    spec = agent_pod.spec(settings, _container(settings, agent), agent_pod.Identity.of(agent), restartPolicy="Never")
    return merge({"metadata": {"labels": _labels(agent)}, "spec": spec}, agent.pod_template)


def _container(settings: Settings, agent: Agent) -> Manifest:
    values = {
        Env.AGENT_NAME: agent.name,
        Env.TASK_DESCRIPTION: agent.task,
        Env.TASK_BUDGET_USDC: usdc_text(settings.task_budget(agent)),
    }
    identity = agent_pod.Identity.of(agent)
    return agent_pod.agent_container(
        settings,
        agent_pod.command_of(agent, [*command("agent_worker"), RUN_ONCE]),
        agent.resources,
        agent.image,
        agent_pod.agent_env(settings, values, agent.env, identity),
    )


def _held_by_manifest(settings: Settings) -> bool:
    """Whether the manifest does what the job gate does elsewhere; without an operator nobody would undo it."""
    return settings.operator.enabled and settings.admission.job_gate == "manifest"


def _failure_rules(pod_spec: Manifest) -> list[Manifest]:
    """A wrong setting is wrong at each retry. Said of our own containers by name: a sidecar's 2 may mean anything."""
    names = [c["name"] for c in (*pod_spec.get("initContainers", ()), *pod_spec["containers"])]
    bad_input = {"operator": "In", "values": [ExitCode.BAD_INPUT.value]}
    return [
        *(
            {"action": "FailJob", "onExitCodes": {"containerName": name, **bad_input}}
            for name in (FAUCET_CONTAINER, agent_pod.CONTAINER)
            if name in names
        ),
        # A drained node is no failure of the work, and must not become a dispute.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]


def _labels(agent: Agent) -> dict[str, str]:
    return {**labels(ProgramName.AGENT), "app": naming.AGENT_APP, AGENT_LABEL: agent.name}
