"""pytest fixtures for the real engines: `control_plane`, `node` and an isolated `namespace` in either.

A run has one cluster a level, shared by all xdist workers, brought up by the first test that needs it. What cannot be
had is skipped with the way to get it, and listed at the end of the run.
"""

import os
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightkube
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources import core_v1

from tests.toolchain import cache, cluster, images, tools
from tests.toolchain.cluster import Cluster
from tests.toolchain.judge import Judge

LEVELS = {
    "control_plane": "controlplane",
    "spare_control_plane": "controlplane",
    "node": "node",
    "spare_node": "node",
}
"""Fixture name to level, which is also the name of the marker."""

SERVICE_ACCOUNT_SECONDS = 30


@dataclass(frozen=True)
class Namespace:
    """A namespace of one test, in `cluster`; removed with all that is in it when the test ends."""

    name: str
    cluster: Cluster
    client: lightkube.Client
    """The administrator's client, with this namespace as its default."""

    def kubeconfig_for(self, service_account: str) -> Path:
        """A kubeconfig with the rights of a ServiceAccount of this namespace."""
        return self.cluster.kubeconfig_for(service_account, self.name)


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest) -> Cluster:
    """A real API server, etcd and controller-manager; no nodes."""
    return _cluster(request.config, "controlplane")


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A real cluster with real pods: ours, or the one that E2E_KUBECONFIG names."""
    if theirs := os.environ.get("E2E_KUBECONFIG"):
        written = tmp_path_factory.mktemp("external-cluster")
        return cluster.external(Path(theirs).absolute(), os.environ.get("E2E_HOST_ADDRESS", ""), written)
    return _cluster(request.config, "node")


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    """What Kubernetes' and Pulumi's own libraries make of a value."""
    with Judge(require("rules", "rules")) as started:
        yield started


@pytest.fixture(scope="module")
def spare_control_plane(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A control plane that the tests of one module may break (`faults.py`)."""
    yield from _spare_cluster(request, "controlplane")


@pytest.fixture(scope="module")
def spare_node(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A node that the tests of one module may break (`faults.py`); never somebody else's."""
    yield from _spare_cluster(request, "node")


@pytest.fixture(scope="session")
def runtime_image() -> images.Image:
    """The project's own image, built from this checkout."""
    try:
        return images.runtime_image()
    except tools.Missing as missing:
        pytest.skip(f"[image] {missing}")


@pytest.fixture(scope="session")
def node_image(request: pytest.FixtureRequest, node: Cluster) -> str:
    """The reference by which the node knows the project's own image."""
    if node.inside:
        image: images.Image = request.getfixturevalue("runtime_image")
        images.bring(node, image)
        return image.reference
    if theirs := os.environ.get("E2E_RUNTIME_IMAGE"):
        return theirs
    pytest.skip("[node] your cluster lacks the project's image; `make image`, push it and set E2E_RUNTIME_IMAGE to it")


@pytest.fixture
def host_address(node: Cluster) -> str:
    """Where pods reach a server that this machine runs: bind it there. `node.host_name` is its name in the cluster."""
    if not node.host_address:
        pytest.skip("[node] pods may not reach this machine; set E2E_HOST_ADDRESS to its address as they see it")
    return node.host_address


@pytest.fixture
def own_node(node: Cluster) -> Cluster:
    """The node, where it is ours: a test may look inside it or break it."""
    if not node.inside:
        pytest.skip("[node] only for a cluster of our own; unset E2E_KUBECONFIG")
    return node


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A new namespace: in the node's cluster when the test asks for `node` too, else in the control plane."""
    where = "node" if "node" in request.fixturenames else "control_plane"
    its_cluster: Cluster = request.getfixturevalue(where)
    name = f"test-{secrets.token_hex(4)}"
    client = its_cluster.client(name)
    client.create(core_v1.Namespace(metadata=ObjectMeta(name=name)))
    try:
        _await_service_account(client)
        yield Namespace(name, its_cluster, client)
    finally:
        try:
            client.delete(core_v1.Namespace, name)
        except ApiError as error:
            if error.status.code != 404:  # a test may have deleted it itself
                raise


def require(level: str, name: str) -> Path:
    """The program of that name, built when it must be; skips the test when it cannot be had."""
    try:
        return tools.find(name).path
    except tools.Missing as missing:
        pytest.skip(f"[{level}] {missing}")


def _cluster(config: pytest.Config, level: str) -> Cluster:
    owner = _owner(config)
    try:
        return cluster.start(level, f"run-{owner}-{level}", owner)
    except tools.Missing as missing:
        pytest.skip(f"[{level}] {missing}")


def _spare_cluster(request: pytest.FixtureRequest, level: str) -> Iterator[Cluster]:
    owner = _owner(request.config)
    try:
        spare = cluster.start(level, f"run-{owner}-{level}-{secrets.token_hex(4)}", owner)
    except tools.Missing as missing:
        pytest.skip(f"[{level}] {missing}")
    try:
        yield spare
    finally:
        cluster.stop(spare.name)


def _owner(config: pytest.Config) -> int:
    """The process whose life is the run's: the xdist controller, or this one without xdist."""
    worker_input: dict[str, int] = getattr(config, "workerinput", {})
    return worker_input.get("toolchain_owner", os.getpid())


def _await_service_account(client: lightkube.Client) -> None:
    deadline = time.monotonic() + SERVICE_ACCOUNT_SECONDS
    while True:
        try:
            client.get(core_v1.ServiceAccount, "default")
            return
        except ApiError as error:
            if error.status.code != 404 or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real standard error: a build of minutes tells its progress there, past pytest's capture."""
    cache.progress = os.fdopen(os.dup(2), "w")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell each xdist worker whose run it is (`node` is xdist's word for a worker)."""
    node.workerinput["toolchain_owner"] = os.getpid()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses a level carries its marker, so `-m "not node"` leaves those out."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        if "namespace" in used and "node" not in used:
            used.add("control_plane")
        for fixture in LEVELS.keys() & used:
            item.add_marker(LEVELS[fixture])


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run is over, by whatever way: so are its clusters."""
    if not hasattr(config, "workerinput"):
        for level in set(LEVELS.values()):
            cluster.stop(f"run-{os.getpid()}-{level}")


def pytest_terminal_summary(terminalreporter) -> None:
    """What this machine lacks, level by level, and which tests were skipped for it."""
    lacking: dict[str, list[str]] = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        if re.match(r"Skipped: \[\w+\] ", reason):
            lacking[reason.removeprefix("Skipped: ")].append(report.nodeid)
    if not lacking:
        return
    terminalreporter.section("not tested here")
    for reason, tests in sorted(lacking.items()):
        terminalreporter.line(f"{reason}\n  skips {len(tests)}: {', '.join(sorted(tests))}")
