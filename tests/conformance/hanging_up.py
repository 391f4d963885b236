"""A payment service in the `fly` dialect that keeps connections open, and hangs up on them when it is told to."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HangingUp:
    """Serves on a free port of the loopback interface.

    Args:
        together: How many creates it waits for before it answers the first: so many connections are open at once.
    """

    def __init__(self, together: int) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        """How often each act arrived, by its name and the escrow's token or id."""
        self.open: set[int] = set()
        """The connections that are open, by number."""
        self.hangs_up_on = ""
        """The act on which it closes the connection without an answer, as often as it comes."""
        self._together = threading.Barrier(together, timeout=30)
        self._warming = True
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                service.open.add(id(self))

            def finish(self) -> None:
                super().finish()
                service.open.discard(id(self))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service._serve(self, self.path.rpartition("/")[2], body)

            def do_GET(self) -> None:
                _answer(self, {"ok": True})

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _serve(self, handler: BaseHTTPRequestHandler, act: str, body: dict[str, Any]) -> None:
        subject = body.get("escrow_id") or body["metadata"]["token"]
        self.seen[act, subject] += 1
        if act == self.hangs_up_on:
            handler.close_connection = True
            return
        if act == "create" and self._warming:
            self._together.wait()
        _answer(handler, {"escrow_id": body.get("escrow_id") or f"esc_{subject}"})

    def warm(self) -> None:
        """From now on it answers, the creates together."""
        self._warming, self.hangs_up_on = True, ""

    def hang_up_on(self, act: str) -> None:
        """From now on, and create one at a time."""
        self._warming, self.hangs_up_on = False, act

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _answer(handler: BaseHTTPRequestHandler, answer: dict[str, Any]) -> None:
    text = json.dumps(answer).encode()
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)
