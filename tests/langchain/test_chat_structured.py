"""Structured output, in the picked model's own way."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel

from langchain_tryage.testing import FunctionChatModel
from tests.langchain.fakes import Counting, Recording, openai, router
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tryage import AllModelsFailed, ModelCard, NoEligibleModel

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class PersonDict(TypedDict):
    """A person."""

    name: str
    age: int


QUESTION = "'Ann' is 41 years old"


async def test_a_class_comes_back_filled_in(way: Way, fresh_server: OpenAIServer) -> None:
    structured = router(openai(fresh_server, "a"), openai(fresh_server, "b"))
    runnable = structured.with_structured_output(Person)
    assert await way.invoke(runnable, QUESTION) == Person(name="Ann", age=41)
    (body,) = fresh_server.requests["a"]
    assert body["response_format"]["type"] == "json_schema"  # ChatOpenAI's own way


async def test_method_and_strict_reach_the_model(way: Way, fresh_server: OpenAIServer) -> None:
    model = router(openai(fresh_server, "a"))
    runnable = model.with_structured_output(Person, method="function_calling", strict=True)
    assert await way.invoke(runnable, QUESTION) == Person(name="Ann", age=41)
    (body,) = fresh_server.requests["a"]
    assert body["tools"][0]["function"]["strict"] is True
    assert "response_format" not in body


@pytest.mark.parametrize("schema", [PersonDict, Person.model_json_schema()])
async def test_dictionaries(way: Way, server: OpenAIServer, schema: Any) -> None:
    runnable = router(openai(server, "a")).with_structured_output(schema)
    assert await way.invoke(runnable, QUESTION) == {"name": "Ann", "age": 41}
    assert (await way.stream(runnable, QUESTION))[-1] == {"name": "Ann", "age": 41}


async def test_the_raw_message_carries_the_report(way: Way, server: OpenAIServer) -> None:
    model = router(openai(server, "a"))
    result = await way.invoke(model.with_structured_output(Person, include_raw=True), QUESTION)
    assert result["parsed"] == Person(name="Ann", age=41)
    assert result["parsing_error"] is None
    assert result["raw"].response_metadata["tryage"]["model"] == "a"


async def test_one_run_of_a_chat_model_with_the_schema(way: Way, server: OpenAIServer) -> None:
    seen = Counting()
    runnable = router(openai(server, "a")).with_structured_output(Person)
    await way.invoke(runnable, QUESTION, {"callbacks": [seen]})
    assert seen.events["chat_model_start"] == 1
    start = seen.starts[0]
    assert start["options"]["ls_structured_output_format"]["schema"]["title"] == "Person"
    assert start["metadata"]["ls_model_name"] == "a"
    assert start["metadata"]["tryage_model"] == "a"


async def test_only_models_that_can_are_picked(way: Way, fresh_server: OpenAIServer) -> None:
    cards = [ModelCard(name="a", capabilities=frozenset({"tools"}))]
    model = router(openai(fresh_server, "a"), openai(fresh_server, "b"), cards=cards)
    await way.invoke(model.with_structured_output(Person, method="json_schema"), QUESTION)
    assert (fresh_server.calls("a"), fresh_server.calls("b")) == (0, 1)
    await way.invoke(model.with_structured_output(Person, method="function_calling"), QUESTION)
    assert (fresh_server.calls("a"), fresh_server.calls("b")) == (1, 1)
    alone = router(openai(fresh_server, "a"), cards=cards)
    with pytest.raises(NoEligibleModel, match="lacks json_schema"):
        await way.invoke(alone.with_structured_output(Person, method="json_schema"), QUESTION)


@pytest.mark.parametrize("broken", ["boom-500", "boom-opening"])
async def test_the_next_model_answers(way: Way, fresh_server: OpenAIServer, broken: str) -> None:
    model = router(openai(fresh_server, broken), openai(fresh_server, "b"))
    runnable = model.with_structured_output(Person, method="function_calling")
    assert await way.invoke(runnable, QUESTION) == Person(name="Ann", age=41)
    streaming = router(openai(fresh_server, broken), openai(fresh_server, "b"))
    runnable = streaming.with_structured_output(Person, method="function_calling")
    assert (await way.stream(runnable, QUESTION))[-1] == Person(name="Ann", age=41)


async def test_flags_and_arguments_of_a_call_count(way: Way, fresh_server: OpenAIServer) -> None:
    model = router(openai(fresh_server, "a"), openai(fresh_server, "b"))
    runnable = model.with_structured_output(Person)
    await way.invoke(runnable, QUESTION, {"configurable": {"tryage_flags": "only b"}}, seed=7)
    (body,) = fresh_server.requests["b"]
    assert body["seed"] == 7


async def test_a_models_form_is_built_once(way: Way, server: OpenAIServer) -> None:
    runnable = router(openai(server, "a")).with_structured_output(Person)
    await way.invoke(runnable, QUESTION)
    built = dict(runnable._runnables)
    await way.invoke(runnable, QUESTION)
    assert runnable._runnables == built


async def test_behind_fallbacks(way: Way, fresh_server: OpenAIServer) -> None:
    down = router(openai(fresh_server, "boom-500"))
    guarded = down.with_fallbacks([router(openai(fresh_server, "b"))])
    runnable = guarded.with_structured_output(Person)
    assert await way.invoke(runnable, QUESTION) == Person(name="Ann", age=41)


class Misfit(FunctionChatModel):
    """Calls the tool with arguments that keep to no schema, or writes text that holds no JSON."""

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        call = {"name": "Person", "args": {"name": "Ann", "age": "old"}, "id": "1"}
        return AIMessage("no JSON", tool_calls=[call])


class Fit(FunctionChatModel):
    """Calls the tool as it should."""

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        call = {"name": "Person", "args": {"name": "Ann", "age": 41}, "id": "1"}
        return AIMessage('{"name": "Ann", "age": 41}', tool_calls=[call])


async def test_an_answer_that_keeps_to_no_schema_goes_to_the_next_model(way: Way) -> None:
    model = router(Misfit(str, model_name="misfit"), Fit(str, model_name="fit"))
    assert await way.invoke(model.with_structured_output(Person), QUESTION) == Person(
        name="Ann", age=41
    )
    assert model.breaker.resting() == {}  # it may do well on other calls


async def test_where_none_keeps_to_the_schema_every_cause_is_told(way: Way) -> None:
    model = router(Misfit(str, model_name="a"), Misfit(str, model_name="b"))
    with pytest.raises(AllModelsFailed) as failed:
        await way.invoke(model.with_structured_output(Person), QUESTION)
    assert [type(cause) for cause in failed.value.exceptions] == [OutputParserException] * 2
    assert "'b' does not keep to the schema Person in 1 places" in str(failed.value.exceptions[1])


async def test_with_the_raw_message_the_misfit_is_the_callers_to_judge(way: Way) -> None:
    model = router(Misfit(str, model_name="misfit"), Fit(str, model_name="fit"))
    answer = await way.invoke(model.with_structured_output(Person, include_raw=True), QUESTION)
    assert answer["parsed"] is None
    assert answer["raw"].response_metadata["tryage"]["model"] == "misfit"


class Prose(FunctionChatModel):
    """Never calls a tool."""


async def test_prose_in_place_of_a_structure_goes_to_the_next_model(way: Way) -> None:
    model = router(Prose(str, model_name="prose"), Fit(str, model_name="fit"))
    answer = await way.invoke(model.with_structured_output(Person), QUESTION)
    assert answer == Person(name="Ann", age=41)


async def test_a_class_without_structured_output_is_passed_by(way: Way) -> None:
    model = router(Recording(model_name="a"), Fit(str, model_name="fit"))
    runnable = model.with_structured_output(Person, method="json_mode")
    assert await way.invoke(runnable, QUESTION) == Person(name="Ann", age=41)


@pytest.mark.parametrize("include_raw", [False, True])
async def test_the_arguments_of_a_call_reach_the_model(
    way: Way, fresh_server: OpenAIServer, include_raw: bool
) -> None:
    model = router(openai(fresh_server, "a"), temperature=0.25, stop=["END"])
    runnable = model.with_structured_output(Person, include_raw=include_raw)
    await way.invoke(runnable, QUESTION, seed=7)
    await way.stream(runnable, QUESTION, seed=7)
    for body in fresh_server.requests["a"]:
        assert (body["temperature"], body["stop"], body["seed"]) == (0.25, ["END"], 7)


async def test_a_model_that_cannot_keep_to_a_json_schema_calls_a_tool(
    way: Way, fresh_server: OpenAIServer
) -> None:
    card = ModelCard(name="local", capabilities={"tools"})
    model = router(openai(fresh_server, "local"), cards=[card])
    await way.invoke(model.with_structured_output(Person), QUESTION)
    (body,) = fresh_server.requests["local"]
    assert "response_format" not in body
    assert body["tools"]
