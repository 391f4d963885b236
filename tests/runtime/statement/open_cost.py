"""A stand-in for OpenCost's allocation API: what it takes, what it answers and how it fails, by its own source.

Its window is two times of whole seconds in UTC with a Z, or an error in plain text with status 400. Its figures are
floats of five decimals, null where it could not work one out. Without a label everything is `__unallocated__`.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LABEL = "label:batch_kubernetes_io_controller_uid"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
Answer = tuple[int, dict[str, str], bytes]


def allocation(name: str, cost: Any, window: tuple[str, str]) -> dict[str, Any]:
    """One, with a few of its sixty fields."""
    start, end = window
    times = {"window": {"start": start, "end": end}, "start": start, "end": end, "minutes": 30.0}
    costs = {"cpuCost": cost, "ramCost": 0.0, "pvCost": 0.0, "pvs": None, "totalCost": cost}
    return {"name": name, "properties": {"cluster": "cluster-one"}, **times, **costs}


class OpenCost:
    """One server.

    Args:
        costs: By Job UID.
        answer: Makes another answer of the right one, which it is given decoded.
    """

    def __init__(self, costs: dict[str, Any], answer: Callable[[Any], Answer | Any]) -> None:
        self.asked: list[dict[str, str]] = []
        self._costs = costs
        self._answer = answer

    def reply(self, path: str) -> Answer:
        """By the path and query of a request."""
        split = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(split.query).items()}
        self.asked.append(asked)
        if split.path != "/allocation/compute":
            return 404, {}, b"404 page not found\n"
        if not (found := re.fullmatch(f"({_TIME}),({_TIME})", asked.get("window", ""))):
            return 400, {}, f"Invalid 'window' parameter: illegal window: {asked.get('window')}\n".encode()
        window = found[1], found[2]
        costs = {"__unallocated__": 7.5, **(self._costs if asked.get("aggregate") == LABEL else {})}
        named = {name: allocation(name, cost, window) for name, cost in costs.items()}
        made = self._answer({"code": 200, "status": "success", "data": [named]})
        return made if isinstance(made, tuple) else (200, {}, json.dumps(made).encode())


@contextmanager
def open_cost(
    costs: dict[str, Any], answer: Callable[[Any], Any] = lambda right: right
) -> Iterator[tuple[OpenCost, str]]:
    """Serve one; it, and its URL."""
    known = OpenCost(costs, answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = known.reply(self.path)
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": f"{len(body)}",
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield known, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
