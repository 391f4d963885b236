"""The user's own manifests (`purpleflea.extraManifests`): read from the stack's folder and checked like ours.

The files may be anybody's, and the paths stand in a stack file: nothing outside the folder is read, wherever a link
points, and what is rendered holds no secret value, because none is let in.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.manifests import kinds, stack
from components.manifests.naming import Manifest, content_hash
from components.settings import BadSettings, Problem, Settings
from runtime.contract import DOMAIN, ESCROW_REQUEST_ANNOTATION
from runtime.kubernetes_yaml import NotReadable, documents

MOST_BYTES = 1 << 20
"""Of one file; etcd holds no object of more than 1.5 MiB."""


@dataclass(frozen=True, slots=True)
class Extra:
    """One object of the stack's own, with its namespace written out, and where it was read."""

    manifest: Manifest
    source: str
    """`monitoring/rules.yaml, document 2`."""


def load(settings: Settings, folder: Path) -> list[Extra]:
    """The objects of every file that `extraManifests` names, relative to `folder`; none where the stack is disabled.

    Raises:
        BadSettings: every file that cannot be read and every object that cannot be applied, by file and document.
    """
    if not (settings.enabled and settings.extra_manifests):
        return []
    problems: list[Problem] = []
    read: list[tuple[str, str, Any]] = []
    for index, path in enumerate(settings.extra_manifests):
        where = f"purpleflea.extraManifests[{index}]"
        try:
            found = documents(_text(folder, path))
        except (_Refused, NotReadable) as error:
            problems.append(Problem(where, f"{path}: {error}"))
            continue
        read += [(where, f"{path}, document {n}", one) for n, one in enumerate(found, 1) if one is not None]
    extras: list[Extra] = []
    taken = {_identity(manifest): "the stack itself" for manifest in stack.objects(settings)}
    scopes = _own_scopes([document for *_, document in read])
    for where, source, document in read:
        complaint = _complaint(document, scopes)
        if not complaint:
            extra = Extra(_placed(document, settings, scopes), source)
            if other := taken.get(identity := _identity(extra.manifest)):
                complaint = f"is declared by {other} already"
            taken[identity] = source
            extras.append(extra)
        if complaint:
            problems.append(Problem(where, f"{source}{_named(document)}: {complaint}"))
    if problems:
        raise BadSettings(problems)
    return extras


def logical_name(settings: Settings, manifest: Manifest) -> str:
    """The name by which Pulumi and the rendered files know an object, among those of its kind.

    Its own, with the namespace where it is not the stack's, and the group where it is not Kubernetes' own: `_` is in
    none of the three. A Role may have any name, and a file's has at most 255 bytes: a hash tells those apart.
    """
    metadata, group = manifest["metadata"], kinds.group(manifest["apiVersion"])
    namespace = metadata.get("namespace", settings.namespace)
    elsewhere = [namespace] if namespace != settings.namespace else []
    name = "_".join([metadata["name"], *elsewhere, *([] if group in kinds.GROUPS else [group])])
    if re.fullmatch(r"[-.a-z0-9]+", metadata["name"]) and len(name) <= 150:
        return name
    return f"{re.sub(r'[^-.a-z0-9]+', '-', name)[:140]}-{content_hash(name)}"


def without_pulumi(manifest: Manifest) -> Manifest:
    """As kubectl is to have it: without the annotations that only Pulumi understands."""
    metadata = dict(manifest["metadata"])
    if annotations := metadata.pop("annotations", None):
        kept = {key: value for key, value in annotations.items() if not key.startswith("pulumi.com/")}
        metadata |= {"annotations": kept} if kept else {}
    return {**manifest, "metadata": metadata}


class _Refused(Exception):
    """A file that is not read; the message says why."""


