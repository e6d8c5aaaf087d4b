"""Calls with tools: they go to LLMs that take tools, and stay there while a loop is open."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.tools import FunctionTool
from pydantic import Field

from llamaindex_tryage import Tryage
from llamaindex_tryage.messages import author_of
from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import prefers, says
from tryage import ModelCard, NoEligibleModel
from tryage.testing import FunctionPredictor, Upstream

# LlamaIndex's agents look at deprecated attributes of their own.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")


def add(a: int = 2, b: int = 3) -> int:
    """Add two numbers."""
    return a + b


ADD = FunctionTool.from_defaults(add)


class Caller(MockFunctionCallingLLM):
    """Calls every tool once, then says who it is. Reads tool calls in its own way."""

    name: str
    error: Any = None
    histories: list[Any] = Field(default_factory=list)

    @property
    def model_name(self) -> str:
        return self.name

    def _prepare_chat_with_tools(self, tools, user_msg=None, chat_history=None, **kwargs):
        self.histories.append(chat_history)
        if user_msg:  # into the caller's list, as OpenAI's does
            chat_history.append(ChatMessage(user_msg) if isinstance(user_msg, str) else user_msg)
        if self.error:
            raise self.error
        return {"messages": chat_history, "tools": tools}

    def _get_response_generator(self):
        def generate(messages, tools=(), **kwargs):
            if messages[-1].role == "tool" or not tools:
                return ChatMessage(f"{self.name}: done", role="assistant")
            calls = [
                ToolCallBlock(tool_call_id=f"{self.name}-{i}", tool_name=tool.metadata.name,
                              tool_kwargs={})
                for i, tool in enumerate(tools)
            ]  # fmt: skip
            return ChatMessage(role="assistant", blocks=calls)

        return generate

    def get_tool_calls_from_response(self, response, error_on_no_tool_call=False):
        """Take no other arguments, as several providers' do not."""
        calls = super().get_tool_calls_from_response(response)
        return [ToolSelection(**{**c.model_dump(), "tool_kwargs": {"a": 2, "b": 3}}) for c in calls]


def streams(llm: Tryage):
    async def chat(**given):
        return llm.chat_with_tools(**given)

    async def stream(**given):
        return list(llm.stream_chat_with_tools(**given))[-1]

    async def astream(**given):
        return [c async for c in await llm.astream_chat_with_tools(**given)][-1]

    return (chat, llm.achat_with_tools, stream, astream)


def router(*llms, **settings) -> Tryage:
    names = [llm.model_name for llm in llms]
    return Tryage(llms=dict(zip(names, llms, strict=True)), predictor=prefers(*names), **settings)


@pytest.mark.parametrize("way", range(4))
async def test_tools_go_to_the_best_llm_that_takes_them(way, recorded):
    llm = router(says("plain"), Caller(name="a"), Caller(name="b"))
    response = await streams(llm)[way](tools=[ADD], user_msg="Add 2 and 3")
    assert response.additional_kwargs["tryage"]["model"] == "a"
    assert llm.get_tool_calls_from_response(response)[0].tool_kwargs == {"a": 2, "b": 3}
    (event,) = recorded.named("RoutingDecisionEvent")
    assert event.span_id.startswith("Tryage.")
    inner = recorded.started_calls[0].span_id
    assert recorded.parent_of(inner) == event.span_id


@pytest.mark.parametrize("way", range(4))
async def test_the_next_llm_gets_the_callers_history_unchanged(way):
    broken, healthy = Caller(name="a", error=Upstream(500)), Caller(name="b")
    llm = router(broken, healthy)
    history = [ChatMessage("Hi"), ChatMessage("Hello", role="assistant")]
    response = await streams(llm)[way](tools=[ADD], user_msg="Add", chat_history=history)
    assert response.additional_kwargs["tryage"]["model"] == "b"
    assert len(history) == 2
    assert [len(h) for h in (*broken.histories, *healthy.histories)] == [3, 3]


@pytest.mark.parametrize("way", range(4))
async def test_tools_without_a_llm_that_takes_them_are_an_error(way):
    with pytest.raises(NoEligibleModel, match="plain: lacks tools"):
        await streams(router(says("plain")))[way](tools=[ADD], user_msg="Add 2 and 3")


