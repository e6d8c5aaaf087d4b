"""An upstream's answer on its way to the client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from tryage.gateway.calls import Calls, Trying
from tryage.gateway.draft import Draft
from tryage.gateway.exchange import Exchange
from tryage.gateway.refusals import bug
from tryage.gateway.replies import broken_stream, headers_from, report_chunk, with_report
from tryage.gateway.sse import Event, Progress, event_of
from tryage.gateway.upstream import Stream
from tryage.gateway.upstream_errors import ErrorInStream, ErrorTold, Response, UpstreamFailed
from tryage.gateway.wire import text_in, usage_in
from tryage.health import CircuitBreaker
from tryage.request import count_tokens


async def give(
    exchange: Exchange,
    answer: Response,
    draft: Draft,
    calls: Calls,
    trying: Trying,
    *,
    report: bool,
) -> None:
    """Send a whole answer."""
    usage, draft.response = usage_in(answer.value), text_in(answer.value)
    tokens = count_tokens(draft.response) if usage is None else usage.output_tokens
    draft.count(usage, tokens)
    calls.ended(trying, tokens)
    body = with_report(answer.body, draft.report()) if report else answer.body
    draft.first_token_s = draft.elapsed()
    await exchange.give(200, body, headers_from(answer.headers.items(), draft.headers()))


async def relay(
    exchange: Exchange,
    stream: Stream,
    draft: Draft,
    calls: Calls,
    trying: Trying,
    breaker: CircuitBreaker,
    *,
    report: bool,
) -> None:
    """Send a stream on as it comes; where it breaks, tell the client."""
    progress, model = stream.progress, trying.model
    draft.first_token_s = draft.elapsed()
    try:
        await exchange.begin(200, headers_from(stream.headers.items(), draft.headers()))
        async with aclosing(stream.opened.chunks(model, breaker)) as batches:
            async for events in batches:
                if not any(event.done for event in events):
                    await exchange.write(b"".join([event.raw for event in events]))
                else:  # what the client does from now on is no concern of the call's
                    draft.count(progress.usage, progress.tokens)
                    await exchange.end(_last(events, progress, draft if report else None))
        if not progress.done:
            draft.count(progress.usage, progress.tokens)
            await exchange.end(_last([], progress, draft if report else None))
        if progress.failed:  # as the client has been told by the upstream itself
            draft.error = ErrorInStream.__name__
            breaker.failed(model)
            calls.failed(trying, ErrorInStream(progress.last.get("error")))
        else:
            calls.ended(trying, progress.tokens)
    except Exception as error:
        draft.count(progress.usage, progress.tokens)
        draft.error = type(error).__name__
        calls.failed(trying, error)
        theirs = isinstance(error, UpstreamFailed | ConnectionError | TimeoutError)
        await exchange.end(
            broken_stream(model, error) if theirs else event_of(bug(error).as_json())
        )
    except asyncio.CancelledError as error:  # the client has gone, or the server ends
        draft.count(progress.usage, progress.tokens)
        calls.failed(trying, error)
        raise
    finally:
        draft.response = progress.text
        await stream.source.aclose()


def _last(events: list[Event], progress: Progress, draft: Draft | None) -> bytes:
    """Return the last events, with a report of the draft before the one that announces the end."""
    report = b"" if draft is None else report_chunk(progress.last, draft.report())
    return b"".join([report + event.raw if event.done else event.raw for event in events]) or report


async def send_on(exchange: Exchange, refused: ErrorTold, draft: Draft) -> None:
    """Send an upstream's own error on, as it came."""
    draft.error = draft.error or type(refused).__name__
    response = refused.response
    headers = headers_from(response.headers.items(), draft.headers())
    await exchange.give(response.status, response.body, headers)
