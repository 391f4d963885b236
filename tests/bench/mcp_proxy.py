"""The MCP sidecar beside a bare relay of bytes (the floor), no proxy, and two from PyPI: mcp-proxy and FastMCP's.

One upstream that does nothing, one agent that asks over one connection. The peers get an environment of their own, made
once. Others are built by hand and named: `--peer 'NAME=/path COMMAND'`, with `{upstream}` and `{port}` in the command.
`100m` is a cgroup's quota, where this machine lets us set one (version 1, root).
"""

import http.client
import json
import os
import shlex
import socket
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CALLS = 200
PEERS = {"mcp-proxy": ("mcp-proxy==0.12.0", "mcp<2"), "fastmcp": ("fastmcp==4.2.3",)}
"""Each in an environment of its own: the first cannot use the SDK that the second needs."""
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
FASTMCP = "import sys; from fastmcp.server import create_proxy; create_proxy(sys.argv[1]).run(transport='http', port=int(sys.argv[2]), show_banner=False)"  # noqa: E501 - one program
RELAY = """
import asyncio, sys
async def pipe(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data); await writer.drain()
    finally:
        writer.close()
async def serve(reader, writer):
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer), return_exceptions=True)
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2]))).serve_forever()
asyncio.run(main())
"""
Command = Callable[[int, int], tuple[list[str], dict[str, str], str]]
"""Upstream's port and its own → command, environment, path."""


def ours(upstream: int, port: int) -> tuple[list[str], dict[str, str], str]:
    environment = {
        "PF_API_KEY": "sk_bench", "PF_ALLOW_HTTP": "true", "MCP_ESCROW_URL": f"http://127.0.0.1:{upstream}/mcp",
        "MCP_PORT": str(port), "PF_HEALTH_PORT": str(free_port()), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return [sys.executable, "-m", "runtime.mcp_proxy"], environment, "/escrow"


def relay(upstream: int, port: int) -> tuple[list[str], dict[str, str], str]:
    return [sys.executable, "-c", RELAY, str(upstream), str(port)], {}, "/mcp"


def installed(name: str) -> Path:
    """The folder of the programs of a peer's environment, which is made where there is none."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "purpleflea" / f"bench-{name}"
    if not (home / "complete").exists():
        print(f"installing {name} into {home}", flush=True)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", "-q", *PEERS[name]], check=True)
        (home / "complete").touch()
    return home / "bin"


def peers() -> dict[str, Command]:
    """The programs of others."""
    proxy, python = str(installed("mcp-proxy") / "mcp-proxy"), str(installed("fastmcp") / "python")

    def mcp_proxy(upstream: int, port: int) -> tuple[list[str], dict[str, str], str]:
        inner = [proxy, "--transport", "streamablehttp", f"http://127.0.0.1:{upstream}/mcp"]
        return [proxy, "--port", str(port), "--stateless", "--", *inner], {}, "/mcp/"

    def fastmcp(upstream: int, port: int) -> tuple[list[str], dict[str, str], str]:
        url = f"http://127.0.0.1:{upstream}/mcp"
        return [python, "-c", FASTMCP, url, str(port)], {}, "/mcp"

    return {"mcp-proxy": mcp_proxy, "FastMCP proxy": fastmcp}


def given(argument: str) -> tuple[str, Command]:
    """A peer of the command line."""
    name, _, rest = argument.partition("=")
    path, _, text = rest.partition(" ")

    def command(upstream: int, port: int) -> tuple[list[str], dict[str, str], str]:
        return shlex.split(text.format(upstream=upstream, port=port)), {}, path

    return name, command


class Agent:
    """One connection to a proxy."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self._headers = dict(HEADERS)
        self._id = 0
        self._open()

    def _open(self) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, params: dict | None = None) -> dict:
        self._id += 1
        message = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params or {}}
        self._http.request("POST", self._path, json.dumps(message), self._headers)
        answer = self._http.getresponse()
        text = answer.read().decode()
        if session := answer.getheader("mcp-session-id"):
            self._headers["Mcp-Session-Id"] = session
        found = [line[5:] for line in text.splitlines() if line.startswith("data:")] or [text]
        said = json.loads(found[-1])
        if "result" not in said:
            raise ValueError(text)
        return said

    def begin(self) -> None:
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        self.ask("initialize", client)
        self._headers["MCP-Protocol-Version"] = "2025-11-25"
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        self._http.request("POST", self._path, json.dumps(note), self._headers)
        self._http.getresponse().read()

    def call(self) -> None:
        self.ask("tools/call", {"name": "get_escrow", "arguments": {"escrow_id": "esc_1"}})


