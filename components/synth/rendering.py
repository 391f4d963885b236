"""A stack as files: one an object, an index that says what each is for, kustomizations."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.manifests import encryption, fly_config, fly_escrow, job_gate, kustomization, naming, stack
from components.manifests.agent_config import agent_config
from components.manifests.credentials import SANDBOX_API_KEY
from components.manifests.naming import Manifest
from components.manifests.stack import PLACEHOLDER
from components.manifests.templating import render as template
from components.manifests.yaml_text import yaml_text
from components.settings import Settings
from components.stack_values import API_KEY, ROOT, StackValues

AGENT_CONFIG = "agent-config.json"
GATE_CHECK = "gate-check.yaml"
INDEX = "README.md"


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    text: str
    subject: str
    purpose: str
    applied: Manifest | None = None
    """The object in it; None for what is no object, and for one that needs a secret first."""


def render(values: StackValues, folder: Path = ROOT) -> dict[str, str]:
    """Path → content of every file of a stack; no engine, cluster, account or secret is needed.

    The same stack gives the same bytes on every machine. No secret is in them, because none is asked for. `folder` is
    the stack file's, in which the manifests of the stack's own are.

    Raises:
        BadSettings: what is wrong with the stack's settings, all at once.
    """
    settings = values.settings()
    found = [*_files(settings, _api_key(values, settings)), *_extra_files(settings, folder)]
    files = sorted(found, key=lambda file: file.path)
    rendered = {file.path: file.text for file in files}
    applied = {file.path: file.applied for file in files if file.applied is not None}
    written = kustomization.kustomizations(applied, settings.namespace)
    rendered |= {path: yaml_text(document) for path, document in written.items()}
    rendered[INDEX] = _index(values.stack, settings, files, applied)
    return rendered


def _api_key(values: StackValues, settings: Settings) -> str:
    given = f"{values.project}:{API_KEY}" in values.secret_keys
    return SANDBOX_API_KEY if settings.sandbox.enabled and not given else PLACEHOLDER


def _files(settings: Settings, api_key: str) -> Iterator[_File]:
    for part, manifests in stack.parts(settings, api_key).items():
        for manifest in manifests:
            yield _object_file(settings, manifest, stack.PURPOSES[part])
    for manifest in stack.left_to_others(settings):
        stem = f"{manifest['kind'].lower()}-{naming.logical_name(settings, manifest)}"
        path = f"{kustomization.ADMINISTRATOR}/{stem}.yaml"
        subject = f"{manifest['kind']} `{manifest['metadata']['name']}`"
        purpose = "For somebody with rights to the whole cluster: the stack needs it, and does not create it."
        yield _File(path, yaml_text(_in_reading_order(manifest)), subject, purpose, manifest)
    purposes = {**fly_config.PURPOSES, **fly_escrow.PURPOSES, **encryption.PURPOSES}
    for path, text in {**fly_config.fly_files(settings), **encryption.encryption_files(settings)}.items():
        yield _File(path, text, "file", purposes[path])
    if job_gate.is_used(settings):
        text = yaml_text(job_gate.probe(settings))
        yield _File(
            GATE_CHECK, text, "Job, never created", "Tells by `--dry-run=server` whether the job gate acts yet."
        )
    text = json.dumps(agent_config(settings), indent=2, sort_keys=True) + "\n"
    yield _File(
        AGENT_CONFIG, text, "JSON", "What each agent is given: ids, endpoints, environment, names of Secrets, budget."
    )


def _object_file(settings: Settings, manifest: Manifest, purpose: str) -> _File:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    # By the logical name: a content hash in the object's own name would make every change another file.
    logical = naming.logical_name(settings, manifest)
    stem = f"{kind.lower()}-{logical}" if logical != kind.lower() else logical
    file = _manifest_file(settings, manifest, stem, purpose)
    if PLACEHOLDER in manifest.get("stringData", {}).values():
        supply = _SUPPLY.format(placeholder=PLACEHOLDER, name=name, namespace=settings.namespace)
        return replace(file, text=supply + file.text, applied=None)
    return file


def _extra_files(settings: Settings, folder: Path) -> Iterator[_File]:
    if not settings.extra_manifests:
        return
    from components.manifests import extra  # reads YAML by rules of its own, which take a while to set up

    for found in extra.load(settings, folder):
        manifest = extra.without_pulumi(found.manifest)
        # A prefix that no file of ours has, so that neither can take the other's place.
        stem = f"extra-{manifest['kind'].lower()}-{extra.logical_name(settings, manifest)}"
        yield _manifest_file(settings, manifest, stem, f"Your own: {found.source}.")


def _manifest_file(settings: Settings, manifest: Manifest, stem: str, purpose: str) -> _File:
    path = f"{kustomization.folder(manifest, settings.namespace)}/{stem}.yaml"
    subject = f"{manifest['kind']} `{manifest['metadata']['name']}`"
    return _File(path, yaml_text(_in_reading_order(manifest)), subject, purpose, manifest)


_SUPPLY = """\
# {placeholder} stands for a secret, so kustomization.yaml leaves this file out. To supply it without its showing in a
# history or a process list, with the other keys below as --from-literal:
#   printf %s "$KEY" | kubectl create secret generic {name} -n {namespace} --from-file=api-key=/dev/stdin
# Or set credentials.existingSecret to a Secret that is there, or let `pulumi up` create this one.
"""


def _in_reading_order(manifest: Manifest) -> Manifest:
    """What it is and its name first, annotations after the rest of `metadata`, everything else by name."""
    metadata = _sorted(manifest["metadata"])
    annotations = {"annotations": metadata.pop("annotations")} if "annotations" in metadata else {}
    first = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": {**metadata, **annotations}}
    return {**first, **{key: _sorted(manifest[key]) for key in sorted(manifest) if key not in first}}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: (key != "name", key))}
    return [_sorted(item) for item in value] if isinstance(value, (list, tuple)) else value


def _index(name: str, settings: Settings, files: list[_File], applied: Mapping[str, Manifest]) -> str:
    return template(
        "stack/README.md",
        stack=name,
        namespace=settings.namespace,
        creates_namespace=settings.create_namespace,
        administrator=any(path.startswith(f"{kustomization.ADMINISTRATOR}/") for path in applied),
        gate_check=GATE_CHECK if job_gate.is_used(settings) else "",
        kept=kustomization.kept(applied, settings.namespace),
        files=files,
    )
