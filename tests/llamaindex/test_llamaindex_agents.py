"""Agents and workflows over a router: tools are called, and one model stays through a tool loop."""

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
    ToolCall,
    ToolCallResult,
)
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from pydantic import BaseModel
from workflows.context.serializers import BaseSerializer, JsonSerializer, PickleSerializer

from llamaindex_tryage.messages import author_of
from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import says
from tests.llamaindex.scripted import ToolUser, router
from tryage.testing import FunctionPredictor, Upstream

pytestmark = [
    # LlamaIndex's agents look at deprecated attributes of their own,
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    # and a context does not save the memory in it.
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]

streamed_or_not = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


class Mind:
    """A predictor whose favourite can change in the middle of things."""

    def __init__(self, favourite: str) -> None:
        self.favourite = favourite
        self.predictor = FunctionPredictor(lambda text, model: float(model == self.favourite))


@pytest.fixture
def tools() -> list[Callable[..., Any]]:
    """Three tools; the second changes the mind of who gives it one."""

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    def double(a: int) -> int:
        """Double a number."""
        return 2 * a

    def negate(a: int) -> int:
        """Negate a number."""
        return -a

    return [add, double, negate]


def changing(tools: list[Callable[..., Any]], mind: Mind, to: str) -> list[Callable[..., Any]]:
    """Return the tools with the first of them changing what is predicted from then on."""
    first = tools[0]

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        mind.favourite = to
        return first(a, b)

    return [add, *tools[1:]]


async def run(agent: Any, said: str, **given: Any) -> tuple[AgentOutput, list[Any]]:
    """Return what an agent came to, and the events on its way."""
    handler = agent.run(said, **{"memory": ChatMemoryBuffer.from_defaults(), **given})
    events = [event async for event in handler.stream_events()]
    return await handler, events


def authors(events: list[Any]) -> list[str | None]:
    """Return who gave each answer on the way."""
    return [author_of(event.response) for event in events if type(event) is AgentOutput]


@streamed_or_not
async def test_three_tools_in_one_loop_are_called_by_one_model(streaming, tools):
    mind = Mind("a")
    llm = router(says("plain"), ToolUser(name="a"), ToolUser(name="b"), predictor=mind.predictor)
    agent = FunctionAgent(tools=changing(tools, mind, to="b"), llm=llm, streaming=streaming)
    context = Context(agent)
    output, events = await run(agent, "add 2 3; double; negate", ctx=context)
    assert str(output) == "a: -10"
    results = [event for event in events if isinstance(event, ToolCallResult)]
    assert [(r.tool_name, r.tool_output.raw_output) for r in results] == [
        ("add", 5),
        ("double", 10),
        ("negate", -10),
    ]
    assert authors(events) == ["a"] * 4
    streams = [event for event in events if isinstance(event, AgentStream)]
    assert (streams[-1].response == "a: -10") if streaming else not streams
    output, events = await run(agent, "double 4; double", ctx=context)  # the loop is over
    assert str(output) == "b: 16"
    assert authors(events) == ["b"] * 3


@streamed_or_not
async def test_a_model_that_fails_in_its_loop_is_stood_in_for(streaming, tools):
    first, second = ToolUser(name="a"), ToolUser(name="b")

    def add(a: int, b: int) -> int:
        """Add two numbers, and let the model go down."""
        first.error = Upstream(503)
        return a + b

    agent = FunctionAgent(tools=[add, *tools[1:]], llm=router(first, second), streaming=streaming)
    output, events = await run(agent, "add 2 3; double; double")
    assert str(output) == "b: 20"
    assert authors(events) == ["a", "b", "b", "b"]


@streamed_or_not
async def test_models_see_no_word_of_the_router(streaming, tools):
    llm = ToolUser(name="a")
    agent = FunctionAgent(tools=tools, llm=router(llm), streaming=streaming)
    memory = ChatMemoryBuffer.from_defaults()
    await run(agent, "add 2 3; double", memory=memory)
    await run(agent, "double 2", memory=memory)
    assert len(llm.heard[-1]) == 9
    assert "tryage" not in str(llm.heard)


class Sum(BaseModel):
    """A sum."""

    total: int


async def test_an_agent_ends_in_an_object(tools):
    fills = FunctionLLM(lambda text: json.dumps({"total": 5}), model_name="json")
    llm = router(fills, ToolUser(name="a"))
    output, _ = await run(FunctionAgent(tools=tools, llm=llm, output_cls=Sum), "add 2 3")
    assert str(output) == "a: 5"
    assert output.get_pydantic_model(Sum) == Sum(total=5)


