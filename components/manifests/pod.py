"""Pods and containers that satisfy the `restricted` level, so that no workload has to think of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.manifests import credentials, services
from components.manifests.naming import Manifest, metadata, selector
from components.manifests.strategic_merge import merge
from components.settings import Settings
from components.settings.section import Resources
from runtime.contract import Env, MountPath, NetworkEnv, ProgramName, Route

USER_ID = 10001
"""User and group of every container; the runtime image declares the same."""
_CA_VOLUME = "ca-bundle"
_CA_FILE = "ca.crt"
_INSIDE = (".svc", ".cluster.local", "localhost", "127.0.0.1", "::1")
"""Asked directly whatever the settings say: the cluster's own names, and the pod itself."""


def env(values: Mapping[Env, str | int | bool]) -> list[Manifest]:
    """Plain environment variables; booleans as `true`/`false`, empty values left out."""
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
    return [{"name": name.value, "value": text} for name, text in texts.items() if text]


def field_env(name: Env, path: str) -> Manifest:
    """An environment variable from the pod's own object."""
    return {"name": name.value, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def log_level(settings: Settings) -> str:
    """`PF_LOG_LEVEL`; empty where it is the programs' own default."""
    return "" if settings.log_level == "INFO" else settings.log_level


def api_env(settings: Settings, secret: str = "") -> list[Manifest]:
    """What every program needs that speaks to the payment service, apart from the key; `secret` as in `credentials`."""
    return [
        credentials.url_env(settings, "escrow", secret),
        *env(
            {
                Env.API_DIALECT: settings.api.dialect,
                Env.ALLOW_HTTP: services.allow_http(settings) or "",
                Env.LOG_LEVEL: log_level(settings),
            }
        ),
    ]


def payer_env(settings: Settings) -> list[Manifest]:
    """The same for a program that locks money: in `server` a create whose answer was lost is found in its account."""
    account = services.url(settings, "casino") if settings.api.dialect == "server" else ""
    return [*api_env(settings), *env({Env.CASINO_URL: account})]


def resources(amounts: Resources) -> Manifest:
    """`resources` of a container."""
    return amounts.model_dump()


def http_probe(path: Route, port: str, **timing: int) -> Manifest:
    """A probe over HTTP on a named port."""
    return {"httpGet": {"path": path.value, "port": port}, "timeoutSeconds": 3, **timing}


def probes(port: str) -> Manifest:
    """Start-up, liveness (progress, not merely a socket) and readiness of a server."""
    return {
        "startupProbe": http_probe(Route.LIVEZ, port, periodSeconds=2, failureThreshold=30),
        "livenessProbe": http_probe(Route.LIVEZ, port, periodSeconds=10, failureThreshold=6),
        "readinessProbe": http_probe(Route.READYZ, port, periodSeconds=5, failureThreshold=2),
    }


def container(
    settings: Settings, name: str, command: Sequence[str], amounts: Resources, image: str = "", **more: Any
) -> Manifest:
    """One container: no privilege, no capability, a read-only root file system."""
    more = {**more, **_network(settings, more)}
    return {
        "name": name,
        "image": image or settings.images.runtime,
        "imagePullPolicy": settings.images.pull_policy,
        **({"command": list(command)} if command else {}),  # none: what the image itself runs
        "resources": resources(amounts),
        # A program that fails without a last message of its own is quoted by its log, in a dispute's evidence too.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **more,
    }


def _network(settings: Settings, more: Mapping[str, Any]) -> Manifest:
    """What the company's network adds to a container: variables, but for those that it has itself, and certificates."""
    proxy, bundle = settings.network.proxy, settings.network.ca_bundle
    proxied = proxy.https_url or proxy.http_url
    values = {
        NetworkEnv.HTTPS_PROXY: proxy.https_url,
        NetworkEnv.HTTP_PROXY: proxy.http_url,
        NetworkEnv.NO_PROXY: ",".join((*proxy.no_proxy, *_INSIDE)) if proxied else "",
        NetworkEnv.CA_FILE: f"{MountPath.CA_BUNDLE.value}/{_CA_FILE}" if bundle.config_map or bundle.secret else "",
    }
    own = {variable["name"] for variable in more.get("env", ())}
    added = [{"name": name.value, "value": text} for name, text in values.items() if text and name not in own]
    found: Manifest = {"env": [*more.get("env", ()), *added]} if added else {}
    if values[NetworkEnv.CA_FILE]:
        mount = {"name": _CA_VOLUME, "mountPath": MountPath.CA_BUNDLE.value, "readOnly": True}
        found["volumeMounts"] = [*more.get("volumeMounts", ()), mount]
    return found


def _ca_volume(settings: Settings) -> Manifest | None:
    bundle = settings.network.ca_bundle
    items = [{"key": bundle.key, "path": _CA_FILE}]
    if bundle.config_map:
        return {"name": _CA_VOLUME, "configMap": {"name": bundle.config_map, "items": items}}
    return {"name": _CA_VOLUME, "secret": {"secretName": bundle.secret, "items": items}} if bundle.secret else None


def deployment(
    settings: Settings,
    name: str,
    component: ProgramName,
    template: Manifest,
    *,
    annotations: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    **more: Any,
) -> Manifest:
    """A Deployment of pods with this spec and the settings' part of it; `more` are fields of the Deployment's own."""
    labels: Manifest = {"labels": selector(component)}
    if annotations:
        labels["annotations"] = dict(annotations)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(settings, name, component),
        "spec": {
            **more,
            "selector": {"matchLabels": selector(component)},
            "template": merge({"metadata": labels, "spec": template}, overrides or {}),
        },
    }


def cron_job(
    settings: Settings,
    name: str,
    component: ProgramName,
    template: Manifest,
    *,
    overrides: Mapping[str, Any],
    deadline_seconds: int,
    **more: Any,
) -> Manifest:
    """A CronJob whose runs never overlap: pods with this spec and the settings' part of it; `more` are its fields."""
    labels = selector(component)
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(settings, name, component),
        "spec": {
            **more,
            "concurrencyPolicy": "Forbid",
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "metadata": {"labels": labels},
                "spec": {
                    "backoffLimit": 1,
                    "activeDeadlineSeconds": deadline_seconds,
                    "template": merge({"metadata": {"labels": labels}, "spec": template}, overrides),
                },
            },
        },
    }


def spec(settings: Settings, account: str, containers: list[Manifest], *, api_access: bool, **more: Any) -> Manifest:
    """A pod's `spec`. `api_access` mounts the ServiceAccount's token: only for what talks to the API server."""
    found: Manifest = {
        "serviceAccountName": account,
        "automountServiceAccountToken": api_access,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        **more,
    }
    if bundle := _ca_volume(settings):
        found["volumes"] = [*more.get("volumes", ()), bundle]
    if not settings.host_users:
        found["hostUsers"] = False
    if settings.images.pull_secrets:
        found["imagePullSecrets"] = [{"name": name} for name in settings.images.pull_secrets]
    return found
