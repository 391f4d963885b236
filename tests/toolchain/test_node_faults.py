"""Faults that need a node: a pod that nobody can reach for a while, and a kubelet and a runtime that die."""

import http.server
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, ServiceAccount

from tests.toolchain import faults, pods, waiting

ASK_FOR_EVER = r"""
ask() {{ printf 'GET / HTTP/1.0\r\n\r\n' | busybox nc -w 1 {target} 2> /dev/null | busybox head -n 1; }}
while :; do answer=$(ask); echo "${{answer:-missed}}"; busybox sleep 0.1; done
"""
REACHED, MISSED = "HTTP/1.0 ", "missed"


@contextmanager
def server_on_the_machine(address):
    """Answers each request with an error: all that is asked is whether one comes through."""
    with http.server.HTTPServer((address, 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"{address} {server.server_port}"
        finally:
            server.shutdown()


def start(client, name, script) -> Pod:
    template = pods.template(pods.container("main", script))
    client.create(Pod(metadata=ObjectMeta(name=name), spec=template.spec))
    return client.wait(Pod, name, for_conditions=["Ready"])


def await_last_line(client, pod, text):
    """Wait until the last thing the pod said has that text."""

    def said() -> str:
        return "".join(client.log(pod, tail_lines=1))

    waiting.until(f"{pod} says {text!r}", lambda: text in said(), state=said)


@pytest.mark.parametrize("other", ["machine", "API server"])
def test_a_pod_is_cut_off_and_joined_again(own_node, namespace, other):
    with server_on_the_machine(own_node.host_address) as server:
        target = server if other == "machine" else "$KUBERNETES_SERVICE_HOST 443"
        address = own_node.host_address if other == "machine" else urlsplit(own_node.url).hostname
        pod = start(namespace.client, "asker", ASK_FOR_EVER.format(target=target))
        await_last_line(namespace.client, "asker", REACHED)
        with faults.cut(own_node, pod.status.podIP, address):
            await_last_line(namespace.client, "asker", MISSED)
        await_last_line(namespace.client, "asker", REACHED)
    assert "table inet cut-" not in own_node.run_inside(faults.nft(), "list", "tables")


@pytest.fixture
def client(spare_node):
    client = spare_node.client()
    waiting.until("there is a ServiceAccount", lambda: list(client.list(ServiceAccount)))
    return client


@pytest.mark.xdist_group("node-faults")
@pytest.mark.parametrize("component", ["kubelet", "containerd"])
def test_pods_outlive_the_death_of(spare_node, client, component):
    old, new = f"old-{component}", f"new-{component}"
    before = start(client, old, "busybox sleep 1000")
    with faults.killed(spare_node, component):
        template = pods.template(pods.container("main", "busybox sleep 1000"))
        client.create(Pod(metadata=ObjectMeta(name=new), spec=template.spec))
        client.wait(Pod, new, for_conditions=["PodScheduled"])
        assert not client.get(Pod, new).status.containerStatuses or component == "containerd"
    client.wait(Pod, new, for_conditions=["Ready"])
    after = client.get(Pod, old)
    assert after.status.containerStatuses[0].containerID == before.status.containerStatuses[0].containerID
    assert after.status.containerStatuses[0].restartCount == 0


@pytest.mark.xdist_group("node-faults")
def test_a_paused_kubelet_starts_nothing_until_it_goes_on(spare_node, client):
    with faults.paused(spare_node, "kubelet"):
        template = pods.template(pods.container("main", "busybox sleep 1000"))
        client.create(Pod(metadata=ObjectMeta(name="patient"), spec=template.spec))
        client.wait(Pod, "patient", for_conditions=["PodScheduled"])
        assert client.get(Pod, "patient").status.podIP is None
    client.wait(Pod, "patient", for_conditions=["Ready"])
