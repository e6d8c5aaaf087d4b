"""After the first content nothing can be tried again: a break is told, and never hidden."""

from __future__ import annotations

import asyncio
import json
import socket

import openai
import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from tests.gateway.serving import ScriptedUpstream, Served, until, upstreams
from tests.servers.scripted_upstream import event
from tryage.gateway.protocol import protocol
from tryage.gateway.settings import Server
from tryage.gateway.sse import Event, Progress, Splitter, has_content, read_event

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut_after", "ConnectionBroke"),
        ("unfinished", "CutStream"),
        ("stall", "Stalled"),
        ("malformed_later", "Malformed"),
    ],
)
def test_a_break_after_the_first_content_is_told_as_an_error(upstream, kind, error):
    upstream.behave("first", kind)
    timeouts = {"between_tokens_s": 1.5} if kind == "stall" else {}
    heard = []

    def listen(client):
        said = client.chat.completions.create(model="tryage", messages=SAID, stream=True)
        for chunk in said:
            heard.append(chunk.choices[0].delta.content)

    # What fails rests for as long as the test may take.
    breaker = {"first_rest_s": 600, "longest_rest_s": 600}
    parts = {"upstreams": upstreams(upstream.base_url), "timeouts": timeouts, "breaker": breaker}
    with Served(parts) as served:
        with pytest.raises(openai.APIError) as broken:
            listen(served.client())
        entry = served.entry()
        state = served.gateway.live.states()["first"]

    assert heard == ["", "first", " heard:"]
    assert broken.value.code == "stream_broken"
    assert error in broken.value.message
    assert (entry.status, entry.error, entry.model) == (200, error, "first")
    assert [(tried.model, tried.error) for tried in entry.tries] == [("first", error)]
    assert upstream.calls("second") == 0  # an answer is not spliced from two models
    assert state.resting_s > 0
    assert state.in_flight == 0


def test_a_broken_stream_does_not_end_like_a_whole_one(served, upstream):
    upstream.behave("first", "unfinished")
    content = served.post(CHAT, json={"messages": SAID, "stream": True}).content

    assert b"[DONE]" not in content
    assert content.endswith(b"\n\n")


def test_an_upstreams_own_error_in_a_stream_is_passed_on(served, upstream):
    upstream.behave("first", "error_after")
    with pytest.raises(openai.APIError, match="Overloaded"):
        list(served.client().chat.completions.create(model="tryage", messages=SAID, stream=True))
    assert served.entry().error == served.entry().tries[0].error == "ErrorInStream"
    assert served.gateway.live.states()["first"].resting_s > 0


def test_the_whole_time_bounds_a_stream_that_goes_on(upstream):
    upstream.behave("first", "trickle", delay_s=0.2)
    timeouts = {"first_token_s": 60, "between_tokens_s": 60, "whole_s": 1}
    with (
        Served({"upstreams": upstreams(upstream.base_url), "timeouts": timeouts}) as served,
        pytest.raises(openai.APIError, match="WholeTimeout"),
    ):
        list(served.client().chat.completions.create(model="first", messages=SAID, stream=True))


def test_an_upstream_may_have_its_own_patience(upstream):
    upstream.behave("first", "answer", delay_s=0.3)
    models = upstreams(upstream.base_url, ["first"], timeouts={"whole_s": 60})
    with Served({"upstreams": models, "timeouts": {"whole_s": 0.1}}) as served:
        assert served.post(CHAT, json={"messages": SAID}).status_code == 200


def test_a_stream_that_finishes_without_an_announced_end_is_whole(served, upstream):
    end = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}'
    upstream.behave("first", "raw", content=[end])  # not even a blank line

    answer = served.post(CHAT, json={"messages": SAID, "stream": True})

    assert answer.content == end
    assert served.entry().error is None


def test_connections_to_an_upstream_are_used_again(served):
    for stream in (True, False, True):
        served.post(CHAT, json={"messages": SAID, "stream": stream})
        served.idle()  # a client has its answer before the connection is free again
    (pool,) = served.gateway.session.connector._conns.values()
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


def test_a_client_that_goes_after_the_announced_end_has_had_its_answer(served, upstream):
    upstream.behave("first", "linger", delay_s=0.5)
    client = served.client()
    list(client.chat.completions.create(model="tryage", messages=SAID, stream=True))
    client.close()

    entry = served.entry()
    assert (entry.error, entry.tries[0].error) == (None, None)


