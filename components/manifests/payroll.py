"""The payroll CronJob (`pf-agent-payroll`)."""

from typing import Any

from components.manifests import credentials, naming, pod
from components.manifests.naming import Manifest
from components.settings import Settings, usdc_text
from runtime.contract import WORK_LOG_AUDIENCE, Env, MountPath, ProgramName, command

_TOKEN = "work-log-token"  # noqa: S105 - the name of a volume
_TOKEN_MOUNT = {"name": _TOKEN, "mountPath": MountPath.WORK_LOG_TOKEN.value, "readOnly": True}


def cron_job(settings: Settings) -> Manifest:
    """Payroll; a CronJob may start twice or not at all, so two runs never overlap and a late one is skipped."""
    payroll = settings.payroll
    more: Manifest = {"volumes": [_token()]} if settings.worker.work_log else {}
    spec = pod.spec(
        settings, naming.PAYROLL_ACCOUNT, [container(settings)], api_access=True, restartPolicy="OnFailure", **more
    )
    return pod.cron_job(
        settings,
        naming.PAYROLL,
        ProgramName.PAYROLL,
        spec,
        overrides=payroll.pod_template,
        deadline_seconds=payroll.active_deadline_seconds,
        schedule=payroll.schedule,
        timeZone=payroll.time_zone,
        startingDeadlineSeconds=payroll.starting_deadline_seconds,
        successfulJobsHistoryLimit=5,
    )


def container(settings: Settings) -> Manifest:
    """Payroll's container."""
    mounts: Manifest = {"volumeMounts": [_TOKEN_MOUNT]} if settings.worker.work_log else {}
    return pod.container(
        settings,
        "payroll",
        command("payroll"),
        settings.payroll.resources,
        env=[
            credentials.key_env(settings),
            credentials.wallet_env(settings),
            *pod.api_env(settings),
            *pod.env(_values(settings)),
            pod.field_env(Env.POD_NAME, "metadata.name"),
            pod.field_env(Env.POD_NAMESPACE, "metadata.namespace"),
        ],
        **mounts,
    )


def _values(settings: Settings) -> dict[Env, Any]:
    payroll = settings.payroll
    caps = {Env.RUN_CAP_USDC: payroll.run_cap_usdc, Env.PAYEE_CAP_USDC: payroll.payee_cap_usdc}
    return {
        Env.RELEASE_AGE_MINUTES: payroll.release_age_minutes,
        Env.HAS_WORK_LOG: settings.worker.work_log,
        **{name: usdc_text(cap) for name, cap in caps.items() if cap is not None},
    }


def _token() -> Manifest:
    """A token that opens nothing but the work logs."""
    projected = {"audience": WORK_LOG_AUDIENCE, "expirationSeconds": 3600, "path": "token"}
    return {"name": _TOKEN, "projected": {"sources": [{"serviceAccountToken": projected}]}}
