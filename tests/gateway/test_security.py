"""Whoever asks, and however: no bug shows, no secret leaves, and nobody else is called."""

from __future__ import annotations

import json
import logging
import socket

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.gateway.serving import ScriptedUpstream, Served, upstreams
from tests.gateway.whole import Whole
from tryage.gateway.app import create_app
from tryage.gateway.keys import Limits, add_key
from tryage.gateway.record.database import open_database
from tryage.gateway.settings import Settings
from tryage.gateway.watchers import Watching

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "the-secret-prompt"}]
BODY = json.dumps({"messages": SAID}).encode()
UPSTREAMS_KEY = "sk-the-key-of-the-upstream"
OPERATIONS = schemathesis.openapi.from_dict(
    create_app(Settings(upstreams=upstreams("http://127.0.0.1:9/v1"))).openapi()
).get_all_operations()
CASES = st.one_of(
    [
        operation.ok().as_strategy(generation_mode=mode)
        for operation in OPERATIONS
        for mode in schemathesis.GenerationMode  # what the description allows, and what it does not
    ]
)


@pytest.fixture(scope="module")
def upstream():
    with ScriptedUpstream() as scripted:
        for model in ("first", "second", "third"):
            scripted.behave(model, "steady")
        yield scripted


@pytest.fixture(scope="module")
def made(upstream, tmp_path_factory):
    """The settings of a gateway that asks for keys, and those that it knows, by their names."""
    url = f"sqlite:///{tmp_path_factory.mktemp('security')}/tryage.db"
    engine = open_database(url)
    secrets = {
        "alice": add_key(engine, "alice", limits=Limits(requests_per_day=10**6))[1],
        "bob": add_key(engine, "bob", models=["first"])[1],
        "admin": add_key(engine, "admin", admin=True)[1],
        "poor": add_key(engine, "poor", limits=Limits(nano_usd_per_day=1))[1],
        "slow": add_key(engine, "slow", limits=Limits(requests_per_day=0))[1],
    }
    engine.dispose()
    parts = {
        "server": {"max_body_mb": 0.05, "max_header_kb": 4},
        "keys": {"required": True},
        "record": {"url": url, "prompts": True},
        "upstreams": upstreams(upstream.base_url, key_env="SECURITY_TEST_KEY"),
    }
    return parts, secrets


@pytest.fixture(scope="module")
def whole(made):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SECURITY_TEST_KEY", UPSTREAMS_KEY)
        with Whole(made[0]) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def hasty(made):
    """A gateway that waits for no client; what is to arrive goes to the other one."""
    parts = {**made[0], "server": {"body_timeout_s": 0.3}}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SECURITY_TEST_KEY", UPSTREAMS_KEY)
        with Whole(parts) as gateway:
            yield gateway


@pytest.fixture
def bearer(made):
    """Returns a function that gives the header of a key."""
    return lambda name: {"authorization": f"Bearer {made[1][name]}"}


@given(case=CASES)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_keeps_to_its_own_description(whole, bearer, case):
    answer = case.call(base_url=whole.url, headers=bearer("alice"))
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    case.validate_response(answer, checks=checks)


@given(case=CASES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_without_a_key_nobody_is_called(whole, upstream, case):
    before = sum(upstream.begun.values())
    answer = case.call(base_url=whole.url)
    if case.path.startswith("/v1"):
        assert answer.status_code in (400, 401, 404, 405)
    assert sum(upstream.begun.values()) == before


def by_hand(gateway, *pieces: bytes) -> tuple[int, bytes]:
    """Return the status and the body of what is sent as bytes, of which the rest never comes."""
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.fixture(scope="module")
def open_to_this_machine(upstream):
    """A gateway that asks for no key, and goes by one more name."""
    parts = {
        "server": {"hosts": ["gateway.example.com"]},
        "upstreams": upstreams(upstream.base_url),
    }
    watching = Watching(Settings.model_validate(parts))
    with Served(parts, routes=watching.routes) as served:
        yield served


@pytest.mark.parametrize(
    ("host", "origin", "code"),
    [
        ("127.0.0.1:{port}", None, None),
        ("localhost:{port}", None, None),
        ("LocalHost", None, None),
        ("[::1]:{port}", None, None),
        ("127.9.9.9", None, None),
        ("gateway.example.com", None, None),
        ("Gateway.Example.com:443", None, None),
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}", None),  # as the page's own requests
        ("localhost:{port}", "http://localhost:{port}", None),
        ("127.0.0.1:{port}", "https://gateway.example.com", None),  # behind what ends TLS
        ("evil.example", None, "host_not_allowed"),
        ("evil.example:{port}", "http://evil.example:{port}", "host_not_allowed"),  # rebinding
        ("127.0.0.1.evil.example", None, "host_not_allowed"),
        ("localhost.evil.example", None, "host_not_allowed"),
        ("localhost@evil.example", None, "host_not_allowed"),
        ("10.0.0.1", None, "host_not_allowed"),
        ("[::", None, "host_not_allowed"),
        ("", None, "host_not_allowed"),
        ("127.0.0.1:{port}", "https://evil.example", "origin_not_allowed"),
        ("127.0.0.1:{port}", "http://127.0.0.1:1", "origin_not_allowed"),  # another program's page
        ("127.0.0.1:{port}", "http://localhost:{port}", "origin_not_allowed"),
        ("127.0.0.1:{port}", "null", "origin_not_allowed"),
        ("127.0.0.1:{port}", "", "origin_not_allowed"),
        ("127.0.0.1:{port}", "http://[", "origin_not_allowed"),
    ],
)
def test_no_web_page_elsewhere_gets_in_where_no_key_is_asked_for(
    open_to_this_machine, upstream, host, origin, code
):
    served, before = open_to_this_machine, sum(upstream.begun.values())
    port = served.url.rpartition(":")[2]
    headers = {"host": host.format(port=port), "content-type": "text/plain"}
    if origin is not None:
        headers["origin"] = origin.format(port=port)
    asked = served.post(CHAT, content=BODY, headers=headers)
    looked = [served.http.get(served.url + path, headers=headers) for path in ("/", "/metrics")]
    if code is None:
        assert {answer.status_code for answer in (asked, *looked)} == {200}
    else:
        assert {answer.status_code for answer in (asked, *looked)} == {403}
        assert asked.json()["error"]["code"] == code
        assert "hosts under [server]" in asked.json()["error"]["message"]
        assert sum(upstream.begun.values()) == before


