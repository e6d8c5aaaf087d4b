"""The eight entry points: who answers, and what comes with the answer."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.llms.mock import MockLLMWithNonyieldingChatStream

import tryage
from llamaindex_tryage import Tryage
from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import prefers, says
from tests.llamaindex.entries import asked, every_entry, every_stream, text_of, told
from tryage import (
    DuplicateModel,
    EmptyLibrary,
    EmptyPrompt,
    ModelCard,
    NoEligibleModel,
    UnknownFlag,
    UnknownModel,
    UsageError,
)
from tryage.testing import FunctionPredictor

ANY = FunctionPredictor(lambda text, model: 0.5)
BY_CODE = FunctionPredictor(lambda text, model: 0.9 if ("def" in text) == (model == "coder") else 0)


@every_entry
async def test_the_llm_predicted_best_for_the_prompt_answers(entry):
    llm = Tryage(llms=[says("coder"), says("talker")], predictor=BY_CODE)
    assert text_of(await entry(llm, "def f(x):")) == "coder: def f(x):"
    assert text_of(await entry(llm, "Good morning")) == "talker: Good morning"


@every_entry
async def test_the_decision_is_on_the_response_and_its_author_on_the_message(entry, make):
    for response in await entry(make(says("a"), says("b")), "Hi"):
        told = response.additional_kwargs["tryage"]
        assert (told["model"], told["decided"], told["alternatives"]) == ("a", "a", ["b"])
        assert told["attempts"] == [{"model": "a", "error": None}]
        if hasattr(response, "message"):
            assert response.message.additional_kwargs == {"tryage": {"model": "a"}}


@every_entry
async def test_the_llms_own_response_passes_through(entry, make):
    bare, routed = await entry(says("a"), "Hi you"), await entry(make(says("a")), "Hi you")
    assert [r.raw for r in routed] == [r.raw for r in bare] == [{"model": "a"}] * len(bare)
    assert [r.delta for r in routed] == [r.delta for r in bare]
    for response in routed:
        del response.additional_kwargs["tryage"]
        if hasattr(response, "message"):
            del response.message.additional_kwargs["tryage"]
    assert routed == bare


@every_entry
async def test_keyword_arguments_reach_the_llm_as_they_were_given(entry, recorded, make):
    await entry(make(says("a")), "Hi", temperature=0.5)
    assert recorded.started_calls[0].additional_kwargs == {"temperature": 0.5}


@every_entry
async def test_flags_weigh_cost_against_quality(entry):
    llms = [says("dear"), says("cheap")]
    cards = [
        ModelCard(name="dear", input_usd_per_mtok=10, output_usd_per_mtok=30),
        ModelCard(name="cheap", input_usd_per_mtok=0.1, output_usd_per_mtok=0.3),
    ]
    best = Tryage(llms=llms, cards=cards, predictor=prefers("dear", "cheap"))
    thrifty = Tryage(llms=llms, cards=cards, predictor=prefers("dear", "cheap"), flags="cheapest")
    assert told(await entry(best, "Hi"))["model"] == "dear"
    assert told(await entry(thrifty, "Hi"))["model"] == "cheap"
    with tryage.flags(cost=1):
        assert told(await entry(best, "Hi"))["model"] == "cheap"


@every_entry
async def test_flags_in_the_prompt_are_read_and_taken_out_only_where_switched_on(entry):
    llms, predictor = [says("a"), says("b")], prefers("a", "b")
    deaf = Tryage(llms=llms, predictor=predictor)
    listening = Tryage(llms=llms, predictor=predictor, prompt_flags=True)
    assert text_of(await entry(deaf, "[Flag: not a] Hi")) == "a: [Flag: not a] Hi"
    assert text_of(await entry(listening, "[Flag: not a] Hi")) == "b: Hi"
    assert text_of(await entry(listening, "Hi")) == "a: Hi"


@every_entry
async def test_a_blank_prompt_is_an_error(entry, make):
    with pytest.raises(EmptyPrompt, match="empty"):
        await entry(make(says("a")), "  ")


@every_entry
async def test_limits_that_nobody_meets_name_each_reason(entry, make):
    with pytest.raises(NoEligibleModel) as raised:
        await entry(make(says("a"), says("b"), flags="max cost $0.002"), "Hi")
    assert set(raised.value.reasons) == {"a", "b"}


def test_complete_without_a_prompt_is_a_value_error_as_for_any_llm(make):
    with pytest.raises(ValueError, match="No prompt"):
        says("a").complete()
    with pytest.raises(ValueError, match="no prompt"):
        make(says("a")).complete()


def test_complete_takes_its_prompt_by_keyword_and_passes_formatted_on(make, recorded):
    assert make(says("a")).complete(prompt="Hi", formatted=True).text == "a: Hi"
    assert recorded.started_calls[0].additional_kwargs == {"formatted": True}


async def test_streams_route_when_called_and_not_when_read(make, recorded):
    llm = make(says("a"))
    stream, completion = llm.stream_chat(asked("Hi")), llm.stream_complete("Hi")
    astream = await llm.astream_chat(asked("Hi"))
    assert len(recorded.named("RoutingDecisionEvent")) == 3
    assert [chunk.delta async for chunk in astream] == ["a: ", "Hi"]
    assert [chunk.delta for chunk in stream] == [chunk.delta for chunk in completion]


@every_stream
async def test_a_stream_without_content_is_an_answer(entry, make):
    mute = FunctionLLM(lambda text: "", model_name="mute")
    chunks = await entry(make(mute, says("b")), "Hi")
    assert [chunk.delta for chunk in chunks] == [""]
    assert told(chunks)["model"] == "mute"


async def test_a_stream_that_never_yields_ends():
    llm = Tryage(llms=[MockLLMWithNonyieldingChatStream()], predictor=ANY)
    assert list(llm.stream_chat(asked("Hi"))) == []
    assert [chunk async for chunk in await llm.astream_chat(asked("Hi"))] == []


async def test_a_stream_closed_early_closes_the_llms_own():
    closed = []

    class Endless(FunctionLLM):
        async def astream_complete(self, prompt, formatted=False, **kwargs):
            async def chunks():
                for chunk in self.stream_complete(prompt):
                    yield chunk

            return chunks()

        def stream_complete(self, prompt, formatted=False, **kwargs):
            def chunks():
                try:
                    while True:
                        yield next(FunctionLLM.stream_complete(self, prompt))
                finally:
                    closed.append(True)

            return chunks()

    llm = Tryage(llms=[Endless(str, model_name="e")], predictor=ANY)
    stream = llm.stream_complete("Hi")
    next(stream)
    stream.close()
    assert closed == [True]
    astream = await llm.astream_complete("Hi")
    await anext(astream)
    await astream.aclose()
    assert closed == [True, True]


@pytest.mark.parametrize("concurrently", ["tasks", "threads"])
async def test_each_of_many_concurrent_calls_is_answered_by_the_llm_decided_for_it(concurrently):
    names = [f"m{i}" for i in range(10)]
    predictor = FunctionPredictor(lambda text, model: float(model == f"m{int(text) % 10}"))
    llm = Tryage(llms=[says(name) for name in names], predictor=predictor)
    texts = [str(n) for n in range(100)]
    if concurrently == "tasks":
        answers = await asyncio.gather(*(llm.achat(asked(text)) for text in texts))
    else:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda text: llm.chat(asked(text)), texts))
    for text, answer in zip(texts, answers, strict=True):
        assert answer.message.content == f"m{int(text) % 10}: {text}"
        assert answer.additional_kwargs["tryage"]["model"] == f"m{int(text) % 10}"


def test_flags_of_a_context_reach_a_call_in_a_thread_that_copies_it(make):
    llm = make(says("a"), says("b"))
    with tryage.flags("not a"), ThreadPoolExecutor(1) as pool:
        context = contextvars.copy_context()
        answer = pool.submit(context.run, llm.complete, "Hi").result()
    assert answer.text == "b: Hi"


def test_the_callers_messages_are_not_changed():
    class Appending(FunctionLLM):
        def chat(self, messages, **kwargs):
            messages.append(ChatMessage("mine"))
            kwargs["options"]["mine"] = True
            return FunctionLLM.chat(self, messages, **kwargs)

    seen = []
    first = Appending(str, model_name="a", error=TimeoutError())
    second = FunctionLLM(lambda text: seen.append(text) or text, model_name="b")
    llm = Tryage(llms=[first, second], predictor=prefers("a", "b"))
    messages, options = asked("Hi"), {"n": 1}
    llm.chat(messages, options=options)
    assert (messages, options, seen) == (asked("Hi"), {"n": 1}, ["Hi"])


def test_marks_are_taken_out_of_a_copy_of_the_callers_messages():
    heard = []

    class Hearing(FunctionLLM):
        def chat(self, messages, **kwargs):
            heard.extend(messages)
            return FunctionLLM.chat(self, messages, **kwargs)

    said = [ChatMessage("[Flag: cheap] Hi"), ChatMessage("Yes?", role="assistant"), *asked("Go")]
    Tryage(llms=[Hearing(str)], predictor=ANY, prompt_flags=True).chat(said)
    assert [message.content for message in heard] == ["Hi", "Yes?", "Go"]
    assert said[0].content == "[Flag: cheap] Hi"


def test_the_model_that_spoke_last_is_kept_where_the_flags_say_so(make):
    llm = make(says("a"), says("b"), flags="stickiness=1")
    with tryage.flags("not a"):
        answer = llm.chat(asked("Hi"))
    assert answer.message.additional_kwargs["tryage"] == {"model": "b"}
    history = [*asked("Hi"), answer.message, *asked("And then?")]
    assert llm.chat(history).message.content == "b: And then?"
    plain = [*asked("Hi"), ChatMessage("b: Hi", role="assistant"), *asked("And then?")]
    assert llm.chat(plain).message.content == "a: And then?"


def test_names_come_from_the_llms_or_from_a_mapping():
    assert Tryage(llms=[says("a"), MockLLM()]).names == ["a", "MockLLM"]
    llm = Tryage(llms={"one": MockLLM(), "two": MockLLM()}, predictor=prefers("two", "one"))
    assert llm.names == ["one", "two"]
    assert told([llm.complete("Hi")])["model"] == "two"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"llms": []}, EmptyLibrary, "give at least one LLM"),
        ({"llms": {}}, EmptyLibrary, "give at least one LLM"),
        (
            {"llms": [says("a"), says("a")]},
            DuplicateModel,
            r"llms\[0\] and llms\[1\].*'a'.*mapping",
        ),
        ({"llms": [says("a"), says("A")]}, DuplicateModel, "'A'"),
        ({"llms": [says("a"), "gpt-4o"]}, UsageError, r"llms\[1\] is 'gpt-4o', a str"),
        ({"llms": [says("a")], "names": ["x", "y"]}, UsageError, "2 names for 1 LLMs"),
        ({"llms": [says("a")], "flags": "cheep"}, UnknownFlag, "cheap"),
        ({"llms": [says("a")], "cards": [ModelCard(name="b")]}, UnknownModel, "'b'"),
        ({"llms": [says("a")], "system_prompt": "Be kind."}, UsageError, "system_prompt"),
        ({"llms": [says("a")], "messages_to_prompt": str}, UsageError, "messages_to_prompt"),
        ({"llms": [says("a")], "temperature": 0.5}, UsageError, "takes no 'temperature'"),
    ],
)
def test_what_cannot_be_is_refused_when_the_router_is_made(arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        Tryage(**arguments)
    assert "\n" not in str(raised.value)


def test_a_system_prompt_set_later_is_refused_too(make):
    llm = make(says("a"))
    with pytest.raises(UsageError, match="set it on each of the llms"):
        llm.system_prompt = "Be kind."


def test_fields_that_change_take_effect(make):
    llm = make(says("a"), says("b"))
    llm.flags = "not a"
    assert llm.complete("Hi").text == "b: Hi"


def test_names_follow_the_llms(make):
    llm = Tryage(llms=[says("a"), says("b")])
    llm.llms = [says("c")]
    assert llm.names == ["c"]
    assert told([llm.complete("Hi")])["model"] == "c"
    llm.llms = {"one": says("a"), "two": says("a")}
    assert llm.names == ["one", "two"]
    llm.flags = "only two"
    assert told([llm.complete("Hi")])["model"] == "two"
    with pytest.raises(EmptyLibrary):
        llm.llms = []
    assert llm.names == ["one", "two"]


async def test_the_rate_limiter_is_asked_once_for_a_call(make):
    class Limiter:
        asked = 0

        def acquire(self):
            self.asked += 1

        async def async_acquire(self):
            self.asked += 1

    limiter = Limiter()
    llm = make(says("a", error=TimeoutError()), says("b"), rate_limiter=limiter)
    llm.complete("Hi")
    await llm.acomplete("Hi")
    assert limiter.asked == 2
