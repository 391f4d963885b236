"""One Job manifest as a person wrote it: what `fund` needs to know of it, and the same text with an escrow's id in it.

The text is never written anew: YAML has dialects, and a value that Kubernetes reads as `22:22` is a number to others.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from runtime.contract import ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION
from runtime.errors import BadInput

_TEXT: Final = "tag:yaml.org,2002:str"
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME_LIMIT: Final = 63
"""Of a Job, whose name is a label of its pods, and of a namespace."""
_SAMPLE_ID: Final = "esc_0"


@dataclass(frozen=True, slots=True)
class JobManifest:
    """A Job's manifest.

    Args:
        text: The file, to the last byte.
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
        entry = _entry(_annotations(_compose(self.text)), ESCROW_REQUEST_ANNOTATION)
        if entry is None:
            raise BadInput(f"it has no annotation {ESCROW_REQUEST_ANNOTATION}")
        key, value = entry
        start, end = value.start_mark.index, value.end_mark.index
        if start < key.end_mark.index:
            raise BadInput(f"{ESCROW_REQUEST_ANNOTATION} is an alias (`*name`); write the request out")
        tail = "\n" if self.text[start:end].endswith("\n") else ""  # a block ends with the line
        before, between = self.text[: key.start_mark.index], self.text[key.end_mark.index : start]
        edited = f"{before}{ESCROW_ID_ANNOTATION}{between}{json.dumps(escrow_id)}{tail}{self.text[end:]}"
        said, says = _plain(self.text), _plain(edited)
        said["metadata"]["annotations"].pop(ESCROW_REQUEST_ANNOTATION)
        written = says["metadata"]["annotations"].pop(ESCROW_ID_ANNOTATION, None)
        if written != escrow_id or said != says:
            raise BadInput(f"{ESCROW_REQUEST_ANNOTATION} cannot be exchanged there; give it a line of its own")
        return edited


def read_manifest(file: Path, namespace: str | None = None) -> JobManifest:
    """The one Job of a file, checked: whoever pays for it next can say where the escrow is.

    `namespace` is where it will be created; a manifest that names another one is refused.

    Raises:
        BadInput: No text, no YAML, not one Job, or one that the API server would refuse by its name.
    """
    try:
        text = file.read_bytes().decode()
        root = _compose(text)
        manifest = _job(text, root, namespace)
        if manifest.request is not None and manifest.escrow_id is None:
            manifest.funded(_SAMPLE_ID)
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}") from error
    except BadInput as error:
        raise BadInput(f"{file}: {error.message}") from error
    return manifest


def _job(text: str, root: yaml.Node, wanted: str | None) -> JobManifest:
    kind = _text(_value(root, "kind"), "kind")
    if kind != "Job":
        raise BadInput(f"it is one {kind or 'object without a kind'}, and `fund` pays for one Job")
    metadata = _value(root, "metadata")
    name = _named(_text(_value(metadata, "name"), "metadata.name"), "metadata.name")
    given = _text(_value(metadata, "namespace"), "metadata.namespace")
    namespace = _named(given, "metadata.namespace") if given else _named(wanted or "default", "--namespace")
    if wanted not in (None, namespace):
        raise BadInput(f"metadata.namespace is {namespace}, and --namespace says {wanted}")
    containers = _value(_value(_value(_value(root, "spec"), "template"), "spec"), "containers")
    if not isinstance(containers, yaml.SequenceNode) or not containers.value:
        raise BadInput("spec.template.spec.containers is missing: there is nothing to pay for")
    annotations = _annotations(root)
    escrow_id, request = (
        _text(_value(annotations, key), f"metadata.annotations[{key}]")
        for key in (ESCROW_ID_ANNOTATION, ESCROW_REQUEST_ANNOTATION)
    )
    return JobManifest(text, name, namespace, escrow_id, request)


def _compose(text: str) -> yaml.Node:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        problem = " ".join(str(error).split()) if isinstance(error, yaml.YAMLError) else "it is nested too deep"
        raise BadInput(f"it is not one YAML document: {problem}") from error
    if not isinstance(node, yaml.MappingNode):
        raise BadInput("it holds no object")
    return node


def _annotations(root: yaml.Node) -> yaml.Node | None:
    return _value(_value(root, "metadata"), "annotations")


def _entry(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value of that name; the API server refuses a key that stands twice."""
    if not isinstance(node, yaml.MappingNode):
        return None
    found = [(key, value) for key, value in node.value if key.value == name]
    if len(found) > 1:
        lines = " and ".join(f"{key.start_mark.line + 1}" for key, _ in found)
        raise BadInput(f"{name} stands more than once, on lines {lines}")
    return found[0] if found else None


def _value(node: yaml.Node | None, name: str) -> yaml.Node | None:
    found = _entry(node, name)
    return found[1] if found else None


def _text(node: yaml.Node | None, where: str) -> str | None:
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return None
    if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT:
        raise BadInput(f"{where} must be text; put it in quotes")
    return node.value


def _named(name: str | None, where: str) -> str:
    if not name or len(name) > _NAME_LIMIT or not _NAME.fullmatch(name):
        wanted = "lower-case letters, digits, '-' and '.', at most 63"
        raise BadInput(f"{where} {name!r} is no name: {wanted}" if name else f"{where} is missing")
    return name


def _plain(text: str) -> Any:
    """What a text says, every value as it is written."""
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and mappings only
