"""Each fault of the control plane really happens, and really ends."""

import secrets
import signal

import httpx2
import lightkube
import psutil
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, ServiceAccount

from tests.toolchain import faults, waiting

pytestmark = pytest.mark.xdist_group("faults")


@pytest.fixture
def cluster(spare_control_plane):
    return spare_control_plane


@pytest.fixture
def client(cluster):
    return cluster.client()


@pytest.fixture
def impatient(cluster):
    """A client that waits half a second for an answer."""
    config = lightkube.KubeConfig.from_file(cluster.kubeconfig)
    return lightkube.Client(config=config, timeout=httpx2.Timeout(0.5), trust_env=False)


def new_config_map(client) -> str:
    name = f"mark-{secrets.token_hex(4)}"
    client.create(ConfigMap(metadata=ObjectMeta(name=name)))
    return name


def exists(client, kind, name, **where) -> bool:
    try:
        client.get(kind, name, **where)
    except ApiError as error:
        if error.status.code != 404:
            raise
        return False
    return True


def await_existence(client, kind, name, **where):
    waiting.until(f"{kind.__name__} {name} is there", lambda: exists(client, kind, name, **where))


def test_a_paused_api_server_is_silent_and_then_answers(cluster, impatient, client):
    with faults.paused(cluster, "kube-apiserver"), pytest.raises(httpx2.TimeoutException):
        impatient.get(Namespace, "default")
    assert exists(client, Namespace, "default")


def test_a_killed_api_server_refuses_and_comes_back_with_its_data(cluster, client):
    mark = new_config_map(client)
    before = cluster.processes()["kube-apiserver"]
    with faults.killed(cluster, "kube-apiserver"):
        assert not psutil.pid_exists(before)
        with pytest.raises(httpx2.ConnectError):
            client.get(Namespace, "default")
    assert cluster.processes()["kube-apiserver"] != before
    assert exists(client, ConfigMap, mark)


def test_what_died_of_a_fault_is_started_again_too(cluster):
    victim = cluster.processes()["kube-controller-manager"]
    with faults.killed(cluster, "kube-apiserver"):
        psutil.Process(victim).kill()
        waiting.until("it is gone", lambda: not psutil.pid_exists(victim))
    assert psutil.pid_exists(cluster.processes()["kube-controller-manager"])


def test_without_etcd_the_api_server_fails_and_nothing_is_lost(cluster, impatient, client):
    mark = new_config_map(client)
    with faults.killed(cluster, "etcd"), pytest.raises((httpx2.TimeoutException, ApiError)):
        new_config_map(impatient)
    assert exists(client, ConfigMap, mark)


def test_a_stopped_controller_manager_does_nothing_until_it_is_started_again(cluster, client):
    with faults.killed(cluster, "kube-controller-manager", how=signal.SIGTERM):
        name = new_namespace(client)
        assert not exists(client, ServiceAccount, "default", namespace=name)
    await_existence(client, ServiceAccount, "default", namespace=name)


def new_namespace(client) -> str:
    name = f"test-{secrets.token_hex(4)}"
    client.create(Namespace(metadata=ObjectMeta(name=name)))
    return name


def test_etcd_restored_forgets_what_came_later_and_the_cluster_goes_on(cluster, client):
    earlier = new_config_map(client)
    with faults.etcd_snapshot(cluster) as snapshot:
        later = new_config_map(client)
        snapshot.restore()
        assert exists(client, ConfigMap, earlier)
        assert not exists(client, ConfigMap, later)
        await_existence(client, ServiceAccount, "default", namespace=new_namespace(client))
    assert not list(cluster.directory.glob("etcd-snapshot-*"))


@pytest.mark.parametrize("fault", [faults.paused, faults.killed])
def test_a_fault_ends_even_when_the_test_inside_fails(cluster, client, fault):
    with pytest.raises(ZeroDivisionError), fault(cluster, "kube-apiserver"):
        raise ZeroDivisionError
    assert exists(client, Namespace, "default")
