"""A pod that answers for its work log what a test wants it to, lies included."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Answer = Callable[[BaseHTTPRequestHandler, int], None]


def line(
    escrow: str | None, task: str = "", outcome: str = "done", *, ends_in: float = 0, began: float = -1, **more
) -> bytes:
    """A line of a log; times are seconds from now."""
    now = datetime.now(UTC)
    known = {
        "task": task or escrow,
        "escrow": escrow,
        "started": (now + timedelta(seconds=ends_in + began)).isoformat(),
        "finished": (now + timedelta(seconds=ends_in)).isoformat(),
        "outcome": outcome,
        "evidence": "0" * 64,
    }
    return json.dumps(known | more).encode() + b"\n"


def says(content: bytes) -> Answer:
    """That log, as a worker serves it."""

    def answer(handler: BaseHTTPRequestHandler, since: int) -> None:
        page = content[since : since + (1 << 20)]
        page = page[: page.rfind(b"\n") + 1]
        handler.send_response(200)
        handler.send_header("PF-Next", str(since + len(page)))
        handler.send_header("PF-Size", str(len(content)))
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        handler.wfile.write(page)

    return answer


@contextmanager
def pod_server(answer: Answer) -> Iterator[int]:
    """The port on which it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            since = parse_qs(urlsplit(self.path).query).get("since", ["0"])[0]
            answer(self, int(since))

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a peer that hangs up is no news
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
