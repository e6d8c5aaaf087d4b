"""An upstream and a load generator that cost next to nothing, for measuring what is between them.

Both write and read bytes of HTTP by hand, each in a process of its own, so that what is measured is
not their own work. They know the requests of one benchmark, and no more of HTTP than those need.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import uvloop

ANSWER = (
    "Entropy counts the ways in which a thing can look the same; there are more ways to be mixed "
    "than to be sorted, so what is left alone gets mixed."
)
WORDS = ANSWER.split()
FIRST = WORDS[0].encode()
"""What the first content of every answer holds."""

_USAGE = {"prompt_tokens": 60, "completion_tokens": len(WORDS), "total_tokens": 60 + len(WORDS)}
_FRAME = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "scripted"}
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')
_END = b"0\r\n\r\n"


def _plain() -> bytes:
    message = {"role": "assistant", "content": ANSWER}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = {**_FRAME, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    content = json.dumps(body).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(content) + content


def _pieces() -> list[bytes]:
    """Return a stream as it is sent: its head, a chunk for each word, and its end."""
    deltas = [{"role": "assistant", "content": ""}, *({"content": f"{word} "} for word in WORDS)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    frame = {**_FRAME, "object": "chat.completion.chunk"}
    values = [{**frame, "choices": [choice]} for choice in choices]
    values.append({**frame, "choices": [], "usage": _USAGE})
    events = [b"data: " + json.dumps(value).encode() + b"\n\n" for value in values]
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    chunks = [b"%x\r\n%b\r\n" % (len(e), e) for e in [*events, b"data: [DONE]\n\n"]]
    return [head, *chunks, _END]


class _Upstream(asyncio.Protocol):
    """Answers every request alike; a stream's chunks leave one by one."""

    plain, pieces = _plain(), _pieces()

    def connection_made(self, transport: Any) -> None:
        self._transport, self._request = transport, b""

    def data_received(self, data: bytes) -> None:
        self._request += data
        head, blank, body = self._request.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or (length and len(body) < int(length[1])):
            return
        self._request = b""
        if _STREAM.search(body):
            self._send(iter(self.pieces))
        else:
            self._transport.write(self.plain)

    def _send(self, left: Iterator[bytes]) -> None:
        piece = next(left, None)
        if piece is not None:
            self._transport.write(piece)
            asyncio.get_running_loop().call_soon(self._send, left)


def _serve(told: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@contextmanager
def upstream() -> Iterator[int]:
    """Yield the port of an upstream in a process of its own."""
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(tell,), daemon=True)
    process.start()
    try:
        yield told.recv()
    finally:
        process.terminate()
        process.join()


@dataclass
class Times:
    """What one load came to.

    Attributes:
        seconds: How long it took.
        asked: How many requests were sent.
        first_s: Of each answer, seconds until its first content.
        whole_s: Of each answer, seconds until its end.
        failed: How many answers were not as the upstream sent them.
        example: The latest of those.
    """

    seconds: float = 0.0
    asked: int = 0
    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    failed: int = 0
    example: bytes = b""


class _Client(asyncio.Protocol):
    """Asks again as soon as it was answered, until the time or the number is up."""

    def __init__(self, request: bytes, until: float, most: float, times: Times) -> None:
        self._request, self._until, self._most, self._times = request, until, most, times
        self._is_stream = bool(_STREAM.search(request))
        self._waits = False
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._waits = self._times.asked < self._most and time.perf_counter() < self._until
        if not self._waits:
            self._transport.close()
            return
        self._times.asked += 1
        self._answer, self._needed, self._first_s = b"", 0, 0.0
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._first_s and FIRST in self._answer:
            self._first_s = time.perf_counter() - self._began
        if not self._is_whole():
            return
        self._times.whole_s.append(time.perf_counter() - self._began)
        self._times.first_s.append(self._first_s)
        is_good = self._answer.startswith(b"HTTP/1.1 200") and self._first_s
        if not is_good or (self._is_stream and b"[DONE]" not in self._answer[-64:]):
            self._times.failed += 1
            self._times.example = self._answer
        self._ask()

    def _is_whole(self) -> bool:
        if not self._needed:
            head, blank, _ = self._answer.partition(b"\r\n\r\n")
            if not blank:
                return False
            length = _LENGTH.search(head)
            self._needed = len(head) + 4 + int(length[1]) if length else -1
        if self._needed > 0:
            return len(self._answer) >= self._needed
        return self._answer.endswith(_END)

    def connection_lost(self, error: Exception | None) -> None:
        self._times.failed += self._waits  # hung up on before it was answered
        self.done.set_result(None)


def load(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    *,
    seconds: float = math.inf,
    most: float = math.inf,
) -> Times:
    """Return what came of asking over so many connections, each one request at a time.

    Args:
        port: On this machine.
        requests: The bytes of a request, or of several: connections take them by turns.
        connections: That ask side by side.
        seconds: For how long, at most.
        most: How many requests, at most.
    """

    async def ask() -> Times:
        loop, times, began = asyncio.get_running_loop(), Times(), time.perf_counter()
        of_each = [requests[number % len(requests)] for number in range(connections)]
        clients = [_Client(request, began + seconds, most, times) for request in of_each]
        for client in clients:
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
        await asyncio.gather(*(client.done for client in clients))
        times.seconds = time.perf_counter() - began
        return times

    return uvloop.run(ask())
