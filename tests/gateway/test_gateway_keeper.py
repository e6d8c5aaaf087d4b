"""The seam to keys and budgets: asked before, told after."""

from __future__ import annotations

import openai
import pytest

from tests.gateway.serving import Served, until, upstreams
from tryage import Usage, UsageError
from tryage.gateway.app import create_app
from tryage.gateway.keeping import Pass
from tryage.gateway.refusals import Refused
from tryage.gateway.settings import Settings

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "Why is the sky blue?"}]


class Remembering:
    """A keeper that knows one key, and remembers what it was told."""

    def __init__(self) -> None:
        self.expected, self.settled = [], []
        self.refusal = None

    async def admit(self, secret, expected):
        if secret != "right":
            raise Refused(401, "invalid_api_key", "the key is wrong.")
        if self.refusal is not None:
            raise self.refusal
        self.expected.append(expected)
        return Pass("id-1", "tests")

    async def settle(self, admitted, usage, cost_usd):
        self.settled.append((admitted.key, usage, cost_usd))


@pytest.fixture
def keeper():
    return Remembering()


@pytest.fixture
def kept(upstream, keeper):
    parts = {"upstreams": upstreams(upstream.base_url), "keys": {"required": True}}
    with Served(parts, keeper=keeper) as served:
        yield served


def test_the_keeper_is_asked_before_and_told_after(kept, keeper):
    client = kept.client().with_options(api_key="right")
    for stream in (False, True):
        options = {"stream_options": {"include_usage": True}} if stream else {}
        answer = client.chat.completions.create(
            model="tryage:cheap", messages=SAID, max_tokens=100, stream=stream, **options
        )
        list(answer)

    entry = kept.wait_for(2)[0]
    assert entry.key == "id-1"
    assert keeper.settled == [("id-1", Usage(10, 7), entry.cost_usd)] * 2
    expected = keeper.expected[0]
    assert (expected.scope, expected.model, expected.output_tokens) == ("call", "tryage:cheap", 100)
    assert expected.input_tokens == 5
    assert expected.cost_usd == pytest.approx((5 + 100 * 2) / 1e6)


@pytest.mark.parametrize(
    ("stream", "tokens"),
    [(True, 7), (False, 4)],  # a chunk each; a quarter of the text's length
)
def test_tokens_that_nobody_told_are_estimated(kept, keeper, upstream, stream, tokens):
    said = b'{"choices": [{"message": {"content": "one two three four"}}]}'
    upstream.behave("first", "answer" if stream else "raw", content=[said])
    options = {"model": "tryage", "messages": SAID, "stream": stream}
    list(kept.client().with_options(api_key="right").chat.completions.create(**options))

    until(lambda: len(keeper.settled) == 1)
    cost = (5 + 2 * tokens) / 1e6
    assert keeper.settled == [("id-1", Usage(5, tokens), pytest.approx(cost))]
    assert kept.entry().input_tokens is None  # nobody counted them


def test_a_failure_is_settled_without_tokens(kept, keeper, upstream):
    upstream.behave("third", "filter")
    with pytest.raises(openai.BadRequestError):
        kept.client().with_options(api_key="right").chat.completions.create(
            model="third", messages=SAID
        )
    until(lambda: keeper.settled == [("id-1", None, None)])


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (Refused(403, "model_not_allowed", "no."), openai.PermissionDeniedError),
        (Refused(402, "budget_used_up", "no."), openai.APIStatusError),
        (Refused(429, "too_many_requests", "no.", retry_after_s=2.5), openai.RateLimitError),
    ],
)
def test_what_the_keeper_refuses_calls_nobody(kept, keeper, upstream, refusal, error):
    keeper.refusal = refusal
    with pytest.raises(error) as refused:
        kept.client().with_options(api_key="right").chat.completions.create(
            model="tryage", messages=SAID
        )
    assert (refused.value.status_code, refused.value.code) == (refusal.status, refusal.code)
    assert refused.value.response.headers.get("retry-after") == (
        "3" if refusal.status == 429 else None
    )
    assert upstream.seen == {}
    assert keeper.settled == []
    assert kept.entry().error == refusal.code


def test_a_wrong_key_learns_nothing_of_the_models(kept, keeper):
    client = kept.client()
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="tryage:max_params=1", messages=SAID)
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    with pytest.raises(openai.AuthenticationError):
        client.models.retrieve("first")
    answer = kept.post("/tryage/route", json={"prompt": "Hi", "model": "tryage:max_params=1"})
    assert answer.status_code == 401
    assert keeper.expected == []


def test_looking_is_another_scope(kept, keeper):
    kept.client().with_options(api_key="right").models.list()
    kept.post("/tryage/route", json={"prompt": "Hi"}, headers={"authorization": "bearer right"})
    assert [expected.scope for expected in keeper.expected] == ["look", "look"]


def test_without_a_keeper_only_this_machine_is_served():
    upstream = [{"name": "m", "base_url": "http://127.0.0.1:9/v1"}]
    open_to_all = Settings.model_validate({"server": {"host": "0.0.0.0"}, "upstreams": upstream})
    with pytest.raises(UsageError, match="no keys are kept"):
        create_app(open_to_all)


def test_a_missing_key_of_an_upstream_is_named():
    upstream = {"name": "m", "base_url": "http://127.0.0.1:9/v1", "key_env": "NO_SUCH_KEY"}
    with pytest.raises(UsageError, match="'m' takes its key from NO_SUCH_KEY"):
        create_app(Settings.model_validate({"upstreams": [upstream]}), environment={})
    with pytest.raises(UsageError, match="characters"):
        create_app(
            Settings.model_validate({"upstreams": [upstream]}),
            environment={"NO_SUCH_KEY": "a\r\nx: y"},
        )
