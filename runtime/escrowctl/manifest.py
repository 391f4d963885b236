"""One Job manifest as a person wrote it: what `fund` needs to know of it, and the same text with an escrow's id in it.

The text is never written anew: YAML has dialects, and a value that Kubernetes reads as `22:22` is a number to others.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION
from runtime.errors import BadInput
from runtime.kubernetes import job_schema
from runtime.kubernetes_yaml import NotReadable, documents

_API_VERSION: Final = "batch/v1"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_LIMIT: Final = 63
"""Of a Job, whose name is a label of its pods, and of a namespace."""
_RESTART_POLICIES: Final = ("Never", "OnFailure")
_SAMPLE_ID: Final = "esc_0"
_Nodes: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True)
class JobManifest:
    """A Job's manifest.

    Args:
        text: The file, as it is but for a byte order mark.
        name: Of the Job.
        namespace: Its namespace, `default` where it names none.
        escrow_id: The annotation that names its escrow, where it has one.
        request: The annotation that asks for an escrow, where it has one.
    """

    text: str
    name: str
    namespace: str
    escrow_id: str | None
    request: str | None

    def funded(self, escrow_id: str) -> str:
        """The text with the escrow's id in the place of the request; nothing else differs.

        Raises:
            BadInput: The request stands where it cannot be exchanged, as behind an anchor.
        """
        found = _request_entry(self.text)
        if found is None:
            raise BadInput(f"{ESCROW_REQUEST_ANNOTATION} does not stand among the annotations itself; write it there")
        key, value = found
        start, end = value.start_mark.index, value.end_mark.index
        if start < key.end_mark.index:
            raise BadInput(f"{ESCROW_REQUEST_ANNOTATION} is an alias (`*name`); write the request out")
        tail = "\n" if self.text[start:end].endswith("\n") else ""  # a block ends with the line
        before, between = self.text[: key.start_mark.index], self.text[key.end_mark.index : start]
        name = json.dumps(ESCROW_ID_ANNOTATION) if key.style else ESCROW_ID_ANNOTATION  # JSON stays JSON
        edited = f"{before}{name}{between}{json.dumps(escrow_id)}{tail}{self.text[end:]}"
        said, says = _object(self.text), _try_object(edited)
        said["metadata"]["annotations"].pop(ESCROW_REQUEST_ANNOTATION)
        if says is None or says["metadata"]["annotations"].pop(ESCROW_ID_ANNOTATION, None) != escrow_id or said != says:
            raise BadInput(
                f"{ESCROW_REQUEST_ANNOTATION} cannot be exchanged there; give it a line of its own, without an anchor"
            )
        return edited


def read_manifest(file: Path, namespace: str | None = None) -> JobManifest:
    """The one Job of a file, checked: whoever pays for it next can say where the escrow is.

    `namespace` is where it will be created; a manifest that names another one is refused.

    Raises:
        BadInput: No text, no YAML, not one Job, or one that the API server would refuse by what is looked at here.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
        manifest = _job(text, _object(text), namespace)
        if manifest.request is not None and manifest.escrow_id is None:
            manifest.funded(_SAMPLE_ID)
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from error
    except BadInput as error:
        raise BadInput(f"{file}: {error.message}") from error
    return manifest


def _job(text: str, root: dict[str, Any], wanted: str | None) -> JobManifest:
    if root.get("kind") != "Job" or root.get("apiVersion") != _API_VERSION:
        found = " ".join(str(root[key]) for key in ("apiVersion", "kind") if root.get(key))
        raise BadInput(f"it is one {found or 'object without a kind'}, and `fund` pays for one {_API_VERSION} Job")
    metadata, spec = _part(root, "metadata"), _part(root, "spec")
    name = _named(_text(metadata.get("name"), "metadata.name"), "metadata.name")
    given = _text(metadata.get("namespace"), "metadata.namespace")
    namespace = _named(given, "metadata.namespace") if given else _named(wanted or "default", "--namespace")
    if wanted not in (None, namespace):
        raise BadInput(f"metadata.namespace is {namespace}, and --namespace says {wanted}")
    pod = _part(_part(spec, "template", "spec."), "spec", "spec.template.")
    if not isinstance(pod.get("containers"), list) or not pod["containers"]:
        raise BadInput("spec.template.spec.containers is missing: there is nothing to pay for")
    if pod.get("restartPolicy") not in _RESTART_POLICIES:
        raise BadInput(f"spec.template.spec.restartPolicy of a Job must be {' or '.join(_RESTART_POLICIES)}")
    if complaint := job_schema.complaint(root):
        raise BadInput(complaint)
    annotations, _ = (_texts(metadata, part) for part in ("annotations", "labels"))
    escrow_id = annotations.get(ESCROW_ID_ANNOTATION)
    if escrow_id is not None and not escrow_id.strip():
        raise BadInput(f"{ESCROW_ID_ANNOTATION} is empty; remove it, or write the escrow's id")
    return JobManifest(text, name, namespace, escrow_id, annotations.get(ESCROW_REQUEST_ANNOTATION))


def _object(text: str) -> dict[str, Any]:
    """The one object of a file, as kubectl reads it; a document without content is none."""
    try:
        found = [one for one in documents(text) if one is not None]
    except (NotReadable, RecursionError) as error:
        raise BadInput(f"it cannot be read as YAML: {error}") from error
    if len(found) > 1:
        raise BadInput(f"it holds {len(found)} documents, and `fund` pays for one Job")
    if not found or not isinstance(found[0], dict):
        raise BadInput("it holds no object")
    return found[0]


def _try_object(text: str) -> dict[str, Any] | None:
    try:
        return _object(text)
    except BadInput:
        return None


def _request_entry(text: str) -> tuple[Any, Any] | None:
    """Where the request stands: the nodes of its key and value, with their places in the text."""
    for node in yaml.compose_all(text, Loader=_Nodes):
        for name in ("metadata", "annotations"):
            node = (_entry(node, name) or (None, None))[1]
        if found := _entry(node, ESCROW_REQUEST_ANNOTATION):
            return found
    return None


def _entry(node: yaml.Node | None, name: str) -> tuple[Any, Any] | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next(((k, v) for k, v in pairs if isinstance(k, yaml.ScalarNode) and k.value == name), None)


def _part(of: Mapping[str, Any], name: str, above: str = "") -> dict[str, Any]:
    found = of.get(name)
    if not isinstance(found, dict | None):
        raise BadInput(f"{above}{name} must be a mapping of keys")
    return found or {}


def _texts(metadata: Mapping[str, Any], name: str) -> dict[str, str]:
    """Annotations or labels; where one is empty the API server reads an empty text."""
    where = f"metadata.{name}"
    return {key: _text(value, f"{where}[{key}]") or "" for key, value in _part(metadata, name, "metadata.").items()}


def _text(value: Any, where: str) -> str | None:
    if not isinstance(value, str | None):
        raise BadInput(f"{where} must be text; put it in quotes")
    return value


def _named(name: str | None, where: str) -> str:
    if not name or len(name) > _NAME_LIMIT or not _NAME.fullmatch(name):
        wanted = "lower-case letters, digits, '-' and '.', at most 63"
        raise BadInput(f"{where} {name!r} is no name: {wanted}" if name else f"{where} is missing")
    return name
