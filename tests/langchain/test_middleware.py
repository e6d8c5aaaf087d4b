"""`TryageMiddleware`: each model call of an agent is routed."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelFallbackMiddleware,
    ModelRequest,
    ModelResponse,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command, interrupt
from pydantic import BaseModel

import tryage
from langchain_tryage import TryageMiddleware
from langchain_tryage.testing import FunctionChatModel
from tests.langchain.fakes import Counting, Recording, answering, in_order, openai
from tests.langchain.ways import Sync, Way
from tests.servers.openai_server import OpenAIServer
from tryage import AllModelsFailed, CircuitBreaker, Flags, ModelCard, NoEligibleModel
from tryage.testing import FunctionPredictor, Upstream


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Adder(FunctionChatModel):
    """Calls `add` for each pair of numbers that the user says, one after the other."""

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        said = next(m for m in reversed(messages) if m.type == "human")
        numbers = [int(word) for word in said.text.split()]
        done = len(messages) - 1 - messages.index(said)
        if done >= len(numbers):
            return AIMessage(f"{self.model_name} says {messages[-1].text}")
        arguments = {"a": numbers[done], "b": numbers[done + 1]}
        return AIMessage("", tool_calls=[{"name": "add", "args": arguments, "id": str(done)}])


def adder(name: str, **kwargs: Any) -> Adder:
    return Adder(str, model_name=name, **kwargs)


def routed(*models: Any, **kwargs: Any) -> TryageMiddleware:
    """Return middleware that prefers the models in the order given."""
    names = [model.model_name for model in models]
    return TryageMiddleware(list(models), **{"predictor": in_order(*names), **kwargs})


def agent(*middleware: Any, tools: Any = (), **kwargs: Any) -> Any:
    """Return an agent whose own model must not be called."""
    unused = answering("unused", error=AssertionError("the agent's own model was called"))
    return create_agent(unused, tools, middleware=middleware, **kwargs)


async def ask(way: Way, asked: Any, text: Any = "Hi", config: Any = None, **kwargs: Any) -> Any:
    return await way.invoke(asked, {"messages": [HumanMessage(text)]}, config, **kwargs)


def authors(state: Any) -> list[str]:
    said = [message for message in state["messages"] if message.type == "ai"]
    return [message.response_metadata["tryage"]["model"] for message in said]


async def test_each_turn_goes_to_the_model_that_is_best_for_it(way: Way) -> None:
    predictor = FunctionPredictor(lambda prompt, model: float((model == "b") == ("hard" in prompt)))
    routing = agent(routed(answering("a"), answering("b"), predictor=predictor))
    state = await ask(way, routing, "easy")
    state = await way.invoke(routing, {"messages": [*state["messages"], HumanMessage("hard")]})
    assert [m.text for m in state["messages"][1::2]] == ["a heard: easy", "b heard: hard"]
    assert authors(state) == ["a", "b"]
    assert list(state) == ["messages"]


async def test_the_model_stays_while_its_tools_run(way: Way) -> None:
    best = ["b"]

    @tool("add")
    def turncoat(a: int, b: int) -> int:
        """Add two numbers, and have the other model be the better one from now on."""
        best[:] = ["a"]
        return a + b

    predictor = FunctionPredictor(lambda prompt, model: float(model in best))
    routing = agent(routed(adder("a"), adder("b"), predictor=predictor), tools=[turncoat])
    state = await ask(way, routing, "1 2 3 4")
    assert authors(state) == ["b", "b", "b"]
    assert state["messages"][-1].text == "b says 7"
    state = await way.invoke(routing, {"messages": [*state["messages"], HumanMessage("5 6")]})
    assert authors(state)[3:] == ["a", "a"]


async def test_flags_come_from_the_same_places_as_elsewhere(way: Way) -> None:
    models = [answering(name) for name in "abcd"]
    routing = agent(routed(*models, flags="only a", prompt_flags=True))
    config = {"configurable": {"tryage_flags": "only b"}}
    assert authors(await ask(way, routing)) == ["a"]
    assert authors(await ask(way, routing, "Hi", config)) == ["b"]
    with tryage.flags("only c"):
        assert authors(await ask(way, routing, "Hi", config)) == ["c"]
        state = await ask(way, routing, "[Flag: only d] Hi", config)
    assert authors(state) == ["d"]
    assert [m.text for m in state["messages"]] == ["[Flag: only d] Hi", "d heard: Hi"]
    state = await ask(way, agent(routed(*models)), "[Flag: only b] Hi")
    assert state["messages"][-1].text == "a heard: [Flag: only b] Hi"


@pytest.mark.parametrize("flags", ["only b", {"allow": {"b"}}, Flags(allow=frozenset({"b"}))])
async def test_flags_go_together_with_a_checkpointer(way: Way, flags: Any) -> None:
    routing = agent(routed(answering("a"), answering("b")), checkpointer=InMemorySaver())
    config = {"configurable": {"tryage_flags": flags, "thread_id": "1"}}
    assert authors(await ask(way, routing, "Hi", config)) == ["b"]
    assert authors(await ask(way, routing, "Hi", {"configurable": {"thread_id": "1"}})) == [
        "b",
        "a",
    ]


async def test_what_the_call_needs_leaves_models_out(way: Way) -> None:
    unable = Recording(model_name="a")
    assert authors(await ask(way, agent(routed(unable, adder("b"))), "1 2")) == ["a"]
    assert authors(await ask(way, agent(routed(unable, adder("b")), tools=[add]), "1 2")) == [
        "b",
        "b",
    ]
    cards = [ModelCard(name="a", capabilities={"tools"}, context_tokens=1_000)]
    routing = routed(answering("a"), answering("b"), cards=cards)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert authors(await ask(way, agent(routing))) == ["a"]
    assert authors(await ask(way, agent(routing), [picture])) == ["b"]
    assert authors(await ask(way, agent(routing, system_prompt="word " * 5_000))) == ["b"]
    with pytest.raises(NoEligibleModel, match="a: lacks tools"):
        await ask(way, agent(routed(unable), tools=[add]))


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize(
    ("response_format", "lacking", "sent"),
    [
        (ToolStrategy(Person), "tools", "tools"),
        (ProviderStrategy(Person), "json_schema", "response_format"),
        (Person, "tools", "tools"),
    ],
)
async def test_an_agent_answers_in_a_form(
    way: Way, fresh_server: OpenAIServer, response_format: Any, lacking: Any, sent: str
) -> None:
    card = ModelCard(name="a", lacks={lacking})
    models = openai(fresh_server, "a"), openai(fresh_server, "b")
    for cards, author in ((), "a"), ((card,), "b"):
        routing = agent(routed(*models, cards=cards), response_format=response_format)
        state = await ask(way, routing, "'Ann' is 41 years old")
        assert state["structured_response"] == Person(name="Ann", age=41)
        assert authors(state) == [author]
        assert sent in fresh_server.requests[author][-1]
        assert set(state) == {"messages", "structured_response"}


async def test_the_strategy_is_the_picked_models_own(way: Way, fresh_server: OpenAIServer) -> None:
    native = openai(fresh_server, "a", profile={"structured_output": True, "tool_calling": True})
    routing = agent(routed(native, openai(fresh_server, "b")), response_format=Person)
    await ask(way, routing, "'Ann' is 41")
    await ask(way, routing, "'Ann' is 41", {"configurable": {"tryage_flags": "only b"}})
    assert "response_format" in fresh_server.requests["a"][0]
    assert "tools" in fresh_server.requests["b"][0]


async def test_the_models_run_says_why_it_was_picked(way: Way) -> None:
    seen, usage = Counting(), UsageMetadataCallbackHandler()
    own = Counting()
    model = adder("a", metadata={"team": "blue"}, callbacks=[own])
    await ask(way, agent(routed(model), tools=[add]), "1 2", {"callbacks": [seen, usage]})
    assert seen.events["chat_model_start"] == own.events["chat_model_start"] == 2
    told = seen.starts[1]["metadata"]
    assert (told["tryage_model"], told["tryage_quality"], told["team"]) == ("a", 0.9, "blue")
    assert list(usage.usage_metadata) == ["a"]
    assert "tryage_model" not in model.metadata
    assert model.callbacks == [own]


async def test_the_report_is_on_a_copy(way: Way) -> None:
    model = answering("a", cache=InMemoryCache())
    for _ in range(2):
        assert authors(await ask(way, agent(routed(model)))) == ["a"]
    assert len(model.calls) == 1
    assert "tryage" not in (await way.invoke(model, [HumanMessage("Hi")])).response_metadata
    assert len(model.calls) == 1


async def test_tokens_are_streamed_once(way: Way) -> None:
    routing = agent(routed(answering("a")))
    asked = {"messages": [HumanMessage("Hi")]}
    chunks = await way.stream(routing, asked, stream_mode="messages")
    assert "".join(chunk.text for chunk, _ in chunks) == "a heard: Hi"
    assert {told["tryage_model"] for _, told in chunks} == {"a"}


async def test_a_model_that_fails_is_passed_by_and_rested(way: Way) -> None:
    broken = adder("a", error=Upstream(503))
    middleware = routed(broken, adder("b"))
    routing = agent(middleware, tools=[add])
    state = await ask(way, routing, "1 2")
    assert authors(state) == ["b", "b"]
    told = state["messages"][1].response_metadata["tryage"]
    assert told["decided"] == "a"
    assert told["attempts"] == [{"model": "a", "error": "Upstream"}, {"model": "b", "error": None}]
    await ask(way, routing, "1 2")
    assert len(broken.calls) == 1
    assert list(middleware.breaker.resting()) == ["a"]


async def test_a_breaker_can_be_shared(way: Way) -> None:
    breaker = CircuitBreaker()
    breaker.failed("a")
    middleware = routed(answering("a"), answering("b"), breaker=breaker)
    assert authors(await ask(way, agent(middleware))) == ["b"]


async def test_when_all_fail_every_cause_is_there(way: Way) -> None:
    causes = [Upstream(503), Upstream(429)]
    models = [answering(name, error=error) for name, error in zip("ab", causes, strict=True)]
    with pytest.raises(AllModelsFailed) as failed:
        await ask(way, agent(routed(*models)))
    assert list(failed.value.exceptions) == causes


async def test_an_error_of_the_call_comes_back_as_itself(way: Way) -> None:
    error, second = Upstream(400), answering("b")
    middleware = routed(answering("a", error=error), second)
    with pytest.raises(Upstream) as raised:
        await ask(way, agent(middleware))
    assert raised.value is error
    assert not second.calls
    assert not middleware.breaker.resting()


async def test_what_bubbles_up_in_a_graph_comes_through(way: Way) -> None:
    bubble, asked = GraphBubbleUp("paused"), []
    middleware = routed(answering("a"), answering("b"))
    request = ModelRequest(model=answering("c"), messages=[HumanMessage("Hi")])

    def handler(request: Any) -> Any:
        asked.append(request.model.model_name)
        raise bubble

    async def ahandler(request: Any) -> Any:
        handler(request)

    async def call() -> Any:
        if isinstance(way, Sync):
            return middleware.wrap_model_call(request, handler)
        return await middleware.awrap_model_call(request, ahandler)

    with pytest.raises(GraphBubbleUp) as raised:
        await call()
    assert raised.value is bubble
    assert asked == ["a"]
    assert not middleware.breaker.resting()


class Inner(AgentMiddleware):
    """Does something before each model call; where it gives a message, the model is not called."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self.act = act

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        given = self.act()
        return ModelResponse(result=[given]) if isinstance(given, AIMessage) else handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        given = self.act()
        return (
            ModelResponse(result=[given])
            if isinstance(given, AIMessage)
            else await handler(request)
        )


