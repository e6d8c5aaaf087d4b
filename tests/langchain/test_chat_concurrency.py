"""Many calls at once, from threads, tasks and event loops."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

import tryage
from langchain_tryage import ChatTryage
from tests.langchain.fakes import answering, router
from tryage import CircuitBreaker
from tryage.testing import FunctionPredictor, Upstream

NAMES = ("m0", "m1", "m2", "m3", "m4")
PROMPTS = [f"prompt number {n}" for n in range(200)]


def decided(prompt: str) -> str:
    return NAMES[int(prompt.split()[-1]) % len(NAMES)]


@pytest.fixture
def model() -> ChatTryage:
    predictor = FunctionPredictor(lambda prompt, name: 0.9 if name == decided(prompt) else 0.1)
    return router(*(answering(name) for name in NAMES), predictor=predictor)


async def test_every_task_is_answered_by_the_model_decided_for_it(model: ChatTryage) -> None:
    answers = await asyncio.gather(*(model.ainvoke(prompt) for prompt in PROMPTS))
    assert [a.text for a in answers] == [f"{decided(p)} heard: {p}" for p in PROMPTS]


def test_every_thread_is_answered_by_the_model_decided_for_it(model: ChatTryage) -> None:
    def read(prompt: str) -> str:
        return "".join(chunk.text for chunk in model.stream(prompt))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(read, PROMPTS))
    assert answers == [f"{decided(p)} heard: {p}" for p in PROMPTS]


async def test_flags_of_one_task_are_not_another_tasks(model: ChatTryage) -> None:
    async def ask(name: str) -> str:
        with tryage.flags(allow={name}):
            await asyncio.sleep(0)
            answer = await model.ainvoke("prompt number 0")
        return answer.response_metadata["tryage"]["model"]

    assert await asyncio.gather(*map(ask, NAMES)) == list(NAMES)


def test_one_event_loop_after_another(model: ChatTryage) -> None:
    for prompt in PROMPTS[:2]:
        with ThreadPoolExecutor(1) as pool:  # a thread without a loop of its own
            answer = pool.submit(asyncio.run, model.ainvoke(prompt)).result()
        assert answer.text == f"{decided(prompt)} heard: {prompt}"


async def test_many_calls_agree_that_a_model_is_down() -> None:
    broken = answering("a", error=Upstream(503))
    # So long a rest that no machine is too slow for it.
    model = router(broken, answering("b"), breaker=CircuitBreaker(first_rest_s=100))
    await model.ainvoke("Hi")
    answers = await asyncio.gather(*(model.ainvoke("Hi") for _ in range(200)))
    assert {answer.text for answer in answers} == {"b heard: Hi"}
    assert len(broken.calls) == 1
