"""An upstream that fails is passed by before the first byte, in every way that one can fail."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import openai
import pytest

from tests.gateway.serving import ScriptedUpstream, Served, until, upstreams

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "Why is the sky blue?"}]
QUICK = {"first_token_s": 0.2, "between_tokens_s": 0.2, "whole_s": 0.4}
STEADY = {"first_rest_s": 600, "longest_rest_s": 600}
"""Of a breaker: what rests does so until the test is over."""

PLAIN = [
    ("status", {"status": 500}, "ErrorStatus"),
    ("status", {"status": 429}, "ErrorStatus"),
    ("status", {"status": 401}, "ErrorStatus"),
    ("status", {"status": 403}, "ErrorStatus"),
    ("status", {"status": 404}, "ErrorStatus"),
    ("status", {"status": 503, "content": [b"<html>"]}, "ErrorStatus"),
    ("status", {"status": 302, "headers": {"location": "/v1/x"}}, "ErrorStatus"),
    ("raw", {"content": [b'{"error": {"message": "no"}}']}, "Malformed"),
    ("raw", {"content": [b'"ok"']}, "Malformed"),
    ("raw", {"content": [b'{"choices": []}']}, "Malformed"),
    ("context", {}, "ErrorStatus"),
    ("malformed", {}, "Malformed"),
    ("empty", {}, "Malformed"),
    ("garbage", {}, "ConnectionBroke"),
    ("cut_before", {}, "ConnectionBroke"),
    ("hang", {}, "WholeTimeout"),
]
STREAMED = [
    ("status", {"status": 500}, "ErrorStatus"),
    ("status", {"status": 200}, "Malformed"),
    ("raw", {"content": [b"data: [DONE]\n\n"]}, "EmptyStream"),
    ("raw", {"content": []}, "EmptyStream"),
    ("raw", {"content": [b"data: [1]\n\n"]}, "Malformed"),
    ("context", {}, "ErrorStatus"),
    ("malformed", {}, "Malformed"),
    ("empty", {}, "EmptyStream"),
    ("garbage", {}, "ConnectionBroke"),
    ("cut_before", {}, "ConnectionBroke"),
    ("error_before", {}, "ErrorInStream"),
    ("hang", {}, "FirstTokenTimeout"),
    ("alive", {}, "FirstTokenTimeout"),
]
CASES = [(False, *case) for case in PLAIN] + [(True, *case) for case in STREAMED]


def forgetful(timeouts):
    """Serve two models, the first under such timeouts; the breaker forgets at once."""
    with ScriptedUpstream() as upstream:
        first, second = upstreams(upstream.base_url, ["first", "second"])
        parts = {
            "upstreams": [{**first, "timeouts": timeouts}, second],
            "breaker": {"first_rest_s": 1e-6, "longest_rest_s": 1e-6},
        }
        with Served(parts) as served:
            served.upstream = upstream
            yield served


@pytest.fixture(scope="module")
def calm():
    """A gateway that has time for all."""
    yield from forgetful({})


@pytest.fixture(scope="module")
def quick():
    """A gateway that has no time for the first model."""
    yield from forgetful(QUICK)


def said(client, stream=False, **options):
    """Return what the model said, however it was asked."""
    options = {"model": "tryage", "messages": SAID, **options}
    answer = client.chat.completions.create(stream=stream, **options)
    if not stream:
        return answer.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices)


@pytest.mark.parametrize(("stream", "kind", "options", "error"), CASES)
def test_the_next_model_answers(calm, quick, stream, kind, options, error):
    served = quick if error.endswith("Timeout") else calm
    served.upstream.behave("first", kind, **options)

    assert said(served.client(), stream) == "second heard: Why is the sky blue?"

    entry = served.entry()
    assert [(tried.model, tried.error) for tried in entry.tries] == [
        ("first", error),
        ("second", None),
    ]
    assert (entry.model, entry.error, entry.status) == ("second", None, 200)
    assert entry.decision["decided"] == "first"


def test_an_upstream_that_is_down_is_passed_by(upstream):
    models = [
        *upstreams("http://127.0.0.1:9/v1", ["first"]),
        *upstreams(upstream.base_url, ["second"]),
    ]
    with Served({"upstreams": models, "breaker": STEADY}) as served:
        assert said(served.client()).startswith("second")
        assert said(served.client()).startswith("second")

        first, after = served.wait_for(2)
        assert [tried.error for tried in first.tries] == ["Unreachable", None]
        assert [tried.model for tried in after.tries] == ["second"]  # `first` rests
        assert served.gateway.live.states()["first"].resting_s > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_kept_connection_that_was_closed_is_no_failure(served, upstream, stream):
    upstream.behave("first", "drop_kept")
    client = served.client()
    served.gateway.session.connector._keepalive_timeout = 600
    for _ in range(3):
        assert said(client, stream).startswith("first")
        served.idle()  # only then the connection is free
    assert upstream.calls("first") == 5  # the second and the third came to a closed door first
    assert [tried.error for entry in served.wait_for(3) for tried in entry.tries] == [None] * 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("filter", {}),
        ("status", {"status": 400, "content": [b'{"error": {"message": "No!", "code": null}}']}),
        ("status", {"status": 422, "headers": {"x-request-id": "r1"}}),
    ],
)
def test_the_calls_own_error_comes_back_as_it_was_and_rests_nobody(calm, stream, kind, options):
    calm.upstream.behave("first", kind, **options)
    others = calm.upstream.calls("second")

    answer = calm.post(CHAT, json={"messages": SAID, "stream": stream})

    direct = calm.upstream
    assert answer.status_code in (400, 422)
    assert answer.content == b"".join(options.get("content", ())) or "error" in answer.json()
    assert answer.headers.get("x-request-id") == options.get("headers", {}).get("x-request-id")
    assert answer.headers["x-tryage-model"] == "first"
    assert direct.calls("second") == others
    assert calm.entry().error == "ErrorStatus"
    assert calm.gateway.live.states()["first"].resting_s == 0


def test_a_content_filter_raises_what_clients_expect(calm):
    calm.upstream.behave("first", "filter")
    with pytest.raises(openai.BadRequestError) as refused:
        said(calm.client())
    assert refused.value.code == "content_filter"


def test_a_refusal_at_the_beginning_of_a_stream_is_a_refusal(calm):
    told = {"message": "Filtered.", "type": "x", "param": None, "code": "content_filter"}
    content = [b"data: " + json.dumps({"error": told}).encode() + b"\n\n"]
    calm.upstream.behave("first", "raw", content=content)
    with pytest.raises(openai.BadRequestError) as refused:
        said(calm.client(), stream=True)
    assert refused.value.code == "content_filter"


def test_too_long_for_all_is_told_as_the_upstream_told_it(calm):
    calm.upstream.behave("first", "context", times=1)
    calm.upstream.behave("second", "context", times=1)
    with pytest.raises(openai.BadRequestError) as refused:
        said(calm.client())
    assert refused.value.code == "context_length_exceeded"


def test_all_failing_is_one_error_that_names_the_causes(served, upstream):
    for model in ("first", "second", "third"):
        upstream.behave(model, "status", status=500, content=[b"secret sk-123"])

    with pytest.raises(openai.InternalServerError) as failed:
        said(served.client())

    assert (failed.value.status_code, failed.value.code) == (503, "all_models_failed")
    assert 1 <= int(failed.value.response.headers["retry-after"]) <= 5
    assert "sk-123" not in failed.value.message
    entry = served.entry()
    assert (entry.error, entry.model, len(entry.tries)) == ("AllModelsFailed", None, 3)
    assert served.gateway.live.breaker.resting().keys() == {"first", "second", "third"}
    ready = served.post("/x")
    assert ready.status_code == 404


def test_a_named_upstreams_error_is_its_own(served, upstream):
    upstream.behave("third", "status", status=429, headers={"retry-after": "7"})
    with pytest.raises(openai.RateLimitError) as limited:
        said(served.client(), model="third")
    assert limited.value.response.headers["retry-after"] == "7"

    upstream.behave("first", "status", status=500, content=[b"<its own words>"])
    answer = served.post(CHAT, json={"model": "first", "messages": SAID})
    assert (answer.status_code, answer.content) == (500, b"<its own words>")

    upstream.behave("second", "malformed")
    with pytest.raises(openai.InternalServerError) as failed:
        said(served.client(), model="second")
    assert "Malformed" in failed.value.message


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_rate_limit_rests_the_upstream_for_as_long_as_it_asks(served, upstream, form):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=61), usegmt=True)
    headers = {"retry-after": "60" if form == "seconds" else date}
    upstream.behave("first", "status", status=429, headers=headers, times=1)

    assert said(served.client()).startswith("second")
    assert said(served.client()).startswith("second")

    assert upstream.calls("first") == 1
    assert 50 < served.gateway.live.states()["first"].resting_s <= 61


def test_all_at_their_rate_limit_is_a_429_with_the_shortest_wait(served, upstream):
    for model, wait in (("first", "30"), ("second", "20"), ("third", "40")):
        upstream.behave(model, "status", status=429, headers={"retry-after": wait})
    with pytest.raises(openai.RateLimitError) as limited:
        said(served.client())
    assert limited.value.response.headers["retry-after"] == "20"


@pytest.mark.parametrize(
    ("limit", "wait"), [({"requests_per_minute": 2}, range(50, 61)), ({"max_concurrent": 1}, [1])]
)
def test_our_own_limits_send_calls_to_the_next_model_and_then_back(upstream, limit, wait):
    parts = {"upstreams": upstreams(upstream.base_url, ["first", "second"], **limit)}
    with Served(parts) as served:
        client = served.client()
        if "max_concurrent" in limit:
            upstream.behave("first", "stall")
            upstream.behave("second", "stall")
            busy = [client.chat.completions.create(model="tryage", messages=SAID, stream=True)
                    for _ in range(2)]  # fmt: skip
        else:
            assert [said(client).split()[0] for _ in range(4)] == ["first"] * 2 + ["second"] * 2
        with pytest.raises(openai.RateLimitError) as full:
            said(client)
        assert int(full.value.response.headers["retry-after"]) in wait
        assert upstream.calls("first") == upstream.calls("second")
        assert served.gateway.live.breaker.resting() == {}
        if "max_concurrent" in limit:
            for one in busy:
                one.close()
            upstream.behave("first")
            until(lambda: served.gateway.live.states()["first"].in_flight == 0)
            assert said(client).startswith("first")


def test_a_model_that_rests_gets_one_call_to_try_and_then_its_traffic(upstream):
    now = [0.0]
    parts = {"upstreams": upstreams(upstream.base_url, ["first", "second"])}
    with Served(parts, clock=lambda: now[0]) as served:
        upstream.behave("first", "status", status=500, times=2)
        client = served.client()
        heard = []
        for now[0] in (0, 1, 5.1, 6, 16, 17):
            heard.append(said(client).split()[0])

    # Fails, rests 5 s, fails its trial, rests 10 s, passes its trial.
    assert heard == ["second", "second", "second", "second", "first", "first"]
    assert upstream.calls("first") == 4


def test_a_hedge_asks_a_second_model_and_drops_the_slower(upstream):
    parts = {"upstreams": upstreams(upstream.base_url), "hedge": {"after_s": 0.05}}
    upstream.behave("first", "hang")
    with Served(parts) as served:
        for stream in (False, True):
            assert said(served.client(), stream).startswith("second")
        until(lambda: upstream.hung_up["first"] == 2)
        plain, _ = served.wait_for(2)
        assert [(tried.model, tried.error) for tried in plain.tries] == [
            ("first", "CancelledError"),
            ("second", None),
        ]
        assert served.gateway.live.states()["first"].in_flight == 0
        assert upstream.calls("third") == 0


def test_a_hedge_that_fails_leaves_the_first_its_time(upstream):
    parts = {"upstreams": upstreams(upstream.base_url), "hedge": {"after_s": 0.05}}
    upstream.behave("first", "answer", delay_s=3)
    upstream.behave("second", "status", status=500)
    upstream.behave("third", "status", status=500)
    with Served(parts) as served:
        assert said(served.client()).startswith("first")
        assert [tried.model for tried in served.entry().tries] == ["first", "second", "third"]

        upstream.behave("first", "status", status=500, delay_s=0.2)
        upstream.behave("second", "status", status=500, delay_s=0.3)
        with pytest.raises(openai.InternalServerError) as failed:
            said(served.client())
    assert failed.value.code == "all_models_failed"
    assert json.loads(failed.value.response.content)["error"]["type"] == "server_error"


def test_an_upstream_that_hangs_loses_its_traffic_before_its_calls_time_out(upstream):
    now = [0.0]
    parts = {"upstreams": upstreams(upstream.base_url, ["first", "second"])}
    with Served(parts, clock=lambda: now[0]) as served:
        for _ in range(4):  # what is usual becomes known
            assert said(served.client(), stream=True).startswith("first")
        upstream.behave("first", "hang")
        heard = []
        client = served.client()
        hanging = [
            threading.Thread(target=lambda: heard.append(said(client, stream=True)))
            for _ in range(3)
        ]
        for thread in hanging:
            thread.start()
        until(lambda: upstream.begun["first"] == 7)

        now[0] += 5
        assert said(served.client()).startswith("second")

        upstream.behave("first")
        now[0] += 6
        assert said(served.client()).startswith("first")
        upstream.release()
        for thread in hanging:
            thread.join()
    assert len(heard) == 3
