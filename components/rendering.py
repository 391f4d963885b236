"""A program's declarations as files: one an object, an index that says what each is for, two kustomizations.

`kubectl` knows no order between the objects of one kustomization, and a Job is held until the operator has settled it.
So what the operator needs to do so has a kustomization of its own, the foundation: first to come, last to go.
"""

import json
import runpy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.component import Component
from components.errors import BadInput
from components.manifests import credentials
from components.manifests.encryption import PURPOSES as ENCRYPTION_PURPOSES
from components.manifests.fly_config import PURPOSES as FLY_PURPOSES
from components.manifests.stack import PLACEHOLDER
from components.outputs import AGENT_CONFIG as OUTPUT
from components.recording import UNKNOWN, Declared, Hidden, Recording, record
from components.sandbox import API_KEY as SANDBOX_API_KEY
from components.settings import Settings
from components.stack_values import API_KEY, ROOT, StackValues
from components.yaml_text import yaml_text

PROGRAM = ROOT / "__main__.py"
AGENT_CONFIG = "agent-config.json"
INDEX = "README.md"
KUSTOMIZATION = "kustomization.yaml"
FOUNDATION = "foundation"
"""Folder of what stands before any pod starts and until the last one has ended."""
RUNNING = "kubernetes"
"""Folder of what runs, and of what only serves what runs."""
_FOUNDATION_KINDS = (
    *("Namespace", "CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    *("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"),
    *("NetworkPolicy", "ServiceAccount", "ConfigMap", "Secret", "ClusterRole", "ClusterRoleBinding", "Role"),
    *("RoleBinding", "PersistentVolumeClaim", "Service"),
)
"""In the order in which they are applied. A pod that starts without its rights or its Secret ends or waits, and one
that starts before the policies is not held to them. An operator that is told to stop settles the Jobs that are deleted
with it, for which it still needs its rights, its way through the network, and the sandbox's address and ledger."""
_RUNNING_KINDS = ("CronJob", "Job")
"""Before every other kind that runs: `kubectl delete` takes the same order, and what is deleted when the operator is
told to stop it settles."""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    text: str
    subject: str
    purpose: str
    kind: str = ""
    """Of the object in it; empty for what is no object."""


def run_program() -> None:
    """Run the project's `__main__.py`, as Pulumi does."""
    runpy.run_path(str(PROGRAM), run_name="purpleflea_program")


def render(values: StackValues, program: Callable[[], None] = run_program) -> dict[str, str]:
    """Path → content of every file of a stack; no engine, cluster, account or secret is needed.

    The same stack gives the same bytes on every machine. No secret is in them, because none is handed to the program.

    Raises:
        BadSettings, pulumi.RunError: the program refuses its configuration.
    """
    settings = values.settings()
    recording = record(
        program,
        project=values.project,
        stack=values.stack,
        # The cluster's objects are what is rendered, whatever `up` does with them.
        config={
            key: text
            for key, text in values.with_value("target", "cluster").values.items()
            if key not in values.secret_keys
        },
        secrets=_placeholders(values, settings),
    )
    files = sorted(_files(values, settings, recording), key=lambda file: file.path)
    rendered = {file.path: file.text for file in files}
    rendered[f"{FOUNDATION}/{KUSTOMIZATION}"] = _kustomization(files, FOUNDATION, _FOUNDATION_KINDS)
    rendered[KUSTOMIZATION] = _kustomization(files, RUNNING, _RUNNING_KINDS)
    rendered[INDEX] = _index(values, files)
    return rendered


def _placeholders(values: StackValues, settings: Settings) -> dict[str, str]:
    key = f"{values.project}:{API_KEY}"
    wanted = not (settings.credentials.existing_secret or settings.sandbox.enabled) or key in values.secret_keys
    return dict.fromkeys(sorted({*values.secret_keys, *([key] if wanted else [])}), PLACEHOLDER)


def _files(values: StackValues, settings: Settings, recording: Recording) -> Iterator[_File]:
    for declared in recording.resources:
        if declared.type.startswith("kubernetes:"):
            yield _object_file(declared, settings)
        elif declared.type == "pulumi:index:Stash" and "content" in declared.inputs.get("input", {}):
            artifact = declared.inputs["input"]
            path, purposes = artifact["path"], {**FLY_PURPOSES, **ENCRYPTION_PURPOSES}
            yield _File(path, artifact["content"], "file", purposes.get(path) or _purpose(declared.urn))
    text = json.dumps(recording.outputs[OUTPUT], indent=2, sort_keys=True) + "\n"
    yield _File(
        AGENT_CONFIG, text, "JSON", "What each agent is given: ids, endpoints, environment, names of Secrets, budget."
    )


def _object_file(declared: Declared, settings: Settings) -> _File:
    public = {SANDBOX_API_KEY, *credentials.secret(settings, PLACEHOLDER)["stringData"].values()}
    try:
        manifest = _without_pulumi(_opened(declared.inputs, public))
    except BadInput as error:
        raise BadInput(f"{declared.type} {declared.name!r}: {error}") from None
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    # By the logical name: a content hash in the object's own name would make every change another file.
    stem = f"{kind.lower()}-{declared.name}" if declared.name != kind.lower() else declared.name
    path = f"{FOUNDATION if kind in _FOUNDATION_KINDS else RUNNING}/{stem}.yaml"
    text = yaml_text(manifest)
    if PLACEHOLDER in text:
        text = _SUPPLY.format(placeholder=PLACEHOLDER, name=name, namespace=settings.namespace) + text
    return _File(path, text, f"{kind} `{name}`", _purpose(declared.urn), kind)


_SUPPLY = """\
# {placeholder} stands for a secret, so kustomization.yaml leaves this file out. To supply it without its showing in a
# history or a process list, with the other keys below as --from-literal:
#   printf %s "$KEY" | kubectl create secret generic {name} -n {namespace} --from-file=api-key=/dev/stdin
# Or set credentials.existingSecret to a Secret that is there, or let `pulumi up` create this one.
"""


def _purpose(urn: str) -> str:
    """What the component above a resource is for, by the first line of its documentation."""
    known = {kind.__name__: (kind.__doc__ or "").partition("\n")[0] for kind in Component.__subclasses__()}
    above = reversed([kind.rpartition(":")[2] for kind in urn.split("::")[2].split("$")])
    return next((known[kind] for kind in above if kind in known), "")


def _opened(value: Any, public: Collection[str], hidden: bool = False) -> Any:
    """Pulumi hides all of a Secret object: its values as they are where they are public, else the placeholder."""
    if value is UNKNOWN:
        raise BadInput("a value of this object is known only after `pulumi up`, so it cannot be rendered")
    if isinstance(value, Hidden):
        return _opened(value.value, public, hidden=True)
    if isinstance(value, Mapping):
        return {key: _opened(item, public, hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item, public, hidden) for item in value]
    return PLACEHOLDER if hidden and value not in public else value


def _without_pulumi(manifest: dict[str, Any]) -> dict[str, Any]:
    """In the order in which people read an object, without what only Pulumi understands."""
    metadata = dict(manifest["metadata"])
    annotations = {k: v for k, v in metadata.pop("annotations", {}).items() if not k.startswith("pulumi.com/")}
    metadata = {
        "name": metadata.pop("name"),
        **_sorted(metadata),
        **({"annotations": _sorted(annotations)} if annotations else {}),
    }
    rest = {key: _sorted(manifest[key]) for key in sorted(manifest) if key not in ("apiVersion", "kind", "metadata")}
    return {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": metadata, **rest}


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        first = [key for key in ("name",) if key in value]
        return {key: _sorted(value[key]) for key in (*first, *sorted(k for k in value if k not in first))}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _kustomization(files: list[_File], folder: str, first: tuple[str, ...]) -> str:
    """The folder's objects that need no secret, the kinds in `first` before the others."""
    rank = {kind: rank for rank, kind in enumerate(first)}
    listed = [file for file in files if file.path.startswith(f"{folder}/") and PLACEHOLDER not in file.text]
    ordered = sorted(listed, key=lambda file: (rank.get(file.kind, len(rank)), file.path))
    return yaml_text(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "sortOptions": {"order": "fifo"},
            # kustomize reads nothing outside its own folder: the foundation stands in its kustomization's.
            "resources": [file.path.removeprefix(f"{FOUNDATION}/") for file in ordered],
        }
    )


def _index(values: StackValues, files: list[_File]) -> str:
    rows = [f"| [{file.path}]({file.path}) | {file.subject} | {file.purpose} |" for file in files]
    return _INDEX.format(stack=values.stack, namespace=values.settings().namespace, rows="\n".join(rows))


_INDEX = """\
# Stack `{stack}`

Generated by `make render STACK={stack}`; edit `Pulumi.{stack}.yaml` and run it again. The two kustomizations hold every
object below that needs no secret; the file of one that does says how to supply it.

    kubectl apply -k foundation   # once: namespace, definition of the accounts, rights, policies, addresses, volumes
    kubectl apply -k .            # what runs

The way back: the operator settles the Jobs that go with it and lets go of them; the accounts stay with the foundation,
and go with it. Jobs of your own go first, for without an operator they are held.

    kubectl delete jobs --all -n {namespace}
    kubectl delete -k .
    kubectl delete -k foundation  # the accounts too; of every namespace, for their definition is deleted

| file | what | what for |
|---|---|---|
{rows}
"""