def _text(folder: Path, path: str) -> str:
    root = folder.resolve()
    try:
        file = (root / path).resolve(strict=True)
        if not file.is_relative_to(root):
            raise _Refused("a link leads out of the stack file's folder; copy the file in")
        if not file.is_file():
            raise _Refused("is no file")
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other, before Python 3.13
        reason = getattr(error, "strerror", None) or "links that lead to each other"
        raise _Refused(f"cannot be read below {root}: {reason}") from error
    if len(content) > MOST_BYTES:
        raise _Refused(f"is longer than {MOST_BYTES >> 20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _Refused(f"is not UTF-8 text: {error.reason} at byte {error.start}") from error


Scopes = dict[tuple[str, str], bool]
"""Group and kind of a custom resource → whether its objects stand in namespaces."""


def _own_scopes(found: list[Any]) -> Scopes:
    """What the definitions among the files say."""
    scopes: Scopes = {}
    for one in found:
        match one:  # before any of it is checked
            case {
                "kind": "CustomResourceDefinition",
                "spec": {"group": str(group), "scope": scope, "names": {"kind": str(kind)}},
            }:
                scopes[group, kind] = scope == "Namespaced"
    return scopes


def _namespaced(manifest: Manifest, scopes: Scopes) -> bool | None:
    """Whether it stands in a namespace; None where nobody here can know."""
    group = kinds.group(manifest["apiVersion"])
    if group in kinds.GROUPS:
        return manifest["kind"] not in kinds.CLUSTER_KINDS
    return scopes.get((group, manifest["kind"]))


def _complaint(document: Any, scopes: Scopes) -> str | None:
    if not isinstance(document, dict):
        return f"an object is needed, not {type(document).__name__}"
    if complaint := kinds.identity_complaint(document) or kinds.schema_complaint(document) or _not_here(document):
        return complaint
    namespaced, namespace = _namespaced(document, scopes), document["metadata"].get("namespace")
    if namespaced is False and namespace:
        return "metadata.namespace: its kind stands outside namespaces; leave it out"
    if namespaced is None and namespace is None:
        return (
            'metadata.namespace: say where it belongs, since its kind is not Kubernetes\' own; "" if outside namespaces'
        )
    return None


def _not_here(manifest: Manifest) -> str | None:
    """What other objects may do and these may not: carry secrets, or move money past the settings."""
    kind, group = manifest["kind"], kinds.group(manifest["apiVersion"])
    if (group, kind) == ("", "Secret") and (manifest.get("data") or manifest.get("stringData")):
        return (
            "a Secret's values do not belong in a file: create it with kubectl, or let an operator of yours do so "
            "(an ExternalSecret, a SealedSecret), and name it where it is used"
        )
    if group == DOMAIN:
        return f"objects of {DOMAIN} are the operator's accounts; nobody else makes them"
    job = (manifest.get("spec") or {}).get("jobTemplate") or {} if kind == "CronJob" else manifest
    if group == "batch" and ESCROW_REQUEST_ANNOTATION in ((job.get("metadata") or {}).get("annotations") or {}):
        return (
            f"{ESCROW_REQUEST_ANNOTATION} asks for money that the maximum exposure would not count; declare the Job "
            "in purpleflea.agents"
        )
    return None


def _placed(manifest: Manifest, settings: Settings, scopes: Scopes) -> Manifest:
    """With the stack's namespace where none is named: kubectl would take that of its context."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "namespace" or value}
    if _namespaced(manifest, scopes):
        metadata.setdefault("namespace", settings.namespace)
    return {**manifest, "metadata": metadata}


def _identity(manifest: Manifest) -> tuple[str, str, str, str]:
    metadata = manifest["metadata"]
    group = kinds.group(manifest["apiVersion"])
    return group, manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _named(document: Any) -> str:
    """`, ConfigMap rules`, as far as the document says."""
    if not isinstance(document, dict):
        return ""
    metadata = document.get("metadata")
    named = [document.get("kind"), metadata.get("name") if isinstance(metadata, dict) else None]
    words = " ".join(word[:60] for word in named if isinstance(word, str))
    return f", {words}" if words else ""