async def test_a_graph_is_interrupted_and_resumed_behind_it(way: Way) -> None:
    approving = Inner(lambda: interrupt("May I?"))
    routing = agent(routed(answering("a")), approving, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    state = await ask(way, routing, "Hi", config)
    assert state["__interrupt__"][0].value == "May I?"
    state = await way.invoke(routing, Command(resume="yes"), config)
    assert authors(state) == ["a"]


async def test_an_answer_that_no_model_gave_carries_no_report(way: Way) -> None:
    routing = agent(routed(answering("a")), Inner(lambda: AIMessage("No.")))
    state = await ask(way, routing)
    assert "tryage" not in state["messages"][-1].response_metadata


async def test_a_fallback_behind_it_answers_and_the_failure_is_known(way: Way) -> None:
    broken = answering("a", error=Upstream(503))
    middleware = routed(broken, answering("b"))
    routing = agent(middleware, ModelFallbackMiddleware(answering("fallback")))
    answer = (await ask(way, routing))["messages"][-1]
    assert answer.text == "fallback heard: Hi"
    assert answer.response_metadata == {"model_name": "fallback"}
    assert list(middleware.breaker.resting()) == ["a"]
    assert authors(await ask(way, routing)) == ["b"]
    assert len(broken.calls) == 1


async def test_a_fallback_before_it_is_overridden(way: Way) -> None:
    fallback = ModelFallbackMiddleware(answering("fallback"))
    with pytest.raises(AllModelsFailed):
        await ask(way, agent(fallback, routed(answering("a", error=Upstream(503)))))


async def test_the_system_message_reaches_the_model_once(way: Way) -> None:
    model = Recording(model_name="a")
    await ask(way, agent(routed(model, prompt_flags=True), system_prompt="Be brief."))
    messages, _, _ = model.received[0]
    assert messages == [SystemMessage("Be brief."), messages[1]]


async def test_what_only_another_model_understands_is_not_sent(way: Way) -> None:
    class Settings(AgentMiddleware):
        """Gives each call what Anthropic's cache is told."""

        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(model_settings={"cache_control": {"type": "x"}}))

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            return await handler(request.override(model_settings={"cache_control": {"type": "x"}}))

    model = Recording(model_name="a")
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}
    said = AIMessage(
        [thought, {"type": "text", "text": "Hello."}], response_metadata={"model_name": "claude"}
    )
    marked = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    asked = agent(Settings(), routed(model), system_prompt=SystemMessage([marked]))
    await way.invoke(asked, {"messages": [HumanMessage("Hi"), said, HumanMessage("And?")]})
    messages, _, kwargs = model.received[0]
    assert messages[0].content == [{"type": "text", "text": "Be brief."}]
    assert messages[2].content == "Hello."
    assert "cache_control" not in kwargs
    assert said.content[0] == thought  # the agent's own messages are not changed


async def test_another_model_goes_on_in_a_tool_loop_where_the_first_fails(way: Way) -> None:
    class Dying(Adder):
        def answer(self, messages: list[BaseMessage]) -> AIMessage:
            if messages[-1].type == "tool":
                raise Upstream(503)
            return super().answer(messages)

    first = Dying(str, model_name="a")
    state = await ask(way, agent(routed(first, adder("b")), tools=[add]), "1 2")
    assert authors(state) == ["a", "b"]
    assert state["messages"][-1].text == "b says 3"


def test_cards_may_be_dictionaries_of_facts() -> None:
    fact = {"name": "a", "parameters": 1e9}
    assert routed(answering("a"), cards=[fact]).router.library.find("a").parameters == 1e9
