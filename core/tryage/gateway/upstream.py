"""One call to one upstream: bytes out, bytes back, and an error for all that is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import aiohttp

from tryage.gateway import jsons
from tryage.gateway.connection import naming_breaks, naming_timeouts, read_out, sent
from tryage.gateway.settings import Timeouts
from tryage.gateway.sse import Event, Progress, Splitter
from tryage.gateway.upstream_errors import (
    CutStream,
    EmptyStream,
    ErrorInStream,
    ErrorStatus,
    FirstTokenTimeout,
    Headers,
    Malformed,
    Response,
    Stalled,
    WholeTimeout,
    code_of,
)
from tryage.strategies import AsyncOpenedStream, aopen_stream


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream whose first content has arrived.

    Attributes:
        headers: Of the response, as they came.
        opened: The events, those together that came together; asking for more raises what broke
            the stream.
        source: Where they come from; to be closed at the end.
        progress: What has been seen of it so far.
    """

    headers: Headers
    opened: AsyncOpenedStream[list[Event]]
    source: AsyncGenerator[list[Event]]
    progress: Progress


@dataclass(frozen=True, slots=True)
class Upstream:
    """One model behind one endpoint.

    Attributes:
        name: The card's name.
        served_as: What the upstream calls the model.
        base_url: Without a slash at the end.
        timeouts: How long it may take.
        key: Sent as a bearer token, if there is one; never shown.
    """

    name: str
    served_as: str
    base_url: str
    timeouts: Timeouts
    key: str | None = None

    async def ask(
        self, session: aiohttp.ClientSession, path: str, body: bytes, headers: Headers
    ) -> Response:
        """Return the whole answer.

        Raises:
            UpstreamFailed: What came back is no answer.
            ConnectionError: The way to it failed.
            TimeoutError: It took too long.
        """
        with naming_timeouts(WholeTimeout):
            async with asyncio.timeout(self.timeouts.whole_s):
                reply = await self._post(session, path, body, headers)
                try:
                    response = await _whole(reply)
                finally:
                    reply.close()  # which spares a connection whose answer was read to its end
        if not isinstance(response.value.get("choices"), list) or not response.value["choices"]:
            raise Malformed("the answer has no choices", 200, code_of(response.value.get("error")))
        return response

    async def open(
        self,
        session: aiohttp.ClientSession,
        path: str,
        body: bytes,
        headers: Headers,
        progress: Progress,
    ) -> Stream:
        """Return the stream of an answer once its first content has arrived.

        Raises:
            UpstreamFailed: What came back is no stream, or ended or failed before any content.
            ConnectionError: The way to it failed.
            TimeoutError: It took too long.
        """
        whole_at = asyncio.get_running_loop().time() + self.timeouts.whole_s
        with naming_timeouts(FirstTokenTimeout):
            async with asyncio.timeout(self.timeouts.first_token_s):
                reply = await self._post(session, path, body, headers)
                try:
                    if not reply.headers.get("content-type", "").startswith("text/event-stream"):
                        raise Malformed("the answer is no stream", reply.status)
                    source = self._events(reply, whole_at, progress)
                    opened = await aopen_stream(source, lambda _: progress.shown)
                    if not progress.shown:
                        raise EmptyStream("the stream held nothing", 200)
                except BaseException:
                    reply.close()
                    raise
        return Stream(reply.headers, opened, source, progress)

    async def _post(
        self, session: aiohttp.ClientSession, path: str, body: bytes, headers: Headers
    ) -> aiohttp.ClientResponse:
        """Return the response to a request, once its head says 200."""
        authorization = {"authorization": f"Bearer {self.key}"} if self.key else {}
        with naming_breaks():
            reply = await sent(
                session,
                self.base_url + path,
                data=body,
                headers={**headers, **authorization},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect_s),
            )
            if reply.status == 200:
                return reply
            try:
                said = await reply.read()
            finally:
                reply.close()
        raise ErrorStatus(Response(reply.status, reply.headers, said, {}))

    async def _events(
        self, reply: aiohttp.ClientResponse, whole_at: float, progress: Progress
    ) -> AsyncGenerator[list[Event]]:
        """Yield the events of a stream, those together that came together.

        A comment is a sign of life, but not of progress.
        """
        splitter, loop = Splitter(), asyncio.get_running_loop()
        limit_at = whole_at
        try:
            chunk = b"-"
            while chunk and not progress.done:
                with (
                    naming_breaks(),
                    naming_timeouts(Stalled if limit_at < whole_at else WholeTimeout),
                ):
                    async with asyncio.timeout_at(limit_at):
                        chunk = await reply.content.readany()
                events, broken = splitter.feed(chunk) if chunk else splitter.finish()
                for event in events:
                    if event.error is not None and not progress.shown:
                        raise ErrorInStream(event.error)
                    progress.saw(event)
                    if progress.shown and not event.is_comment:
                        limit_at = min(whole_at, loop.time() + self.timeouts.between_tokens_s)
                if events:
                    yield events
                if broken:
                    raise Malformed("a chunk of the stream is no JSON object", 200)
            if progress.shown and not (progress.is_whole or progress.failed):
                raise CutStream("the stream ended in the middle", 200)
            await read_out(reply)
        finally:
            reply.close()  # which spares a connection whose answer was read to its end


async def _whole(reply: aiohttp.ClientResponse) -> Response:
    with naming_breaks():
        body = await reply.read()
    try:
        value = jsons.loads(body)
    except ValueError:
        raise Malformed("the answer is no JSON", 200) from None
    if not isinstance(value, dict):
        raise Malformed("the answer is no JSON object", 200)
    return Response(reply.status, reply.headers, body, value)
