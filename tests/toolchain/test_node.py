"""The node level: real pods, Services, names and the way between the machine and the cluster."""

import http.server
import threading
import urllib.request
from contextlib import contextmanager

import pytest
from lightkube.models.batch_v1 import JobSpec
from lightkube.models.core_v1 import ContainerPort, ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod, Service

from tests.toolchain import pods


@contextmanager
def http_server(address):
    """A server on the machine that answers with its caller's address."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.client_address[0].encode())

        def log_message(self, *_):
            pass

    with http.server.HTTPServer((address, 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def run_job(namespace, template):
    """Run a Job to its end and return its only pod's log."""
    job = Job(metadata=ObjectMeta(name="job"), spec=JobSpec(template=template, backoffLimit=0))
    namespace.client.create(job)
    done = namespace.client.wait(Job, "job", for_conditions=["Complete"], raise_for_conditions=["Failed"])
    assert done.status.succeeded == 1
    (pod,) = namespace.client.list(Pod, labels={"job-name": "job"})
    return "".join(namespace.client.log(pod.metadata.name, container="main"))


def test_job_with_an_init_container_hands_over_a_volume(node, namespace):
    init = pods.container("init", "id -u > handed-over")
    main = pods.container("main", "cat handed-over")
    assert run_job(namespace, pods.template(main, initContainers=[init])) == f"{pods.USER}\n"


@pytest.mark.parametrize("by", ["host_name", "host_address"])
def test_pod_reaches_a_server_on_the_machine(node, namespace, host_address, by):
    with http_server(host_address) as port:
        main = pods.container("main", f"busybox wget -qO- http://{getattr(node, by)}:{port}/")
        assert run_job(namespace, pods.template(main)).count(".") == 3, "it answers with the pod's address"


def test_machine_and_pods_reach_a_service(own_node, namespace):
    serve = pods.container(
        "main",
        "echo served > index.html; busybox httpd -f -p 8080",
        ports=[ContainerPort(containerPort=8080, name="http")],
    )
    template = pods.template(serve, labels={"app": "web"})
    template.metadata.name = "web"
    namespace.client.create(Pod(metadata=template.metadata, spec=template.spec))
    port = ServicePort(port=80, targetPort="http")
    service = namespace.client.create(
        Service(metadata=ObjectMeta(name="web"), spec=ServiceSpec(selector={"app": "web"}, ports=[port]))
    )
    namespace.client.wait(Pod, "web", for_conditions=["Ready"])
    try_again = "until busybox wget -qO- http://web/; do busybox sleep 0.1; done"
    assert run_job(namespace, pods.template(pods.container("main", try_again))) == "served\n"
    with urllib.request.urlopen(f"http://{service.spec.clusterIP}/", timeout=10) as answer:
        assert answer.read() == b"served\n"


def test_kubelet_leaves_the_machines_settings_alone(own_node):
    assert own_node.run_inside("cat", "/proc/sys/kernel/panic") == "10\n"
    mount = own_node.run_inside("grep", " /proc/sys/kernel/panic ", "/proc/mounts")
    assert mount.startswith("tmpfs "), "the node sees a private copy of the machine's setting"
