"""The connections to upstreams, and names for all that can happen on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import aiohttp

from tryage.gateway.upstream_errors import ConnectionBroke, ConnectTimeout, Unreachable


def session() -> aiohttp.ClientSession:
    """Return what calls are made with: no proxy from the environment, no cookies, no redirects."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=4)  # many servers hang up after 5 s
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_kept)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"accept-encoding": "identity", "content-type": "application/json"},
        trust_env=False,
        trace_configs=[tracing],
    )


async def sent(session: aiohttp.ClientSession, url: str, **request: Any) -> aiohttp.ClientResponse:
    """Return the head of the response to a POST.

    A connection that was kept may have been closed by the upstream just before it is used again.
    That is no failure of the upstream's: the request is sent once more, on another connection.
    """
    while True:
        connection = SimpleNamespace(kept=False)
        try:
            return await session.post(url, trace_request_ctx=connection, **request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not connection.kept:
                raise


async def _note_kept(_: object, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.kept = True


async def read_out(reply: aiohttp.ClientResponse) -> None:
    """Read what comes after the announced end, so that the connection can be used again."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(1):
            while await reply.content.readany():
                pass


@contextmanager
def naming_breaks() -> Iterator[None]:
    """Give the client's errors names that say what happened."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise ConnectTimeout from None
    except aiohttp.ClientConnectorError:
        raise Unreachable from None
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise ConnectionBroke from None


@contextmanager
def naming_timeouts(timeout: type[TimeoutError]) -> Iterator[None]:
    """Say which timeout it was; those that have a name keep it."""
    try:
        yield
    except TimeoutError as error:
        if type(error) is TimeoutError:
            raise timeout from None
        raise
