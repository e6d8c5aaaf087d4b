"""What is refused before any of the application looks at a request."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import unquote_plus

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tryage.gateway.exchange import CLOSE, Exchange
from tryage.gateway.refusals import Refused

_KEY_NAMES = re.compile(
    r"(?:^|&)((?:[\w.-]*[_-])?(?:api[_-]?key|key|token|secret|password|authorization))=",
    re.IGNORECASE,
)
_KEY_VALUES = re.compile(r"(?:^|&)([^=&]*)=(?:sk-|bearer )", re.IGNORECASE)


class Guard:
    """Refuses requests with too large a head, or with a key in their address.

    Servers, proxies and browsers write addresses down, so a key in one is no longer a secret.

    Args:
        app: What answers the others.
        max_header_bytes: Most bytes of address and headers.
    """

    def __init__(self, app: ASGIApp, max_header_bytes: int) -> None:
        self._app = app
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        refused = self._judge(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await Exchange(scope, receive, send).refuse(refused)

    def _judge(self, scope: Scope) -> Refused | None:
        query = scope["query_string"]
        size = len(query) + sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if size > self._max_header_bytes:
            return _head_too_large(self._max_header_bytes)
        return _key_in(unquote_plus(query.decode("latin-1"))) if query else None


def protocol(max_header_bytes: int, timeout_s: float) -> type[asyncio.Protocol]:
    """Return the HTTP protocol of a server that waits for no head without end.

    Args:
        max_header_bytes: Most bytes from the first line to the blank one; more is a 431.
        timeout_s: Seconds from the first byte to the blank line; more is a 408.
    """
    bounds = {"max_header_bytes": max_header_bytes, "timeout_s": timeout_s}
    return type("BoundedHTTP", (_Bounded,), bounds)


class _Bounded(HttpToolsProtocol):
    """The server itself sets no bounds to a head; `Guard` sees it only when it is complete."""

    max_header_bytes: int
    timeout_s: float

    _head_bytes: int | None = 0  # None while a body comes
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None and self._head_bytes > self.max_header_bytes:
            self._refuse(_head_too_large(self.max_header_bytes))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head_bytes = 0

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refused(400, "invalid_http", "what was sent is no HTTP request."))

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.timeout_s, self._hang_up)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        message = f"the headers did not arrive within {self.timeout_s:g} s."
        self._refuse(Refused(408, "request_timeout", message))

    def _refuse(self, refused: Refused) -> None:
        self._head_came()
        if not self.transport.is_closing():
            self.transport.write(_response(refused))
            self.transport.close()


def _response(refused: Refused) -> bytes:
    """Return an error as the bytes of a whole response, after which the connection ends."""
    body = refused.body()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **CLOSE}
    lines = [f"HTTP/1.1 {refused.status} Refused", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _head_too_large(limit: int) -> Refused:
    message = f"the headers are larger than {limit / 1e3:g} kB, the most allowed."
    return Refused(431, "headers_too_large", message)


def _key_in(query: str) -> Refused | None:
    found = _KEY_NAMES.search(query) or _KEY_VALUES.search(query)
    if found is None:
        return None
    name = found[1][:40]
    message = (
        f"{name!r} in the address looks like a key, and addresses are written down in many "
        "places. Send it as the header Authorization: Bearer, and have a new one made."
    )
    return Refused(400, "key_in_url", message, param=name)
