"""Typed events (`version="v3"`) of whichever model is picked, as the framework's own streams.

The picked model makes its own events, inside of its own run; they are handed on one by one to a
stream of the same kind. Nothing starts before that stream is first looked at, as with any model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from langchain_core.language_models._compat_bridge import message_to_events
from langchain_core.language_models.chat_model_stream import AsyncChatModelStream, ChatModelStream
from langchain_core.messages import AIMessage

from langchain_tryage.calls import Prepared, RoutedCall
from langchain_tryage.delegation import astream_through, stream_through
from langchain_tryage.metadata import metadata_with_report
from langchain_tryage.usage import usage_of
from tryage import CircuitBreaker, Decision
from tryage.strategies import Outcome, report

Event = Mapping[str, Any]

_SHOWN_BY = {
    "text": "text",
    "text-delta": "text",
    "reasoning": "reasoning",
    "reasoning-delta": "reasoning",
    "non_standard": "value",
}
"""By kind, the field without which a block or a part of one shows nothing."""


def event_stream(call: RoutedCall, breaker: CircuitBreaker, whole: bool) -> ChatModelStream:
    """Return a stream of the events of the first model that shows content; never of two.

    Args:
        call: What is asked, and of whom.
        breaker: What is known of the models' health.
        whole: Whether the answer is to come in one piece.
    """

    def start(name: str) -> Iterator[Event]:
        return _read(call.prepare(name), whole)

    events = stream_through(call.decision, breaker, start, shows_content, events_reported)
    stream = ChatModelStream()

    def pump() -> bool:
        try:
            stream.dispatch(next(events))
        except StopIteration:
            return False
        except BaseException as error:  # whoever reads the stream raises it
            stream.fail(error)
            return False
        return True

    stream.bind_pump(pump)
    return stream


async def aevent_stream(
    call: RoutedCall, breaker: CircuitBreaker, whole: bool
) -> AsyncChatModelStream:
    """Return a stream of events; like `event_stream`, but a task of its own reads the model."""

    def start(name: str) -> AsyncIterator[Event]:
        return _aread(call.prepare(name), whole)

    events = astream_through(call.decision, breaker, start, shows_content, events_reported)
    stream = AsyncChatModelStream()

    async def produce() -> None:
        try:
            async for event in events:
                stream.dispatch(event)
        except BaseException as error:  # whoever reads the stream raises it
            stream.fail(error)
            if not isinstance(error, Exception):
                raise

    async def ensure_started() -> None:
        if stream._producer_task is None:  # `aclose` cancels it; `await stream` waits for it
            stream._producer_task = asyncio.create_task(produce())

    stream.set_start(ensure_started)
    return stream


def shows_content(event: Event) -> bool:
    """Return whether an event shows the caller anything: text, a tool call, thinking.

    Example:
        >>> shows_content({"event": "message-start", "role": "ai"})
        False
        >>> shows_content(
        ...     {"event": "content-block-delta", "delta": {"type": "text-delta", "text": "Hi"}}
        ... )
        True
    """
    part = event.get("delta") or event.get("content") or event.get("content_block")
    if not isinstance(part, Mapping):
        return False
    field = _SHOWN_BY.get(part.get("type", ""))
    return field is None or bool(part.get(field))


def events_reported(decision: Decision, outcome: Outcome[Any]) -> Callable[[Event], Event]:
    """Return what makes the last event tell how the call was routed and what it cost.

    The message that is put together from the events has it where other answers have it.
    """

    def label(event: Event) -> Event:
        if event["event"] != "message-finish":
            return event
        answer = AIMessage("").model_copy(update={"usage_metadata": event.get("usage")})
        told = report(decision, outcome, usage_of(answer))
        return {**event, "metadata": metadata_with_report(event.get("metadata") or {}, told)}

    return label


def _read(ready: Prepared, whole: bool) -> Iterator[Event]:
    """Yield a model's own events; those of its whole answer where it cannot stream."""
    if whole or not _can_stream(ready, "_stream_chat_model_events", async_api=False):
        yield from _replayed(ready.model.invoke(ready.prompt, ready.config, **ready.kwargs))
        return
    stream = ready.model.stream_events(ready.prompt, ready.config, version="v3", **ready.kwargs)
    for event in stream:
        yield _named(event, stream)


async def _aread(ready: Prepared, whole: bool) -> AsyncIterator[Event]:
    """Yield a model's own events; like `_read`."""
    if whole or not _can_stream(ready, "_astream_chat_model_events", async_api=True):
        answer = await ready.model.ainvoke(ready.prompt, ready.config, **ready.kwargs)
        for event in _replayed(answer):
            yield event
        return
    stream = await ready.model.astream_events(
        ready.prompt, ready.config, version="v3", **ready.kwargs
    )
    try:
        async for event in stream:
            yield _named(event, stream)
    finally:
        await _ended(stream)


async def _ended(stream: AsyncChatModelStream) -> None:
    """Wait until the callbacks of a model's run know its end; cancel the run in mid-answer."""
    if stream.done and stream._producer_task is not None:
        await asyncio.wait({stream._producer_task})
    else:
        await stream.aclose()


def _can_stream(ready: Prepared, native: str, async_api: bool) -> bool:
    """Return whether a model makes events itself, or its chunks can be made into them."""
    if hasattr(ready.model, native):
        return True
    return ready.model._should_stream(async_api=async_api, **{**ready.kwargs, "stream": True})


def _named(event: Event, stream: ChatModelStream | AsyncChatModelStream) -> Event:
    """Return an event that names the message as the model's own run does."""
    if event["event"] == "message-start" and not event.get("id"):
        return {**event, "id": stream.message_id}
    return event


def _replayed(message: AIMessage) -> Iterator[Event]:
    """Yield the events of an answer that came in one piece."""
    for event in message_to_events(message):
        if event["event"] == "message-finish" and message.additional_kwargs:
            yield {**event, "additional_kwargs": message.additional_kwargs}
        else:
            yield event
