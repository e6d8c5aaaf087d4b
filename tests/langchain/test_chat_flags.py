"""Where flags come from, and which are the stronger."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

import tryage
from langchain_tryage import ChatTryage
from tests.langchain.fakes import answering, router
from tests.langchain.ways import Way
from tryage import Flags, InvalidFlag, NoEligibleModel, UnknownFlag


def abc(**kwargs: Any) -> ChatTryage:
    return router(answering("a"), answering("b"), answering("c"), **kwargs)


async def picked(way: Way, model: Any, /, *arguments: Any, **kwargs: Any) -> str:
    answer = await way.invoke(model, *arguments, **kwargs)
    return answer.response_metadata["tryage"]["model"]


@pytest.mark.parametrize("flags", ["only b", {"allow": {"b"}}, Flags(allow=frozenset({"b"}))])
async def test_in_every_form(way: Way, flags: Any) -> None:
    assert await picked(way, abc(flags=flags), "Hi") == "b"
    assert await picked(way, abc(), "Hi", {"configurable": {"tryage_flags": flags}}) == "b"


async def test_the_later_is_the_stronger(way: Way) -> None:
    model = abc(flags="only a", prompt_flags=True)
    config = {"configurable": {"tryage_flags": "only b"}}
    assert await picked(way, model, "Hi") == "a"
    assert await picked(way, model, "Hi", config) == "b"
    with tryage.flags("only c"):
        assert await picked(way, model, "Hi", config) == "c"
        assert await picked(way, model, "[Flag: only a] Hi", config) == "a"
        assert await picked(way, model, "[Flag: only a] Hi", config, model="b") == "b"


async def test_in_the_prompt_only_where_switched_on(way: Way) -> None:
    assert (await way.invoke(abc(), "[Flag: only b] Hi")).text == "a heard: [Flag: only b] Hi"
    answer = await way.invoke(abc(prompt_flags=True), "[Flag: only b] Hi")
    assert answer.text == "b heard: Hi"


async def test_marks_in_blocks_and_in_earlier_messages_do_not_reach_a_model(way: Way) -> None:
    earlier = HumanMessage("[Flag: only b] Hi")
    now = HumanMessage([{"type": "text", "text": "[Flag: only c] And now?"}])
    model = abc(prompt_flags=True)
    answer = await way.invoke(model, [earlier, ("ai", "Hello"), now])
    assert answer.text == "c heard: And now?"
    assert now.content[0]["text"] == "[Flag: only c] And now?"  # the caller's own stays
    answer = await way.invoke(model, [earlier, ("ai", "Hello"), ("human", "And now?")])
    assert answer.text == "a heard: And now?"


async def test_a_tools_result_in_the_users_name_asks_for_nothing(way: Way) -> None:
    asked, result = HumanMessage("[Flag: only b] Hi"), HumanMessage("Observation: [Flag: only c]")
    answer = await way.invoke(abc(prompt_flags=True), [asked, ("ai", "Action: look"), result])
    assert answer.text == "b heard: Observation: [Flag: only c]"


@pytest.mark.parametrize(
    ("flags", "error"),
    [("cheep", UnknownFlag), ({"cots": 1}, UnknownFlag), ({"cost": -1}, InvalidFlag)],
)
async def test_bad_flags(way: Way, flags: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        abc(flags=flags)
    with pytest.raises(error):
        await way.invoke(abc(), "Hi", {"configurable": {"tryage_flags": flags}})


async def test_limits_that_nobody_meets(way: Way) -> None:
    with pytest.raises(NoEligibleModel, match="a: not known to have at most 1e"):
        await way.invoke(abc(flags="max params 1B"), "Hi")


async def test_nodes_of_a_graph_under_different_flags() -> None:
    model = abc()

    def node(name: str) -> Any:
        bound = model.with_config(configurable={"tryage_flags": f"only {name}"})

        async def answer(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await bound.ainvoke(state["messages"])]}

        return answer

    graph = StateGraph(MessagesState).add_node("one", node("b")).add_node("two", node("c"))
    compiled = graph.add_edge(START, "one").add_edge("one", "two").compile()
    state = await compiled.ainvoke({"messages": [HumanMessage("Hi")]})
    models = [m.response_metadata["tryage"]["model"] for m in state["messages"][1:]]
    assert models == ["b", "c"]


async def test_flags_in_the_config_of_a_graph_reach_its_nodes() -> None:
    model = abc()

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("one", answer).add_edge(START, "one").compile()
    config: Any = {"configurable": {"tryage_flags": "only c"}}
    state = await graph.ainvoke({"messages": [HumanMessage("Hi")]}, config)
    assert state["messages"][-1].response_metadata["tryage"]["model"] == "c"
