"""Two hundred calls at once, of every kind: each is answered by the LLM decided for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import LLM

import tryage
from llamaindex_tryage import Tryage
from tests.llamaindex.conftest import says
from tests.llamaindex.entries import ENTRIES, Response, text_of, told
from tests.servers.openai_server import USAGE
from tryage.testing import FunctionPredictor, Upstream

CALLS = 200
NAMES = [f"m{n}" for n in range(5)]


def wanted(text: str) -> str:
    """Return the name of the model for a prompt such as `Question 17`."""
    return NAMES[int(re.search(r"\d+", text)[0]) % len(NAMES)]


def mixed(llms: list[LLM], **settings) -> Tryage:
    predictor = FunctionPredictor(lambda text, model: float(model == wanted(text)))
    return Tryage(llms=llms, predictor=predictor, **settings)


async def at_once(llm: Tryage, how: str, flags: Callable[[int], str]) -> list[list[Response]]:
    """Return the responses to so many calls, through each entry point in turn."""
    ways = [entry for entry in ENTRIES if entry.__name__.startswith("a") == (how == "tasks")]

    async def call(n: int) -> list[Response]:
        with tryage.flags(flags(n)):
            return await ways[n % len(ways)](llm, f"Question {n}")

    if how == "tasks":
        return await asyncio.gather(*(call(n) for n in range(CALLS)))
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda n: asyncio.run(call(n)), range(CALLS)))


every_how = pytest.mark.parametrize("how", ["tasks", "threads"])


@every_how
async def test_over_a_server(how, served, server):
    handler = TokenCountingHandler()
    llms = [served(name, additional_kwargs={"stream_options": {"include_usage": True}})
            for name in NAMES]  # fmt: skip
    llm = mixed(llms, callback_manager=CallbackManager([handler]))
    answers = await at_once(llm, how, lambda n: "")
    for n, answer in enumerate(answers):
        name = NAMES[n % len(NAMES)]
        assert text_of(answer) == f"{name} heard: Question {n}"
        assert told(answer)["model"] == told(answer)["decided"] == name
    assert {name: server.calls(name) for name in NAMES} == dict.fromkeys(NAMES, CALLS // 5)
    assert len(handler.llm_token_counts) == CALLS
    assert handler.total_llm_token_count == CALLS * USAGE["total_tokens"]


@every_how
async def test_flags_and_spans_of_one_call_are_not_those_of_another(how, recorded):
    llm = mixed([says(name) for name in NAMES])
    answers = await at_once(llm, how, lambda n: f"not {wanted(str(n))}" if n % 3 == 0 else "")
    for n, answer in enumerate(answers):
        if n % 3:
            assert told(answer)["model"] == wanted(str(n))
        else:
            assert told(answer)["model"] != wanted(str(n))
        assert text_of(answer) == f"{told(answer)['model']}: Question {n}"
    decided = {event.span_id: event.model for event in recorded.named("RoutingDecisionEvent")}
    assert len(decided) == CALLS
    called = {
        recorded.parent_of(event.span_id): event.model_dict["model_name"]
        for event in recorded.started_calls
    }
    assert called == decided


@every_how
async def test_one_that_fails_is_stood_in_for_everywhere(how):
    broken = says("m0", error=Upstream(503))
    llm = mixed([broken, *(says(name) for name in NAMES[1:])])
    answers = await at_once(llm, how, lambda n: "")
    for n, answer in enumerate(answers):
        expected = "m1" if n % 5 == 0 else NAMES[n % 5]  # ties are broken by the order
        assert told(answer)["model"] == expected
        assert text_of(answer) == f"{expected}: Question {n}"
    assert 1 <= len(broken.calls) <= CALLS // 5
