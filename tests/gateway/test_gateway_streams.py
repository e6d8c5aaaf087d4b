"""After the first content nothing can be tried again: a break is told, and never hidden."""

from __future__ import annotations

import openai
import pytest

from tests.gateway.serving import ScriptedUpstream, Served, until, upstreams
from tryage.gateway.sse import Event, Progress, Splitter, has_content, read_event

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "Why is the sky blue?"}]
QUICK = {"first_token_s": 5, "between_tokens_s": 0.2, "whole_s": 60}


@pytest.fixture
def quick(upstream):
    parts = {"upstreams": upstreams(upstream.base_url), "timeouts": QUICK}
    with Served(parts) as served:
        yield served


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut_after", "ConnectionBroke"),
        ("unfinished", "CutStream"),
        ("stall", "Stalled"),
        ("malformed_later", "Malformed"),
    ],
)
def test_a_break_after_the_first_content_is_told_as_an_error(quick, upstream, kind, error):
    upstream.behave("first", kind)
    stream = quick.client().chat.completions.create(model="tryage", messages=SAID, stream=True)

    heard = []

    def listen():
        for chunk in stream:
            heard.append(chunk.choices[0].delta.content)

    with pytest.raises(openai.APIError) as broken:
        listen()

    assert heard == ["", "first", " heard:"]
    assert broken.value.code == "stream_broken"
    assert error in broken.value.message
    entry = quick.entry()
    assert (entry.status, entry.error, entry.model) == (200, error, "first")
    assert [(tried.model, tried.error) for tried in entry.tries] == [("first", error)]
    assert upstream.calls("second") == 0  # an answer is not spliced from two models
    assert quick.gateway.live.states()["first"].resting_s > 0
    assert quick.gateway.live.states()["first"].in_flight == 0


def test_a_broken_stream_does_not_end_like_a_whole_one(quick, upstream):
    upstream.behave("first", "unfinished")
    content = quick.post(CHAT, json={"messages": SAID, "stream": True}).content

    assert b"[DONE]" not in content
    assert content.endswith(b"\n\n")


def test_an_upstreams_own_error_in_a_stream_is_passed_on(quick, upstream):
    upstream.behave("first", "error_after")
    with pytest.raises(openai.APIError, match="Overloaded"):
        list(quick.client().chat.completions.create(model="tryage", messages=SAID, stream=True))
    assert quick.entry().error == quick.entry().tries[0].error == "ErrorInStream"
    assert quick.gateway.live.states()["first"].resting_s > 0


def test_the_whole_time_bounds_a_stream_that_goes_on(upstream):
    upstream.behave("first", "trickle", delay_s=0.1)
    timeouts = {"first_token_s": 5, "between_tokens_s": 5, "whole_s": 0.35}
    with (
        Served({"upstreams": upstreams(upstream.base_url), "timeouts": timeouts}) as served,
        pytest.raises(openai.APIError, match="WholeTimeout"),
    ):
        list(served.client().chat.completions.create(model="tryage", messages=SAID, stream=True))


def test_an_upstream_may_have_its_own_patience(upstream):
    upstream.behave("first", "answer", delay_s=0.3)
    models = upstreams(upstream.base_url, ["first"], timeouts={"whole_s": 10})
    with Served({"upstreams": models, "timeouts": {"whole_s": 0.1}}) as served:
        assert served.post(CHAT, json={"messages": SAID}).status_code == 200


def test_a_stream_that_finishes_without_an_announced_end_is_whole(quick, upstream):
    end = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}'
    upstream.behave("first", "raw", content=[end])  # not even a blank line

    answer = quick.post(CHAT, json={"messages": SAID, "stream": True})

    assert answer.content == end
    assert quick.entry().error is None


def test_connections_to_an_upstream_are_used_again(quick):
    for count, stream in enumerate((True, False, True), start=1):
        quick.post(CHAT, json={"messages": SAID, "stream": stream})
        quick.wait_for(count)  # a client has its answer before the connection is free again
    (pool,) = quick.gateway.session.connector._conns.values()
    assert len(pool) == 1


