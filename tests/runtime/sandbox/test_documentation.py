"""docs/sandbox.md names everything that a user can set, ask or inject, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

from runtime.contract import Env
from runtime.sandbox.admin import _OPERATIONS
from runtime.sandbox.app import OPERATIONS
from runtime.sandbox.faults import Fault, Kind, Moment
from runtime.sandbox.testing import running_sandbox

TEXT = Path("docs/sandbox.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\n]+)`", TEXT))


def test_every_option_and_variable_is_documented():
    usage = subprocess.run([sys.executable, "-m", "runtime.sandbox", "--help"], capture_output=True, text=True).stdout
    options = set(re.findall(r"--[a-z-]+", usage)) - {"--help", "--version"}
    assert options == {name for name in NAMED if name.startswith("--")}
    assert {env.value for env in Env if "SANDBOX" in env.name} <= NAMED


def test_every_fault_and_admin_request_is_documented():
    assert {*Kind, *Moment} <= NAMED
    assert {field for field in Fault("read").summary() if field not in ("seen", "injected")} <= NAMED
    assert {operation.name for operation in OPERATIONS} <= NAMED
    assert {f"{operation.method} {operation.path}" for operation in _OPERATIONS} <= NAMED


def test_the_documented_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    exec(compile(example, "docs/sandbox.md", "exec"), {"running_sandbox": running_sandbox})
