#!/bin/sh
# pytest 9.1.1: `pytest t/a/x/test_1.py t/test_0.py t/a/y/test_3.py`, where t/a/conftest.py has a fixture that a test below t/a/y asks
# for: "fixture not found". In any order that does not leave t/a and come back it is found. 9.0.3 and 9.2.0 find it in every order.
# Expected: a fixture is there for the tests below its conftest, however they were named.
# What follows: whoever passes single tests on, as a script that runs failures once more does, sorts them first.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir -p t/a/x t/a/y
touch pytest.ini t/__init__.py t/a/__init__.py t/a/x/__init__.py t/a/y/__init__.py
printf 'import pytest\n\n\n@pytest.fixture\ndef shared():\n    return 1\n' > t/a/conftest.py
printf 'def test_zero():\n    pass\n' > t/test_0.py
printf 'def test_one():\n    pass\n' > t/a/x/test_1.py
printf 'def test_three(shared):\n    assert shared == 1\n' > t/a/y/test_3.py
for version in 9.0.3 9.1.1 9.2.0; do
  python3 -m venv "$version"
  "$version/bin/pip" install --quiet --disable-pip-version-check "pytest==$version"
  for order in "t/a/x/test_1.py t/test_0.py t/a/y/test_3.py" "t/a/x/test_1.py t/a/y/test_3.py t/test_0.py"; do
    # shellcheck disable=SC2086 - three arguments
    found=$("$version/bin/python" -m pytest -q -p no:cacheprovider $order 2>&1 | sed -n 's/^E *\(fixture .* not found\)$/\1/p; s/^\(.* passed\).*/\1/p' | tr '\n' ' ')
    echo "pytest $version, $order: $found" | tee -a seen
  done
done
test "$(grep -c 'not found' seen)" = 1 && grep -q '^pytest 9.1.1, t/a/x/test_1.py t/test_0.py .*not found' seen || { echo "it is otherwise now"; exit 1; }
