"""Rendering, by number of agent Jobs: beside the revision that still ran the Pulumi program for it, beside a plain
`pulumi preview`, and beside the floor: Python's start, the libraries, the writing of the YAML."""

import json
import os
import resource
import statistics
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
BEFORE = "5f9aa65"
"""The last revision whose `make render` ran the Pulumi program and decoded what it declared."""
RUNS = 5


class Run(NamedTuple):
    """What one run took: wall seconds, seconds of processor, most megabytes at one time, children included."""

    wall: float
    cpu: float
    memory: float

    def __str__(self) -> str:
        return f"{self.wall:>8.2f}{self.cpu:>8.2f}{self.memory:>7.0f} MB"


def main() -> None:
    """Print what each way takes, and the ratios; processor seconds are what a busy machine leaves comparable."""
    with tempfile.TemporaryDirectory() as folder:
        before = _checkout(Path(folder))
        engine = _engine()
        print(f"{'stack':<10}{'what':<22}{'wall s':>8}{'cpu s':>8}{'memory':>10}{'of before':>11}{'a Job more':>12}")
        dev: Run | None = None
        for count in COUNTS:
            here = Path(folder) / str(count)
            now = _synth(ROOT, here / "now", count)
            dev = dev or now
            then = _synth(before, here / "before", count) if before else None
            name = "dev" if count is None else f"{count} Jobs"
            each = f"{(now.cpu - dev.cpu) / count * 1000:>9.1f} ms" if count else ""
            share = f"{now.cpu / then.cpu:>10.2f}x" if then else f"{'':>11}"
            print(f"{name:<10}{'make render, again':<22}{now}{share}{each}")
            if then:
                print(f"{'':<10}{f'the same at {BEFORE}':<22}{then}", flush=True)
            for what, floor in _floor(here / "now").items():
                print(f"{'':<10}{what:<22}{floor}")
            if engine:
                print(f"{'':<10}{'pulumi preview':<22}{_preview(here / 'now', engine)}", flush=True)


def _checkout(folder: Path) -> Path | None:
    """The revision before in a folder of its own; None, with the reason, where git does not have it."""
    place = folder / "revision"
    place.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE], capture_output=True, check=False)
    if archive.returncode:
        print(f"revision {BEFORE}: not measured, {archive.stderr.decode().strip().splitlines()[0]}")
        return None
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive.stdout, check=True)
    return place


def _engine() -> Path | None:
    try:
        return tools.find("pulumi").path
    except tools.Missing as missing:
        print(f"preview: not measured, {missing}")
        return None


def project(folder: Path, code: Path, count: int | None) -> None:
    """A copy of a revision's stack with so many agents; the code stays where it is."""
    config = yaml.safe_load((code / "Pulumi.dev.yaml").read_text())["config"]
    if count is not None:
        config["purpleflea:agents"] = [
            {"name": f"agent-{n}", "task": f"Task number {n}", "payee": "worker-agent-007"} for n in range(count)
        ]
    config["purpleflea:target"] = "cluster"
    folder.mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text((code / "Pulumi.yaml").read_text())
    (folder / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))


def _synth(code: Path, folder: Path, count: int | None) -> Run:
    """The middle of several runs that find everything as it should be, after one that writes it."""
    project(folder, code, count)
    command = [sys.executable, "-m", "components.synth", "--project", str(folder), "--out", str(folder / "dist")]
    measure(command, dict(os.environ), code)
    return middle([measure(command, dict(os.environ), code) for _ in range(RUNS)])


def middle(runs: list[Run]) -> Run:
    return Run(*(statistics.median(figures) for figures in zip(*runs, strict=True)))


def _floor(folder: Path) -> dict[str, Run]:
    """What no way to render can leave out: the interpreter, its libraries and the settings, the writing of the YAML."""
    objects = [yaml.load(file.read_text(), yaml.CSafeLoader) for file in sorted((folder / "dist").rglob("*.yaml"))]
    (folder / "objects.json").write_text(json.dumps(objects))
    write = (
        "import json, sys; from components.manifests.yaml_text import yaml_text; "
        "print(sum(len(yaml_text(one)) for one in json.load(open(sys.argv[1]))))"
    )
    programs = {
        "Python's start": ["-c", "pass"],
        "and the settings": ["-c", "import components.settings"],
        "Python and the YAML": ["-c", write, str(folder / "objects.json")],
    }
    return {
        what: middle([measure([sys.executable, *words], dict(os.environ)) for _ in range(RUNS)])
        for what, words in programs.items()
    }


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
        "import sys; from pulumi import automation; from components.engine.program import run_program; "
        "stack = automation.create_or_select_stack('dev', 'purpleflea', run_program, "
        "opts=automation.LocalWorkspaceOptions(work_dir=sys.argv[1])); stack.preview()"
    )
    return measure([sys.executable, "-c", program, str(folder)], environment)


def measure(command: list[str], environment: dict[str, str], code: Path = ROOT) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=code, env=environment, stdout=subprocess.DEVNULL)
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