def test_events_are_cut_wherever_the_chunks_end():
    raw = b'data: {"a": 1}\r\n\r\n: hi\n\ndata: {"b":\ndata: 2}\n\ndata: [DONE]\n\n'
    whole, _ = Splitter().feed(raw)
    splitter = Splitter()
    bytewise = [e for i in range(len(raw)) for e in splitter.feed(raw[i : i + 1])[0]]

    assert b"".join(event.raw for event in whole) == raw
    assert [event.value for event in whole] == [{"a": 1}, None, {"b": 2}, None]
    assert [event.done for event in whole] == [False, False, False, True]
    assert [event.is_comment for event in whole] == [False, True, False, False]
    assert [e.value for e in bytewise if not e.is_comment] == [{"a": 1}, {"b": 2}, None]
    assert b"".join(event.raw for event in bytewise) == raw


@pytest.mark.parametrize(
    ("choice", "shows"),
    [
        ({"delta": {"role": "assistant", "content": ""}}, False),
        ({"delta": {}}, False),
        ({"delta": None}, False),
        ({"delta": {"content": "x"}}, True),
        ({"delta": {"reasoning_content": "x"}}, True),
        ({"delta": {"tool_calls": [{}]}}, True),
        ({"delta": {"refusal": "No."}}, True),
        ({"text": "x"}, True),
        ({"text": ""}, False),
        ({"delta": {}, "finish_reason": "stop"}, True),
    ],
)
def test_content_is_what_shows_the_client_anything(choice, shows):
    assert has_content(Event(b"", {"choices": [choice]})) is shows


def test_an_answer_of_several_choices_is_whole_when_all_have_finished():
    progress = Progress(keep_text=True)

    def saw(index, text, finish=None):
        choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
        progress.saw(Event(b"", {"choices": [choice]}))

    saw(0, "a")
    saw(1, "b")
    saw(0, "c", "stop")
    assert not progress.is_whole
    saw(1, "", "length")
    assert progress.is_whole
    assert progress.text == "ac"


@pytest.mark.parametrize("data", [b"data: nope\n\n", b"data: [1]\n\n", b"data: 1\n\n"])
def test_data_that_is_no_object_is_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011 (whose text nobody is told)
        read_event(data)


def test_a_client_that_goes_after_the_announced_end_has_had_its_answer(quick, upstream):
    upstream.behave("first", "linger", delay_s=0.5)
    client = quick.client()
    list(client.chat.completions.create(model="tryage", messages=SAID, stream=True))
    client.close()

    entry = quick.entry()
    assert (entry.error, entry.tries[0].error) == (None, None)


def test_a_client_that_hangs_up_ends_the_call_to_the_upstream(quick, upstream):
    upstream.behave("first", "stall")
    stream = quick.client().chat.completions.create(model="tryage", messages=SAID, stream=True)
    next(iter(stream))
    stream.close()

    until(lambda: upstream.hung_up["first"] == 1)
    entry = quick.entry()
    assert (entry.error, entry.model) == ("ClientGone", "first")
    assert entry.tries[0].error == "CancelledError"
    assert quick.gateway.live.states()["first"].in_flight == 0
    assert quick.gateway.live.states()["first"].resting_s == 0  # it is not to blame


def test_a_client_that_hangs_up_while_it_waits_ends_the_call_too(served, upstream):
    upstream.behave("first", "hang")
    client = served.client(timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="tryage", messages=SAID)

    until(lambda: upstream.hung_up["first"] == 1)
    entry = served.entry()
    assert (entry.status, entry.error, entry.model) == (499, "ClientGone", None)
    assert upstream.calls("second") == 0


def test_texts_are_kept_only_where_that_is_switched_on(upstream: ScriptedUpstream):
    parts = {"upstreams": upstreams(upstream.base_url)}
    for prompts in (True, False):
        with Served({**parts, "record": {"prompts": prompts}}) as served:
            for stream in (True, False):
                served.post(CHAT, json={"messages": SAID, "stream": stream})
            kept = [(entry.prompt, entry.response) for entry in served.wait_for(2)]
        text = ("Why is the sky blue?", "first heard: Why is the sky blue?")
        assert kept == [text if prompts else (None, None)] * 2
