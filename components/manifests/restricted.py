"""The Pod Security Standard `restricted`, control by control. A test holds it against the real admission."""

from collections.abc import Iterator
from typing import Any

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_SECCOMP = ("RuntimeDefault", "Localhost")


def violations(pod: dict[str, Any]) -> list[str]:
    """What the standard has against a pod's spec."""
    return list(_of_pod(pod)) + [
        f
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for c in pod.get(kind, ())
        for f in _of_container(c, pod.get("securityContext", {}))
    ]


def _of_pod(pod: dict[str, Any]) -> Iterator[str]:
    context = pod.get("securityContext", {})
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    yield from (f"volume {v['name']}" for v in pod.get("volumes", ()) if not (set(v) - {"name"}) <= _VOLUMES)
    if context.get("sysctls"):
        yield "sysctls"
    yield from _of_context("pod", context)


def _of_container(container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    name, context = container["name"], container.get("securityContext", {})
    capabilities = context.get("capabilities", {})
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    if "ALL" not in capabilities.get("drop", ()) or not set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot"
    if context.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in _SECCOMP:
        yield f"{name}: seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield f"{name}: hostPort"
    for probe in (value for key, value in container.items() if key.endswith("Probe")):
        if any(probe.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield f"{name}: probe host"
    yield from _of_context(name, context)


def _of_context(name: str, context: dict[str, Any]) -> Iterator[str]:
    if context.get("runAsUser") == 0:
        yield f"{name}: runAsUser"
    if context.get("runAsNonRoot") is False:
        yield f"{name}: runAsNonRoot"
    if context.get("seccompProfile", {}).get("type", _SECCOMP[0]) not in _SECCOMP:
        yield f"{name}: seccompProfile"
    if context.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield f"{name}: appArmorProfile"
    if context.get("seLinuxOptions", {}).get("user") or context.get("seLinuxOptions", {}).get("role"):
        yield f"{name}: seLinuxOptions"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{name}: hostProcess"
