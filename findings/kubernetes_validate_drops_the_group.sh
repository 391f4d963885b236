#!/bin/sh
# kubernetes-validate 1.37 (PyPI) looks a schema up by kind and by the first label of the API group only. A custom
# resource `apps.example.com/v1 Deployment` is therefore held against the built-in apps/v1 Deployment and refused, while
# the same object under `example.com/v1` is reported as a kind without a schema.
# Expected: both are custom kinds, and neither has a schema.
# What follows: check a manifest against it only after comparing the whole group with Kubernetes' own.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import kubernetes_validate


def said(api_version):
    manifest = {"apiVersion": api_version, "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"size": 3}}
    try:
        kubernetes_validate.validate(manifest, "1.37", strict=True)
    except Exception as error:
        return f"{type(error).__name__} {str(error).partition(chr(10))[0]}"
    return "accepted"


taken_for_built_in, unknown = said("apps.example.com/v1"), said("example.com/v1")
print(f"kubernetes-validate {version('kubernetes-validate')}")
print(f"  apps.example.com/v1 Deployment -> {taken_for_built_in}")
print(f"  example.com/v1 Deployment      -> {unknown}")
assert taken_for_built_in.startswith("ValidationError"), "it knows the whole group now"
assert unknown.startswith("SchemaNotFoundError"), "a kind without a schema is told otherwise now"
PYTHON
