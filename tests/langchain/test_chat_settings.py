"""Settings of the models hold, and those of the router stand for models that have none."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField

from langchain_tryage import ChatTryage
from tests.langchain.fakes import Counting, Recording, answering, openai, router
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer


class Limiter(BaseRateLimiter):
    def __init__(self) -> None:
        self.acquired = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.acquired += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


async def test_a_models_cache_answers_the_second_time_and_stays_clean(way: Way) -> None:
    cache = InMemoryCache()
    child = answering("a", cache=cache)
    model = router(child, answering("b"))
    first = await way.invoke(model, "Hi")
    second = await way.invoke(model, "Hi", {"configurable": {"tryage_flags": "size=0.1"}})
    assert len(child.calls) == 1
    assert first.response_metadata["tryage"]["flags"] == {}
    assert second.response_metadata["tryage"]["flags"] == {"size": 0.1}
    (kept,) = cache._cache.values()
    assert "tryage" not in kept[0].message.response_metadata
    assert (await way.invoke(child, "Hi")).response_metadata == {"model_name": "a"}
    assert len(child.calls) == 1  # the same key as without the router


async def test_the_routers_cache_stands_for_models_without_one(way: Way) -> None:
    children = answering("a"), answering("b")
    model = router(*children, cache=InMemoryCache())
    await way.invoke(model, "Hi")
    await way.invoke(model, "Hi")
    await way.invoke(model, "Hi", model="b")
    assert [len(child.calls) for child in children] == [1, 1]
    assert children[0].cache is None


async def test_the_global_cache_counts(way: Way) -> None:
    child = answering("a")
    set_llm_cache(InMemoryCache())
    try:
        await way.invoke(router(child), "Hi")
        await way.invoke(router(child), "Hi")
    finally:
        set_llm_cache(None)
    assert len(child.calls) == 1


async def test_rate_limiters_are_asked_once_per_call(way: Way) -> None:
    of_model, of_router = Limiter(), Limiter()
    model = router(answering("a", rate_limiter=of_model), answering("b"), rate_limiter=of_router)
    await way.invoke(model, "Hi")
    await way.stream(model, "Hi")
    assert (of_model.acquired, of_router.acquired) == (2, 0)
    await way.invoke(model, "Hi", model="b")
    assert (of_model.acquired, of_router.acquired) == (2, 1)


async def test_a_model_with_streaming_switched_on(way: Way, server: OpenAIServer) -> None:
    model = router(openai(server, "a", streaming=True), openai(server, "b"))
    seen = Counting()
    assert (await way.invoke(model, "Hi", {"callbacks": [seen]})).text == "a heard: Hi"
    assert "".join(seen.tokens) == "a heard: Hi"
    assert "".join(c.text for c in await way.stream(model, "Hi")) == "a heard: Hi"
    result = await way.inner_generate(model, [HumanMessage("Hi")])
    assert result.generations[0].text == "a heard: Hi"


async def test_streaming_on_the_router_reaches_models_that_say_nothing(
    way: Way, server: OpenAIServer
) -> None:
    seen = Counting()
    model = router(openai(server, "a"), streaming=True)
    await way.invoke(model, "Hi", {"callbacks": [seen]})
    assert "".join(seen.tokens) == "a heard: Hi"


async def test_a_model_that_cannot_stream(way: Way) -> None:
    model = router(Recording())
    (chunk,) = await way.stream(model, "Hi")
    assert chunk.text == "recorded"
    assert chunk.response_metadata["tryage"]["model"] == "recording"
    (inner,) = await way.inner_stream(model, [HumanMessage("Hi")])
    assert inner.text == "recorded"
    assert inner.message.chunk_position == "last"


@pytest.mark.parametrize("where", ["router", "model"])
async def test_streaming_can_be_switched_off(way: Way, where: str) -> None:
    off = {"disable_streaming": True}
    model = router(
        answering("a", **(off if where == "model" else {})), **(off if where == "router" else {})
    )
    (chunk,) = await way.stream(model, "Hi there")
    assert chunk.text == "a heard: Hi there"
    assert chunk.response_metadata["tryage"]["model"] == "a"


async def test_output_version_reaches_the_models(way: Way, server: OpenAIServer) -> None:
    model = router(openai(server, "a"), output_version="v1")
    answer = await way.invoke(model, "Hi")
    assert [block["type"] for block in answer.content] == ["text"]
    assert answer.text == "a heard: Hi"


async def test_stop_and_sampling_of_the_constructor_reach_models_built_elsewhere(
    way: Way, fresh_server: OpenAIServer
) -> None:
    model = router(openai(fresh_server, "a"), stop=["there"], temperature=0.5, max_tokens=9)
    assert (await way.invoke(model, "Hi there")).text == "a heard: Hi "
    assert (await way.invoke(model, "Hi there", stop=["Hi"], temperature=0.1)).text == "a heard: "
    first, second = fresh_server.requests["a"]
    assert (first["temperature"], second["temperature"]) == (0.5, 0.1)
    assert first["max_completion_tokens"] == 9


async def test_per_call_arguments_reach_the_provider(way: Way, fresh_server: OpenAIServer) -> None:
    await way.invoke(router(openai(fresh_server, "a")), "Hi", seed=7, user="ann")
    (body,) = fresh_server.requests["a"]
    assert (body["seed"], body["user"]) == (7, "ann")


async def test_a_returned_message_is_the_callers_own(way: Way) -> None:
    fixed = AIMessage("always the same")

    class Fixed(type(answering("a"))):  # type: ignore[misc]
        def answer(self, messages: Any) -> AIMessage:
            return fixed

    await way.invoke(router(Fixed(str, model_name="a")), "Hi")
    assert "tryage" not in fixed.response_metadata


def test_a_model_whose_streams_report_no_tokens_is_warned_of(server: OpenAIServer) -> None:
    with pytest.warns(UserWarning, match="gpt-4o will report no tokens when streaming"):
        router(openai(server, "gpt-4o", stream_usage=None))
    router(openai(server, "gpt-4o", stream_usage=False))  # asked for: no warning
    router(openai(server, "gpt-4o", stream_usage=True))


def test_a_router_that_is_configured_anew_warns_of_nothing(
    monkeypatch: pytest.MonkeyPatch, server: OpenAIServer
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    model = ChatTryage(
        ["openai:gpt-4o"], base_url=server.base_url, stream_usage=True, timeout=10
    ).configurable_fields(temperature=ConfigurableField(id="temperature"))
    assert model.invoke("Hi", {"configurable": {"temperature": 0.5}}).text


def test_the_longest_answer_counts_in_the_expected_cost_under_every_name() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        model = router(answering("gpt-4o"), **{name: 10})
        told = model.invoke("Hi").response_metadata["tryage"]
        assert told["expected_cost_usd"] == pytest.approx((1 * 2.5 + 10 * 10) / 1e6)
