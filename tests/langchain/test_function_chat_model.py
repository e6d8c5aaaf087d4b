"""The chat model that ships for tests."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_tryage.testing import FunctionChatModel
from tests.langchain.ways import Way
from tryage.testing import Upstream


class TestStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[FunctionChatModel]:
        return FunctionChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"function": str.upper}


async def test_it_answers_with_usage_and_name(way: Way) -> None:
    model = FunctionChatModel(str.upper, model_name="shout")
    answer = await way.invoke(model, [("human", "no"), ("ai", "NO"), ("human", "hello you")])
    assert answer.content == "HELLO YOU"
    assert answer.response_metadata == {"model_name": "shout"}
    assert answer.usage_metadata["total_tokens"] == 6
    assert model.calls == ["hello you"]


async def test_a_stream_is_the_same_answer_word_by_word(way: Way) -> None:
    model = FunctionChatModel(lambda text: " Two  words\n", model_name="shout")
    chunks = await way.stream(model, "hello")
    assert [chunk.text for chunk in chunks] == [" Two", "  words", "\n", ""]
    whole: AIMessage = sum(chunks[1:], chunks[0])
    answer = await way.invoke(model, "hello")
    assert (whole.content, whole.usage_metadata) == (answer.content, answer.usage_metadata)
    assert whole.response_metadata == answer.response_metadata


async def test_an_error_at_once_or_after_some_words(way: Way) -> None:
    error = Upstream(503)
    at_once = FunctionChatModel(str.upper, error=error)
    for call in (way.invoke, way.stream):
        with pytest.raises(Upstream):
            await call(at_once, "one two three")
    later = FunctionChatModel(str.upper, error=error, fail_after_chunks=2)
    chunks: list[Any] = []
    with pytest.raises(Upstream):
        await way.read(later, chunks, "one two three")
    assert [chunk.text for chunk in chunks] == ["ONE", " TWO"]
    with pytest.raises(Upstream):
        await way.invoke(later, "one two three")
