"""The metrics server with 100,000 escrows waiting, beside the test adapter of Kubernetes' own library for such servers.

One control plane, one client for both: connections with the front proxy's certificate that ask for one metric, as fast
as they are answered, and then 10,000 times a second. Beside it, by the simulator: a jump of the queue from 10 to 80, at
Kubernetes' default pace and at ours.
"""

import itertools
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace

from components.autoscaling_sim.trace import Trace, replay
from components.manifests import autoscaling
from components.settings import Settings
from runtime.contract import Env
from runtime.sandbox.testing import running_sandbox
from tests.ports import free_port
from tests.runtime.metrics_server.adapter import Adapter
from tests.runtime.metrics_server.world import DEPTH, MetricsServer, MetricsWorld
from tests.runtime.operator.world import install_definition
from tests.toolchain import cluster, tools, waiting
from tests.toolchain.certificates import Certificate

ESCROWS = 100_000
SECONDS = 6.0
CLIENTS = 2
"""Processes; each has half of the connections."""
CONNECTIONS = 16
OFFERED_PER_SECOND = 10_000
STARTS = 5
LIST = """
import http.server, json, sys
escrow = {"status": "pending", "amount": 0.5, "payee_id": sys.argv[3]}
escrow["created_at"] = "2026-11-01T00:00:00Z"
body = json.dumps({"escrows": [{"escrow_id": f"esc_{n}", **escrow} for n in range(int(sys.argv[2]))]}).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""A payment service that has nothing but a list: port, number of escrows, payee."""