# Models without tools


def reasons(name: str, **settings: Any) -> FunctionLLM:
    def step(text: str) -> str:
        if text.startswith("Observation:"):
            return f"Thought: I can answer.\nAnswer: {name} says {text.split()[-1]}"
        return 'Thought: I need a tool.\nAction: add\nAction Input: {"a": 2, "b": 3}'

    return FunctionLLM(step, model_name=name, **settings)


@streamed_or_not
async def test_a_react_agent_leads_models_without_tools(streaming, tools):
    llm = router(reasons("a", error=Upstream(500)), reasons("b"))
    agent = ReActAgent(tools=tools, llm=llm, streaming=streaming)
    output, events = await run(agent, "Add 2 and 3")
    assert str(output).strip() == "b says 5"
    assert [e.tool_name for e in events if isinstance(e, ToolCallResult)] == ["add"]
    assert authors(events) == ["b", "b"]


@streamed_or_not
async def test_a_code_act_agent_runs_the_code_of_models_without_tools(streaming, tools):
    def writes(text: str) -> str:
        if "Result" in text:
            return f"It is {text.split()[-1]}"
        return "I compute it.\n<execute>print(2 + 3)</execute>"

    def execute(code: str) -> str:
        with redirect_stdout(StringIO()) as printed:
            exec(code)
        return f"Result {printed.getvalue()}"

    llm = router(FunctionLLM(writes, model_name="a"), says("b"))
    agent = CodeActAgent(execute, llm=llm, tools=tools, streaming=streaming)
    output, events = await run(agent, "Add 2 and 3")
    assert [e.tool_name for e in events if isinstance(e, ToolCallResult)] == ["execute"]
    assert str(output) == "It is 5"


# Several agents


@streamed_or_not
async def test_agents_hand_over_to_each_other(streaming, tools):
    def team(counting: LLM, writing: LLM) -> AgentWorkflow:
        counter = FunctionAgent(
            name="counter",
            description="Counts.",
            tools=tools[:1],
            llm=counting,
            can_handoff_to=["writer"],
            streaming=streaming,
        )
        writer = FunctionAgent(
            name="writer", description="Writes.", tools=tools[1:], llm=writing, streaming=streaming
        )
        return AgentWorkflow(agents=[counter, writer], root_agent="counter")

    counting = router(ToolUser(name="a"), ToolUser(name="b"))
    said = "add 2 3; handoff writer why; double 4"
    for writing, expected in (
        (router(ToolUser(name="b"), ToolUser(name="a")), ["a", "a", "a", "a"]),  # the loop is open
        (router(ToolUser(name="c")), ["a", "a", "c", "c"]),
    ):
        output, events = await run(team(counting, writing), said)
        assert output.current_agent_name == "writer"
        assert str(output) == f"{expected[-1]}: 8"
        assert authors(events) == expected
        called = [event.tool_name for event in events if isinstance(event, ToolCallResult)]
        assert called == ["add", "handoff", "double"]


# Stopped and gone on with

UPSTREAM = [ChatMessage, ToolCall, ToolCallResult]


@pytest.mark.parametrize(
    "serializer",
    [JsonSerializer(), JsonSerializer(allowed_types=UPSTREAM), PickleSerializer()],
    ids=["json", "json of known types", "pickle"],
)
async def test_a_context_that_was_saved_within_a_loop_stays_with_its_model(
    serializer: BaseSerializer, tools
):
    async def ask(ctx: Context, a: int) -> str:
        """Ask a person."""
        reply = await ctx.wait_for_event(
            HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="How many?")
        )
        return str(reply.response)

    mind = Mind("a")
    llm = router(ToolUser(name="a"), ToolUser(name="b"), predictor=mind.predictor)
    agent = FunctionAgent(tools=[*tools, ask], llm=llm)
    memory = ChatMemoryBuffer.from_defaults()
    handler = agent.run("add 2 3; ask; double", memory=memory)
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            saved = json.dumps(handler.ctx.to_dict(serializer=serializer))
            await handler.cancel_run()
            break
    mind.favourite = "b"
    context = Context.from_dict(agent, json.loads(saved), serializer=serializer)
    handler = agent.run(ctx=context)
    await handler.ctx.store.set("memory", memory)
    handler.ctx.send_event(HumanResponseEvent(response="7"))
    events = [event async for event in handler.stream_events()]
    assert str(await handler) == "a: 14"
    assert authors(events) == ["a", "a"]
