"""Every command answers `--help`, and does nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for folder in ("components", "tests/bench", "tests/toolchain", "tests/conformance", "tests/e2e")
    for file in (ROOT / folder).rglob("*.py")
    if file.name == "__main__.py" or (folder in ("components", "tests/e2e") and "\nif __name__ ==" in file.read_text())
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_told_and_nothing_is_written(command, tmp_path):
    environment = {"PATH": "/nowhere", "PYTHONPATH": f"{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "docs").iterdir()}
    asked = [sys.executable, "-m", command, "--help"]
    told = subprocess.run(asked, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert command in told.stdout
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "docs").iterdir()} == before
    assert list(tmp_path.iterdir()) == []
