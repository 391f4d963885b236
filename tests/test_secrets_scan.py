"""No secret in what we keep, render, ship, log or say in a process list: one scan over all of it."""

import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.helm.chart import chart
from components.synth.rendering import render
from tests.components.variants import VARIANTS

ROOT = Path(__file__).parent.parent
KEY = "pf_live_0123456789planted"
SHAPES = {
    rb"PRIVATE KEY-----": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}",
    rb"_live_": rb"\b[a-z]{2}_live_[A-Za-z0-9]{10}",
    rb"sk-": rb"\bsk-[a-z]{2,5}-[A-Za-z0-9]{10}",
    rb"gh": rb"\bgh[pousr]_[A-Za-z0-9]{36}",
    rb"github_pat_": rb"\bgithub_pat_\w{22}",
    rb"glpat-": rb"\bglpat-[\w-]{20}",
    rb"xox": rb"\bxox[abprs]-[A-Za-z0-9-]{10}",
    rb"AKIA": rb"\bAKIA[A-Z0-9]{16}\b",
    rb"AIza": rb"\bAIza[\w-]{35}",
    rb"pul-": rb"\bpul-[a-f0-9]{40}",
    rb".eyJ": rb"\beyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20}",
}
"""A part that each has, which is quickly looked for, and what it is a part of."""


def found(texts):
    """Where something has the shape of a key, and how it begins."""
    return {
        where: match[0][:16]
        for where, text in texts.items()
        for part, shape in SHAPES.items()
        if part in text and (match := re.search(shape, text))
    }


@pytest.mark.parametrize(
    "text",
    [KEY, "-----BEGIN EC PRIVATE KEY-----\n" + "A" * 64, "ghp_" + "a1" * 18, "AKIA" + "A1" * 8, "pul-" + "0a" * 20],
)
def test_it_would_be_found(text):
    assert found({"here": b"x: '" + text.encode() + b"'"})


def test_nothing_that_is_committed_but_the_tests_own_keys():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    if not names:
        pytest.skip("no git repository here, so nobody says what is committed; run it in a clone")
    files = [ROOT / name for name in names.split("\0") if name and not name.startswith("tests/")]
    assert found({str(path): path.read_bytes() for path in files if path.is_file()}) == {}


def test_nothing_that_is_rendered():
    texts = {}
    for name, values in VARIANTS.items():
        texts |= {f"{name}: {path}": text.encode() for path, text in render(values).items()}
    texts |= {f"chart: {path}": text.encode() for path, text in chart(VARIANTS["dev"].settings(), ROOT).items()}
    assert len(texts) > 1000
    assert found(texts) == {}


@pytest.mark.xdist_group("image")
def test_nothing_in_the_image(runtime_image):
    texts = {}
    with tarfile.open(runtime_image.archive) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        texts["config"] = archive.extractfile(manifest["Config"]).read()
        for layer in manifest["Layers"][1:]:  # above the base
            with tarfile.open(fileobj=archive.extractfile(layer)) as content:
                texts |= {one.name: content.extractfile(one).read() for one in content if one.isfile()}
    assert len(texts) > 1000
    assert found(texts) == {}


class Echo(BaseHTTPRequestHandler):
    """Refuses, and says everything that it was told; what the process list says meanwhile is kept."""

    process_lists: list[bytes] = []  # noqa: RUF012 - one a test run

    def do_POST(self):
        self.process_lists += [path.read_bytes() for path in readable(Path("/proc").glob("[0-9]*/cmdline"))]
        told = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        body = json.dumps({"error": f"bad key {KEY}: {dict(self.headers)} {told}"}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


def readable(paths):
    """Processes end while they are listed."""
    for path in paths:
        try:
            path.read_bytes()
        except OSError:
            continue
        yield path


def test_nothing_in_logs_artifacts_or_the_process_list_of_a_program_whose_key_is_echoed(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PF_API_KEY": KEY,
        "AGENT_ID": "agent-1",
        "PF_FAUCET_URL": f"http://127.0.0.1:{server.server_port}",
        "PF_ALLOW_HTTP": "true",
        "PF_FAUCET_DEADLINE_SECONDS": "1",
        "WORKSPACE": str(tmp_path),
        "PF_LOG_LEVEL": "DEBUG",
    }
    command = [sys.executable, "-m", "runtime.faucet_claim"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    finally:
        server.shutdown()
        server.server_close()
    assert any(b"runtime.faucet_claim" in line for line in Echo.process_lists), "it was never asked while it ran"
    texts = {"stdout": done.stdout, "stderr": done.stderr, "process list": b"\n".join(Echo.process_lists)}
    texts |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert [where for where, text in texts.items() if KEY.encode() in text] == []
    assert b'"agent": "agent-1"' in done.stdout, "it logged nothing that could be looked at"
