"""The payroll CronJob (`pf-agent-payroll`)."""

from components.manifests import credentials, naming, pod
from components.manifests.naming import Manifest, metadata, selector
from components.manifests.strategic_merge import merge
from components.settings import Settings
from runtime.contract import Env, ProgramName, command


def cron_job(settings: Settings) -> Manifest:
    """Payroll; a CronJob may start twice or not at all, so two runs never overlap and a late one is skipped."""
    payroll = settings.payroll
    labels = selector(ProgramName.PAYROLL)
    spec = pod.spec(settings, naming.PAYROLL_ACCOUNT, [container(settings)], api_access=True, restartPolicy="OnFailure")
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(settings, naming.PAYROLL, ProgramName.PAYROLL),
        "spec": {
            "schedule": payroll.schedule,
            "timeZone": payroll.time_zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": payroll.starting_deadline_seconds,
            "successfulJobsHistoryLimit": 5,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": labels},
                "spec": {
                    "backoffLimit": 1,
                    "activeDeadlineSeconds": payroll.active_deadline_seconds,
                    "template": merge({"metadata": {"labels": labels}, "spec": spec}, payroll.pod_template),
                },
            },
        },
    }


def container(settings: Settings) -> Manifest:
    """Payroll's container."""
    return pod.container(
        settings,
        "payroll",
        command("payroll"),
        settings.payroll.resources,
        env=[
            credentials.key_env(settings),
            *pod.api_env(settings),
            *pod.env({Env.RELEASE_AGE_MINUTES: settings.payroll.release_age_minutes}),
            pod.field_env(Env.POD_NAME, "metadata.name"),
            pod.field_env(Env.POD_NAMESPACE, "metadata.namespace"),
        ],
    )
