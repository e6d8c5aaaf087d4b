"""Engines over a router answer as over the bare LLM that it decides for, with as many calls."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, PromptTemplate, Settings, VectorStoreIndex
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.response_synthesizers import ResponseMode
from pydantic import BaseModel

from llamaindex_tryage import Tryage
from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import Recorded, prefers, says
from tests.llamaindex.entries import ENTRIES, Entry, astream_complete, stream_complete

QUESTION = "When does water boil?"


class Animal(BaseModel):
    """An animal."""

    name: str


@pytest.fixture(autouse=True)
def some_llm_in_the_settings(monkeypatch):
    """LlamaIndex makes one for the modes without any, and would ask for a key."""
    monkeypatch.setattr(Settings, "_llm", MockLLM())


@pytest.fixture(scope="module")
def index() -> VectorStoreIndex:
    documents = [Document(text=f"Fact {n}: water boils at {n} degrees.") for n in range(4)]
    return VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(8))


@pytest.fixture(params=["function", "mock", "mock with tools", "server"])
def llm_named(request, served) -> Any:
    """Makes an LLM of each kind."""
    return {
        "function": says,
        "mock": lambda name: MockLLM(),
        "mock with tools": lambda name: MockFunctionCallingLLM(),
        "server": served,
    }[request.param]


@pytest.fixture(params=["by text", "by tools", "by schema"])
def fills(request, served) -> Any:
    """Makes an LLM that fills objects in each way."""
    return {
        "by text": lambda name: FunctionLLM(lambda text: json.dumps({"name": name}), name),
        "by tools": partial(served, is_function_calling_model=True),
        "by schema": partial(served, should_use_structured_outputs=True),
    }[request.param]


async def same_with(
    recorded: Recorded, make: Callable[[str], LLM], use: Any, may_fail: bool = False
) -> Any:
    """Return what comes of using a bare LLM, which is what comes of it through a router.

    What is compared is the answer, or the error, and what the LLM was called with.
    """
    outcomes = []
    routed = Tryage(llms={"a": make("a"), "b": make("b")}, predictor=prefers("a", "b"))
    for llm in (make("a"), routed):
        recorded.events.clear()
        try:
            answer = await use(llm)
        except Exception as error:
            if not may_fail:
                raise
            answer = (type(error), str(error))
        asked = [getattr(e, "messages", getattr(e, "prompt", None)) for e in recorded.started_calls]
        outcomes.append((answer, asked))
    assert outcomes[1] == outcomes[0]
    decided = [event.model for event in recorded.named("RoutingDecisionEvent")]
    assert set(decided) == ({"a"} if asked else set())
    return answer


# Query engines


async def query(engine: Any, question: str) -> Any:
    return engine.query(question).response


async def aquery(engine: Any, question: str) -> Any:
    return (await engine.aquery(question)).response


async def stream(engine: Any, question: str) -> Any:
    return list(engine.query(question).response_gen)


async def astream(engine: Any, question: str) -> Any:
    return [token async for token in (await engine.aquery(question)).async_response_gen()]


every_query = pytest.mark.parametrize(
    "ask", [query, aquery, stream, astream], ids=lambda ask: ask.__name__
)
WITHOUT_LLM = {ResponseMode.NO_TEXT, ResponseMode.CONTEXT_ONLY}
NO_STREAMS = {ResponseMode.ACCUMULATE, ResponseMode.COMPACT_ACCUMULATE, *WITHOUT_LLM}


@every_query
@pytest.mark.parametrize("mode", list(ResponseMode))
async def test_every_response_mode(mode, ask, llm_named, index, recorded):
    async def use(llm: LLM) -> Any:
        streaming = ask in (stream, astream)
        engine = index.as_query_engine(
            llm, response_mode=mode, similarity_top_k=3, streaming=streaming
        )
        return await ask(engine, QUESTION)

    may_fail = mode in NO_STREAMS and ask in (stream, astream)
    answer = await same_with(recorded, llm_named, use, may_fail)
    if mode not in WITHOUT_LLM and not may_fail:
        assert QUESTION in "".join(answer)


@pytest.mark.parametrize("ask", [query, aquery], ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("mode", [ResponseMode.COMPACT, ResponseMode.REFINE])
async def test_objects_from_query_engines(mode, ask, fills, index, recorded):
    async def use(llm: LLM) -> Any:
        engine = index.as_query_engine(llm, response_mode=mode, output_cls=Animal)
        return await ask(engine, QUESTION)

    answer = await same_with(recorded, fills, use)
    assert isinstance(answer, Animal)


# Objects from the LLM itself

TELL = PromptTemplate("Tell me of the animal '{name}'.")


async def structured_predict(llm: LLM) -> list[Any]:
    return [llm.structured_predict(Animal, TELL, name="cat")]


async def astructured_predict(llm: LLM) -> list[Any]:
    return [await llm.astructured_predict(Animal, TELL, name="cat")]


async def stream_structured_predict(llm: LLM) -> list[Any]:
    return list(llm.stream_structured_predict(Animal, TELL, name="cat"))


async def astream_structured_predict(llm: LLM) -> list[Any]:
    return [part async for part in await llm.astream_structured_predict(Animal, TELL, name="cat")]


def wrapped(entry: Entry) -> Callable[[LLM], Awaitable[list[Any]]]:
    """Return the use of an entry point of the LLM that only gives objects."""

    async def use(llm: LLM) -> list[Any]:
        parts = await entry(llm.as_structured_llm(Animal), "Tell me of the animal 'cat'.")
        return [part.raw for part in parts]

    use.__name__ = f"structured_{entry.__name__}"
    return use


NOT_UPSTREAM = (stream_complete, astream_complete)


@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")  # LlamaIndex calls it
@pytest.mark.parametrize(
    "fill",
    [
        structured_predict,
        astructured_predict,
        stream_structured_predict,
        astream_structured_predict,
        *(wrapped(entry) for entry in ENTRIES if entry not in NOT_UPSTREAM),
    ],
    ids=lambda fill: fill.__name__,
)
async def test_objects_from_the_llm(fill, fills, recorded):
    async def use(llm: LLM) -> list[str | None]:
        return [part.name for part in await fill(llm)]

    assert (await same_with(recorded, fills, use))[-1] in ("a", "cat")


# Chat engines


async def chat(engine: BaseChatEngine, said: str) -> str:
    return engine.chat(said).response


async def achat(engine: BaseChatEngine, said: str) -> str:
    return (await engine.achat(said)).response


async def stream_chat(engine: BaseChatEngine, said: str) -> str:
    return "".join(engine.stream_chat(said).response_gen)


async def astream_chat(engine: BaseChatEngine, said: str) -> str:
    answer = await engine.astream_chat(said)
    return "".join([token async for token in answer.async_response_gen()])


every_chat = pytest.mark.parametrize(
    "talk", [chat, achat, stream_chat, astream_chat], ids=lambda talk: talk.__name__
)


@every_chat
@pytest.mark.parametrize("mode", list(ChatMode))
async def test_every_chat_mode(mode, talk, llm_named, index, recorded):
    async def use(llm: LLM) -> Any:
        memory = ChatMemoryBuffer.from_defaults(token_limit=3_000)
        engine = index.as_chat_engine(mode, llm=llm, memory=memory)
        answers = [await talk(engine, said) for said in ("Why?", "And then?")]
        return answers, [(message.role, message.content) for message in engine.chat_history]

    gone = mode in (ChatMode.REACT, ChatMode.OPENAI)
    result = await same_with(recorded, llm_named, use, may_fail=gone)
    if not gone:
        answers, history = result
        assert [role for role, _ in history] == ["user", "assistant"] * 2
        assert "And then?" in answers[1]
