"""Who answered is known across memories and conversations, and no model is told."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer, Memory
from llama_index.core.prompts import ChatPromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from llamaindex_tryage import Tryage
from llamaindex_tryage.messages import author_of, signed
from tests.llamaindex.conftest import prefers, says
from tests.llamaindex.scripted import ToolUser, router
from tryage.testing import FunctionPredictor

# LlamaIndex's agents look at deprecated attributes of their own.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

Reopen = Callable[[BaseMemory], Awaitable[BaseMemory]]


@pytest.fixture
async def database(tmp_path) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/memory.db")
    yield engine
    await engine.dispose()


@pytest.fixture(params=["the same", "pickled", "dumped", "in SQL", "in SQL, opened again"])
def memory(request, database) -> tuple[BaseMemory, Reopen]:
    """A memory, and what becomes of it between two turns of a conversation."""
    in_sql = {"session_id": "one", "async_engine": database}

    async def reopen(memory: BaseMemory) -> BaseMemory:
        if request.param == "pickled":
            return pickle.loads(pickle.dumps(memory))
        if request.param == "dumped":
            said = [message.model_dump(mode="json") for message in await memory.aget_all()]
            return ChatMemoryBuffer.from_defaults([ChatMessage.model_validate(m) for m in said])
        if request.param == "in SQL, opened again":
            return Memory.from_defaults(**in_sql)
        return memory

    made = ChatMemoryBuffer.from_defaults()
    return Memory.from_defaults(**in_sql) if "SQL" in request.param else made, reopen


class Mind:
    """A predictor that changes what it thinks."""

    favourite = "a"

    def predictor(self) -> FunctionPredictor:
        return FunctionPredictor(lambda text, model: float(model == self.favourite))


@pytest.mark.parametrize("flags", ["stickiness=2", None])
async def test_the_model_that_spoke_last_is_kept_across_turns_of_an_agent(flags, memory):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    mind, (memory, reopen) = Mind(), memory
    llm = router(ToolUser(name="a"), ToolUser(name="b"), flags=flags, predictor=mind.predictor())
    agent = FunctionAgent(tools=[add], llm=llm)
    assert str(await agent.run("add 2 3", memory=memory)) == "a: 5"
    mind.favourite, memory = "b", await reopen(memory)
    kept = "a" if flags else "b"
    assert str(await agent.run("add 4 5", memory=memory)) == f"{kept}: 9"
    answers = [m for m in await memory.aget_all() if m.role == "assistant"]
    assert [author_of(message) for message in answers] == ["a", "a", kept, kept]


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_the_model_that_spoke_last_is_kept_in_a_chat_engine(streaming, memory):
    mind, (memory, reopen) = Mind(), memory
    llm = router(says("a"), says("b"), flags="stickiness=2", predictor=mind.predictor())

    async def chat(said: str) -> str:
        engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
        if not streaming:
            return (await engine.achat(said)).response
        answer = await engine.astream_chat(said)
        return "".join([token async for token in answer.async_response_gen()])

    assert await chat("Hi") == "a: Hi"
    mind.favourite, memory = "b", await reopen(memory)
    assert await chat("And then?") == "a: And then?"


async def test_a_tool_loop_that_was_stored_stays_with_its_model(memory):
    memory, reopen = memory
    tools = [FunctionTool.from_defaults(lambda a: a, name="double", description="Double.")]
    mind = Mind()
    llm = router(ToolUser(name="a"), ToolUser(name="b"), predictor=mind.predictor())
    await memory.aput(ChatMessage("double 2; double"))
    asked = await llm.achat_with_tools(tools, chat_history=await memory.aget())
    await memory.aput(asked.message)
    mind.favourite, memory = "b", await reopen(memory)
    await memory.aput(ChatMessage("4", role="tool", additional_kwargs={"tool_call_id": "a-1"}))
    again = await llm.achat_with_tools(tools, chat_history=await memory.aget())
    assert [author_of(asked.message), author_of(again.message)] == ["a", "a"]


# What goes over the wire


class Animal(BaseModel):
    """An animal."""

    name: str


def history() -> list[ChatMessage]:
    """A conversation in which OpenAI's package sends all `additional_kwargs` of the answer."""
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    calls = ChatMessage(role="assistant", content="", additional_kwargs={"tool_calls": [call]})
    result = ChatMessage("5", role="tool", additional_kwargs={"tool_call_id": "1"})
    answer = ChatMessage("Five.", role="assistant")
    return [
        ChatMessage("Add 2 and 3"),
        signed(calls, "a"),
        signed(result, "a"),
        signed(answer, "a"),
        ChatMessage("Name an animal: 'cat'"),
    ]


async def all_ways(llm: Tryage, tools: bool) -> None:
    """Call every entry point that takes messages with the conversation."""
    said, template = history(), ChatPromptTemplate(history())
    add = FunctionTool.from_defaults(lambda a: a, name="add", description="Add.")
    llm.chat(said)
    await llm.achat(said)
    list(llm.stream_chat(said))
    [_ async for _ in await llm.astream_chat(said)]
    llm.predict(template)
    await llm.apredict(template)
    list(llm.stream(template))
    [_ async for _ in await llm.astream(template)]
    if not tools:
        return
    llm.structured_predict(Animal, template)
    await llm.astructured_predict(Animal, template)
    list(llm.stream_structured_predict(Animal, template))
    [_ async for _ in await llm.astream_structured_predict(Animal, template)]
    with_tools: dict[str, Any] = {"tools": [add], "chat_history": said}
    llm.chat_with_tools(**with_tools)
    await llm.achat_with_tools(**with_tools)
    list(llm.stream_chat_with_tools(**with_tools))
    [_ async for _ in await llm.astream_chat_with_tools(**with_tools)]
    llm.predict_and_call(**with_tools)
    await llm.apredict_and_call(**with_tools)
    assert said == history()
    assert template.message_templates == history()


async def test_no_provider_is_sent_who_answered(served, server):
    bare = served("m", is_function_calling_model=True)
    await all_ways(Tryage(llms=[bare], predictor=prefers("m")), tools=True)
    bodies = server.requests["m"]
    assert len(bodies) == 18
    assert all("tool_calls" in body["messages"][1] for body in bodies)
    assert "tryage" not in str(bodies)
    bare.chat(history())
    assert "tryage" in str(bodies[-1])  # OpenAI's package would send what the router takes out


async def test_no_prompt_of_a_completion_model_tells_who_answered(recorded):
    llm = Tryage(llms=[MockLLM()], predictor=prefers("MockLLM"))
    await all_ways(llm, tools=False)
    prompts = [event.prompt for event in recorded.named("LLMCompletionStartEvent")]
    assert len(prompts) >= 8
    assert all("Five." in prompt for prompt in prompts)
    assert "tryage" not in str(prompts)
