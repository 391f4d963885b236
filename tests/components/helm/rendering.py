"""Real Helm on a chart in a folder, and what it renders as objects."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.helm.chart import chart
from components.helm.values import given
from components.manifests import stack
from components.manifests.credentials import SANDBOX_API_KEY
from components.settings import Settings

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KEEP = "helm.sh/resource-policy"
# ruff: noqa: E501 - a table is read by its rows
DIFFERENCES = {
    "an annotation `helm.sh/resource-policy: keep` on Namespace and definitions": "`retention.keepEscrows` for Helm; Pulumi has it as a resource option",
    "hooks `install.job-gate...` around the gate, and the test": "Helm creates policies after Jobs: a gate is put up before the first Jobs, has three seconds, and goes after them. Not with --no-hooks",
    "texts inside `pf-mcp-rules`, `pf-alerts` and `pf-dashboard`": "the same JSON and YAML with other blanks and orders of keys",
    "`env` of agents and workers in order of names, not as written": "a map has no order in Helm; a Job whose variables are not in order has another name and work id",
    "`credentials.existingSecret: \"\"` without a sandbox": "refused: a key in values stays readable in the release's history",
    "`admission.jobGate: manifest`": "refused: an upgrade or rollback would suspend Jobs that run",
    "`operator.image: name:latest`": "taken, as the guide writes it; outside a sandbox with `images.allowTag: true` only",
    "`target`, `fly`, `encryption`": "taken and without effect: they say nothing about objects of the cluster",
}  # fmt: skip
"""All that is otherwise than in `make render` and `pulumi up`; docs/helm.md has the same rows."""
_TEXTS = {"pf-mcp-rules": json.loads, "pf-alerts": yaml.safe_load, "pf-dashboard": json.loads}


@dataclass(frozen=True)
class Helm:
    """Helm with a home of its own; `kubeconfig` where there is a cluster."""

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def __call__(self, *words: str | Path) -> str:
        """What it prints; a refusal fails with its words."""
        done = self.run(*words)
        assert done.returncode == 0, f"helm {' '.join(map(str, words))}\n{done.stdout[-3000:]}{done.stderr}"
        return done.stdout

    def refusal(self, *words: str | Path) -> str:
        """What it says where it refuses."""
        done = self.run(*words)
        assert done.returncode, f"helm {' '.join(map(str, words))} went well\n{done.stdout}"
        return done.stderr

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """The run as it is."""
        environment = {"PATH": os.environ["PATH"], "HOME": f"{self.home}", "KUBECONFIG": f"{self.kubeconfig or ''}"}
        return subprocess.run(
            [self.program, *words], capture_output=True, text=True, timeout=300, env=environment, check=False
        )

    def template(self, chart: Path, *words: str | Path) -> list[dict[str, Any]]:
        """The rendered objects, hooks among them."""
        return [one for one in yaml.load_all(self("template", "pf", chart, *words), Loader=LOADER) if one]


def write_chart(folder: Path, settings: Settings | None = None, project: Path = Path()) -> Path:
    """A chart in a folder."""
    for path, text in chart(settings or Settings(), project).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def values_of(settings: Settings, file: Path) -> Path:
    """The settings as a values file. JSON, but without escapes: Helm's YAML refuses JSON's surrogate pairs."""
    file.write_text(json.dumps({"purpleflea": given(settings)}, ensure_ascii=False))
    return file


def is_hook(manifest: Mapping[str, Any]) -> bool:
    """Whether Helm runs it beside the release."""
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def differences(settings: Settings, rendered: list[dict[str, Any]]) -> list[str]:
    """Where Helm's objects and the pure ones differ, by the path, apart from the table."""
    wanted = {
        _identity(one): _comparable(one) for one in json.loads(json.dumps(stack.objects(settings, SANDBOX_API_KEY)))
    }
    found = {_identity(one): _comparable(one) for one in rendered if not is_hook(one)}
    told = [f"{key}: only one has it" for key in sorted(wanted.keys() ^ found.keys(), key=str)]
    return told + [f"{key}{line}" for key in wanted.keys() & found.keys() for line in _unequal(wanted[key], found[key])]


def _identity(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _comparable(manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = dict(manifest["metadata"])
    kept = {key: value for key, value in metadata.pop("annotations", {}).items() if key != KEEP}
    found = {**manifest, "metadata": metadata | ({"annotations": kept} if kept else {})}
    if read := _TEXTS.get(metadata["name"]):
        found["data"] = {key: read(text) for key, text in manifest["data"].items()}
    return found


def _unequal(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(wanted.keys() | found.keys()):
            if key in wanted and key in found:
                yield from _unequal(wanted[key], found[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: only {'the pure object' if key in wanted else 'Helm'} has it"
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, pair in enumerate(zip(wanted, found, strict=True)):
            yield from _unequal(*pair, f"{path}[{index}]")
    elif (wanted, type(wanted)) != (found, type(found)):
        yield f"{path}: {str(wanted)[:300]!r} in the pure object, {str(found)[:300]!r} in Helm's"
