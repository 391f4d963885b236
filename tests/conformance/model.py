"""A model behind an OpenAI-compatible endpoint, whose answers a check decides: at once, never, or not at all."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAILS, WAITS = "please fail", "please wait"
"""A prompt that begins so is answered with 500, or only once `go_on` is set."""


class Model:
    """Serves on a free port of the loopback interface; `asked` has every prompt."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.arrived = threading.Semaphore(0)
        """Released at each prompt that waits."""
        self.go_on = threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model._answer(self, body["messages"][-1]["content"])

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _answer(self, handler: BaseHTTPRequestHandler, prompt: str) -> None:
        self.asked.append(prompt)
        if prompt.startswith(WAITS):
            self.arrived.release()
            self.go_on.wait()
        answer = {"choices": [{"message": {"role": "assistant", "content": f"echo: {prompt}"}}]}
        text = json.dumps(answer).encode()
        try:
            handler.send_response(500 if prompt.startswith(FAILS) else 200)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(text)))
            handler.end_headers()
            handler.wfile.write(text)
        except OSError:
            pass  # the agent was killed meanwhile

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
