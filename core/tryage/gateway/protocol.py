"""HTTP on a connection, with bounds to how long a client may keep it waiting."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tryage.gateway.exchange import CLOSE
from tryage.gateway.guard import head_too_large
from tryage.gateway.refusals import Refused
from tryage.gateway.settings import Server

_UNWANTED_BYTES = 2**20
"""How much of a body is thrown away that nobody reads, since its request has been refused."""


def protocol(server: Server) -> type[asyncio.Protocol]:
    """Return the HTTP protocol of a server that waits for no client without end.

    Args:
        server: How large a head may be, how long it and an unwanted body may take to arrive, and
            how long a client may take nothing of what is sent to it.
    """
    return type("BoundedHTTP", (_Bounded,), {"bounds": server})


class _Bounded(HttpToolsProtocol):
    """HTTP with the bounds that uvicorn does not set."""

    bounds: Server

    _head_bytes: int | None = 0  # None while a body comes
    _unwanted_bytes = 0
    _late: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._reads()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        most = int(self.bounds.max_header_kb * 1e3)
        if self._head_bytes is not None and self._head_bytes > most:
            self._refuse(head_too_large(most))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        self._head_bytes = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.cycle.response_complete:
            self._unwanted_bytes += len(body)
            if self._unwanted_bytes > _UNWANTED_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head_came()
        self._head_bytes = self._unwanted_bytes = 0

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head_bytes is None and self._late is None:  # refused before its body came
            self._late = self.loop.call_later(self.bounds.body_timeout_s, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reads()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refused(400, "invalid_http", "what was sent is no HTTP request."))

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.bounds.body_timeout_s, self._hang_up)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _hang_up(self) -> None:
        message = f"the headers did not arrive within {self.bounds.body_timeout_s:g} s."
        self._refuse(Refused(408, "request_timeout", message))

    def _await_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._stalled = self.loop.call_later(
            self.bounds.write_timeout_s, self._look_after_reader, left
        )

    def _look_after_reader(self, before: int) -> None:
        """Hang up on a client that has taken nothing; nothing is added to what waits for it."""
        if self.transport.get_write_buffer_size() < before:
            self._await_reader()
        else:
            self.transport.abort()

    def _reads(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

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
