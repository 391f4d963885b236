"""Rendering without an engine, by number of agent Jobs, beside a plain `pulumi preview` of the same program."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml

from tests.engine_provider.fixtures import PROVIDER, ROOT
from tests.toolchain import tools

COUNTS = (None, 10, 100, 500)
"""Agent Jobs; None is the dev stack as it is."""


class Run(NamedTuple):
    """What one run took: wall seconds, seconds of processor, most megabytes at one time, children included."""

    wall: float
    cpu: float
    memory: float

    def __str__(self) -> str:
        return f"{self.wall:>8.2f}{self.cpu:>8.2f}{self.memory:>7.0f} MB"


def main() -> None:
    """Print what each way takes, and their ratio; processor seconds are what a busy machine leaves comparable."""
    try:
        engine = tools.find("pulumi").path
    except tools.Missing as missing:
        print(f"preview: not measured, {missing}")
        engine = None
    print(f"{'':<12}{'synth':>8}{'':>18}{'a Job more':>12}{'preview':>10}{'':>18}{'ratio':>8}")
    columns = f"{'wall s':>8}{'cpu s':>8}{'memory':>10}"
    print(f"{'stack':<12}{columns}{'cpu ms':>12}  {columns}{'cpu':>8}")
    dev = None
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            _project(Path(folder), count)
            synth = sorted(_synth(Path(folder)) for _ in range(3))[1]
            dev = dev or synth
            each = f"{(synth.cpu - dev.cpu) / count * 1000:.1f}" if count else ""
            line = f"{'dev' if count is None else f'{count} Jobs':<12}{synth}{each:>12}"
            if engine:
                preview = _preview(Path(folder), engine)
                line += f"  {preview}{preview.cpu / synth.cpu:>7.1f}x"
            print(line, flush=True)


def _project(folder: Path, count: int | None) -> None:
    """A copy of the project's stack with so many agents; the code stays where it is."""
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    if count is not None:
        config["purpleflea:agents"] = [
            {"name": f"agent-{n}", "task": f"Task number {n}", "payee": "worker-agent-007"} for n in range(count)
        ]
    config["purpleflea:target"] = "cluster"
    (folder / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text())
    (folder / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))


def _synth(folder: Path) -> Run:
    command = [sys.executable, "-m", "components.synth", "--project", str(folder), "--out", str(folder / "dist")]
    return _measure(command, dict(os.environ))


def _preview(folder: Path, engine: Path) -> Run:
    """The engine, its inline program and the tests' stand-in provider, which adds next to nothing."""
    launcher = folder / PROVIDER
    launcher.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m tests.engine_provider\n')
    launcher.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(folder), str(engine.parent), os.environ["PATH"]]),
        "PULUMI_BACKEND_URL": folder.as_uri(),
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_CONFIG_PASSPHRASE": "of a benchmark",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
    }
    program = (
        "import sys; from pulumi import automation; from components.rendering import run_program; "
        "stack = automation.create_or_select_stack('dev', 'purpleflea', run_program, "
        "opts=automation.LocalWorkspaceOptions(work_dir=sys.argv[1])); stack.preview()"
    )
    return _measure([sys.executable, "-c", program, str(folder)], environment)


def _measure(command: list[str], environment: dict[str, str]) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, _resident(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{json.dumps(command)} ended with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(time.perf_counter() - started, cpu, most / 1e6)


def _resident(pid: int) -> int:
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
