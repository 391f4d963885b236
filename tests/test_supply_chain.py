"""What the image ships: licences that may be, a Dockerfile for each architecture, no vulnerability unexplained."""

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKED = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE))
DOCKERFILE = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
PERMISSIVE = re.compile(
    r"(?i)MIT|MIT-0|Apache|Apache-2\.0|BSD|BSD-2-Clause|BSD-3-Clause|PSF-2\.0|Python Software Foundation"
    r"|Mozilla Public License 2\.0 \(MPL 2\.0\)"  # of certifi: files alone, which are not changed
)


def licences(name):
    """What a distribution says of its licence: an expression, else classifiers."""
    metadata = distribution(name).metadata
    if expression := metadata.get("License-Expression"):
        return re.split(r" (?:AND|OR) ", expression)
    classifiers = metadata.get_all("Classifier") or []
    found = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: ")]
    return [re.sub(r"( Software)? License$", "", one) for one in found] or [metadata.get("License") or "none"]


@pytest.mark.parametrize("name", LOCKED)
def test_each_locked_requirement_may_be_shipped(name):
    assert distribution(name).version == LOCKED[name]
    assert [one for one in licences(name) if not PERMISSIVE.fullmatch(one)] == []


def test_the_dockerfile_is_for_every_architecture_and_needs_no_compiler():
    text = "\n".join(DOCKERFILE)
    assert re.findall(r"(?i)amd64|arm64|x86|aarch64|--platform|TARGETARCH", text) == []
    assert re.findall(r"\b(?:apt|apt-get|apk|dnf|gcc|cc|make|curl|wget|git)\b", text) == []
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == [
        "${BASE_IMAGE}",
        "${BUILDER_IMAGE}",
        "${BASE_IMAGE}",
        "programs",
        "programs",
    ]
    assert "--require-hashes --only-binary=:all:" in text


def test_the_last_stages_run_no_command_and_are_nobodys():
    final = DOCKERFILE[DOCKERFILE.index("FROM ${BASE_IMAGE} AS programs") :]
    assert [line for line in final if line.startswith(("RUN", "ADD"))] == []
    assert [line for line in final if line.startswith("USER")] == ["USER 10001:10001"]


def test_each_exception_of_the_audit_has_a_reason():
    lines = (ROOT / "requirements/audit-exceptions.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Z][A-Za-z0-9-]+ .{20,}", line)] == []


@pytest.mark.skipif("TEST_WHEELS" not in os.environ, reason="downloads 35 wheels, half a minute; TEST_WHEELS=1 runs it")
def test_each_locked_requirement_has_a_wheel_for_arm64(tmp_path):
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    target = ["--implementation=cp", "--python-version=3.12", "--platform=manylinux2014_aarch64", *platforms]
    command = [*pip, *target, "--dest", str(tmp_path), "--requirement", str(ROOT / "requirements/runtime.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len([*tmp_path.glob("*.whl")]) == len(LOCKED)
