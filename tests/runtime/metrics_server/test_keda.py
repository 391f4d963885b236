"""KEDA's own scaler and fallback (Go module, 2.21) read the server as the rendered ScaledObject has them do.

Building them takes ten minutes: `python -m tests.toolchain build keda-scaler` does it once, and these tests run.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from components.manifests import autoscaling, naming
from components.settings import Settings
from runtime.contract import QUEUE_AUDIENCE, Env
from tests.ports import free_port
from tests.runtime.metrics_server.test_real_controller import workload
from tests.runtime.metrics_server.world import DEPTH
from tests.toolchain.fixtures import require

REPLICAS = 7
TARGET = 10


@contextmanager
def keda(world, url: str, token: str) -> Iterator:
    """Asks once: what the scaler made of the answer, and what the HPA is told."""
    given = {"namespace": world.namespace, "hpa": {"engine": "keda", "escrowQueueThreshold": TARGET}}
    scaled = autoscaling.scaled_object(
        Settings.parse({**given, "createNamespace": False, "sandbox": {"enabled": True}})
    )
    scaled["spec"]["triggers"][0]["metadata"]["url"] = url
    command = [require("control_plane", "keda-scaler"), world.cluster.kubeconfig]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:

        def ask(line: str = "ask"):
            print(line, file=process.stdin, flush=True)
            answer = process.stdout.readline()
            assert answer, process.stderr.read()
            return json.loads(answer)

        print(json.dumps({"scaledObject": scaled, "token": token}), file=process.stdin, flush=True)
        yield ask
        process.stdin.close()


@pytest.fixture
def token(served) -> str:
    """What the rendered TriggerAuthentication has KEDA show."""
    return served[0].token_of(naming.QUEUE_READER, QUEUE_AUDIENCE)


def test_it_reads_the_depth_and_nobody_elses_token_opens_it(served, token):
    world, server = served
    url = f"http://127.0.0.1:{server.port}/queue-depth"
    with keda(world, url, token) as ask:
        assert ask() == {"value": "1", "active": True, "error": "", "told": "1", "fallback": False, "frozen": ""}
    with keda(world, url, world.token_of(naming.QUEUE_READER)) as ask:
        assert "api returned 401" in ask()["error"]


def test_an_unknown_depth_keeps_the_workers_that_are_there(served, token):
    """The fallback tells the HPA a depth that asks for just those, at the fourth failure; until then it is an error."""
    world, _ = served
    world.client.create(workload(naming.WORKERS, REPLICAS))
    blind = world.metrics_server(**{Env.ESCROW_URL: f"http://127.0.0.1:{free_port()}"})
    with keda(world, f"http://127.0.0.1:{blind.port}/queue-depth", token) as ask:
        seen = [ask() for _ in range(4)]
    assert all("api returned 503" in one["error"] for one in seen)
    assert [one["fallback"] for one in seen] == [False, False, False, True]
    assert all(one["frozen"] for one in seen[:3])
    assert seen[3]["told"] == f"{REPLICAS * TARGET}"


@pytest.mark.parametrize("number", ["NaN", "-7", "null", "true", "7"])
def test_why_the_server_never_says_a_broken_number(served, number):
    """Two of them are an empty queue to KEDA, without an error: its fallback would not act."""
    body = f'{{"{DEPTH}": {number}}}'.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", f"{len(body)}")
            self.end_headers()
            self.wfile.write(body)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with keda(served[0], f"http://127.0.0.1:{server.server_port}", "any") as ask:
            seen = ask()
    finally:
        server.shutdown()
        server.server_close()
    assert bool(seen["error"]) is (number in ("null", "true")), seen
    assert seen["active"] is (number == "7"), seen
