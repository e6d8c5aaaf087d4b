"""The eight entry points of an LLM, called in one way, so that one test serves all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from llama_index.core.llms import LLM, ChatMessage, ChatResponse, CompletionResponse

Response = ChatResponse | CompletionResponse


def asked(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


async def chat(llm: LLM, text: str, **kwargs: Any) -> list[Response]:
    return [llm.chat(asked(text), **kwargs)]


async def achat(llm: LLM, text: str, **kwargs: Any) -> list[Response]:
    return [await llm.achat(asked(text), **kwargs)]


async def stream_chat(llm: LLM, text: str, **kwargs: Any) -> list[Response]:
    return list(llm.stream_chat(asked(text), **kwargs))


async def astream_chat(llm: LLM, text: str, **kwargs: Any) -> list[Response]:
    return [chunk async for chunk in await llm.astream_chat(asked(text), **kwargs)]


async def complete(llm: LLM, text: str, **kwargs: Any) -> list[Response]:
    return [llm.complete(text, **kwargs)]


async def acomplete(llm: LLM, text: str, **kwargs: Any) -> list[Response]:
    return [await llm.acomplete(text, **kwargs)]


async def stream_complete(llm: LLM, text: str, **kwargs: Any) -> list[Response]:
    return list(llm.stream_complete(text, **kwargs))


async def astream_complete(llm: LLM, text: str, **kwargs: Any) -> list[Response]:
    return [chunk async for chunk in await llm.astream_complete(text, **kwargs)]


Entry = Callable[..., Awaitable[list[Response]]]

ENTRIES: tuple[Entry, ...] = (
    chat,
    achat,
    stream_chat,
    astream_chat,
    complete,
    acomplete,
    stream_complete,
    astream_complete,
)
STREAMS = tuple(entry for entry in ENTRIES if "stream" in entry.__name__)

every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
every_stream = pytest.mark.parametrize("entry", STREAMS, ids=lambda entry: entry.__name__)


def text_of(responses: list[Response]) -> str | None:
    """Return the answer that responses add up to: streams carry all of it in the last chunk."""
    last = responses[-1]
    return last.message.content if isinstance(last, ChatResponse) else last.text


def told(responses: list[Response]) -> dict[str, Any]:
    """Return what the responses tell of the decision."""
    return responses[-1].additional_kwargs["tryage"]
