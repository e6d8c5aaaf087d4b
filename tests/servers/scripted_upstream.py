"""An OpenAI-compatible server that does what a test says, also what no server should.

    with ScriptedUpstream() as upstream:
        upstream.behave("small", "hang")

It writes HTTP by hand, on an event loop in a thread, so that it can break every rule. Every model
name is served, as `tests.servers.openai_server` would; what a script can say is under `_SCRIPTS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from tests.servers.openai_answers import USAGE, completion, events, reply_to

Body = dict[str, Any]


@dataclass(frozen=True)
class Script:
    """What a model does.

    Attributes:
        kind: A key of `_SCRIPTS`.
        times: For how many calls, after which it answers well; for ever without.
        every: Only every so many calls; the others are answered well.
        delay_s: Seconds before anything is sent.
        status: Of the response.
        headers: Sent beside the usual ones.
        content: The bytes of the body, in the pieces in which they are sent.
    """

    kind: str = "answer"
    times: int | None = None
    every: int = 1
    delay_s: float = 0.0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Seen:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    raw: bytes
    body: Body


class ScriptedUpstream:
    """Serves while the `with` block lasts, or until it is stopped.

    Attributes:
        base_url: Where clients connect, with the `/v1`; the same after `stop` and `start`.
        seen: The requests, oldest first, by model.
        begun: How many answers were begun, by model.
        hung_up: How many times a client hung up before it had its answer, by model.
    """

    def __init__(self) -> None:
        self.seen: dict[str, list[Seen]] = defaultdict(list)
        self.begun: Counter[str] = Counter()
        self.hung_up: Counter[str] = Counter()
        self._scripts: dict[str, Script] = {}
        self._followed: Counter[str] = Counter()
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def behave(self, model: str, kind: str = "answer", **options: Any) -> None:
        """Say what a model does from now on; see `Script`."""
        assert kind in _SCRIPTS, f"{kind!r} is none of {', '.join(_SCRIPTS)}"
        self._followed[model] = 0
        self._scripts[model] = Script(kind, **options)

    def calls(self, model: str) -> int:
        """Return how often a model was asked."""
        return len(self.seen[model])

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._run(self._start())

    def release(self) -> None:
        """Break the connections of all that hang or stall, and go on listening."""
        self._loop.call_soon_threadsafe(self._hang_up)

    def stop(self) -> None:
        """Stop listening, and break every connection: the process was killed."""
        self._run(self._stop())

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self._port, backlog=512
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        self._hang_up()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                nth = 1
                while await self._serve_one(reader, writer, nth):
                    nth += 1
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int
    ) -> bool:
        """Answer one request; return whether the connection can be used again."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        lines = [line.partition(":") for line in head[1:] if line]
        headers = {name.lower(): value.strip() for name, _, value in lines}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        body = json.loads(raw)
        model: str = body["model"]
        self.seen[model].append(Seen(head[0].split()[1], headers, raw, body))
        call = Answering(writer, self._script_for(model), body, nth)
        answering = asyncio.ensure_future(_SCRIPTS[call.script.kind](call))
        # Nothing more is sent by a client that waits for its answer, but the end.
        gone = asyncio.ensure_future(reader.read(1))
        try:
            self.begun[model] += 1
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                self.hung_up[model] += 1
                return False
            await answering
            await writer.drain()
            return not call.closes
        finally:
            answering.cancel()
            gone.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)

    def _script_for(self, model: str) -> Script:
        script = self._scripts.get(model, Script())
        self._followed[model] += 1
        nth = self._followed[model]
        over = script.times is not None and nth > script.times
        return Script() if over or nth % script.every else script


