"""How a client asks: names, headers, the `tryage` object, and what is refused by name."""

from __future__ import annotations

import json

import openai
import pytest

from tests.gateway.serving import Served, upstreams
from tryage import Flags
from tryage.gateway.asked import PRESETS
from tryage.gateway.replies import flags_text

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def priced():
    """A gateway before three models; the worse, the cheaper."""
    from tests.gateway.serving import ScriptedUpstream

    with ScriptedUpstream() as upstream:
        models = upstreams(upstream.base_url)
        for model, price in zip(models, (9.0, 3.0, 0.1), strict=True):
            model["card"] |= {"input_usd_per_mtok": price, "output_usd_per_mtok": price}
        with Served({"upstreams": models, "routing": {"prompt_flags": True}}) as served:
            served.upstream = upstream
            yield served


def answered_by(served, **options):
    options = {"model": "tryage", "messages": SAID, **options}
    raw = served.client().chat.completions.with_raw_response.create(**options)
    return raw.headers["x-tryage-model"]


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({}, "first"),
        ({"model": "tryage:cheapest"}, "third"),
        ({"model": "tryage:cost=1,size=0.1"}, "third"),
        ({"model": "tryage:cost=1;size=0.1"}, "third"),
        ({"extra_headers": {"x-tryage-flags": "not first"}}, "second"),
        ({"extra_body": {"tryage": {"flags": "only second"}}}, "second"),
        ({"extra_body": {"tryage": {"flags": {"cost": 1}}}}, "third"),
        ({"model": "second"}, "second"),
        ({"model": "SECOND"}, "second"),
        # The body is stronger than a header, which is stronger than the name.
        ({"model": "tryage:cheapest", "extra_headers": {"x-tryage-flags": "cost=0"}}, "first"),
        (
            {
                "extra_headers": {"x-tryage-flags": "cost=0"},
                "extra_body": {"tryage": {"flags": "cheapest"}},
            },
            "third",
        ),
        ({"messages": [{"role": "user", "content": "[Flag: cheapest] Hello"}]}, "third"),
        (
            {
                "extra_headers": {"x-tryage-previous": "third"},
                "messages": [*SAID, {"role": "assistant", "content": "Well."}, *SAID],
                "model": "tryage:stickiness=1",
            },
            "third",
        ),
    ],
)
def test_a_client_asks_by_name_header_or_body(priced, options, model):
    assert answered_by(priced, **options) == model


