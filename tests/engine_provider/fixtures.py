"""The real Pulumi engine for tests, with the real Kubernetes provider where it is installed, else the stand-in."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from pulumi import automation

from components.engine.program import run_program
from tests.toolchain.fixtures import require

ROOT = Path(__file__).parents[2]
PROVIDER = "pulumi-resource-kubernetes"
LANGUAGE_HOST = "pulumi-language-python"


def real_provider() -> bool:
    """Whether Pulumi's own Kubernetes provider is on the PATH; it needs a cluster for everything it does."""
    return shutil.which(PROVIDER) is not None


@dataclass
class Deployed:
    """A stack of its own, on a state of its own, with the engine's words and the stand-in's log."""

    folder: Path
    stack: automation.Stack
    said: list[str] = field(default_factory=list)

    def configure(self, **sections: object) -> None:
        """Replace the stack's configuration; what Pulumi itself wrote into the file stays, secrets too."""
        path = self.folder / "Pulumi.test.yaml"
        before = yaml.safe_load(path.read_text()) if path.exists() else {}
        config = {
            "sandbox": {"enabled": True},
            "credentials": {"existingSecret": ""},
            "images": {"runtime": "team/runtime:1", "allowTag": True},
            "target": "cluster",
            **sections,
        }
        secret = {k: v for k, v in before.get("config", {}).items() if isinstance(v, dict) and "secure" in v}
        before["config"] = {f"purpleflea:{key}": value for key, value in config.items()} | secret
        path.write_text(yaml.safe_dump(before))

    def preview(self) -> list[automation.events.StepEventMetadata]:
        """What `pulumi preview` would do, step by step; steps without a change are left out."""
        steps = []

        def collect(event: automation.events.EngineEvent) -> None:
            if event.resource_pre_event and event.resource_pre_event.metadata.op != automation.OpType.SAME:
                steps.append(event.resource_pre_event.metadata)

        self.stack.preview(on_event=collect, on_output=self.said.append, diff=True)
        return steps

    def up(self) -> dict[str, int]:
        """`pulumi up`; returns how many resources were created, updated, deleted, left the same."""
        result = self.stack.up(on_output=self.said.append)
        return dict(result.summary.resource_changes or {})

    def refresh(self) -> None:
        """`pulumi refresh`."""
        self.stack.refresh(on_output=self.said.append)

    def destroy(self, *, run_program: bool = True) -> None:
        """`pulumi destroy`; the program has to run, because it removes the files that it wrote."""
        self.stack.destroy(on_output=self.said.append, run_program=run_program)

    def log(self) -> list[dict[str, str]]:
        """What the stand-in did so far, in order."""
        path = self.folder / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Deployed]:
    """Makes a stack on the real engine; with `kubeconfig` its objects go to that API server, else they are recorded.

    `stand_in`: not by the real provider even where there is one, because without nodes no Deployment ever gets ready.
    """
    monkeypatch.chdir(tmp_path)  # the program writes files below the working directory
    engine = require("engine", "pulumi")

    def make(kubeconfig: str = "", stand_in: bool = False, **sections: object) -> Deployed:
        folder = tmp_path / "stack"
        (folder / "state").mkdir(parents=True)
        (folder / "bin").mkdir()
        if stand_in or not (kubeconfig and real_provider()):
            _launch(folder / "bin" / PROVIDER, "tests.engine_provider")
        if not shutil.which(LANGUAGE_HOST):
            _launch(folder / "bin" / LANGUAGE_HOST, "tests.engine_provider.language_host")
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        environment = {
            "PATH": os.pathsep.join([str(folder / "bin"), str(engine.parent), os.environ["PATH"]]),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "of a test",
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            # The state is written once an operation, not twice a resource: two thirds of a first `up`.
            "PULUMI_EXPERIMENTAL": "1",
            "PULUMI_SKIP_CHECKPOINTS": "1",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
            "STANDIN_LOG": str(folder / "log"),
            "STANDIN_KUBECONFIG": kubeconfig,
            "KUBECONFIG": kubeconfig or os.devnull,
        }
        deployed = Deployed(folder, None)  # ty: ignore[invalid-argument-type]
        deployed.configure(**sections)
        (folder / "bin" / "pulumi").symlink_to(engine)
        deployed.stack = automation.create_stack(
            "test",
            "purpleflea",
            run_program,
            opts=automation.LocalWorkspaceOptions(
                work_dir=str(folder),
                env_vars=environment,
                pulumi_command=automation.PulumiCommand(root=str(folder)),
            ),
        )
        deployed.stack.outputs = dict  # each `up` would ask for them, by two more processes that derive the key
        return deployed

    return make


def _launch(program: Path, module: str) -> None:
    """A program that runs one of our modules."""
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m {module} "$@"\n')
    program.chmod(0o755)


def pytest_report_header() -> str:
    """Which provider the engine's tests drive: a stand-in proves less."""
    return (
        f"kubernetes provider: the real {PROVIDER} where a test has a cluster, else the stand-in"
        if real_provider()
        else f"kubernetes provider: the tests' stand-in (put {PROVIDER} on the PATH to test with the real one)"
    )
