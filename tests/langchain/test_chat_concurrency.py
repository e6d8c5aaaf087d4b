"""Many calls at once, from threads, tasks and event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage

import tryage
from langchain_tryage import ChatTryage
from tests.langchain.fakes import answering, authors, router
from tryage import CircuitBreaker
from tryage.testing import FunctionPredictor, Upstream

NAMES = ("m0", "m1", "m2", "m3", "m4")
PROMPTS = [f"prompt number {n}" for n in range(200)]
LONG_REST = {"first_rest_s": 100, "longest_rest_s": 1000}
"""So long that no machine is too slow for it."""


def decided(prompt: str) -> str:
    return NAMES[int(prompt.split()[-1]) % len(NAMES)]


def five(breaker: CircuitBreaker | None = None, **errors: Exception) -> ChatTryage:
    """Return a router whose decision stands in the prompt; models with an error are broken."""
    predictor = FunctionPredictor(lambda prompt, name: 0.9 if name == decided(prompt) else 0.1)
    models = (answering(name, error=errors.get(name)) for name in NAMES)
    return router(*models, predictor=predictor, breaker=breaker)


def in_tasks(model: Any, prompts: list[str], call: str = "invoke") -> list[AIMessage]:
    async def ask(prompt: str) -> AIMessage:
        if call == "invoke":
            return await model.ainvoke(prompt)
        chunks = [chunk async for chunk in model.astream(prompt)]
        return sum(chunks[1:], chunks[0])

    async def ask_all() -> list[AIMessage]:
        return await asyncio.gather(*map(ask, prompts))

    with ThreadPoolExecutor(1) as pool:  # a thread without a loop of its own
        return pool.submit(asyncio.run, ask_all()).result()


def in_threads(model: Any, prompts: list[str], call: str = "invoke") -> list[AIMessage]:
    def ask(prompt: str) -> AIMessage:
        if call == "invoke":
            return model.invoke(prompt)
        chunks = list(model.stream(prompt))
        return sum(chunks[1:], chunks[0])

    with ThreadPoolExecutor(50) as pool:
        return list(pool.map(ask, prompts))


AtOnce = Callable[..., list[AIMessage]]
at_once = pytest.mark.parametrize("at_once", [in_tasks, in_threads])
calls = pytest.mark.parametrize("call", ["invoke", "stream"])


@at_once
@calls
def test_every_call_is_answered_by_the_model_decided_for_it(at_once: AtOnce, call: str) -> None:
    model = five()
    answers = at_once(model, PROMPTS, call)
    assert [a.text for a in answers] == [f"{decided(p)} heard: {p}" for p in PROMPTS]
    assert authors(answers) == [decided(p) for p in PROMPTS]
    for name, asked in model.models.items():
        assert sorted(asked.calls) == sorted(p for p in PROMPTS if decided(p) == name)


@at_once
@calls
def test_where_a_model_is_down_its_calls_alone_go_elsewhere(at_once: AtOnce, call: str) -> None:
    model = five(CircuitBreaker(**LONG_REST), m3=Upstream(503))
    broken = model.models["m3"]
    for prompts in (PROMPTS[:20], PROMPTS):
        answers = at_once(model, prompts, call)
        wanted = ["m0" if decided(p) == "m3" else decided(p) for p in prompts]  # ties: the first
        assert [a.text for a in answers] == [f"{m} heard: {p}" for m, p in zip(wanted, prompts)]
        assert authors(answers) == wanted
        # Only those that were under way when the first of them failed.
        assert 1 <= len(broken.calls) <= 4
    assert list(model.breaker.resting()) == ["m3"]


async def test_flags_of_one_task_are_not_another_tasks() -> None:
    model = five()

    async def ask(name: str) -> str:
        with tryage.flags(allow={name}):
            await asyncio.sleep(0)
            answer = await model.ainvoke("prompt number 0")
        return answer.response_metadata["tryage"]["model"]

    assert await asyncio.gather(*map(ask, NAMES)) == list(NAMES)


def test_flags_of_one_thread_are_not_another_threads() -> None:
    model = five()

    def ask(name: str) -> list[str]:
        with tryage.flags(allow={name}):
            return authors([model.invoke(prompt) for prompt in PROMPTS[:20]])

    with ThreadPoolExecutor(len(NAMES)) as pool:
        assert list(pool.map(ask, NAMES)) == [[name] * 20 for name in NAMES]


def test_one_event_loop_after_another() -> None:
    model = five()
    for prompt in PROMPTS[:2]:
        (answer,) = in_tasks(model, [prompt])
        assert answer.text == f"{decided(prompt)} heard: {prompt}"


async def test_many_calls_agree_that_a_model_is_down() -> None:
    broken = answering("a", error=Upstream(503))
    model = router(broken, answering("b"), breaker=CircuitBreaker(**LONG_REST))
    await model.ainvoke("Hi")
    answers = await asyncio.gather(*(model.ainvoke("Hi") for _ in range(200)))
    assert {answer.text for answer in answers} == {"b heard: Hi"}
    assert len(broken.calls) == 1
