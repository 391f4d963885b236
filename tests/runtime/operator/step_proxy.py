"""A reverse proxy between the operator and the API server or the sandbox that numbers its steps.

A step is a request that changes something (or any request to the payment service); its name says what it is and the how
manieth of that kind, so that it is found again in another run. At a chosen step the proxy may call
a function, before the request is forwarded or after it was carried out but before it is answered: kill -9 there, write
to the object first so that the write conflicts, and so on. Watches are streamed, and can be cut.
"""

import asyncio
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

import aiohttp
from aiohttp import web


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Step:
    name: str
    method: str
    path: str

    def __str__(self) -> str:
        return self.name


_VARIES = re.compile(r"\d")
"""A part of a path that names one object: each name of these tests has a digit in it, as has a version."""

Hook = Callable[[Step, When], bool]
"""Called at every step, twice; True cuts the connection there."""


@dataclass
class Counter:
    """Names the steps of one operator, whichever server they go to."""

    hook: Hook = lambda step, when: False
    steps: list[Step] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, method: str, path: str) -> Step:
        with self.lock:
            kind = f"{method} {'/'.join(part for part in path.split('/') if not _VARIES.search(part))}"
            same = sum(step.name.startswith(f"{kind} #") for step in self.steps)
            step = Step(f"{kind} #{same + 1}", method, path)
            self.steps.append(step)
            return step

    def forget(self, step: Step) -> None:
        """It met somebody else's write, and is taken again under the same name."""
        with self.lock:
            self.steps.remove(step)


class StepProxy:
    """Forwards to `target`; `all_steps` numbers reads too."""

    def __init__(self, target: str, counter: Counter, *, tls: ssl.SSLContext | None = None, all_steps: bool) -> None:
        self._target = target.rstrip("/")
        self._counter = counter
        self._tls = tls
        self._all = all_steps
        self._started = threading.Event()
        self._streams: set[web.StreamResponse] = set()
        self.expire_watches = 0
        """Answer this many of the next watches with 410 Gone."""
        self.overloaded = ""
        """Answer what reads below this path with 503, as an API server does whose etcd has no leader."""
        self.url = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "StepProxy":
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set_result, None)
        self._thread.join(10)

    def cut_watches(self) -> int:
        """Break every stream that is open; how many there were."""
        streams = list(self._streams)

        def cut() -> None:
            for stream in streams:
                if stream._req and stream._req.transport:
                    stream._req.transport.abort()

        self._loop.call_soon_threadsafe(cut)
        return len(streams)

    def _run(self) -> None:
        asyncio.run(self._serve())  # which ends what is still being forwarded

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = self._loop.create_future()
        connector = aiohttp.TCPConnector(ssl=self._tls) if self._tls else None
        timeout = aiohttp.ClientTimeout(total=None, connect=5)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._session:
            app = web.Application(client_max_size=16 << 20)
            app.router.add_route("*", "/{path:.*}", self._forward)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = site.name.rstrip("/")
            port = runner.addresses[0][1]
            self.url = f"http://127.0.0.1:{port}"
            self._started.set()
            await self._stopped
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        counted = self._all or request.method != "GET"
        step = self._counter.next(request.method, request.path) if counted else None
        if step and await self._ask(step, When.BEFORE):
            return self._abort(request)
        if "watch" in request.query and self.expire_watches:
            self.expire_watches -= 1
            gone = '{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410}}\n'
            return web.Response(text=gone, content_type="application/json")
        if self.overloaded and request.method == "GET" and request.path.startswith(self.overloaded):
            return web.json_response({"kind": "Status", "status": "Failure", "code": 503}, status=503)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}
        body = await request.read()
        url = self._target + request.raw_path
        try:
            async with self._session.request(
                request.method, url, data=body or None, headers=headers, allow_redirects=False
            ) as answer:
                if "watch" in request.query:
                    return await self._stream(request, answer)
                content = await answer.read()
        except aiohttp.ClientError:
            return self._abort(request)
        if step and answer.status == HTTPStatus.CONFLICT:
            self._counter.forget(step)
        elif step and await self._ask(step, When.AFTER):
            return self._abort(request)
        kept = {k: v for k, v in answer.headers.items() if k.lower() in ("content-type", "retry-after", "date")}
        return web.Response(status=answer.status, body=content, headers=kept)

    async def _ask(self, step: Step, when: When) -> bool:
        return await asyncio.to_thread(self._counter.hook, step, when)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        stream = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        self._streams.add(stream)
        try:
            async for chunk in answer.content.iter_any():
                await stream.write(chunk)
        except (aiohttp.ClientError, ConnectionError):
            self._abort(request)
        finally:
            self._streams.discard(stream)
        return stream

    def _abort(self, request: web.Request) -> web.StreamResponse:
        if request.transport:
            request.transport.abort()
        return web.Response(status=500)
