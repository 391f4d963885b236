"""The sandbox (`pf-sandbox`): a local Purple Flea with its ledger on a volume."""

from typing import Any

from components.manifests import credentials, naming, pod
from components.manifests.naming import Manifest, metadata, selector
from components.settings import Settings
from runtime.contract import CONTENT_HASH_ANNOTATION, Env, MountPath, Port, ProgramName, command

_PORT = "sandbox"
_VOLUME = "ledger"
_LINGER_SECONDS = 20
"""Within the pod's grace period of 30 s: as long as the operator takes at most to settle when all ends together."""


def deployment(settings: Settings, key_digest: Any = None) -> Manifest:
    """One replica, replaced and never doubled: the ledger has one writer.

    It reads its API key at the start only, so a digest of the key stands on the pods: another key makes new ones.
    """
    volume = {"name": _VOLUME, "persistentVolumeClaim": {"claimName": naming.SANDBOX}}
    template = pod.spec(settings, naming.SANDBOX_ACCOUNT, [container(settings)], api_access=False, volumes=[volume])
    one: Manifest = {"replicas": 1, "strategy": {"type": "Recreate"}}
    marks = None if key_digest is None else {CONTENT_HASH_ANNOTATION: key_digest}
    overrides = settings.sandbox.pod_template
    return pod.deployment(
        settings, naming.SANDBOX, ProgramName.SANDBOX, template, annotations=marks, overrides=overrides, **one
    )


def container(settings: Settings) -> Manifest:
    """The sandbox's container."""
    # Its Service and NetworkPolicy bound who gets there; `::` is every address of both families.
    arguments = ["--host", "::", "--linger", str(_LINGER_SECONDS)]
    arguments += ["--dialect", settings.api.dialect] if settings.sandbox.only_own_dialect else []
    return pod.container(
        settings,
        "sandbox",
        [*command("sandbox"), *arguments],
        settings.sandbox.resources,
        env=[
            credentials.key_env(settings, Env.SANDBOX_API_KEY),
            *pod.env(
                {
                    Env.SANDBOX_DATABASE: f"{MountPath.SANDBOX_DATA.value}/ledger.db",
                    Env.LOG_LEVEL: pod.log_level(settings),
                }
            ),
        ],
        ports=[{"name": _PORT, "containerPort": Port.SANDBOX.value}],
        volumeMounts=[{"name": _VOLUME, "mountPath": MountPath.SANDBOX_DATA.value}],
        **pod.probes(_PORT),
    )


def service(settings: Settings) -> Manifest:
    """The Service that answers for all six Purple Flea services."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(settings, naming.SANDBOX, ProgramName.SANDBOX),
        "spec": {
            "selector": selector(ProgramName.SANDBOX),
            "ports": [{"name": _PORT, "port": Port.SANDBOX.value, "targetPort": _PORT}],
        },
    }


def volume_claim(settings: Settings) -> Manifest:
    """The ledger's volume."""
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": settings.sandbox.storage}},
    }
    if settings.sandbox.storage_class:
        spec["storageClassName"] = settings.sandbox.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(settings, naming.SANDBOX, ProgramName.SANDBOX),
        "spec": spec,
    }