@dataclass
class Answering:
    """One answer on its way.

    Attributes:
        nth: Which one it is on its connection, from 1.
        closes: Whether the connection ends after it.
    """

    writer: asyncio.StreamWriter
    script: Script
    body: Body
    nth: int = 1
    closes: bool = False

    @property
    def is_stream(self) -> bool:
        return bool(self.body.get("stream"))

    async def whole(
        self, content: bytes, status: int = 200, kind: str = "application/json"
    ) -> None:
        headers = {"content-type": kind, "content-length": str(len(content))}
        self._head(status, {**headers, **self.script.headers})
        self.writer.write(content)

    async def stream(self, pieces: Iterable[bytes]) -> None:
        self.begin_stream()
        for piece in pieces:
            await self.send(piece)
        self.end_stream()

    def begin_stream(self) -> None:
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        self._head(200, {**headers, **self.script.headers})

    async def send(self, piece: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await self.writer.drain()
        await asyncio.sleep(0)  # one piece is one read for the client, as far as that can be had

    def end_stream(self) -> None:
        self.writer.write(b"0\r\n\r\n")

    def cut(self) -> None:
        self.closes = True
        self.writer.close()

    def events(self) -> list[bytes]:
        """Return the events of a good stream, without the announced end."""
        if "messages" in self.body:
            return [event(value) for value in events(self.body)]
        frame = {"id": "cmpl-1", "object": "text_completion", "created": 1}
        frame["model"] = self.body["model"]
        words = [{"index": 0, "text": word, "finish_reason": None} for word in ("and ", "so on")]
        choices = [*words, {"index": 0, "text": "", "finish_reason": "stop"}]
        return [event({**frame, "choices": [choice]}) for choice in choices]

    def answer(self) -> Body:
        """Return a good answer."""
        if "messages" in self.body:
            return completion(self.body["model"], reply_to(self.body))
        choice = {"index": 0, "text": "and so on", "finish_reason": "stop", "logprobs": None}
        frame = {"id": "cmpl-1", "object": "text_completion", "created": 1}
        return {**frame, "model": self.body["model"], "choices": [choice], "usage": USAGE}

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{n}: {v}" for n, v in headers.items())]
        self.writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")


DONE = b"data: [DONE]\n\n"


def event(value: Body) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def error_body(message: str, code: str | None) -> Body:
    return {"error": {"message": message, "type": "scripted", "param": None, "code": code}}


async def _answer(call: Answering) -> None:
    await asyncio.sleep(call.script.delay_s)
    if call.is_stream:
        await call.stream([*call.events(), DONE])
    else:
        await call.whole(json.dumps(call.answer()).encode())


async def _steady(call: Answering) -> None:
    """Answer well whatever was asked, also what makes no sense."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "text": "Yes."}
    if call.is_stream:
        choice["delta"] = choice.pop("message")
        await call.stream([event({"choices": [choice]}), DONE])
    else:
        await call.whole(json.dumps({"choices": [choice], "usage": USAGE}).encode())


async def _raw(call: Answering) -> None:
    """Send the script's own bytes."""
    await asyncio.sleep(call.script.delay_s)
    if call.is_stream and call.script.status == 200:
        await call.stream(call.script.content)
    else:
        await call.whole(b"".join(call.script.content), call.script.status)


async def _status(call: Answering) -> None:
    """Send an error of the script's status."""
    await asyncio.sleep(call.script.delay_s)
    content = json.dumps(error_body("As scripted.", None)).encode()
    await call.whole(b"".join(call.script.content) or content, call.script.status)


async def _hang(call: Answering) -> None:
    """Take the request, and say nothing."""
    await asyncio.sleep(3600)


async def _context(call: Answering) -> None:
    error = error_body("The prompt is too long.", "context_length_exceeded")
    await call.whole(json.dumps(error).encode(), 400)


async def _filter(call: Answering) -> None:
    error = error_body("The prompt was filtered.", "content_filter")
    await call.whole(json.dumps(error).encode(), 400)


async def _garbage(call: Answering) -> None:
    """Answer with what is not even HTTP."""
    call.writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    call.cut()


async def _malformed(call: Answering) -> None:
    """Answer 200 with broken JSON; in a stream, in the first chunk."""
    if call.is_stream:
        await call.stream([b'data: {"choices": [{"ind\n\n', DONE])
    else:
        await call.whole(b'{"choices": [{"index": 0, "mess')


async def _malformed_later(call: Answering) -> None:
    """Break the JSON of a chunk after the first content."""
    await call.stream([*call.events()[:3], b'data: {"choices": [{"ind\n\n', DONE])


async def _empty(call: Answering) -> None:
    """Answer 200 with nothing in it."""
    if call.is_stream:
        await call.stream([call.events()[0], DONE])
    else:
        await call.whole(b"")


async def _cut_before(call: Answering) -> None:
    """Break off before any content."""
    if call.is_stream:
        call.begin_stream()
        await call.send(call.events()[0])
    call.cut()


async def _cut_after(call: Answering) -> None:
    """Break off after some content."""
    call.begin_stream()
    for piece in call.events()[:3]:
        await call.send(piece)
    call.cut()


async def _unfinished(call: Answering) -> None:
    """End a stream cleanly in the middle of the answer, without its announced end."""
    await call.stream(call.events()[:3])


async def _stall(call: Answering) -> None:
    """Send some content, and then nothing more, on an open connection."""
    call.begin_stream()
    for piece in call.events()[:3]:
        await call.send(piece)
    await asyncio.sleep(3600)


async def _alive(call: Answering) -> None:
    """Send signs of life, but no content."""
    call.begin_stream()
    while True:
        await call.send(b": still here\n\n")
        await asyncio.sleep(0.02)


async def _error_before(call: Answering) -> None:
    """Begin a stream with an error."""
    await call.stream([event(error_body("Overloaded.", None)), DONE])


async def _error_after(call: Answering) -> None:
    """Send an error in a stream after some content."""
    await call.stream([*call.events()[:3], event(error_body("Overloaded.", None))])


async def _trickle(call: Answering) -> None:
    """Send the pieces of a stream, the script's or good ones, with its delay between them."""
    call.begin_stream()
    for piece in call.script.content or [*call.events(), DONE]:
        await call.send(piece)
        await asyncio.sleep(call.script.delay_s)
    call.end_stream()


async def _linger(call: Answering) -> None:
    """Leave a stream open for a while after its announced end."""
    call.begin_stream()
    await call.send(b"".join([*call.events(), DONE]))
    await asyncio.sleep(call.script.delay_s)
    call.end_stream()


async def _drop_kept(call: Answering) -> None:
    """Hang up on a connection that has served before, as a server does that was about to anyway."""
    if call.nth == 1:
        await _answer(call)
    else:
        call.cut()


_SCRIPTS: dict[str, Callable[[Answering], Awaitable[None]]] = {
    "answer": _answer,
    "steady": _steady,
    "raw": _raw,
    "status": _status,
    "hang": _hang,
    "context": _context,
    "filter": _filter,
    "garbage": _garbage,
    "malformed": _malformed,
    "malformed_later": _malformed_later,
    "empty": _empty,
    "cut_before": _cut_before,
    "cut_after": _cut_after,
    "unfinished": _unfinished,
    "stall": _stall,
    "alive": _alive,
    "error_before": _error_before,
    "error_after": _error_after,
    "trickle": _trickle,
    "linger": _linger,
    "drop_kept": _drop_kept,
}
