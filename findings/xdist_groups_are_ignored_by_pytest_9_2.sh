#!/bin/sh
# pytest 9.2.0 with pytest-xdist 3.8.0: `--dist loadgroup` spreads the tests of one xdist_group over all workers, without a warning.
# xdist appends the group to a private attribute of the test, `_nodeid`, which pytest 9.2 reads no more; setting it raises nothing.
# Expected: tests of a group run in one worker, as with pytest 9.1. What shares a port, a database or a cluster by its group meets
# itself otherwise, now and then.
# What follows: hold pytest below 9.2 until xdist says that it supports it, and have a test that two of a group share a process.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/test_groups.py" <<'PYTHON'
import os
import pathlib

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(40))
def test_member(number):
    (pathlib.Path(__file__).parent / f"ran-{os.getpid()}").touch()
PYTHON
for version in 9.1.1 9.2.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "pytest==$version" pytest-xdist==3.8.0
  rm -f "$folder"/ran-*
  (cd "$folder" && "$folder/$version/bin/python" -m pytest -q -p no:cacheprovider -n 3 --dist loadgroup >"$folder/out" 2>&1) || { cat "$folder/out"; exit 1; }
  workers=$(find "$folder" -maxdepth 1 -name 'ran-*' | wc -l)
  echo "pytest $version: one group ran in $workers processes; warnings: $(grep -ci warning "$folder/out" || true)"
  echo "$workers" > "$folder/workers-$version"
done
test "$(cat "$folder/workers-9.1.1")" = 1 && test "$(cat "$folder/workers-9.2.0")" -gt 1 || { echo "it is otherwise now"; exit 1; }