@dataclass(frozen=True)
class Load:
    """What a client saw: seconds of each answer, and requests that got none or another than 200."""

    answers: list[float]
    failed: int

    def line(self, seconds: float) -> str:
        ordered = sorted(self.answers)
        p50, p99 = (1000 * ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
        return f"{len(ordered) / seconds:7.0f}/s  p50 {p50:7.1f} ms  p99 {p99:7.1f} ms  failed {self.failed}"


def main() -> None:
    """Print all of it."""
    _jump()
    try:
        adapter = tools.find("metrics-adapter").path
        running = cluster.start("controlplane", f"bench-{os.getpid()}-metrics", os.getpid())
    except tools.Missing as missing:
        print(f"not measured, {missing}")
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            _beside(running, adapter, Path(folder))
    finally:
        cluster.stop(running.name)


def _jump() -> None:
    spec = autoscaling.horizontal_pod_autoscaler(Settings())["spec"]
    plain = {key: value for key, value in spec.items() if key != "behavior"}
    at_once = Settings.parse({"hpa": {"scaleUp": {"stabilizationSeconds": 0, "pods": 20, "periodSeconds": 15}}})
    print("2 workers, the queue jumps from 10 to 80; seconds from the first sync that sees it:")
    for name, each in {
        "Kubernetes' default": plain,
        "the guide's, ours by default": spec,
        "scaleUp at once": autoscaling.horizontal_pod_autoscaler(at_once)["spec"],
    }.items():
        syncs = replay(each, Trace([0, 15], [10, 80]), 2, 600)
        steps = [(s.second - 15, s.replicas) for b, s in itertools.pairwise(syncs) if s.replicas != b.replicas]
        print(f"  {name:<30}" + ", ".join(f"{replicas} after {second:.0f} s" for second, replicas in steps))


def _beside(running: cluster.Cluster, adapter: Path, folder: Path) -> None:
    with _world(running, folder) as (world, service):
        starts = [_start(world, service) for _ in range(STARTS)]
        print(f"start to the first answer: {statistics.median(starts):.2f} s of CPU, median of {STARTS}")
        library = Adapter(adapter, running, folder)
        try:
            library.write(world.namespace, "pf-metrics-server", DEPTH, f"{ESCROWS}")
            ours = _started(world, service, ESCROWS)
            port = {"ours": ours.api_port, "the library's": library.port}
            memory = {"ours": ours.process.pid, "the library's": library.process.pid}
            certificate, path = world.front_proxy(), world.metric_path()
            for title, per_second in (("as fast as they are answered", 0), ("10,000 a second", OFFERED_PER_SECOND)):
                print(f"{CONNECTIONS} connections, {title}:")
                rates = {}
                for name in port:
                    load = _load(port[name], path, certificate, per_second)
                    rates[name] = len(load.answers)
                    print(f"  {name:<14}{load.line(SECONDS)}")
                print("  ours in the library's: {:.2f}".format(*(rates[a] / rates[b] for a, b in [[*port]])))
            for name, process in memory.items():
                print(f"memory of {name:<14}{_peak(process):6.0f} MiB at most, with {ESCROWS} escrows waiting")
            print(f"readings meanwhile: {ours.metric('escrow_queue_reads_total'):.0f}")
        finally:
            library.stop()


def _start(world: MetricsWorld, service: str) -> float:
    """CPU until the first metric is answered, of an empty queue's server; the list is not what is measured."""
    server = _started(world, f"{service}", 1)
    times = psutil.Process(server.process.pid).cpu_times()
    server.kill()
    return times.user + times.system


def _started(world: MetricsWorld, service: str, depth: int) -> MetricsServer:
    url = world.sandbox.url if depth == 1 else service
    server = world.metrics_server(**{Env.ESCROW_URL: url, Env.POLL_SECONDS: "15"})
    with server.client(world.front_proxy()) as client:

        def answered() -> bool:
            answer = client.get(world.metric_path(), headers={"X-Remote-User": "reader"})
            return answer.status_code == 200 and answer.json()["items"][0]["value"] == f"{depth}"

        waiting.until("the metric is answered", answered, state=server.log)
    return server


@contextmanager
def _world(running: cluster.Cluster, folder: Path) -> Iterator[tuple[MetricsWorld, str]]:
    install_definition(running)
    client, name, port = running.client("bench"), "bench", free_port()
    client.create(Namespace(metadata=ObjectMeta(name=name)))
    with running_sandbox() as sandbox:
        world = MetricsWorld(running, name, client, sandbox, "kubernetes", folder=folder)
        world.task(1)
        command = [sys.executable, "-c", LIST, f"{port}", f"{ESCROWS}", "worker-wallet-001"]
        service = subprocess.Popen(command)
        try:
            yield world, f"http://127.0.0.1:{port}"
        finally:
            service.kill()
            world.close()


def _load(port: int, path: str, certificate: Certificate, per_second: int) -> Load:
    context = get_context("spawn")
    files = f"{certificate.file}", f"{certificate.key_file}"
    each = CONNECTIONS // CLIENTS
    with context.Pool(CLIENTS) as pool:
        found = pool.starmap(_client, [(port, path, files, each, per_second / CLIENTS)] * CLIENTS)
    return Load([one for load in found for one in load.answers], sum(load.failed for load in found))


def _client(port: int, path: str, files: tuple[str, str], connections: int, per_second: float) -> Load:
    """Connections in a row, each with one request under way; with a rate, an answer's time counts from its due time."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.load_cert_chain(*files)
    opened = [tls.wrap_socket(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(connections)]
    request = f"GET {path} HTTP/1.1\r\nHost: metrics\r\nX-Remote-User: reader\r\n\r\n".encode()
    answers: list[float] = []
    failed = asked = 0
    begun = time.monotonic()
    while (now := time.monotonic()) < begun + SECONDS:
        due: list[float] = []
        for each in opened:
            moment = begun + asked / per_second if per_second else now
            if moment > now:
                break
            each.sendall(request)
            due.append(moment)
            asked += 1
        for each, moment in zip(opened, due, strict=False):
            failed += not _answered(each)
            answers.append(time.monotonic() - moment)
        if not due:
            time.sleep(0.0005)
    return Load(answers, failed)


def _answered(connection: ssl.SSLSocket) -> bool:
    """Read one answer; whether it is a 200 with a list."""
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65536)
    return head.startswith(b"HTTP/1.1 200") and json.loads(body)["kind"] == "MetricValueList"


def _peak(process: int) -> float:
    """The most memory that a process had, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
