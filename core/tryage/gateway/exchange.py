"""One HTTP request and the response to it, as the server hands them over (ASGI)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.types import Receive, Scope, Send

from tryage.gateway.refusals import Refused

_DRAINED = 8
"""A body that is too large is read on for this many times the limit, and thrown away: a client
that is cut off while it sends does not read why."""

_UNREAD = (408, 413, 431)
"""After these, more of the request may follow, which nobody reads."""

RawHeaders = list[tuple[bytes, bytes]]

CLOSE = {"connection": "close"}
JSON = {"content-type": "application/json"}


class ClientGone(Exception):
    """The client hung up before the response was complete."""


class Exchange:
    """One request and its response.

    Attributes:
        path: Of the request.
        headers: Of the request, by their names in lower case; of several of one name the last.
        status: Of the response; `None` before it has begun.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.path: str = scope["path"]
        self.headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        self.status: int | None = None
        self._receive = receive
        self._send = send
        self._ended = False
        self._waits_to_send = self.headers.get("expect", "").lower() == "100-continue"

    async def body(self, limit: int, timeout_s: float) -> bytes:
        """Return the body of the request.

        Args:
            limit: Most bytes.
            timeout_s: Seconds that it may take to arrive.

        Raises:
            Refused: It is too large, or too slow.
            ClientGone: The client hung up.
        """
        declared = self.headers.get("content-length", "")
        chunks, size = [], int(declared) if declared.isdigit() else 0
        if size > limit * _DRAINED:
            raise _too_large(limit)
        self._waits_to_send = False
        try:
            async with asyncio.timeout(timeout_s):
                read, more = 0, True
                while more and read <= limit * _DRAINED:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    chunk = message.get("body", b"")
                    read += len(chunk)
                    if read <= limit:
                        chunks.append(chunk)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refused(
                408, "request_timeout", f"the body did not arrive within {timeout_s:g} s."
            ) from None
        if read > limit:
            raise _too_large(limit)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @asynccontextmanager
    async def while_connected(self) -> AsyncIterator[None]:
        """Cancel what runs inside when the client hangs up, with `ClientGone`."""
        task = asyncio.current_task()
        assert task is not None
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await self._receive())["type"] != "http.disconnect":
                pass
            if not self._ended:
                gone = True
                task.cancel()

        watcher = asyncio.ensure_future(watch())
        try:
            yield
        except asyncio.CancelledError:
            if not gone or task.uncancel() > 0:
                raise
            raise ClientGone from None
        finally:
            watcher.cancel()

    async def give(self, status: int, body: bytes, headers: RawHeaders) -> None:
        """Send a whole response."""
        await self.begin(status, [*headers, (b"content-length", str(len(body)).encode())])
        await self.end(body)

    async def refuse(self, refused: Refused, ours: Mapping[str, str] | None = None) -> None:
        """Send an error of our own, unless a response has begun already.

        Args:
            refused: The error.
            ours: Headers to send with it.
        """
        if self.status is not None:
            return
        closes = CLOSE if refused.status in _UNREAD or self._waits_to_send else {}
        headers = {**JSON, **refused.headers(), **closes, **(ours or {})}
        await self.give(refused.status, refused.body(), raw_headers(headers))

    async def begin(self, status: int, headers: RawHeaders) -> None:
        """Send the head of the response."""
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, content: bytes) -> None:
        """Send some of the response's body."""
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end(self, content: bytes = b"") -> None:
        """Send the rest of the response's body, unless it has ended already."""
        if self._ended:
            return
        self._ended = True
        await self._send({"type": "http.response.body", "body": content})


def secret_in(headers: Mapping[str, str]) -> str | None:
    """Return the client's key, if it sent one: that of `Authorization: Bearer`."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def raw_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Return headers as they are sent; what cannot stand in one is escaped."""
    return [
        (name.encode(), text.encode() if _is_plain(text) else text.encode("unicode_escape"))
        for name, text in headers.items()
    ]


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _too_large(limit: int) -> Refused:
    return Refused(
        413, "request_too_large", f"the body is larger than {limit / 1e6:g} MB, the most allowed."
    )
