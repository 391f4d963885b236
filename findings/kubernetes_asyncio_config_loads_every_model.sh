#!/bin/sh
# kubernetes_asyncio 36.1.0: importing only `kubernetes_asyncio.config`, to read a kubeconfig, loads the client and with it every
# model of the API: 768 modules of models, 1,200 in all, some 65 MB of memory and half a second of CPU, before a byte of the file
# is read. Nothing of it is needed to know a server's address and a token.
# Expected: the part that reads a kubeconfig costs what reading a file costs.
# What follows: a program that must stay small reads its pod's ServiceAccount itself, and imports this where there is a kubeconfig.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check kubernetes_asyncio==36.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys


def megabytes() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1000


before, modules = megabytes(), set(sys.modules)
from kubernetes_asyncio.config import load_kube_config  # noqa: E402, F401

grown = megabytes() - before
new = set(sys.modules) - modules
models = [name for name in new if name.startswith("kubernetes_asyncio.client.models.")]
print(f"{len(new)} modules, {len(models)} of them models of the API, {grown:.0f} MB")
if len(models) < 500 or grown < 30:
    sys.exit("it is otherwise now")
PYTHON