@pytest.mark.parametrize("way", range(4))
async def test_the_llm_stays_the_same_while_a_tool_loop_is_open(way):
    turn = {"first": "a", "second": "b"}
    predictor = FunctionPredictor(lambda text, model: float(turn.get(text, "b") == model))
    llm = Tryage(llms={n: Caller(name=n) for n in "ab"}, predictor=predictor)
    chat = streams(llm)[way]
    history = [ChatMessage("first")]
    asked = (await chat(tools=[ADD], chat_history=history)).message
    assert author_of(asked) == "a"
    turn["first"] = "b"  # what is predicted may change; the loop holds
    history += [asked, ChatMessage("5", role="tool", additional_kwargs={"tool_call_id": "a-0"})]
    answer = (await chat(tools=[ADD], chat_history=history)).message
    assert (author_of(answer), answer.content) == ("a", "a: done")
    history += [answer, ChatMessage("second")]
    assert author_of((await chat(tools=[ADD], chat_history=history)).message) == "b"


def test_tool_calls_of_a_foreign_response_are_read_from_its_blocks():
    llm = router(Caller(name="a"))
    call = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs='{"a": 2, "b')
    response = ChatResponse(message=ChatMessage(role="assistant", blocks=[call]))
    assert llm.get_tool_calls_from_response(response)[0].tool_kwargs == {"a": 2}
    nothing = ChatResponse(message=ChatMessage())
    assert llm.get_tool_calls_from_response(nothing, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="tool call"):
        llm.get_tool_calls_from_response(nothing)


def test_tool_calls_are_read_by_any_llm_that_has_the_method():
    class Own(FunctionLLM):
        def chat_with_tools(self, tools, **given):
            return self.chat(given["chat_history"])

        def get_tool_calls_from_response(self, response, error_on_no_tool_call=True):
            return [ToolSelection(tool_id="1", tool_name="own", tool_kwargs={})]

    llm = router(Own(str, model_name="own"))
    answer = llm.chat([ChatMessage("Hi")])
    assert [call.tool_name for call in llm.get_tool_calls_from_response(answer)] == ["own"]


async def test_predict_and_call_goes_to_a_llm_that_takes_tools():
    llm = router(says("plain"), Caller(name="a"))
    assert llm.predict_and_call([ADD], user_msg="Add 2 and 3").response == "5"
    assert (await llm.apredict_and_call([ADD], user_msg="Add 2 and 3")).response == "5"


async def test_predict_and_call_leads_other_llms_through_tools_by_text(monkeypatch):
    # LlamaIndex opens a database here that it never closes.
    monkeypatch.setattr(Memory, "from_defaults", ChatMemoryBuffer.from_defaults)
    steps = 'Thought: I add.\nAction: add\nAction Input: {"a": 2, "b": 3}'
    llm = router(FunctionLLM(lambda text: steps, model_name="plain"))
    assert (await llm.apredict_and_call([ADD], user_msg="Add 2 and 3")).response == "5"
    assert llm.predict_and_call([ADD], user_msg="Add 2 and 3").response == "5"


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_function_agent_runs_to_its_end(streaming):
    llm = router(says("plain"), Caller(name="a"), Caller(name="b"))
    agent = FunctionAgent(tools=[ADD], llm=llm, streaming=streaming)
    output = await agent.run("Add 2 and 3", memory=ChatMemoryBuffer.from_defaults())
    assert str(output) == "a: done"
    assert [call.tool_output.content for call in output.tool_calls] == ["5"]
    assert author_of(output.response) == "a"


async def test_a_workflow_of_tools_picks_its_agent_by_what_any_llm_can():
    for llms, agent in (
        ((says("plain"), Caller(name="a")), FunctionAgent),
        ((says("plain"),), ReActAgent),
    ):
        workflow = AgentWorkflow.from_tools_or_functions([add], llm=router(*llms))
        assert isinstance(next(iter(workflow.agents.values())), agent)


def test_prepared_arguments_are_those_of_the_first_llm_that_takes_tools():
    prepared = router(says("plain"), Caller(name="a"))._prepare_chat_with_tools([ADD], "Hi")
    assert prepared["tools"] == [ADD]
    with pytest.raises(NoEligibleModel):
        router(says("plain"))._prepare_chat_with_tools([ADD], "Hi")


@pytest.mark.parametrize("way", range(4))
async def test_what_tools_say_of_themselves_counts_as_context(way):
    def look(what: str) -> str:
        return what

    long = FunctionTool.from_defaults(look, description="All about everything. " * 1000)
    llm = Tryage(
        llms={name: Caller(name=name) for name in ("narrow", "wide")},
        cards=[
            ModelCard(name="narrow", context_tokens=1000, capabilities={"tools"}),
            ModelCard(name="wide", context_tokens=100_000, capabilities={"tools"}),
        ],
        predictor=FunctionPredictor(lambda text, model: float(model == "narrow")),
    )
    chat = streams(llm)[way]
    assert author_of((await chat(tools=[ADD], user_msg="Add 2 and 3")).message) == "narrow"
    assert author_of((await chat(tools=[long], user_msg="Add 2 and 3")).message) == "wide"
