"""Kueue's AdmissionCheck for the money of queued Jobs; a ClusterQueue that names it admits no Job without its money."""

from components.manifests.naming import Manifest, metadata
from components.settings import Settings
from runtime.contract import KUEUE_CHECK_CONTROLLER, KUEUE_GROUP, KUEUE_VERSION, ProgramName


def is_used(settings: Settings) -> bool:
    """Whether the operator answers a check."""
    return settings.operator.enabled and bool(settings.operator.admission_check)


def admission_check(settings: Settings) -> Manifest:
    """The check; the operator marks it active."""
    return {
        "apiVersion": f"{KUEUE_GROUP}/{KUEUE_VERSION}",
        "kind": "AdmissionCheck",
        "metadata": metadata(settings, settings.operator.admission_check, ProgramName.OPERATOR, namespace=None),
        "spec": {"controllerName": KUEUE_CHECK_CONTROLLER},
    }
