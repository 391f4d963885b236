"""docs/operator.md promises nothing that no test shows."""

import importlib
import re
import tomllib
from pathlib import Path

from runtime.contract import Phase
from runtime.operator.metrics import Metrics
from runtime.operator.next_step import Step

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operator.md").read_text()


def test_every_row_of_the_fault_matrix_is_a_test():
    tests = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    matrix = PAGE.split("## The fault matrix")[1].split("## ")[0]
    named = re.findall(r"`(test_\w+)`", matrix)
    assert len(named) >= 10
    assert [name for name in named if f"def {name}(" not in tests] == []
    fault_tests = re.findall(r"^def (test_\w+)\(", (ROOT / "tests/runtime/operator/test_faults.py").read_text(), re.M)
    assert sorted(set(fault_tests) - set(named)) == [], "a fault that is tested and not in the matrix"


def test_every_metric_named_exists():
    served = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    served |= {family.name + "_total" for family in Metrics().registry.collect()}
    served |= {family.name for family in Metrics().registry.collect()}
    named = re.findall(r"`((?:escrow|workqueue|leader)_\w+)", PAGE)
    assert named
    assert [name for name in named if name not in served] == []


def test_the_table_of_steps_names_every_step_and_phase():
    table = PAGE.split("## What the operator does next")[1].split("## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")][2:]
    assert {name for row in rows for name in re.findall(r"`([a-z ]+)`", row[2])} == {step.value for step in Step}
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == {phase.value for phase in Phase}


def test_the_kubectl_plugin_is_installed_under_the_name_that_kubectl_looks_for():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["kubectl-purpleflea"].split(":")
    assert callable(getattr(importlib.import_module(module), function))
