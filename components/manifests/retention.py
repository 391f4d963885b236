"""The CronJob that moves settled accounts into the archive (`pf-retention`)."""

from collections.abc import Iterator

from components.manifests import naming, operator, pod, rbac
from components.manifests.naming import Manifest
from components.settings import Settings
from runtime.contract import Env, MountPath, ProgramName, command

_VOLUME = "archive"


def objects(settings: Settings) -> Iterator[Manifest]:
    """All of it: its account, its rights where the operator watches, and the CronJob last."""
    yield rbac.service_account(settings, naming.RETENTION_ACCOUNT, ProgramName.RETENTION)
    yield from rights(settings)
    yield cron_job(settings)


def rights(settings: Settings) -> Iterator[Manifest]:
    """A Role and its binding for each watched namespace, or for the cluster where a selector picks them."""
    for namespace in operator.watched_namespaces(settings) or (None,):
        yield rbac.retention_role(settings, namespace)
        yield rbac.retention_role_binding(settings, namespace)


def cron_job(settings: Settings) -> Manifest:
    """A run that is left out is made up by the next: what is old stays old."""
    keeping = settings.retention
    more: Manifest = {}
    if keeping.in_folder:
        claim = {"claimName": keeping.archive_claim}
        more["volumes"] = [{"name": _VOLUME, "persistentVolumeClaim": claim}]
    spec = pod.spec(
        settings, naming.RETENTION_ACCOUNT, [container(settings)], api_access=True, restartPolicy="Never", **more
    )
    return pod.cron_job(
        settings,
        naming.RETENTION,
        ProgramName.RETENTION,
        spec,
        overrides=keeping.pod_template,
        deadline_seconds=14400,
        schedule=keeping.schedule,
        timeZone=keeping.time_zone,
        startingDeadlineSeconds=3600,
        successfulJobsHistoryLimit=1,
    )


def container(settings: Settings) -> Manifest:
    """Its container: no key of the payer's, for it asks the payment service nothing."""
    keeping = settings.retention
    values = {
        Env.WATCH_NAMESPACE: operator.watch_namespace(settings),
        Env.ARCHIVE_URL: keeping.archive_url,
        Env.ARCHIVE_AFTER_DAYS: keeping.archive_after_days or 0,
        Env.LOG_LEVEL: pod.log_level(settings),
    }
    more: Manifest = {"env": pod.env(values)}
    if keeping.archive_secret:
        more["envFrom"] = [{"secretRef": {"name": keeping.archive_secret}}]
    if keeping.in_folder:
        more["volumeMounts"] = [{"name": _VOLUME, "mountPath": MountPath.ARCHIVE.value}]
    return pod.container(settings, "retention", command("retention"), keeping.resources, **more)
