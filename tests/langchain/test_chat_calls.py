"""What one call does: who answers, what is traced, what passes through."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from langgraph.graph import START, MessagesState, StateGraph

import tryage
from langchain_tryage import ChatTryage
from tests.langchain.fakes import Counting, Recording, answering, in_order, openai, router, scripted
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tryage import ModelCard
from tryage.testing import FunctionPredictor, Upstream


async def test_the_best_model_answers_and_says_so(way: Way) -> None:
    answer = await way.invoke(router(answering("a"), answering("b")), "Hi")
    assert type(answer) is AIMessage
    assert answer.content == "a heard: Hi"
    told = answer.response_metadata["tryage"]
    assert (told["model"], told["decided"]) == ("a", "a")
    assert told["quality"] == pytest.approx(0.9)
    assert told["attempts"] == [{"model": "a", "error": None}]
    assert answer.response_metadata["model_name"] == "a"


async def test_chunks_merge_into_the_answer_with_one_report(way: Way) -> None:
    chunks = await way.stream(router(answering("a"), answering("b")), "Hi there")
    assert [type(chunk) for chunk in chunks] == [AIMessageChunk] * len(chunks)
    assert [chunk.text for chunk in chunks] == ["a", " heard:", " Hi", " there", ""]
    assert sum("tryage" in chunk.response_metadata for chunk in chunks) == 1
    whole = sum(chunks[1:], chunks[0])
    assert whole.text == "a heard: Hi there"
    assert whole.response_metadata["tryage"]["model"] == "a"
    assert whole.response_metadata["model_name"] == "a"
    assert whole.chunk_position == "last"


async def test_one_run_per_call_and_it_is_the_real_models(way: Way) -> None:
    seen = Counting()
    model = router(answering("a"), answering("b"))
    await way.invoke(model, "Hi", {"callbacks": [seen]})
    assert seen.events == {"chat_model_start": 1, "llm_end": 1}
    await way.stream(model, "Hi", {"callbacks": [seen]})
    assert seen.events == {"chat_model_start": 2, "llm_end": 2}
    for start in seen.starts:
        assert start["metadata"]["ls_model_name"] == "a"
        assert start["metadata"]["ls_provider"] == "function"
        assert start["metadata"]["tryage_model"] == "a"
        assert start["metadata"]["lc_versions"]["tryage"] == tryage.__version__
        assert all(
            isinstance(value, str | int | float)
            for key, value in start["metadata"].items()
            if key.startswith("tryage")
        )


async def test_tokens_are_counted_once(way: Way, server: OpenAIServer) -> None:
    used = UsageMetadataCallbackHandler()
    model = router(openai(server, "a"), openai(server, "b"))
    await way.invoke(model, "Hi", {"callbacks": [used]})
    await way.stream(model, "Hi", {"callbacks": [used]})
    assert {name: u["total_tokens"] for name, u in used.usage_metadata.items()} == {"a": 34}


async def test_each_token_is_in_astream_events_once() -> None:
    model = router(answering("a"), answering("b"))
    events = [event async for event in model.astream_events("Hi there", version="v2")]
    text = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(text) == "a heard: Hi there"
    assert sum(e["event"] == "on_chat_model_start" for e in events) == 1


@pytest.mark.filterwarnings("ignore:.*beta:langchain_core._api.LangChainBetaWarning")
async def test_version_3_events_come_from_the_picked_model() -> None:
    model = router(answering("a"), answering("b"))
    assert str(model.stream_events("Hi there", version="v3").text) == "a heard: Hi there"
    stream = await model.astream_events("Hi there", version="v3")
    assert await stream.text == "a heard: Hi there"


async def test_each_token_is_in_a_graphs_message_stream_once() -> None:
    model = router(answering("a"), answering("b"))

    async def node(state: MessagesState) -> dict[str, list[AIMessage]]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()
    question = {"messages": [HumanMessage("Hi there")]}
    parts = [part async for part in graph.astream(question, stream_mode="messages")]
    assert "".join(message.text for message, _ in parts) == "a heard: Hi there"


async def test_each_item_of_a_batch_is_routed_on_its_own(way: Way) -> None:
    by_length = FunctionPredictor(lambda prompt, m: 0.9 if (m == "a") == (len(prompt) < 5) else 0.1)
    model = router(answering("a"), answering("b"), predictor=by_length)
    answers = await way.batch(model, ["Hi", "Good morning", "Yo"], {"max_concurrency": 2})
    assert [a.response_metadata["tryage"]["model"] for a in answers] == ["a", "b", "a"]
    assert [a.text for a in answers] == ["a heard: Hi", "b heard: Good morning", "a heard: Yo"]


async def test_generate_routes_each_conversation(way: Way) -> None:
    by_length = FunctionPredictor(lambda prompt, m: 0.9 if (m == "a") == (len(prompt) < 5) else 0.1)
    model = router(answering("a"), answering("b"), predictor=by_length)
    seen = Counting()
    talks = [[HumanMessage("Hi")], [HumanMessage("Good morning")]]
    run_id = uuid.uuid4()
    result = await way.generate(model, talks, callbacks=[seen], run_id=run_id, tags=["t"])
    models = [row[0].message.response_metadata["tryage"]["model"] for row in result.generations]
    assert models == ["a", "b"]
    assert seen.events == {"chat_model_start": 2, "llm_end": 2}
    assert [start["tags"] for start in seen.starts] == [["t"], ["t"]]
    assert [run.run_id for run in result.run] == [start["run_id"] for start in seen.starts]
    assert result.run[0].run_id == run_id != result.run[1].run_id


async def test_generate_sums_the_token_usage(way: Way, server: OpenAIServer) -> None:
    model = router(openai(server, "a"), openai(server, "b"))
    result = await way.generate(model, [[HumanMessage("Hi")], [HumanMessage("Yo")]])
    assert result.llm_output["token_usage"]["total_tokens"] == 34


async def test_arguments_and_messages_pass_through_untouched(way: Way) -> None:
    child = Recording()
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [
        SystemMessage("Be brief."),
        HumanMessage([{"type": "text", "text": "What is this?"}, picture], name="ann"),
    ]
    await way.invoke(router(child), messages, stop=["END"], temperature=0.5, seed=7, odd={"x": 1})
    received, stop, kwargs = child.received[0]
    assert received == messages
    assert stop == ["END"]
    assert kwargs == {"temperature": 0.5, "seed": 7, "odd": {"x": 1}}


async def test_a_candidates_name_as_model_forces_it(way: Way) -> None:
    model = router(answering("a"), answering("b", error=None))
    assert (await way.invoke(model, "Hi", model="b")).text == "b heard: Hi"
    assert (await way.stream(model, "Hi", model="b"))[0].text == "b"
    bound = model.bind(model="b")
    assert (await way.invoke(bound, "Hi")).text == "b heard: Hi"


async def test_another_name_as_model_goes_to_the_picked_model(
    way: Way, server: OpenAIServer
) -> None:
    answer = await way.invoke(router(openai(server, "a")), "Hi", model="a-2030-01-01")
    assert answer.response_metadata["model_name"] == "a-2030-01-01"
    assert answer.response_metadata["tryage"]["model"] == "a"


async def test_callbacks_tags_and_metadata_of_everyone_count(way: Way) -> None:
    of_call, of_router, of_model = Counting(), Counting(), Counting()
    child = answering("a", callbacks=[of_model], tags=["model"], metadata={"from_model": 1})
    model = router(child, callbacks=[of_router], tags=["router"], metadata={"from_router": 1})
    config = {"callbacks": [of_call], "tags": ["call"], "metadata": {"from_call": 1}}
    await way.invoke(model, "Hi", config)
    await way.stream(model, "Hi", config)
    for seen in (of_call, of_router, of_model):
        assert seen.events == {"chat_model_start": 2, "llm_end": 2}
        assert set(seen.starts[0]["tags"]) == {"call", "router", "model"}
        assert {"from_call", "from_router", "from_model"} <= seen.starts[0]["metadata"].keys()


async def test_the_callers_run_id_and_name_are_kept_and_an_id_used_once(way: Way) -> None:
    seen = Counting()
    run_id = uuid.uuid4()
    model = router(answering("a", error=Upstream(503)), answering("b"))
    await way.invoke(model, "Hi", {"callbacks": [seen], "run_id": run_id, "run_name": "mine"})
    ids = [start["run_id"] for start in seen.starts]
    assert ids[0] == run_id
    assert ids[1] != run_id
    assert [start["name"] for start in seen.starts] == ["mine", "mine"]
    assert [start["metadata"]["tryage_try"] for start in seen.starts] == [1, 2]


async def test_a_step_of_a_chain(way: Way) -> None:
    chain = (
        ChatPromptTemplate.from_template("Say {word}") | router(answering("a")) | StrOutputParser()
    )
    assert await way.invoke(chain, {"word": "yes"}) == "a heard: Say yes"
    assert "".join(await way.stream(chain, {"word": "yes"})) == "a heard: Say yes"


async def test_wrapped_as_any_model(way: Way) -> None:
    model = router(answering("a"), answering("b"))
    down = router(answering("a", error=Upstream(503)))
    assert (await way.invoke(down.with_fallbacks([model]), "Hi")).text == "a heard: Hi"
    assert (await way.invoke(model.with_retry(), "Hi")).text == "a heard: Hi"
    settable = model.configurable_fields(flags=ConfigurableField(id="flags"))
    config = {"configurable": {"flags": "only b"}}
    assert (await way.invoke(settable, "Hi", config)).text == "b heard: Hi"
    assert (await way.invoke(settable, "Hi")).text == "a heard: Hi"


async def test_configured_copies_share_the_breaker(way: Way) -> None:
    model = router(answering("a", error=Upstream(503)), answering("b"))
    settable = model.configurable_fields(flags=ConfigurableField(id="flags"))
    await way.invoke(settable, "Hi", {"configurable": {"flags": "size=0.1"}})
    assert list(model.breaker.resting()) == ["a"]


async def test_an_empty_prompt_is_an_error_of_its_own(way: Way) -> None:
    with pytest.raises(tryage.EmptyPrompt, match="is empty"):
        await way.invoke(router(answering("a")), "  ")


async def test_a_model_stays_in_an_open_tool_loop(way: Way) -> None:
    model = router(answering("a"), answering("b"))
    call = {"name": "add", "args": {"a": 1}, "id": "1"}
    history = [
        ("human", "Add"),
        AIMessage("", tool_calls=[call], response_metadata={"tryage": {"model": "b"}}),
        {"role": "tool", "content": "2", "tool_call_id": "1"},
    ]
    assert (await way.invoke(model, history)).response_metadata["tryage"]["model"] == "b"
    history.append(("human", "Thanks"))
    assert (await way.invoke(model, history)).response_metadata["tryage"]["model"] == "a"


async def test_another_model_takes_over_a_tool_loop_where_the_first_fails(way: Way) -> None:
    model = router(answering("a"), answering("b", error=Upstream(503)))
    history = [
        ("human", "Add"),
        AIMessage(
            "",
            tool_calls=[{"name": "add", "args": {"a": 1}, "id": "1"}],
            response_metadata={"tryage": {"model": "b"}},
        ),
        {"role": "tool", "content": "2", "tool_call_id": "1"},
    ]
    told = (await way.invoke(model, history)).response_metadata["tryage"]
    assert (told["decided"], told["model"]) == ("b", "a")


async def test_staying_with_a_model_can_be_wished_for(way: Way) -> None:
    model = router(answering("a"), answering("b"), flags={"stickiness": 0.5})
    history = [("human", "Hi"), await way.invoke(model, "Hi", model="b"), ("human", "And?")]
    assert (await way.invoke(model, history)).response_metadata["tryage"]["model"] == "b"


async def test_a_model_can_be_asked_directly_inside_of_a_run(way: Way) -> None:
    model = router(answering("a", error=Upstream(503)), answering("b"))
    result = await way.inner_generate(model, [HumanMessage("Hi")])
    assert result.generations[0].message.response_metadata["tryage"]["model"] == "b"
    chunks = await way.inner_stream(model, [HumanMessage("Hi")])
    assert "".join(chunk.text for chunk in chunks) == "b heard: Hi"
    assert sum("tryage" in chunk.message.response_metadata for chunk in chunks) == 1


async def test_a_router_may_stand_among_the_models_of_another(way: Way) -> None:
    inner = router(answering("a"), answering("b"), model="inner")
    outer = ChatTryage({"inner": inner, "c": answering("c")}, predictor=in_order("inner", "c"))
    answer = await way.invoke(outer, "Hi")
    assert answer.text == "a heard: Hi"
    assert answer.response_metadata["tryage"]["model"] == "inner"


def test_flags_around_a_stream_count_though_it_is_read_later() -> None:
    model = router(answering("a"), answering("b"))
    with tryage.flags(deny={"a"}):
        chunks = model.stream("Hi")
    assert next(chunks).text == "b"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def nested(inner: Any) -> Any:
    """Return a router over another one, which prefers it to a model of its own."""
    return ChatTryage({"team": inner, "c": answering("c")}, predictor=in_order("team", "c"))


async def test_a_router_inside_of_a_router_keeps_its_tool_loop(way: Way) -> None:
    best = {"now": "b"}
    predictor = FunctionPredictor(lambda text, model: float(model == best["now"]))
    inner = router(scripted("a"), scripted("b"), predictor=predictor)
    model = nested(inner).bind_tools([add])
    history = [HumanMessage("add(1, 2)"), await way.invoke(model, "add(1, 2)")]
    best["now"] = "a"
    history.append(ToolMessage("3", tool_call_id=history[-1].tool_calls[0]["id"]))
    answer = await way.invoke(model, history)
    assert answer.response_metadata["tryage"]["inner"]["model"] == "b"


async def test_the_report_of_a_router_inside_is_inside_and_knows_the_cost(way: Way) -> None:
    card = ModelCard(name="a", input_usd_per_mtok=1, output_usd_per_mtok=1)
    model = nested(router(answering("a"), cards=[card]))
    chunks = await way.stream(model, "Hello there")
    for answer in (await way.invoke(model, "Hello there"), sum(chunks[1:], start=chunks[0])):
        told = answer.response_metadata["tryage"]
        assert (told["model"], told["inner"]["model"]) == ("team", "a")
        assert told["cost_usd"] == told["inner"]["cost_usd"] > 0


async def test_conversations_that_are_generated_together_run_together() -> None:
    waiting = {"now": 0, "most": 0}

    class Slow(Recording):
        async def _agenerate(self, messages: Any, *arguments: Any, **kwargs: Any) -> Any:
            waiting["now"] += 1
            waiting["most"] = max(waiting["most"], waiting["now"])
            await asyncio.sleep(0.01)
            waiting["now"] -= 1
            return self._generate(messages)

    result = await router(Slow(model_name="a")).agenerate(
        [[HumanMessage(str(n))] for n in range(5)]
    )
    assert len(result.generations) == 5
    assert waiting["most"] == 5
