"""Objects into a real API server and out of it again."""

import os
import time
from typing import Any

import yaml
from lightkube import KubeConfig
from lightkube.config.client_adapter import Client, ConnectionParams

DELETION_SECONDS = 60
GATE_SECONDS = 10
MANAGER = "purpleflea-tests"
FORCE = os.environ.get("PULUMI_K8S_ENABLE_PATCH_FORCE", "false")
"""Whether fields that are another manager's are taken from it."""


class ApiServer:
    """An API server, by server-side apply under this provider's own field manager."""

    def __init__(self, kubeconfig: str) -> None:
        self._http = Client(KubeConfig.from_file(kubeconfig).get(), ConnectionParams())

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create or change the object; a field that is unknown, or somebody else's with another value, is an error."""
        answer = self._patch(manifest)
        deadline = time.monotonic() + GATE_SECONDS
        # The real provider waits for the operator's roll-out before it creates a Job, and by then the gate acts.
        while answer.status_code == 403 and "'job-gate." in answer.text and time.monotonic() < deadline:
            time.sleep(0.1)
            answer = self._patch(manifest)
        if answer.is_error:
            raise RuntimeError(f"{manifest['kind']}/{manifest['metadata']['name']}: {answer.json()['message']}")
        return answer.json()

    def _patch(self, manifest: dict[str, Any]) -> Any:
        return self._http.patch(
            self._path(manifest),
            params={"fieldManager": MANAGER, "fieldValidation": "Strict", "force": FORCE},
            content=yaml.safe_dump(manifest),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    def read(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """The object as it is, terminating ones included; None where there is none."""
        answer = self._http.get(self._path(manifest))
        if answer.status_code not in (200, 404):
            raise RuntimeError(f"{answer.status_code}: {answer.text}")
        return answer.json() if answer.status_code == 200 else None

    def delete(self, manifest: dict[str, Any], *, wait: bool) -> None:
        """Delete the object and, with `wait`, wait until it is gone, its finalizers done."""
        options = {"propagationPolicy": "Background" if manifest["kind"] == "Namespace" else "Foreground"}
        answer = self._http.request("DELETE", self._path(manifest), json=options)
        if answer.is_error and answer.status_code != 404:
            raise RuntimeError(answer.json()["message"])
        deadline = time.monotonic() + DELETION_SECONDS
        while wait and self.read(manifest):
            if time.monotonic() > deadline:
                name = f"{manifest['kind']}/{manifest['metadata']['name']}"
                raise RuntimeError(f"{name} is still there after {DELETION_SECONDS} s; a finalizer holds it")
            time.sleep(0.1)

    def _path(self, manifest: dict[str, Any]) -> str:
        version = manifest["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        found = self._http.get(root)
        found.raise_for_status()
        kinds = {r["kind"]: r for r in found.json()["resources"] if "/" not in r["name"]}
        resource = kinds[manifest["kind"]]
        namespace = manifest["metadata"].get("namespace", "default")
        scope = f"/namespaces/{namespace}" if resource["namespaced"] else ""
        return f"{root}{scope}/{resource['name']}/{manifest['metadata']['name']}"
