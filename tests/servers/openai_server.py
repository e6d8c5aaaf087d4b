"""A small server that speaks the OpenAI chat completions API on loopback, in a thread.

    with OpenAIServer() as server:
        ChatOpenAI(model="small", base_url=server.base_url, api_key="none")

Every model name is served; these misbehave on purpose:

- `boom-429`, `boom-500`, `boom-400`: that HTTP status, with the API's error body;
- `boom-context`: the prompt is too long for the context window;
- `boom-opening`: a stream that breaks off before any content;
- `boom-midstream`: a stream that breaks off after some words;
- `slow`: waits before the answer, and between the words of a stream.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.servers.openai_answers import USAGE, completion, events, reply_to

__all__ = ["USAGE", "OpenAIServer"]

SLOW_S = 0.1

_ERRORS: dict[str, tuple[int, str, str | None]] = {
    "boom-429": (429, "Rate limit reached.", "rate_limit_exceeded"),
    "boom-500": (500, "The server had an error.", None),
    "boom-400": (400, "Invalid value.", "invalid_value"),
    "boom-context": (400, "This model's maximum context length is 8.", "context_length_exceeded"),
}


class OpenAIServer:
    """Serves while the `with` block lasts.

    Attributes:
        base_url: Where clients connect, with the `/v1`.
        requests: The body of each request, oldest first, by model.
    """

    def __init__(self) -> None:
        self.requests: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.requests = self.requests
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def calls(self, model: str) -> int:
        """Return how often a model was asked."""
        return len(self.requests[model])

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    requests: dict[str, list[dict[str, Any]]]

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def record(self, body: dict[str, Any]) -> None:
        with self._lock:
            self.requests[body["model"]].append(body)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is part of the tests."""

    def hang_up(self) -> None:
        """Break every connection, so that no thread waits for a next request."""
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.record(body)
        model: str = body["model"]
        if not self.path.endswith("/chat/completions"):
            self._send_json({"error": {"message": f"no such path: {self.path}"}}, 404)
        elif model in _ERRORS:
            status, message, code = _ERRORS[model]
            self._send_json({"error": {"message": message, "type": "error", "code": code}}, status)
        elif body.get("stream"):
            self._send_stream(body)
        elif model in ("boom-opening", "boom-midstream"):
            self._break_off()
        else:
            time.sleep(SLOW_S if model == "slow" else 0)
            self._send_json(completion(model, reply_to(body)))

    def do_GET(self) -> None:
        models = [{"id": name, "object": "model"} for name in self.server.requests]
        self._send_json({"object": "list", "data": models})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def _send_json(self, value: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send_stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        model = body["model"]
        for number, event in enumerate(events(body)):
            if (model, number) in (("boom-opening", 1), ("boom-midstream", 4)):
                return self._break_off()
            time.sleep(SLOW_S if model == "slow" else 0)
            self._send_event(json.dumps(event))
        self._send_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _send_event(self, text: str) -> None:
        content = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        self.wfile.flush()

    def _break_off(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
