"""What the gateway must not touch: bytes pass through, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.gateway.serving import ScriptedUpstream, Served, upstreams
from tests.servers.scripted_upstream import DONE, event

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "What is the weather in Oslo?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "model": {"type": "string"}},
        },
    },
}


class Weather(BaseModel):
    city: str
    degrees: int


@pytest.fixture
def client(served: Served) -> OpenAI:
    return served.client()


def sent(upstream: ScriptedUpstream, model: str = "first") -> dict[str, Any]:
    return upstream.seen[model][-1].body


def test_an_answer_arrives_as_the_upstream_sent_it_with_the_decision_in_headers(served, upstream):
    content = (
        b'{ "id":"x",  "choices":[{"index":0,"message":{"content":"h\\u00e9"},"odd":1.50}] }\n'
    )
    upstream.behave(
        "first", "raw", content=[content], headers={"x-vendor": "v", "x-tryage-id": "no"}
    )

    answer = served.post(CHAT, json={"model": "tryage", "messages": SAID})

    assert answer.content == content
    assert answer.headers["x-vendor"] == "v"
    assert answer.headers["x-tryage-model"] == answer.headers["x-tryage-decided"] == "first"
    assert 0 < float(answer.headers["x-tryage-quality"]) <= 1
    assert answer.headers["x-tryage-attempts"] == "1"
    assert answer.headers["x-tryage-id"] == served.entry().id


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "tryage", "messages": [{"role":"user","content":"Hi"}], "x": {"a":[1, 2.50]}}',
        b'{"messages":[{"role":"user","content":"say \\"model\\": \\"x\\""}],"model"\n:\t"tryage"}',
    ],
)
def test_only_the_models_name_changes_in_the_bytes_of_a_request(served, upstream, body):
    assert served.post(CHAT, content=body).status_code == 200

    assert upstream.seen["first"][-1].raw == body.replace(b'"tryage"', b'"first"')


@pytest.mark.parametrize(
    "body",
    [
        {"model": "tryage", "messages": SAID, "tools": [TOOL], "metadata": {"model": "mine"}},
        {"model": "tryage", "messages": SAID, "tryage": {"report": False}, "user": "u"},
        {"messages": SAID, "top_logprobs": 3},
    ],
)
def test_a_request_says_the_same_where_its_bytes_cannot_stay(served, upstream, body):
    assert served.post(CHAT, json=body).status_code == 200

    expected = {key: value for key, value in body.items() if key != "tryage"} | {"model": "first"}
    assert sent(upstream) == expected


def test_an_escaped_name_of_the_key_is_not_mistaken(served, upstream):
    raw = b'{"messages":[{"role":"user","content":"Hi"}],"\\u006dodel":"tryage","a":{"model":"x"}}'

    assert served.post(CHAT, content=raw).status_code == 200

    assert sent(upstream)["model"] == "first"
    assert sent(upstream)["a"] == {"model": "x"}


def test_half_of_a_surrogate_pair_and_not_a_number_pass(served, upstream):
    content = b'{"choices":[{"index":0,"message":{"content":"\\ud83d"},"logprobs":NaN}]}'
    upstream.behave("first", "raw", content=[content])

    said = b'{"model":"tryage","messages":[{"role":"user","content":"cut \\ud83d"}]}'
    assert served.post(CHAT, content=said).content == content
    assert sent(upstream)["messages"][0]["content"] == "cut \ud83d"


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_stream_arrives_byte_by_byte_as_it_was_sent(served, upstream, newline):
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "Hé"}}], "x_vendor": 1}
    pieces = [
        b": processing\n\n",
        b"event: message\nid: 7\ndata: " + json.dumps(chunk).encode() + b"\n\n",
        b'data: {"choices": [{"index": 0, "delta": {"con',  # one event in two pieces
        b'tent": "!"}}]}\n\n: ping\n\n',
        b'data:{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n',
        DONE,
    ]
    content = [piece.replace(b"\n", newline) for piece in pieces]
    upstream.behave("first", "raw", content=content)

    answer = served.post(CHAT, json={"model": "tryage", "messages": SAID, "stream": True})

    assert answer.content == b"".join(content)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-tryage-model"] == "first"
    entry = served.entry()
    assert (entry.input_tokens, entry.output_tokens, entry.error) == (3, 2, None)
    assert entry.cost_usd == pytest.approx((3 * 1 + 2 * 2) / 1e6)


def test_a_stream_whose_end_comes_with_its_first_content_is_whole(served, upstream):
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    said = {"choices": [{"index": 0, "delta": {"content": "All."}, "finish_reason": "stop"}]}
    content = [event(role), event(said) + DONE]
    upstream.behave("first", "trickle", delay_s=0.05, content=content)

    answer = served.post(CHAT, json={"messages": SAID, "stream": True})

    assert answer.content == b"".join(content)
    assert served.entry().error is None


def test_a_stream_is_sent_on_as_it_comes(served, upstream):
    upstream.behave("first", "trickle", delay_s=0.05)
    seen_at_first = None
    for _ in served.client().chat.completions.create(model="tryage", messages=SAID, stream=True):
        seen_at_first = seen_at_first or len(served.entries) + 1

    assert seen_at_first == 1  # the first chunk was here before the request was over
    assert served.entry().first_token_s < served.entry().seconds


def test_tool_calls(client, upstream):
    answer = client.chat.completions.create(model="tryage", messages=SAID, tools=[TOOL])

    (call,) = answer.choices[0].message.tool_calls
    assert (call.id, call.function.name) == ("call_1", "weather")
    assert sent(upstream)["tools"] == [TOOL]

    loop = [
        *SAID,
        answer.choices[0].message,
        {"role": "tool", "tool_call_id": "call_1", "content": "4°"},
    ]
    options = {"tryage": {"previous": "third"}}
    answer = client.chat.completions.create(model="tryage", messages=loop, extra_body=options)
    assert answer.choices[0].message.content == "third heard: What is the weather in Oslo?"
    assert sent(upstream, "third")["messages"][-1] == loop[-1]


def test_streamed_tool_calls(client):
    stream = client.chat.completions.create(
        model="tryage", messages=SAID, tools=[TOOL], stream=True
    )
    parts = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]

    assert parts[0].function.name == "weather"
    assert "Oslo" in "".join(part.function.arguments or "" for part in parts)


def test_a_json_schema_is_kept_to(client, upstream):
    answer = client.chat.completions.parse(model="tryage", messages=SAID, response_format=Weather)

    assert answer.choices[0].message.parsed.city
    assert sent(upstream)["response_format"]["json_schema"]["name"] == "Weather"


def test_images_pass_and_need_a_model_that_sees(upstream):
    blind = upstreams(upstream.base_url, ["first"])
    blind[0]["card"]["lacks"] = ["vision"]
    seeing = upstreams(upstream.base_url, ["second"])
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]

    with Served({"upstreams": blind + seeing}) as served:
        served.client().chat.completions.create(model="tryage", messages=messages)

    assert sent(upstream, "second")["messages"] == messages
    assert upstream.calls("first") == 0


def test_logprobs_usage_and_unknown_fields_reach_the_client(client, served, upstream):
    logprobs = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Hi", "reasoning_content": "hm"},
        "logprobs": logprobs,
        "finish_reason": "stop",
    }
    details = {"prompt_tokens_details": {"cached_tokens": 8}}
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, **details}
    body = {"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    upstream.behave("first", "raw", content=[json.dumps({**body, "usage": usage}).encode()])

    answer = client.chat.completions.create(model="tryage", messages=SAID, logprobs=True)

    assert answer.choices[0].logprobs.content[0].logprob == -0.1
    assert answer.choices[0].message.reasoning_content == "hm"
    assert answer.usage.prompt_tokens_details.cached_tokens == 8
    assert served.entry().cached_input_tokens == 8


@pytest.mark.parametrize("prompt", ["Once upon a time", ["Once", "Twice"]])
def test_completions(client, upstream, prompt):
    answer = client.completions.create(model="tryage", prompt=prompt)
    streamed = client.completions.create(model="tryage", prompt=prompt, stream=True)

    assert answer.choices[0].text == "".join(c.choices[0].text for c in streamed) == "and so on"
    assert [seen.path for seen in upstream.seen["first"]] == ["/v1/completions"] * 2
    assert sent(upstream)["prompt"] == prompt


def test_a_report_stands_in_the_body_only_where_it_is_asked_for(client, served):
    def ask(**options: Any) -> Any:
        return client.chat.completions.create(model="tryage", messages=SAID, **options)

    wish = {"extra_body": {"tryage": {"report": True, "flags": {"cost": 0.1}}}}
    told = ask(**wish).tryage
    chunks = list(ask(stream=True, stream_options={"include_usage": True}, **wish))

    assert not hasattr(ask(), "tryage")
    assert told["model"] == "first"
    assert told["attempts"] == [{"model": "first", "error": None}]
    assert told["flags"] == {"cost": 0.1}
    assert told["cost_usd"] == pytest.approx((10 * 1 + 7 * 2) / 1e6)
    last = chunks[-1]
    assert last.choices == []
    assert last.tryage["cost_usd"] == told["cost_usd"]
    assert last.id == chunks[0].id
    assert all(not hasattr(chunk, "tryage") for chunk in chunks[:-1])


def test_an_upstream_gets_its_own_key_and_never_the_clients(upstream):
    parts = {"upstreams": upstreams(upstream.base_url, ["first"], key_env="SOME_KEY")}
    with Served(parts, environment={"SOME_KEY": "of-the-upstream"}) as served:
        served.client(
            default_headers={"cookie": "c=1", "openai-organization": "o"}
        ).chat.completions.create(model="tryage", messages=SAID)

    headers = upstream.seen["first"][-1].headers
    assert headers["authorization"] == "Bearer of-the-upstream"
    assert headers["accept-encoding"] == "identity"
    assert not {"cookie", "openai-organization", "x-stainless-lang"} & set(headers)


def test_no_proxy_of_the_environment_is_used_and_no_redirect_followed(monkeypatch, upstream):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    upstream.behave("first", "status", status=302, headers={"location": f"{upstream.base_url}/x"})
    with Served({"upstreams": upstreams(upstream.base_url, ["first", "second"])}) as served:
        answer = served.post(CHAT, json={"messages": SAID})

    assert answer.headers["x-tryage-model"] == "second"
    assert [seen.path for seen in upstream.seen["first"]] == ["/v1" + CHAT]