@contextmanager
def running(
    command: Command, upstream: int, group: Path | None = None
) -> Iterator[tuple[psutil.Popen, int, str, float]]:
    """A proxy, once it answers: the process, its port and path, and how long that took, in seconds."""
    port = free_port()
    arguments, environment, path = command(upstream, port)
    join = (lambda: _join(group)) if group else None
    began = time.perf_counter()
    process = psutil.Popen(
        arguments, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=join
    )
    try:
        while True:
            with suppress(OSError, ValueError, http.client.HTTPException):
                Agent(port, path).begin()
                break
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise RuntimeError(f"{arguments[0]} does not answer")
            time.sleep(0.005)
        yield process, port, path, time.perf_counter() - began
    finally:
        with suppress(psutil.NoSuchProcess):
            for each in [*process.children(recursive=True), process]:
                each.kill()
        process.wait()


def _join(group: Path) -> None:
    for kind in ("cpu", "memory"):
        (Path("/sys/fs/cgroup") / kind / group / "cgroup.procs").write_text(str(os.getpid()))


def megabytes(process: psutil.Popen) -> float:
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 1e6


def seconds(process: psutil.Popen) -> float:
    """Of processor time, which a busy machine blurs less than the clock."""
    times = [each.cpu_times() for each in [process, *process.children(recursive=True)]]
    return sum(each.user + each.system for each in times)


def milliseconds(act: Callable[[], object], times: int) -> tuple[float, float]:
    """p50 and p99."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), sorted(taken)[int(times * 0.99)]


@contextmanager
def small_group() -> Iterator[Path | None]:
    """A cgroup with the sidecar's limits, 100m and 64Mi; None where there can be none."""
    name = Path(f"pf-bench-{os.getpid()}")
    limits = {"cpu/{}/cpu.cfs_quota_us": "10000", "memory/{}/memory.limit_in_bytes": str(64 * 1024 * 1024)}
    try:
        for file, value in limits.items():
            path = Path("/sys/fs/cgroup") / file.format(name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(value)
    except OSError as error:
        print(f"no cgroup for 100m and 64Mi: {error.strerror}")
        yield None
        return
    try:
        yield name
    finally:
        for kind in ("cpu", "memory"):
            with suppress(OSError):
                (Path("/sys/fs/cgroup") / kind / name).rmdir()


def at_100m(command: Command, upstream: int, group: Path) -> str:
    try:
        with running(command, upstream, group) as (_, port, path, cold):
            agent = Agent(port, path)
            agent.begin()
            began, calls = time.perf_counter(), 0
            while (passed := time.perf_counter() - began) < 5:
                agent.call()
                calls += 1
            return f"{calls / passed:5.0f} calls/s, {cold:4.1f} s to the first answer"
    except (RuntimeError, OSError, ValueError, http.client.HTTPException) as error:
        return f"fails: {type(error).__name__}"


def main(arguments: Sequence[str] = ()) -> None:
    """Print one line a stack."""
    more = dict(given(each) for each in arguments if each != "--peer")
    with ExitStack() as stack:
        program = ROOT / "tests" / "runtime" / "mcp_proxy" / "stub_server.py"
        stub = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
        stack.callback(stub.wait)
        stack.callback(stub.kill)
        assert stub.stdout is not None
        upstream = int(stub.stdout.readline())
        group = stack.enter_context(small_group())
        direct, last = milliseconds(_begun(upstream, "/mcp").call, CALLS)
        print(f"{'direct':<16} p50 {direct:6.2f} ms   p99 {last:6.2f} ms")
        for name, command in {"relay of bytes": relay, "this sidecar": ours, **peers(), **more}.items():
            with running(command, upstream) as (process, port, path, cold):
                idle, agent = megabytes(process), _begun(port, path)
                spent = seconds(process)
                middle, last = milliseconds(agent.call, CALLS)
                spent = (seconds(process) - spent) / CALLS * 1000
                listed, _ = milliseconds(lambda: agent.ask("tools/list"), CALLS)  # noqa: B023 - called at once
                print(
                    f"{name:<16} p50 {middle:6.2f} ms   p99 {last:6.2f} ms   x direct {middle / direct:5.1f}   "
                    f"CPU a call {spent:5.2f} ms   list {listed:6.2f} ms   idle {idle:5.1f} MB   "
                    f"loaded {megabytes(process):5.1f} MB   cold {cold * 1000:5.0f} ms"
                )
            if group:
                print(f"{'':<16} at 100m and 64Mi: {at_100m(command, upstream, group)}")


def _begun(port: int, path: str) -> Agent:
    agent = Agent(port, path)
    agent.begin()
    return agent


if __name__ == "__main__":
    main(sys.argv[1:])
