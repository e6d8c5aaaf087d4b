"""The seam to keys and budgets: asked before, told after."""

from __future__ import annotations

import json
import socket

import openai
import pytest

from tests.gateway.serving import Served, until, upstreams
from tryage import Router, Usage, UsageError
from tryage.gateway.app import create_app
from tryage.gateway.keeping import Pass
from tryage.gateway.refusals import Refused
from tryage.gateway.settings import Settings

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "Why is the sky blue?"}]


class Remembering:
    """A keeper that knows one key, and remembers what it was told."""

    def __init__(self) -> None:
        self.checked, self.expected, self.settled = [], [], []
        self.refusal = self.refused_model = None

    def identify(self, secret):
        if secret != "right":
            raise Refused(401, "invalid_api_key", "the key is wrong.")
        return Pass("id-1", "tests")

    def check(self, caller, scope, model=None):
        self.checked.append((caller.key, scope, model))
        if self.refused_model and model == self.refused_model:
            raise Refused(403, "model_not_allowed", "no.")

    async def admit(self, caller, expected):
        if self.refusal is not None:
            raise self.refusal
        self.expected.append(expected)
        return caller

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
    assert (expected.input_tokens, expected.output_tokens) == (5, 100)
    assert keeper.checked == 2 * [("id-1", "call", None), ("id-1", "call", "tryage:cheap")]
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
    assert (kept.entry().error, kept.entry().key) == (refusal.code, "id-1")


def test_a_model_that_a_key_may_not_ask_for_is_not_decided_on(kept, keeper, monkeypatch):
    keeper.refused_model = "tryage:cheap"
    monkeypatch.setattr(Router, "route", lambda *_: pytest.fail("decided"))
    with pytest.raises(openai.PermissionDeniedError):
        kept.client().with_options(api_key="right").chat.completions.create(
            model="tryage:cheap", messages=SAID
        )
    entry = kept.entry()
    assert (entry.error, entry.status, entry.key) == ("model_not_allowed", 403, "id-1")
    assert keeper.settled == keeper.expected == []


def head(path="/v1/chat/completions", *more):
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-length: 20000000", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def answered(connection):
    """Return the status, the headers and the error's code of the next answer on a connection."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += received(connection)
    top, _, body = said.partition(b"\r\n\r\n")
    headers = top.decode().lower().split("\r\n")
    (length,) = [int(line.split()[1]) for line in headers if line.startswith("content-length")]
    while len(body) < length:
        body += received(connection)
    return int(headers[0].split()[1]), headers, json.loads(body)["error"]["code"]


def received(connection):
    chunk = connection.recv(65536)
    assert chunk, "the gateway hung up"
    return chunk


def connected(served):
    return socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=60)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/tryage/route"])
def test_the_key_is_judged_before_the_body_comes(kept, path):
    with connected(kept) as connection:
        connection.sendall(head(path))  # and nothing more: who read on would wait for it
        status, headers, code = answered(connection)
    assert (status, code) == (401, "invalid_api_key")
    assert "connection: close" not in headers  # else one who still sends would not read why


def test_a_client_that_waits_for_leave_to_send_is_refused_at_once(kept):
    with connected(kept) as connection:
        connection.sendall(head("/v1/chat/completions", "expect: 100-continue"))
        status, headers, _ = answered(connection)
        assert (status, "connection: close" in headers) == (401, True)
        assert connection.recv(1) == b""


def test_a_refused_body_is_not_read_without_end(kept):
    with connected(kept) as connection:
        connection.sendall(head().replace(b"20000000", b"1000000000"))
        answered(connection)
        with pytest.raises(OSError):  # noqa: PT011 (whichever way the connection breaks)
            connection.sendall(b"x" * 100_000_000)


def test_a_refused_body_that_drips_holds_no_connection(upstream, keeper):
    server = {"body_timeout_s": 0.3}
    parts = {"upstreams": upstreams(upstream.base_url), "server": server}
    with Served(parts, keeper=keeper) as served, connected(served) as connection:
        connection.sendall(head() + b"{")
        answered(connection)
        assert connection.recv(1) == b""


def test_after_a_refusal_the_connection_serves_the_next_request(kept):
    body = json.dumps({"messages": SAID}).encode()
    lines = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
    with connected(kept) as connection:
        for _ in range(3):
            connection.sendall((lines % len(body)).encode())
            assert answered(connection)[0] == 401
            connection.sendall(body)
        (theirs,) = kept.server.server_state.connections
        until(lambda: theirs._head_bytes == 0)  # the last body has come
        assert theirs._late is None  # nothing will end the connection for it


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
    assert keeper.checked == [("id-1", "look", None)] * 2


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
