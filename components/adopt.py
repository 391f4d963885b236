"""`python -m components.adopt FILE`: the objects of a stack that are on the cluster, as a file for `pulumi import`.

FILE is what `pulumi preview --import-file FILE` wrote: every resource that `up` would create. Printed is the part of it
that is there, with the ids by which the provider finds it. Nothing is changed, on the cluster or in the state.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from components import kubectl
from components.errors import BadInput
from components.manifests import extra, kinds, naming, stack
from components.manifests.naming import Manifest
from components.settings import BadSettings
from components.stack_values import ROOT, StackValues
from runtime.contract import ExitCode

Resource = dict[str, Any]
"""An entry of an import file."""
_KUBERNETES = "kubernetes:"
_WRITES = "`pulumi preview --import-file {}` writes one"
_NOT_ADOPTED = {
    "Job": "its template cannot change, so it would be replaced: let it end, then delete it",
    "Namespace": "`up` takes it over by itself",
    "CustomResourceDefinition": "`up` takes it over by itself",
}


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Print the import file; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m components.adopt", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="what `pulumi preview --import-file FILE` wrote")
    parser.add_argument("--stack", default="dev", help="name of the stack, as in Pulumi.<stack>.yaml (default: dev)")
    parser.add_argument("--project", type=Path, default=root, help="folder of Pulumi.yaml and the stack files")
    options = parser.parse_args(arguments)
    try:
        values = StackValues.from_files(options.project, options.stack)
        where = {key: values.values.get(f"kubernetes:{key}", "") for key in ("kubeconfig", "context", "cluster")}
        given = _resources(options.file)
        found = [*adopted(given, objects(values, options.project), lambda one: is_there(one, where))]
    except (BadInput, BadSettings) as error:
        print(error, file=sys.stderr)
        return ExitCode.BAD_INPUT
    except kubectl.UnknownError as error:
        print(f"what is on the cluster is not known: {error}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    count = sum("id" in one for one in found)
    print(f"{count} objects are there; next: pulumi import --file, then look for replacements", file=sys.stderr)
    print(json.dumps({"resources": found}, indent=2))
    return ExitCode.OK


def objects(values: StackValues, folder: Path) -> dict[tuple[str, str, str], Manifest]:
    """API version, kind and logical name, as Pulumi knows a resource → the object."""
    settings = values.settings()
    own = [(naming.logical_name(settings, one), one) for one in stack.objects(settings)]
    extras = [found.manifest for found in extra.load(settings, folder)]
    named = [*own, *((extra.logical_name(settings, one), one) for one in extras)]
    return {(one["apiVersion"], one["kind"], name): one for name, one in named}


def adopted(
    given: list[Resource], known: dict[tuple[str, str, str], Manifest], there: Callable[[Manifest], bool]
) -> Iterator[Resource]:
    """The entries whose objects are there, each with its id, after the components that are their parents."""
    kept: list[Resource] = []
    for one in given:
        manifest = known.get(_key(one))
        if manifest is None or not there(manifest):
            continue
        if why := _NOT_ADOPTED.get(manifest["kind"]):
            print(f"{manifest['kind']} {manifest['metadata']['name']}: {why}", file=sys.stderr)
            continue
        metadata = manifest["metadata"]
        identity = "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
        kept.append({**one, "id": identity})
    parents = {one.get("parent") for one in kept}
    yield from (one for one in given if one.get("component") and one["name"] in parents)
    yield from kept


def is_there(manifest: Manifest, where: dict[str, str]) -> bool:
    """Whether the cluster has an object of that kind and name. Raises `kubectl.UnknownError`."""
    group, version = kinds.group(manifest["apiVersion"]), manifest["apiVersion"].rpartition("/")[2]
    kind = f"{manifest['kind']}.{version}.{group}" if group else manifest["kind"]
    namespace = manifest["metadata"].get("namespace")
    words = ["--namespace", namespace] if namespace else []
    return bool(kubectl.get(where, kind, manifest["metadata"]["name"], *words, template="{{.metadata.uid}}"))


def _key(resource: Resource) -> tuple[str, str, str]:
    """`kubernetes:apps/v1:Deployment` → `apps/v1`, `Deployment`, and the name."""
    _, version, kind = f"{resource.get('type', '')}::".split(":")[:3]
    if not resource.get("type", "").startswith(_KUBERNETES):
        return "", "", ""
    return version.removeprefix("core/"), kind, resource.get("logicalName") or resource["name"]


def _resources(path: Path) -> list[Resource]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["resources"]
        if not all(isinstance(one["name"], str) and isinstance(one["type"], str) for one in found):
            raise ValueError
    except OSError as error:
        raise BadInput(
            f"{path} cannot be read: {error.strerror}; `pulumi preview --import-file {path}` writes it"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is no import file; {_WRITES.format(path)}") from error
    return found


if __name__ == "__main__":
    sys.exit(main())
