"""The metrics server (`pf-metrics-server`): the escrow queue as a Kubernetes custom metric and as plain JSON.

Its certificate, two ways. `self`: the server makes a CA and a pair at start, keeps the key in memory and writes the
CA into `caBundle` of the APIServices, which it alone may patch; nothing else need be installed, and the manifests
leave `caBundle` out so that no tool undoes it. `certManager`: cert-manager makes the pair and injects the CA.
"""

from components.manifests import credentials, naming, pod
from components.manifests.naming import Manifest, metadata, selector
from components.settings import Settings
from runtime.contract import (
    CUSTOM_METRICS_GROUP,
    CUSTOM_METRICS_VERSIONS,
    Env,
    MountPath,
    Port,
    ProgramName,
    command,
)

TLS_SECRET = "pf-metrics-server-tls"  # noqa: S105 - the name of a Secret is no secret
SELF_SIGNED_ISSUER = "pf-metrics-server"
_TLS_VOLUME = "tls"


def serves_api(settings: Settings) -> bool:
    """Whether it serves the custom metrics API; with any other engine another program does, or none need."""
    return settings.hpa.engine == "hpa"


def uses_cert_manager(settings: Settings) -> bool:
    """Whether cert-manager makes the certificate; only the custom metrics API needs one."""
    return serves_api(settings) and settings.hpa.metrics_server.tls == "certManager"


def deployment(settings: Settings) -> Manifest:
    """One replica: it holds the key of the CA that it registered."""
    volumes = [credentials.volume(settings)]
    if uses_cert_manager(settings):
        volumes.append({"name": _TLS_VOLUME, "secret": {"secretName": TLS_SECRET, "defaultMode": 0o440}})
    template = pod.spec(
        settings,
        naming.METRICS_ACCOUNT,
        [container(settings)],
        api_access=True,
        volumes=volumes,
    )
    one: Manifest = {"replicas": 1, "strategy": {"type": "Recreate"}}
    overrides = settings.hpa.metrics_server.pod_template
    return pod.deployment(settings, naming.METRICS_SERVER, ProgramName.METRICS, template, overrides=overrides, **one)


def container(settings: Settings) -> Manifest:
    """The metrics server's container."""
    mounts = [credentials.mount()]
    more: dict[Env, str | int] = {} if serves_api(settings) else {Env.CUSTOM_METRICS_PORT: 0}
    if settings.hpa.engine == "keda":
        more[Env.QUEUE_READERS] = f"system:serviceaccount:{settings.namespace}:{naming.QUEUE_READER}"
    if uses_cert_manager(settings):
        mounts.append({"name": _TLS_VOLUME, "mountPath": MountPath.TLS.value, "readOnly": True})
        more[Env.TLS_DIRECTORY] = MountPath.TLS.value
    return pod.container(
        settings,
        "metrics-server",
        command("metrics_server"),
        settings.hpa.metrics_server.resources,
        env=[
            credentials.file_env(),
            *pod.api_env(settings),
            *pod.env({Env.POLL_SECONDS: settings.hpa.metrics_server.poll_seconds, **more}),
            *([credentials.wallet_env(settings)] if settings.worker.work_log else []),
            pod.field_env(Env.POD_NAMESPACE, "metadata.namespace"),
        ],
        ports=[
            *([{"name": "custom-metrics", "containerPort": Port.CUSTOM_METRICS.value}] if serves_api(settings) else []),
            {"name": "metrics", "containerPort": Port.METRICS.value},
            {"name": "health", "containerPort": Port.HEALTH.value},
        ],
        volumeMounts=mounts,
        **pod.probes("health"),
    )


def service(settings: Settings) -> Manifest:
    """The Service that the aggregator dials, that KEDA and Prometheus read, and that the metric describes."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(settings, naming.METRICS_SERVER, ProgramName.METRICS),
        "spec": {
            "selector": selector(ProgramName.METRICS),
            "ports": [
                *(
                    [{"name": "custom-metrics", "port": 443, "targetPort": "custom-metrics"}]
                    if serves_api(settings)
                    else []
                ),
                {"name": "metrics", "port": Port.METRICS.value, "targetPort": "metrics"},
            ],
        },
    }


def api_service(settings: Settings, version: str) -> Manifest:
    """Registers one version of the custom metrics API; there is one on a cluster, so prometheus-adapter clashes."""
    inject = {"cert-manager.io/inject-ca-from": f"{settings.namespace}/{naming.METRICS_SERVER}"}
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": metadata(
            settings,
            f"{version}.{CUSTOM_METRICS_GROUP}",
            ProgramName.METRICS,
            annotations=inject if uses_cert_manager(settings) else None,
            namespace=None,
        ),
        "spec": {
            "group": CUSTOM_METRICS_GROUP,
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100 + CUSTOM_METRICS_VERSIONS.index(version),
            "service": {"name": naming.METRICS_SERVER, "namespace": settings.namespace, "port": 443},
        },
    }


def issuer(settings: Settings) -> Manifest:
    """A self-signed cert-manager Issuer, where `hpa.metricsServer.issuer` names none."""
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": metadata(settings, SELF_SIGNED_ISSUER, ProgramName.METRICS),
        "spec": {"selfSigned": {}},
    }


def certificate(settings: Settings) -> Manifest:
    """The pair that cert-manager makes and renews."""
    name = f"{naming.METRICS_SERVER}.{settings.namespace}.svc"
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": metadata(settings, naming.METRICS_SERVER, ProgramName.METRICS),
        "spec": {
            "secretName": TLS_SECRET,
            "dnsNames": [name, f"{name}.cluster.local"],
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "issuerRef": {"kind": "Issuer", "name": settings.hpa.metrics_server.issuer or SELF_SIGNED_ISSUER},
        },
    }
