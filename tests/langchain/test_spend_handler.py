from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tryage import SpendHandler
from tests.langchain.fakes import Recording, answering, openai, router
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tryage import ModelCard, Usage, cost_usd
from tryage.testing import Upstream

A = ModelCard(name="a", input_usd_per_mtok=10, output_usd_per_mtok=100)
B = ModelCard(name="b", input_usd_per_mtok=1, output_usd_per_mtok=10)


def price(card: ModelCard, message: AIMessage) -> float:
    usage = message.usage_metadata
    return cost_usd(card, Usage(usage["input_tokens"], usage["output_tokens"]))


async def test_spend_saving_and_calls_are_summed(way: Way) -> None:
    model = router(answering("b"), answering("a"), cards=[B, A])
    handler = SpendHandler("a", model.router.library)
    config = {"callbacks": [handler]}
    first = await way.invoke(model, "Hello there", config)
    second = await way.invoke(model, "Hello", config, model="a")
    spend = handler.spend
    assert {name: m.calls for name, m in spend.models.items()} == {"b": 1, "a": 1}
    assert spend.cost_usd == pytest.approx(price(B, first) + price(A, second))
    assert spend.saved_usd == pytest.approx(price(A, first) - price(B, first))
    assert "2 calls" in repr(handler)


async def test_streams_and_batches_are_counted_once(way: Way) -> None:
    model = router(answering("b"), cards=[B])
    handler = SpendHandler(library=model.router.library)
    config = {"callbacks": [handler]}
    chunks = await way.stream(model, "Hello there", config)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    answers = await way.batch(model, ["One", "Two", "Three"], config)
    assert handler.spend.models["b"].calls == 4
    expected = price(B, whole) + sum(price(B, answer) for answer in answers)
    assert handler.spend.cost_usd == pytest.approx(expected)


async def test_a_handler_given_twice_counts_once(way: Way) -> None:
    handler = SpendHandler(library=router(answering("b"), cards=[B]).router.library)
    model = router(answering("b"), cards=[B], callbacks=[handler])
    await way.invoke(model, "Hello", {"callbacks": [handler]})
    assert handler.spend.models["b"].calls == 1


async def test_a_failed_attempt_is_told_apart(way: Way) -> None:
    model = router(answering("a", error=Upstream(503)), answering("b"), cards=[A, B])
    handler = SpendHandler("a", model.router.library)
    answer = await way.invoke(model, "Hello", {"callbacks": [handler]})
    assert (handler.spend.models["a"].failed, handler.spend.models["a"].calls) == (1, 0)
    assert handler.spend.cost_usd == pytest.approx(price(B, answer))


async def test_what_langchains_cache_gives_is_free(way: Way) -> None:
    model = router(answering("b", cache=InMemoryCache()), cards=[B])
    handler = SpendHandler("b", model.router.library)
    config = {"callbacks": [handler]}
    first = await way.invoke(model, "Hello", config)
    again = await way.invoke(model, "Hello", config)
    spent = handler.spend.models["b"]
    assert (spent.calls, spent.cached) == (1, 1)
    assert handler.spend.cost_usd == pytest.approx(price(B, first))
    assert again.response_metadata["tryage"]["cost_usd"] == 0


async def test_models_outside_of_a_router_count_by_their_own_name(
    way: Way, server: OpenAIServer
) -> None:
    handler = SpendHandler("gpt-4o")
    await way.invoke(openai(server, "gpt-4o-mini"), "Hello", {"callbacks": [handler]})
    await way.invoke(Recording(), "Hello", {"callbacks": [handler]})
    assert handler.spend.models["gpt-4o-mini"].cost_usd > 0
    assert handler.spend.models["recording"].unpriced == 1


async def test_a_provider_is_asked_for_usage_of_its_streams(way: Way, server: OpenAIServer) -> None:
    handler = SpendHandler()
    model = router(openai(server, "gpt-4o-mini"))
    await way.stream(model, "Hello", {"callbacks": [handler]})
    assert handler.spend.models["gpt-4o-mini"].cost_usd > 0


async def test_every_response_says_what_it_cost(way: Way, server: OpenAIServer) -> None:
    model = router(answering("b"), cards=[B])
    answer = await way.invoke(model, "Hello")
    assert answer.response_metadata["tryage"]["cost_usd"] == pytest.approx(price(B, answer))
    chunks = await way.stream(model, "Hello there")
    whole = sum(chunks[1:], start=chunks[0])
    assert whole.response_metadata["tryage"]["model"] == "b"
    assert whole.response_metadata["tryage"]["cost_usd"] == pytest.approx(price(B, whole))
    result = await way.generate(model, [answer_to("Hi"), answer_to("Ho")])
    for (generation,) in result.generations:
        told = generation.message.response_metadata["tryage"]
        assert told["cost_usd"] == pytest.approx(price(B, generation.message))


async def test_an_answer_that_is_not_streamed_says_what_it_cost(way: Way) -> None:
    (whole,) = await way.stream(router(answering("b"), cards=[B], disable_streaming=True), "Hello")
    assert whole.response_metadata["tryage"]["cost_usd"] == pytest.approx(price(B, whole))


async def test_without_prices_the_cost_is_not_made_up(way: Way) -> None:
    answer = await way.invoke(router(answering("nameless")), "Hello")
    assert answer.response_metadata["tryage"]["cost_usd"] is None


def test_one_handler_serves_many_threads() -> None:
    model = router(answering("b"), cards=[B])
    handler = SpendHandler("b", model.router.library)
    with ThreadPoolExecutor(8) as pool:
        ask = lambda i: model.invoke(f"Hello {i}", {"callbacks": [handler]})  # noqa: E731
        answers = list(pool.map(ask, range(200)))
    assert handler.spend.models["b"].calls == 200
    assert handler.spend.cost_usd == pytest.approx(sum(price(B, a) for a in answers))
    assert handler.spend.saved_usd == pytest.approx(0)


def answer_to(text: str) -> list[BaseMessage]:
    return [HumanMessage(text)]
