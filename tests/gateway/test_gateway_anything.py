"""Whatever a client sends, the gateway answers in OpenAI's form, and tells nobody of it."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.serving import ScriptedUpstream, Served, upstreams

NAMES = ["model", "messages", "prompt", "stream", "tools", "response_format", "max_tokens", "n",
         "role", "content", "type", "text", "image_url", "tool_calls", "tryage", "flags", "report",
         "previous", "cost", "allow", "max_latency_s", "released_after", "require"]  # fmt: skip
WORDS = ["tryage", "tryage:", "tryage:cheap", "first", "user", "assistant", "tool", "text", "Hi",
         "json_schema", "cost=1e999", "only first", "after 0", "", "\x00", "\ud800"]  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "odd"]) | VALUES},
        optional={"content": st.just("Hi") | VALUES, "tool_calls": VALUES},
    ),
    max_size=3,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={name: VALUES for name in NAMES[:8]}
    | {
        "messages": MESSAGES | VALUES,
        "tryage": st.fixed_dictionaries({}, optional={"flags": VALUES, "report": st.booleans()}),
    },
)


@pytest.fixture(scope="module")
def open_door():
    parts = {"routing": {"prompt_flags": True}}
    with (
        ScriptedUpstream() as upstream,
        Served({"upstreams": upstreams(upstream.base_url), **parts}) as served,
    ):
        for model in ("first", "second", "third"):
            upstream.behave(model, "raw", content=[b'{"choices": [{}]}'])
        yield served


@given(body=BODIES, path=st.sampled_from(["/chat/completions", "/completions", "/tryage/route"]))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_body_is_too_odd(open_door, body, path):
    answer = open_door.post(path, content=json.dumps(body).encode())

    assert answer.status_code in (200, 400, 404, 503), answer.text
    if answer.status_code != 200:
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


@given(raw=st.binary(max_size=50))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_bytes_are_too_odd(open_door, raw):
    assert open_door.post("/chat/completions", content=raw).status_code == 400


@given(flags=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_header_is_too_odd(open_door, flags):
    value = flags.strip().encode("latin-1")  # no client sends blanks around a value
    headers = {"x-tryage-flags": value, "authorization": value}
    answer = open_door.post("/completions", json={"prompt": "Hi"}, headers=headers)
    assert answer.status_code in (200, 400)


def test_nothing_is_logged_of_prompts_and_keys(caplog, upstream):
    caplog.set_level(logging.DEBUG)
    prompt, key = "the-secret-prompt", "sk-the-secret-key"
    models = upstreams(upstream.base_url, key_env="KEY")
    with Served({"upstreams": models}, environment={"KEY": key}) as served:
        for kind in ("answer", "malformed", "garbage", "cut_before"):
            upstream.behave("first", kind)
            served.gateway.live.breaker.succeeded("first")
            body = {"messages": [{"role": "user", "content": prompt}], "stream": kind != "answer"}
            sent = {"authorization": f"Bearer {key}"}
            served.post("/chat/completions", json=body, headers=sent)
        served.gateway.upstreams = {}  # a bug
        bug = served.post("/completions", json={"prompt": prompt})

    ours = [r for r in caplog.records if r.name.partition(".")[0] not in ("httpx", "httpcore")]
    assert bug.status_code == 500
    assert any("KeyError in a request: this is a bug" in record.getMessage() for record in ours)
    for record in ours:
        told = record.getMessage() + str(record.exc_info) + str(record.exc_text)
        assert prompt not in told
        assert key not in told
