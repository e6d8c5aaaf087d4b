"""The router within LangChain's own ways of putting models together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, trim_messages
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import (
    ConfigurableField,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
)
from langchain_core.tools import tool
from pydantic import BaseModel

import tryage
from langchain_tryage import ChatTryage
from tests.langchain.fakes import answering, authors, openai, router, scripted
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tryage import AllModelsFailed, CircuitBreaker, UsageError
from tryage.testing import Upstream


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Person(BaseModel):
    """A person."""

    name: str
    age: int


FLAGS_B = {"configurable": {"tryage_flags": "only b"}}


def ab(**kwargs: Any) -> ChatTryage:
    return router(answering("a"), answering("b"), **kwargs)


def text(chunks: list[Any]) -> str:
    return "".join(chunk.text for chunk in chunks)


# Fallbacks


async def test_behind_a_model_that_fails(way: Way) -> None:
    guarded = answering("down", error=Upstream(503)).with_fallbacks([ab()])
    assert (await way.invoke(guarded, "Hi")).text == "a heard: Hi"
    assert (await way.invoke(guarded, "Hi", FLAGS_B)).text == "b heard: Hi"
    assert text(await way.stream(guarded, "Hi", FLAGS_B)) == "b heard: Hi"


async def test_in_front_of_another_model(way: Way) -> None:
    down = router(answering("a", error=Upstream(503)), answering("b", error=Upstream(429)))
    guarded = down.with_fallbacks([answering("c")], exceptions_to_handle=(AllModelsFailed,))
    assert (await way.invoke(guarded, "Hi")).text == "c heard: Hi"
    assert text(await way.stream(guarded, "Hi")) == "c heard: Hi"


async def test_tools_reach_it_behind_a_model_that_fails(way: Way) -> None:
    behind = router(scripted("a"), scripted("b"))
    guarded = scripted("down", error=Upstream(503)).with_fallbacks([behind]).bind_tools([add])
    answer = await way.invoke(guarded, "add(1, 2)", FLAGS_B)
    assert answer.tool_calls[0]["args"] == {"a": "1", "b": "2"}
    assert authors([answer]) == ["b"]


async def test_a_form_reaches_it_behind_a_model_that_fails(way: Way, server: OpenAIServer) -> None:
    behind = router(openai(server, "a"), openai(server, "b"))
    guarded = openai(server, "boom-500").with_fallbacks([behind])
    structured = guarded.with_structured_output(Person, method="function_calling")
    assert await way.invoke(structured, "'Ann' is 41 years old") == Person(name="Ann", age=41)


async def test_fallbacks_ask_a_broken_model_each_time_and_the_router_once(way: Way) -> None:
    theirs, ours = (answering("a", error=Upstream(503)) for _ in range(2))
    guarded = theirs.with_fallbacks([answering("b")])
    # So long a rest that no machine is too slow for it.
    model = router(ours, answering("b"), breaker=CircuitBreaker(first_rest_s=100))
    for runnable in (guarded, model):
        for call in (way.invoke, way.stream):
            for _ in range(10):
                answer = await call(runnable, "Hi")
                assert text(answer if isinstance(answer, list) else [answer]) == "b heard: Hi"
    assert (len(theirs.calls), len(ours.calls)) == (20, 1)


def test_fallbacks_are_no_chat_model_and_cannot_be_among_the_models() -> None:
    with pytest.raises(UsageError, match="a RunnableWithFallbacks; give a chat model"):
        ChatTryage([answering("a").with_fallbacks([answering("b")])])  # type: ignore[list-item]


# Configuration


async def test_any_field_can_be_set_with_a_call(way: Way, fresh_server: OpenAIServer) -> None:
    model = router(openai(fresh_server, "a"), openai(fresh_server, "b"))
    settable = model.configurable_fields(
        max_tokens=ConfigurableField("max_tokens"),
        stop=ConfigurableField("stop"),
        flags=ConfigurableField("flags"),
        prompt_flags=ConfigurableField("prompt_flags"),
    )
    config = {"configurable": {"max_tokens": 9, "stop": ["there"], "flags": "only b"}}
    assert (await way.invoke(settable, "Hi there", config)).text == "b heard: Hi "
    assert fresh_server.requests["b"][0]["max_completion_tokens"] == 9
    assert text(await way.stream(settable, "Hi there", config)) == "b heard: Hi "
    config = {"configurable": {"prompt_flags": True}}
    assert (await way.invoke(settable, "[Flag: only b] Hi", config)).text == "b heard: Hi"
    assert (await way.invoke(settable, "Hi there")).text == "a heard: Hi there"


async def test_among_alternatives(way: Way) -> None:
    either = ab().configurable_alternatives(
        ConfigurableField("llm"), default_key="ab", c=router(answering("c")), d=answering("d")
    )
    for llm, wanted in (("ab", "b"), ("d", "d")):
        config = {"configurable": {"llm": llm, "tryage_flags": "only b"}}
        assert (await way.invoke(either, "Hi", config)).text == f"{wanted} heard: Hi"
        assert text(await way.stream(either, "Hi", config)) == f"{wanted} heard: Hi"
    assert (await way.invoke(either, "Hi", {"configurable": {"llm": "c"}})).text == "c heard: Hi"
    answer = await way.invoke(either.bind_tools([add]), "Hi", FLAGS_B)
    assert authors([answer]) == ["b"]


async def test_bound_arguments_and_config_hold(way: Way, fresh_server: OpenAIServer) -> None:
    model = router(openai(fresh_server, "a"), openai(fresh_server, "b"))
    bound = model.bind(stop=["there"], seed=7).with_config(FLAGS_B, tags=["mine"])
    assert (await way.invoke(bound, "Hi there")).text == "b heard: Hi "
    assert text(await way.stream(bound, "Hi there")) == "b heard: Hi "
    answers = await way.batch(bound, ["Hi there", "Yo"])
    assert [answer.text for answer in answers] == ["b heard: Hi ", "b heard: Yo"]
    assert [body["seed"] for body in fresh_server.requests["b"]] == [7] * 4


async def test_each_item_of_a_batch_has_its_own_config(way: Way) -> None:
    answers = await way.batch(ab(), ["Hi", "Yo", ""], [FLAGS_B, {}, {}], return_exceptions=True)
    assert [answer.text for answer in answers[:2]] == ["b heard: Hi", "a heard: Yo"]
    assert isinstance(answers[2], tryage.EmptyPrompt)


# Flow


async def test_a_second_try_reaches_a_model_that_came_back(way: Way) -> None:
    class Waking(type(answering("a"))):  # type: ignore[misc]
        def answer(self, messages: Any) -> AIMessage:
            if len(self.calls) == 1:
                raise Upstream(503)
            return super().answer(messages)

    waking = Waking(str.upper, model_name="a")
    patient = router(waking).with_retry(
        retry_if_exception_type=(AllModelsFailed,), wait_exponential_jitter=False
    )
    assert (await way.invoke(patient, "Hi")).text == "HI"
    assert len(waking.calls) == 2


async def test_branches_and_functions_that_return_it(way: Way) -> None:
    model = ab()
    branch = RunnableBranch((lambda asked: "code" in asked, model.bind(model="b")), model)
    returned = RunnableLambda(lambda asked: branch)
    for runnable in (branch, returned):
        for asked, wanted in (("Hi", "a heard: Hi"), ("code it", "b heard: code it")):
            assert (await way.invoke(runnable, asked)).text == wanted
            chunks = await way.stream(runnable, asked)
            assert len(chunks) > 3
            assert text(chunks) == wanted
        assert (await way.invoke(runnable, "Hi", FLAGS_B)).text == "b heard: Hi"


async def test_side_by_side_under_different_flags(way: Way) -> None:
    model = ab()
    both = RunnableParallel(best=model, other=model.with_config(FLAGS_B))
    answers = await way.invoke(both, "Hi")
    assert {key: answer.text[0] for key, answer in answers.items()} == {"best": "a", "other": "b"}
    with tryage.flags("not a"):
        answers = await way.invoke(RunnableParallel(one=model, two=model), "Hi")
    assert authors(list(answers.values())) == ["b", "b"]


async def test_messages_trimmed_by_its_count_of_tokens(way: Way) -> None:
    model = ab()
    trimmer = trim_messages(max_tokens=20, token_counter=model, strategy="last", start_on="human")
    talk = [HumanMessage("one " * 50), AIMessage("Well."), HumanMessage("And now?")]
    assert (await way.invoke(trimmer | model, talk)).text == "a heard: And now?"
    assert [message.text for message in trimmer.invoke(talk)] == ["And now?"]


async def test_a_conversation_moves_to_a_model_of_another_form(
    way: Way, fresh_server: OpenAIServer
) -> None:
    """Blocks that only Anthropic knows are not shown to the next model."""
    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "1"}
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "1", "name": "add", "input": {"a": 1, "b": 2}},
    ]
    said = {"tryage": {"model": "a"}}
    spoken = AIMessage(blocks, tool_calls=[call], response_metadata=said)
    talk = [HumanMessage("Add."), spoken, ToolMessage("3", tool_call_id="1")]
    model = router(answering("a"), openai(fresh_server, "b"))
    answer = await way.invoke(model, talk, FLAGS_B)  # a limit ends even an open tool loop
    assert authors([answer]) == ["b"]
    (body,) = fresh_server.requests["b"]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool"]
    assert body["messages"][1]["content"] == "Let me see."
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "add"


# Cache and limits


@pytest.fixture
def cache() -> Iterator[BaseCache]:
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


async def test_an_answer_from_the_global_cache_tells_of_its_own_call(
    way: Way, cache: InMemoryCache
) -> None:
    a = answering("a")
    model = router(a, answering("b"))
    used = UsageMetadataCallbackHandler()
    first = await way.invoke(model, "Hi")
    second = await way.invoke(model, "Hi", {"callbacks": [used], **FLAGS_B})
    third = await way.invoke(model, "Hi", {"configurable": {"tryage_flags": "cost=0.1"}})
    assert authors([first, second, third]) == ["a", "b", "a"]
    assert third.text == first.text
    assert third.response_metadata["tryage"]["flags"] == {"cost": 0.1}
    assert first.response_metadata["tryage"]["flags"] == {}
    assert third.response_metadata["tryage"]["attempts"] == [{"model": "a", "error": None}]
    assert len(a.calls) == 1
    kept = [row[0].message.response_metadata for row in cache._cache.values()]
    assert kept == [{"model_name": "a"}, {"model_name": "b"}]
    result = await way.generate(model, [[HumanMessage("Hi")], [HumanMessage("Yo")]])
    assert authors([row[0].message for row in result.generations]) == ["a", "a"]
    assert a.calls == ["Hi", "Yo"]


async def test_an_answer_of_the_next_model_is_kept_under_its_own_name(
    way: Way, cache: InMemoryCache
) -> None:
    b = answering("b")
    model = router(answering("a", error=Upstream(503)), b)
    for _ in range(2):
        assert authors([await way.invoke(model, "Hi")]) == ["b"]
    assert authors([await way.invoke(router(b), "Hi")]) == ["b"]
    assert b.calls == ["Hi"]


class Clockless(InMemoryRateLimiter):
    """Counts the tokens that it is asked for in place of waiting for them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def _consume(self) -> bool:
        self.asked += 1
        return True


async def test_a_models_rate_limiter_is_asked_for_its_own_calls_alone(way: Way) -> None:
    limits = {name: Clockless() for name in ("down", "a", "b")}
    model = router(
        answering("down", error=Upstream(503), rate_limiter=limits["down"]),
        answering("a", rate_limiter=limits["a"]),
        answering("b", rate_limiter=limits["b"]),
        breaker=CircuitBreaker(first_rest_s=100),
    )
    await way.batch(model, ["Hi"], [{}])
    await way.batch(model, ["Hi"] * 9, [FLAGS_B, {}, {}] * 3)
    await way.stream(model, "Hi", FLAGS_B)
    assert {name: limit.asked for name, limit in limits.items()} == {"down": 1, "a": 7, "b": 4}
