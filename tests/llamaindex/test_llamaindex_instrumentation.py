"""Callbacks, events and spans: those of the LLM that answers, once, inside the router's span."""

from __future__ import annotations

import json

import pytest
from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler, TokenCountingHandler

from tests.llamaindex.conftest import says
from tests.llamaindex.entries import every_entry, every_stream
from tryage.testing import Upstream


def tokenize(text: str) -> list[str]:
    return text.split()


@every_entry
async def test_tokens_are_counted_once(entry, make):
    bare = TokenCountingHandler(tokenizer=tokenize)
    await entry(says("a", callback_manager=CallbackManager([bare])), "How are you")

    handler = TokenCountingHandler(tokenizer=tokenize)
    shared = CallbackManager([handler])
    routed = make(
        says("a", callback_manager=shared),
        says("b", callback_manager=shared),
        callback_manager=shared,
    )
    await entry(routed, "How are you")
    assert len(handler.llm_token_counts) == 1
    assert handler.total_llm_token_count == bare.total_llm_token_count > 0


@every_entry
async def test_a_llm_without_callbacks_reports_to_the_routers(entry, make):
    handler = TokenCountingHandler(tokenizer=tokenize)
    llm = make(says("a"), callback_manager=CallbackManager([handler]))
    await entry(llm, "Hi")
    assert len(handler.llm_token_counts) == 1


async def test_the_routers_callbacks_may_change_from_call_to_call(make, monkeypatch):
    monkeypatch.setattr(Settings, "_callback_manager", None)
    monkeypatch.setattr(Settings, "_llm", make(says("a")))
    handlers = [TokenCountingHandler(tokenizer=tokenize) for _ in range(2)]
    for handler in handlers:
        Settings.callback_manager = CallbackManager([handler])
        Settings.llm.complete("Hi")
    assert [len(handler.llm_token_counts) for handler in handlers] == [1, 1]


async def test_callbacks_that_were_lent_change_after_the_flags_too(make):
    handlers = [TokenCountingHandler(tokenizer=tokenize) for _ in range(2)]
    llm = make(says("a"), callback_manager=CallbackManager([handlers[0]]))
    llm.complete("Hi")
    llm.flags = "cheap"
    llm.callback_manager = CallbackManager([handlers[1]])
    llm.complete("Hi")
    assert [len(handler.llm_token_counts) for handler in handlers] == [1, 1]
    assert llm.model_copy()._lent == {}
    assert llm._lent


async def test_callbacks_of_a_llm_stay_its_own(make):
    own, routers = LlamaDebugHandler(print_trace_on_end=False), TokenCountingHandler(tokenize)
    llm = says("a", callback_manager=CallbackManager([own]))
    make(llm, callback_manager=CallbackManager([routers])).complete("Hi")
    assert len(own.get_llm_inputs_outputs()) == 1
    assert routers.llm_token_counts == []


@every_entry
async def test_one_call_is_one_start_and_one_end_under_the_real_models_name(entry, make, recorded):
    await entry(make(says("a"), says("b")), "Hi")
    (start,), (end,) = recorded.started_calls, recorded.ended_calls
    assert start.model_dict["model_name"] == "a"
    assert end.response.raw == {"model": "a"}
    assert "tryage" not in end.response.additional_kwargs


@every_entry
async def test_the_call_nests_under_the_routers_span(entry, make, recorded):
    await entry(make(says("a"), says("b")), "Hi")
    name = entry.__name__
    inner = recorded.started_calls[0].span_id
    assert inner.startswith(f"FunctionLLM.{name}-")
    outer = recorded.parent_of(inner)
    assert outer.startswith(f"Tryage.{name}-")
    assert recorded.parent_of(outer) is None


@every_entry
async def test_the_decision_is_one_event_in_the_routers_span(entry, make, recorded):
    await entry(make(says("a", error=Upstream(500)), says("b")), "Hi")
    (event,) = recorded.named("RoutingDecisionEvent")
    assert event.span_id.startswith(f"Tryage.{entry.__name__}-")
    assert (event.model, event.decision.order) == ("a", ("a", "b"))
    first, second = recorded.started_calls
    assert recorded.parent_of(first.span_id) == recorded.parent_of(second.span_id) == event.span_id


def test_the_event_dumps_the_whole_reasoning_as_json(make, recorded):
    make(says("a"), says("b"), flags="not b").complete("Hi")
    (event,) = recorded.named("RoutingDecisionEvent")
    dumped = json.loads(event.model_dump_json())
    assert dumped["decision"]["ranking"][0]["model"] == "a"
    assert dumped["decision"]["excluded"] == [{"model": "b", "reason": "denied"}]
    assert event.model_dump()["class_name"] == "RoutingDecisionEvent"


@every_stream
async def test_a_stream_that_breaks_ends_its_call_with_the_error(entry, make, recorded):
    llm = make(says("a", error=Upstream(500), fail_after_chunks=1))
    with pytest.raises(Upstream):
        await entry(llm, "Hi you")
    assert recorded.ended_calls == []
    assert len(recorded.named("ExceptionEvent")) == 1
