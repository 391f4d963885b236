#!/bin/sh
# kubernetes-validate 1.37 (PyPI) reads and parses two files at each call of `validate`: the kind's schema and the file of
# all definitions, megabytes of JSON, also for the same kind and version as the call before. Ten ConfigMaps read it ten times.
# Expected: a file that was parsed once for a version is kept.
# What follows: validate what is the same once, and keep the answer by content; a stack of hundreds of Jobs takes seconds.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys
import time
from importlib.metadata import version

import kubernetes_validate

opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
start = time.perf_counter()
for _ in range(10):
    kubernetes_validate.validate(manifest, "1.37", strict=True)
seconds = time.perf_counter() - start
definitions = [path for path in opened if path.endswith("_definitions.json")]
print(f"kubernetes-validate {version('kubernetes-validate')}")
print(f"  10 ConfigMaps: _definitions.json ({os.path.getsize(definitions[0]):,} bytes) read {len(definitions)} times")
print(f"  {seconds / 10 * 1000:.0f} ms each")
assert len(definitions) == 10, "it keeps what it has parsed now"
PYTHON