def test_marks_in_the_prompt_do_not_reach_the_model(priced):
    parts = [{"type": "text", "text": "[Flag: not first] Hi"}]
    answered_by(priced, messages=[{"role": "user", "content": parts}])

    seen = priced.upstream.seen["second"][-1].body
    assert seen["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


def test_a_named_upstream_is_answered_without_a_decision(priced):
    answer = priced.client().chat.completions.with_raw_response.create(
        model="third", messages=SAID, extra_body={"tryage": {"report": True}}
    )

    assert "x-tryage-decided" not in answer.headers
    assert answer.headers["x-tryage-model"] == "third"
    assert answer.parse().tryage["attempts"] == [{"model": "third", "error": None}]
    assert priced.entry().decision == {}


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "told"),
    [
        (b"no JSON", 400, "invalid_json", None, "no JSON object"),
        (b"[]", 400, "invalid_json", None, "no JSON object"),
        (b"", 400, "invalid_json", None, "no JSON object"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, 400, "invalid_json", None, "no JSON"),
        ({"model": "tryage"}, 400, "invalid_value", "messages", "missing"),
        ({"messages": "Hi"}, 400, "invalid_value", "messages", "list of messages"),
        ({"messages": [1]}, 400, "invalid_value", "messages", "list of messages"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "invalid_value", "messages", "text"),
        ({"messages": []}, 400, "empty_prompt", "messages", "empty"),
        ({"prompt": [1, 2]}, 400, "invalid_value", "prompt", "token ids"),
        ({"model": 5, "messages": SAID}, 400, "invalid_value", "model", "name"),
        ({"model": "frist", "messages": SAID}, 404, "model_not_found", "model", "'first'"),
        ({"model": "tryage:chepest", "messages": SAID}, 400, "unknown_flag", "model", "cheapest"),
        ({"model": "tryage:cost=-1", "messages": SAID}, 400, "invalid_flag", "model", "number"),
        ({"tryage": 1, "messages": SAID}, 400, "invalid_value", "tryage", "object"),
        (
            {"tryage": {"flag": 1}, "messages": SAID},
            400,
            "unknown_parameter",
            "tryage.flag",
            "'flags'",
        ),
        (
            {"tryage": {"report": 1}, "messages": SAID},
            400,
            "invalid_value",
            "tryage.report",
            "true",
        ),
        (
            {"tryage": {"previous": 1}, "messages": SAID},
            400,
            "invalid_value",
            "tryage.previous",
            "name",
        ),
        (
            {"tryage": {"flags": {"cots": 1}}, "messages": SAID},
            400,
            "unknown_flag",
            "tryage.flags",
            "'cost'",
        ),
        (
            {"tryage": {"flags": {"allow": [[]]}}, "messages": SAID},
            400,
            "invalid_flag",
            "tryage.flags",
            "text",
        ),
        (
            {"tryage": {"flags": {"cost": 10**400}}, "messages": SAID},
            400,
            "invalid_flag",
            "tryage.flags",
            "",
        ),
        (
            {"tryage": {"flags": "min context 1e999"}, "messages": SAID},
            400,
            "invalid_flag",
            "tryage.flags",
            "",
        ),
        (
            {"tryage": {"flags": "only nobody"}, "messages": SAID},
            400,
            "unknown_model",
            "tryage.flags",
            "nobody",
        ),
        (
            {"tryage": {"flags": "max cost $0"}, "messages": SAID},
            400,
            "no_eligible_model",
            None,
            "first",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_openais_form(priced, body, status, code, param, told):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    answer = priced.post(CHAT, content=content)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert told in error["message"]
    assert priced.entry().error == code
    assert priced.entry().id == answer.headers["x-tryage-id"]


def test_the_official_client_raises_its_own_classes(priced):
    client = priced.client()
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", messages=SAID)
    with pytest.raises(openai.BadRequestError) as nobody:
        client.chat.completions.create(model="tryage:max_params=1", messages=SAID)

    assert missing.value.code == "model_not_found"
    assert "third: not known to have at most 1 parameters" in nobody.value.message


def test_the_models_are_listed_and_found(priced):
    client = priced.client()
    names = [model.id for model in client.models.list()]

    assert names[0] == "tryage"
    assert names[-3:] == ["first", "second", "third"]
    assert [client.models.retrieve(name).id for name in names] == names
    assert client.models.retrieve("tryage:cost=0.3").owned_by == "tryage"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_every_preset_is_a_text_of_flags():
    assert all(Flags.parse(wish).weights for wish in PRESETS)


def test_deciding_alone_calls_nobody(priced):
    asked = sum(map(len, priced.upstream.seen.values()))
    decision = priced.post("/tryage/route", json={"prompt": "Hello", "model": "tryage:not first"})

    assert decision.json()["model"] == "second"
    assert [ranked["model"] for ranked in decision.json()["ranking"]] == ["second", "third"]
    assert decision.json()["excluded"] == [{"model": "first", "reason": "denied"}]
    assert sum(map(len, priced.upstream.seen.values())) == asked
    assert (
        priced.post("/tryage/route", json={"prompt": ""}).json()["error"]["code"] == "empty_prompt"
    )


@pytest.mark.parametrize(
    "flags",
    [
        Flags(cost=0.3, size=1 / 3, max_cost_usd=1e-6, min_context_tokens=100_000),
        Flags(require={"tools", "json_schema"}, allow={"a/B", "c"}, deny={"d"}),
        Flags(released_after="2024-01-02", min_security="local", max_params=7e9, tolerance=0.02),
    ],
)
def test_flags_are_told_in_the_text_form_that_is_read(flags):
    read = Flags.parse(flags_text(flags))
    assert read.as_json() == flags.as_json()


def test_what_a_client_makes_up_cannot_break_a_header(priced):
    answer = priced.post(CHAT, json={"model": "x\r\nset-cookie: a=1", "messages": SAID})

    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers
