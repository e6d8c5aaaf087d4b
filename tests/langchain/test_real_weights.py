"""Calls to real weights behind a real server, which is then killed in mid-stream.

The other candidate is the scripted server, so that it is plain who answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from langchain_tryage import ChatTryage
from tests.langchain.fakes import Counting, openai, router
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tests.servers.weights_server import ENDLESS, MODEL, WEIGHTS, WeightsServer

QUESTION = "What is `choose`?"


@pytest.fixture
def mortal() -> Iterator[WeightsServer]:
    """A server of real weights for one test, which may kill it."""
    with WeightsServer() as running:
        yield running


class KillsAtThirdToken(Counting):
    """Counts what happens, and kills the server once three tokens have come."""

    def __init__(self, server: WeightsServer) -> None:
        super().__init__()
        self._server = server

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        super().on_llm_new_token(token, **kwargs)
        if len(list(filter(None, self.tokens))) == 3:
            self._server.kill()


def pair(weights: WeightsServer, other: OpenAIServer, **kwargs: Any) -> ChatTryage:
    """Return a router that prefers the real weights."""
    return router(openai(weights, MODEL, **kwargs), openai(other, "b"))


def tokens_of(text: str) -> int:
    """Return how many tokens a text is for the model."""
    tokenizer = Tokenizer.from_file(str(WEIGHTS / MODEL / "tokenizer.json"))
    return len(tokenizer.encode(text).ids)


async def test_real_weights_answer_and_are_counted(
    way: Way, weights_server: WeightsServer, server: OpenAIServer
) -> None:
    answer = await way.invoke(pair(weights_server, server), QUESTION)
    assert "model" in answer.text
    assert answer.response_metadata["tryage"]["model"] == MODEL
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["input_tokens"] == tokens_of(f"<|user|>{QUESTION}<|assistant|>")
    assert answer.usage_metadata["output_tokens"] == tokens_of(f"{answer.text}<|end|>")


async def test_a_stream_of_real_weights_adds_up_to_the_answer(
    way: Way, weights_server: WeightsServer, server: OpenAIServer
) -> None:
    model = pair(weights_server, server)
    answer = await way.invoke(model, QUESTION)
    chunks = await way.stream(model, QUESTION)
    whole = sum(chunks[1:], chunks[0])
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert whole.text == answer.text
    assert whole.usage_metadata == answer.usage_metadata
    assert whole.response_metadata["tryage"]["model"] == MODEL
    assert whole.response_metadata["finish_reason"] == "stop"


async def test_an_answer_is_cut_where_the_call_says(
    way: Way, weights_server: WeightsServer, server: OpenAIServer
) -> None:
    model = pair(weights_server, server, extra_body={**ENDLESS, "max_tokens": 20})
    answer = await way.invoke(model, QUESTION)
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata["output_tokens"] == 20


async def test_a_server_killed_in_mid_stream_is_an_error_and_then_passed_by(
    way: Way, mortal: WeightsServer, fresh_server: OpenAIServer
) -> None:
    model = pair(mortal, fresh_server, extra_body=ENDLESS)
    seen = KillsAtThirdToken(mortal)
    chunks: list[Any] = []
    with pytest.raises(httpx.TransportError):
        await way.read(model, chunks, QUESTION, {"callbacks": [seen]})
    assert len([chunk for chunk in chunks if chunk.text]) >= 3
    assert not any(chunk.response_metadata.get("finish_reason") for chunk in chunks)
    assert seen.events == {"chat_model_start": 1, "llm_error": 1}
    assert fresh_server.calls("b") == 0

    # The router rests the model, and does not ask the dead server again.
    assert list(model.breaker.resting()) == [MODEL]
    answer = await way.invoke(model, "Hi")
    assert answer.text == "b heard: Hi"
    assert answer.response_metadata["tryage"]["attempts"] == [{"model": "b", "error": None}]
    assert "".join(chunk.text for chunk in await way.stream(model, "Hi")) == "b heard: Hi"

    # Another router, which has not seen it die, moves on when nobody answers.
    answer = await way.invoke(pair(mortal, fresh_server), "Hi")
    assert answer.text == "b heard: Hi"
    dead, alive = answer.response_metadata["tryage"]["attempts"]
    assert dead["model"] == MODEL
    assert dead["error"].endswith("ConnectionError")
    assert alive == {"model": "b", "error": None}
    chunks = await way.stream(pair(mortal, fresh_server), "Hi")
    assert "".join(chunk.text for chunk in chunks) == "b heard: Hi"
