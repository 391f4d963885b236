"""`make preview`, `make up`, `make destroy`: what they say when they cannot, and that they ask first."""

import os
import shutil
import stat
import subprocess
import sys

import pytest
import yaml

from components.engine.__main__ import select
from components.stack_values import StackValues
from tests.components.variants import ROOT
from tests.toolchain.fixtures import require


def run(*arguments, cwd=ROOT, **environment):
    command = [sys.executable, "-m", "components.engine", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def test_without_any_cli_the_message_says_how_to_get_one():
    done = run("preview", PATH="/nonexistent")
    assert done.returncode == 2, done.stderr
    assert "no `pulumi` on the PATH" in done.stderr
    assert "PULUMI_INSTALL=1 to let Pulumi's own installer do it" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cli_that_is_too_old_is_refused_by_its_version(tmp_path):
    old = tmp_path / "pulumi"
    old.write_text("#!/bin/sh\necho v3.1.0\n")
    old.chmod(0o755)
    done = run("preview", PATH=f"{tmp_path}:/bin:/usr/bin")
    assert done.returncode == 2
    assert "too old" in done.stderr


def test_bad_settings_and_stacks_fail_before_any_engine_is_looked_for():
    done = run("up", "--stack", "nope", PATH="/nonexistent")
    assert done.returncode == 2
    assert "stacks: dev, prod" in done.stderr


@pytest.mark.engine
def test_a_change_of_a_cluster_needs_a_yes(tmp_path):
    engine = require("engine", "pulumi")
    path = f"{engine.parent}:{os.environ['PATH']}"
    done = run("up", "--stack", "prod", PATH=path, KUBECONFIG=os.devnull, PULUMI_HOME=str(tmp_path))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "there is nobody to ask; YES=1 goes ahead" in done.stderr


@pytest.mark.engine
def test_a_local_state_is_made_once_and_the_project_stays_clean(tmp_path, monkeypatch):
    engine = require("engine", "pulumi")
    monkeypatch.setenv("PATH", f"{engine.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    project, local = tmp_path / "project", tmp_path / "project/.pulumi"
    project.mkdir()
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        shutil.copy(ROOT / name, project)
    before = {path.name: path.read_text() for path in project.glob("*.yaml")}
    values = StackValues.from_files(project, "dev")
    select(values, project, local)

    def salt() -> str:
        return yaml.safe_load((local / "work/dev/Pulumi.dev.yaml").read_text())["encryptionsalt"]

    made = salt()
    assert stat.S_IMODE((local / "passphrase").stat().st_mode) == 0o600
    assert select(values, project, local).name == "dev"
    assert salt() == made
    assert {path.name: path.read_text() for path in project.glob("*.yaml")} == before
