"""The sidecar as a process of its own, and an agent that says exactly what a test tells it to."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.ports import free_port

ROOT = Path(__file__).parents[3]
KEY = "sk_never-show-this-key"
BOTH = "application/json, text/event-stream"
MODERN = "2026-07-28"


class Sidecar:
    """`python -m runtime.mcp_proxy` with these upstreams; its log lines are read as they come."""

    def __init__(self, urls: dict[str, str], **environment: str) -> None:
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PF_API_KEY": KEY,
            "PF_ALLOW_HTTP": "true",
            **{f"MCP_{name.upper()}_URL": url for name, url in urls.items()},
            **environment,
        }
        self.lines: list[dict[str, Any]] = []
        for _ in range(3):  # a port that was free may be somebody else's by now
            self.port, self.health_port = free_port(), free_port()
            if self.start():
                return
        raise AssertionError(self.lines)

    def start(self) -> bool:
        """Start it, on the same ports again, and wait until it is ready; False where a port is taken."""
        self.environment |= {"MCP_PORT": str(self.port), "PF_HEALTH_PORT": str(self.health_port)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.mcp_proxy"], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        self._entries: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        while "ready" not in (said := self._next()["message"]):
            if "cannot listen" in said:
                return False
        return True

    def _read(self) -> None:
        for line in self.process.stdout:
            self._entries.put(json.loads(line))
        self._entries.put(None)

    def _next(self) -> dict[str, Any]:
        entry = self._entries.get(timeout=30)
        assert entry is not None, f"the sidecar ended with {self.process.wait()}"
        self.lines.append(entry)
        return entry

    def exchange(self, **said: Any) -> dict[str, Any]:
        """The next line about an exchange of which all this is true."""
        while True:
            entry = self._next()
            if entry["message"] == "exchange" and all(entry.get(name) == value for name, value in said.items()):
                return entry

    def says(self, text: str) -> dict[str, Any]:
        """The next line whose message has this text in it."""
        while text not in (entry := self._next())["message"]:
            pass
        return entry

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.health_port}{path}", trust_env=False, verify=False)

    def metric(self, sample: str) -> float:
        """One sample, by its name and labels as they are written."""
        found = [line for line in self.page("/metrics").text.splitlines() if line.startswith(f"{sample} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def stop(self) -> int:
        """SIGTERM, and wait; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(timeout=60)
        self._reader.join()
        while (entry := self._entries.get()) is not None:
            self.lines.append(entry)
        return code


@contextmanager
def running_sidecar(urls: dict[str, str], **environment: str) -> Iterator[Sidecar]:
    sidecar = Sidecar(urls, **environment)
    try:
        yield sidecar
    finally:
        if sidecar.process.poll() is None:
            sidecar.kill()
        sidecar.process.stdout.close()


class Agent:
    """Speaks to one server of a sidecar."""

    def __init__(self, url: str, http: httpx.Client, **headers: str) -> None:
        self.url = url
        self.http = http
        self.headers = {"accept": BOTH} | headers
        self.id = 0

    def post(self, document: Any, **headers: str) -> httpx.Response:
        return self.http.post(self.url, json=document, headers=self.headers | headers)

    def ask(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
        """The JSON-RPC answer."""
        self.id += 1
        message = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": params or {}}
        answered = said(self.post(message, **headers))
        assert answered["id"] == self.id
        return answered

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def tools(self) -> list[str]:
        return [tool["name"] for tool in self.ask("tools/list")["result"]["tools"]]


def said(answer: httpx.Response) -> dict[str, Any]:
    """The last JSON-RPC message of an answer, whichever of both media types it came as."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        return [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")][-1]
    return answer.json()


def raw(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """Everything that the sidecar answers to these bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(data)
        if half_close:
            peer.shutdown(socket.SHUT_WR)
        answered = b""
        while piece := peer.recv(65536):
            answered += piece
        return answered


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something in another process that no event tells of."""
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.02)
