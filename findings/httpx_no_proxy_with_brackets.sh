#!/bin/sh
# httpx 0.28 (PyPI): NO_PROXY=[::1], the form in which Go programs take an IPv6 address too, makes every client fail while it
# is constructed, before any request: InvalidURL, without the variable's name. NO_PROXY=::1 is fine.
# Expected: the entry is honoured or ignored, as other programs of the same environment do.
# What follows: check the variable before a client is built, and name it in the message.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1
for value in '[::1]' '::1'; do
  HTTPS_PROXY=http://proxy.example:3128 NO_PROXY=$value "$folder/venv/bin/python" - "$value" <<'PYTHON'
import sys

import httpx

try:
    httpx.Client().close()
    outcome = "constructed"
except Exception as error:
    outcome = f"{type(error).__name__}: {error}"
print(f"httpx {httpx.__version__}, NO_PROXY={sys.argv[1]}: {outcome}")
failed = outcome.startswith("InvalidURL")
assert failed is (sys.argv[1] == "[::1]"), "it is otherwise now"
assert "NO_PROXY" not in outcome
PYTHON
done
