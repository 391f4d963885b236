#!/bin/sh
# lightkube 1.0.1 (PyPI): an answer whose body is no Status object raises the HTTP library's HTTPStatusError, and not
# lightkube's ApiError, which is no base of it. A real API server answers so in plain text ("404 page not found") for the
# path of a custom resource in the moment between creating its definition and serving it.
# Expected: ApiError with status 404, as for an object that does not exist.
# What follows: whoever waits for a new kind to be served catches both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lightkube==1.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from lightkube import ApiError, Client, KubeConfig
from lightkube.config.models import Cluster, Context, User
from lightkube.generic_resource import create_namespaced_resource

STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "NotFound", "code": 404}


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path.endswith("/known")
        body = json.dumps(STATUS).encode() if known else b"404 page not found\n"
        self.send_response(404)
        self.send_header("Content-Type", "application/json" if known else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
cluster = Cluster(server=f"http://127.0.0.1:{server.server_port}")
config = KubeConfig(clusters={"c": cluster}, users={"u": User()}, contexts={"x": Context(cluster="c", user="u")}, current_context="x")
client = Client(config=config, namespace="default", trust_env=False)
kind = create_namespaced_resource("example.com", "v1", "Widget", "widgets")


def raised(name):
    try:
        client.get(kind, name)
    except Exception as error:
        return error


with_status, plain = raised("known"), raised("plain")
print(f"lightkube {version('lightkube')}")
print(f"  404 with a Status object -> {type(with_status).__module__}.{type(with_status).__name__}")
print(f"  404 in plain text        -> {type(plain).__module__}.{type(plain).__name__}")
assert isinstance(with_status, ApiError)
assert not isinstance(plain, ApiError), "it is an ApiError now"
PYTHON