def test_a_client_that_hangs_up_ends_the_call_to_the_upstream(served, upstream):
    upstream.behave("first", "stall")
    stream = served.client().chat.completions.create(model="tryage", messages=SAID, stream=True)
    next(iter(stream))
    stream.close()

    until(lambda: upstream.hung_up["first"] == 1)
    entry = served.entry()
    assert (entry.error, entry.model) == ("ClientGone", "first")
    assert entry.tries[0].error == "CancelledError"
    assert served.gateway.live.states()["first"].in_flight == 0
    assert served.gateway.live.states()["first"].resting_s == 0  # it is not to blame


def test_a_client_that_hangs_up_while_it_waits_ends_the_call_too(served, upstream):
    upstream.behave("first", "hang")
    body = json.dumps({"messages": SAID}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as client:
        client.sendall(head % len(body) + body)
        until(lambda: upstream.begun["first"] == 1)

    until(lambda: upstream.hung_up["first"] == 1)
    entry = served.entry()
    assert (entry.status, entry.error, entry.model) == (499, "ClientGone", None)
    assert upstream.calls("second") == 0


def test_a_bug_in_a_stream_is_logged_and_not_held_against_the_upstream(served, monkeypatch, caplog):
    def bug(*_):
        raise ZeroDivisionError(SAID[0]["content"])

    monkeypatch.setattr("tryage.gateway.sending._last", bug)
    with pytest.raises(openai.APIError) as broken:
        list(served.client().chat.completions.create(model="tryage", messages=SAID, stream=True))

    assert broken.value.code == "internal_error"
    entry = served.entry()
    assert (entry.status, entry.error, entry.model) == (200, "ZeroDivisionError", "first")
    state = served.gateway.live.states()["first"]
    assert (state.resting_s, state.error_rate, state.in_flight) == (0, 0, 0)
    logged = "".join(
        f"{r.getMessage()}{r.exc_info}" for r in caplog.records if r.levelname == "ERROR"
    )
    assert "ZeroDivisionError in a request: this is a bug" in logged
    assert "sending.py" in logged
    assert SAID[0]["content"] not in logged


def test_a_bug_after_the_end_of_a_stream_is_logged_for_what_it_is(served, monkeypatch, caplog):
    def bug(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("tryage.gateway.calls.Calls.ended", bug)
    content = served.post(CHAT, json={"messages": SAID, "stream": True}).content

    assert content.endswith(b"data: [DONE]\n\n")
    assert served.entry().error == "ZeroDivisionError"
    assert "ZeroDivisionError in a request" in caplog.text


def test_a_client_that_takes_nothing_is_hung_up_on(upstream):
    chunk = event({"choices": [{"index": 0, "delta": {"content": "x" * 1_000_000}}]})
    upstream.behave("first", "raw", content=[chunk] * 200)  # more than all buffers on the way hold
    parts = {"upstreams": upstreams(upstream.base_url), "server": {"write_timeout_s": 0.3}}
    body = json.dumps({"messages": SAID, "stream": True}).encode()
    with Served(parts) as served:
        with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
            entry = served.wait_for(1)[0]
            until(lambda: not upstream._writers)  # the call was broken off as well
        assert (entry.error, entry.tries[0].error) == ("ClientGone", "CancelledError")
        state = served.gateway.live.states()["first"]
        assert (state.resting_s, state.in_flight) == (0, 0)


class Slow:
    """A connection whose client has taken more whenever one looks, for so many times."""

    def __init__(self, takes):
        self.left, self.takes, self.looked, self.aborted = 1000, takes, 0, False

    def get_write_buffer_size(self):
        self.looked += 1
        self.left -= 10 if self.looked <= self.takes else 0
        return self.left

    def abort(self):
        self.aborted = True


@pytest.mark.parametrize("takes", [0, 1, 5])
async def test_a_client_that_is_slow_is_waited_for_as_long_as_it_takes_something(takes):
    bounds = protocol(Server(write_timeout_s=0.01))
    one = bounds.__new__(bounds)
    one.loop, one.transport = asyncio.get_running_loop(), Slow(takes)
    one.flow = FlowControl(one.transport)
    one.pause_writing()
    while not one.transport.aborted:
        await asyncio.sleep(0.01)
    assert one.transport.looked == max(takes, 1) + 1


def test_texts_are_kept_only_where_that_is_switched_on(upstream: ScriptedUpstream):
    parts = {"upstreams": upstreams(upstream.base_url)}
    for prompts in (True, False):
        with Served({**parts, "record": {"prompts": prompts}}) as served:
            for stream in (True, False):
                served.post(CHAT, json={"messages": SAID, "stream": stream})
            kept = [(entry.prompt, entry.response) for entry in served.wait_for(2)]
        text = ("Why is the sky blue?", "first heard: Why is the sky blue?")
        assert kept == [text if prompts else (None, None)] * 2