def test_where_keys_are_asked_for_names_do_not_matter(whole, bearer):
    headers = {**bearer("alice"), "host": "any.example", "origin": "https://other.example"}
    assert whole.post(CHAT, json={"messages": SAID}, headers=headers).status_code == 200


def test_a_gateway_for_all_goes_by_any_name_and_serves_no_other_page(upstream):
    parts = {
        "server": {"host": "0.0.0.0"},
        "keys": {"required": False},
        "upstreams": upstreams(upstream.base_url),
    }
    with Served(parts) as served:
        headers = {"host": "gateway.internal", "origin": "http://gateway.internal"}
        assert served.post(CHAT, json={"messages": SAID}, headers=headers).status_code == 200
        headers["origin"] = "https://evil.example"
        assert served.post(CHAT, json={"messages": SAID}, headers=headers).status_code == 403


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    ("options", "key", "status", "code"),
    [
        ({"json": {"messages": SAID}}, None, 401, "invalid_api_key"),
        ({"json": {"messages": SAID}}, "try-000000000000-nobody", 401, "invalid_api_key"),
        ({"json": {"messages": SAID}}, UPSTREAMS_KEY, 401, "invalid_api_key"),
        ({"json": {"messages": SAID}}, "bob", 403, "model_not_allowed"),
        ({"json": {"messages": SAID}}, "poor", 402, "budget_used_up"),
        ({"json": {"messages": SAID}}, "slow", 429, "rate_limit_exceeded"),
        ({"json": {"messages": SAID}, "params": {"api_key": "x"}}, "alice", 400, "key_in_url"),
        ({"content": b'{"messages": ['}, "alice", 400, "invalid_json"),
        ({"content": b"[" * 40_000}, "alice", 400, "invalid_json"),
        ({"content": b"x" * 60_000}, "alice", 413, "request_too_large"),
        ({"content": b"x" * 2_000_000}, "alice", 413, "request_too_large"),
        ({"json": {"messages": SAID}, "headers": {"x": "x" * 5000}}, "alice", 431,
         "headers_too_large"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(whole, made, upstream, options, key, status, code):
    before = sum(upstream.begun.values())
    key = made[1].get(key, key)
    headers = {**options.get("headers", {}), **({"authorization": f"Bearer {key}"} if key else {})}
    answer = whole.post(CHAT, **{**options, "headers": headers})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert key is None or key not in answer.text
    assert sum(upstream.begun.values()) == before


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        ([HEAD + b"content-length: -1\r\n\r\n"], 400, "invalid_http"),
        ([HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}"], 400, "invalid_http"),
        ([HEAD + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n"], 400, "invalid_http"),
        ([HEAD + b"x-tryage-flags: cheap\rx-tryage-model: me\r\n\r\n"], 400, "invalid_http"),
        ([HEAD + b"user-agent: a\0b\r\n\r\n"], 400, "invalid_http"),
        ([HEAD + b"bad name: a\r\n\r\n"], 400, "invalid_http"),
        ([b"\x16\x03\x01\x02\x00\x01\x00"], 400, "invalid_http"),
    ],
)
def test_what_is_no_http_is_refused_by_name(whole, upstream, pieces, status, code):
    before = sum(upstream.begun.values())
    told, body = by_hand(whole, *pieces)
    assert (told, json.loads(body)["error"]["code"]) == (status, code)
    assert sum(upstream.begun.values()) == before


def test_what_drips_is_refused_by_name(hasty, made, upstream):
    before = sum(upstream.begun.values())
    key = b"authorization: Bearer " + made[1]["alice"].encode() + b"\r\n"
    for pieces in ([HEAD + key + b"content-length: 100\r\n\r\n", b'{"mess'], [HEAD[:30]]):
        told, body = by_hand(hasty, *pieces)
        assert (told, json.loads(body)["error"]["code"]) == (408, "request_timeout")
    assert sum(upstream.begun.values()) == before


@pytest.mark.parametrize(
    "value", [b"a\tb", b"\xff\xfe", b"\xe2\x98\x83", b"a" * 500, b"\x01\x1b[2J"]
)
def test_no_header_of_a_client_breaks_the_call_to_an_upstream(whole, upstream, made, value):
    names = (b"user-agent", b"accept", b"traceparent", b"tracestate", b"openai-beta")
    headers = b"".join(b"%b: %b\r\n" % (name, value) for name in names)
    key = b"authorization: Bearer " + made[1]["alice"].encode() + b"\r\nconnection: close\r\n"
    head = HEAD + headers + key + b"content-length: %d\r\n\r\n" % len(BODY)
    status, body = by_hand(whole, head + BODY)
    assert status in (200, 400)
    assert "error" in json.loads(body) or upstream.seen["first"][-1].body["messages"] == SAID


def test_only_what_is_configured_is_called(whole, upstream, bearer, monkeypatch):
    called, connect = set(), socket.socket.connect

    def noted(self, address):
        called.add(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    upstream.release()  # so that there is no connection left from before
    with socket.create_server(("127.0.0.1", 0)) as trap:
        ours = {("127.0.0.1", int(whole.url.rpartition(":")[2]))}
        there = f"http://127.0.0.1:{trap.getsockname()[1]}/v1"
        redirect = {"status": 307, "headers": {"location": there}}
        image = {"type": "image_url", "image_url": {"url": f"{there}/x.png"}}
        bodies = [
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, image]}]},
            {"messages": SAID, "base_url": there, "api_base": there, "callback": there},
            {"messages": SAID, "model": there},
            {"messages": SAID, "tryage": {"previous": there}},
            {"messages": SAID, "tools": [{"type": "function", "function": {"name": there}}]},
        ]
        headers = {
            **bearer("alice"),
            "host": there.removeprefix("http://"),
            "forwarded": f"host={there}",
            "x-forwarded-host": there,
            "location": there,
            "connection": "close",
        }
        for stream in (False, True):
            for body in bodies:
                whole.post(CHAT, json={**body, "stream": stream}, headers=headers)
        upstream.behave("first", "status", **redirect)
        assert whole.post(CHAT, json=bodies[1], headers=headers).status_code == 200
        upstream.behave("first", "steady")
        for path in ("/", "/metrics", "/v1/tryage/status", "/v1/models", "/openapi.json"):
            whole.http.get(whole.url + path, headers={**headers, **bearer("admin")})
        configured = ("127.0.0.1", int(upstream.base_url.split(":")[2].removesuffix("/v1")))
        assert called - ours == {configured}
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_neither_prompts_nor_keys_are_logged(made, upstream, caplog, capfd, monkeypatch):
    monkeypatch.setenv("SECURITY_TEST_KEY", UPSTREAMS_KEY)
    caplog.set_level(logging.DEBUG)
    parts, secrets = made
    with Whole(parts) as whole:
        for kind in ("steady", "malformed", "garbage", "cut_before", "context", "filter"):
            upstream.behave("first", kind)
            whole.gateway.live.breaker.succeeded("first")
            for stream in (False, True):
                body = {"messages": SAID, "stream": stream}
                for name in ("alice", "bob", "poor"):
                    headers = {"authorization": f"Bearer {secrets[name]}"}
                    whole.post(CHAT, json=body, headers=headers)
        whole.post(f"{CHAT}?api_key={secrets['alice']}", json={"messages": SAID})
        whole.post(CHAT, content=BODY[:-1], headers={"authorization": f"Bearer {secrets['alice']}"})
        whole.recorded(36)
        upstream.behave("first", "steady")
        whole.gateway.upstreams = {}  # a bug
        bug = whole.post(CHAT, json=body, headers={"authorization": f"Bearer {secrets['alice']}"})
    assert bug.status_code == 500

    clients = ("httpx", "httpcore", "tests")  # which are on the other side
    ours = [record for record in caplog.records if record.name.partition(".")[0] not in clients]
    told = "".join(f"{r.getMessage()} {r.exc_info} {r.exc_text}" for r in ours)
    told += "".join(capfd.readouterr())
    assert "this is a bug" in told
    for secret in (*secrets.values(), UPSTREAMS_KEY, SAID[0]["content"]):
        assert secret not in told
