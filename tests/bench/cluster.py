"""How long a test cluster takes to come up and to go, and the memory it takes."""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from lightkube.models.batch_v1 import JobSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import ServiceAccount

from tests.ports import free_port
from tests.toolchain import cluster, pods, tools
from tests.toolchain.control_plane import Api, ControlPlane

RUNS = 3


def main() -> None:
    """Print both levels' figures, each a median, and the control plane's beside the naive way to start it."""
    for level in ("controlplane", "node"):
        try:
            _report(level, [_measure(level) for _ in range(RUNS)])
        except tools.Missing as missing:
            print(f"{level}: not measured, {missing}")
            continue
        if level == "controlplane":
            naive = statistics.median(_naive() for _ in range(RUNS))
            print(f"  {'one after the other, defaults':<34}{naive:6.2f} s to API server ready")


def _measure(level: str) -> dict[str, float]:
    name = f"bench-{os.getpid()}-{level}"
    begun = time.monotonic()
    running = cluster.start(level, name, os.getpid())
    try:
        figures = dict(running.seconds)
        if level == "node":
            _run_job(running)
            figures["first Job with init container complete"] = time.monotonic() - begun
        for component, process in running.processes().items():
            figures[f"memory of {component} (MB)"] = psutil.Process(process).memory_info().rss / 2**20
    finally:
        ending = time.monotonic()
        cluster.stop(name)
    return figures | {"teardown": time.monotonic() - ending}


def _run_job(running: cluster.Cluster) -> None:
    client = running.client()
    while not list(client.list(ServiceAccount, fields={"metadata.name": "default"})):
        time.sleep(0.02)
    init = pods.container("init", "echo handed > over")
    template = pods.template(pods.container("main", "cat over"), initContainers=[init])
    client.create(Job(metadata=ObjectMeta(name="first"), spec=JobSpec(template=template)))
    client.wait(Job, "first", for_conditions=["Complete"], raise_for_conditions=["Failed"])


def _report(level: str, runs: list[dict[str, float]]) -> None:
    medians = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
    print(f"{level}, median of {len(runs)}:")
    for what, figure in medians.items():
        if "memory" not in what:
            print(f"  {what:<34}{figure:6.2f} s")
    memory = {what.split()[2]: figure for what, figure in medians.items() if "memory" in what}
    each = ", ".join(f"{component} {figure:.0f}" for component, figure in memory.items())
    print(f"  {'memory':<34}{sum(memory.values()):6.0f} MB ({each})")


def _naive() -> float:
    """The API server after etcd, with fsync and Go's own garbage collection."""
    programs = {name: tools.find(name).path for name in ("etcd", "kube-apiserver")}
    with tempfile.TemporaryDirectory() as place, (Path(place) / "log").open("w") as log:
        directory = Path(place)
        (directory / "pki").mkdir()
        plane = ControlPlane(directory, "127.0.0.1", free_port())
        plane.write_credentials()
        begun = time.monotonic()
        commands = [flag for flag in plane.etcd(programs["etcd"]) if flag != "--unsafe-no-fsync"]
        with subprocess.Popen(commands, cwd=place, stdout=log, stderr=log) as etcd:
            while not (directory / "etcd:0").exists():
                time.sleep(0.02)
            flags = [flag for flag in plane.api_server(programs["kube-apiserver"]) if "fairness" not in flag]
            with subprocess.Popen(flags, cwd=place, stdout=log, stderr=log) as server:
                while not Api(plane).ready():
                    time.sleep(0.02)
                took = time.monotonic() - begun
                server.kill()
            etcd.kill()
    return took
