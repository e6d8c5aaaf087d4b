"""What is refused before a model is asked: too large, too slow, a key in the address."""

from __future__ import annotations

import json
import socket
import time

import httpx
import pytest

from tests.gateway.serving import ScriptedUpstream, Served, upstreams

CHAT = "/chat/completions"
SAID = [{"role": "user", "content": "Hi"}]
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"


@pytest.fixture(scope="module")
def strict():
    server = {"max_body_mb": 0.01, "max_header_kb": 4}
    with (
        ScriptedUpstream() as upstream,
        Served({"upstreams": upstreams(upstream.base_url), "server": server}) as served,
    ):
        yield served


@pytest.fixture(scope="module")
def hasty():
    """A gateway that waits for no client; what is to arrive goes to another."""
    server = {"body_timeout_s": 0.3}
    with Served({"upstreams": upstreams("http://127.0.0.1:9/v1"), "server": server}) as served:
        yield served


def code(response):
    return response.status_code, response.json()["error"]["code"]


def by_hand(served, *pieces: bytes, pause_s=0.0):
    """Return the status and the error's code of what is sent as bytes; the rest never comes."""
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        answer = b""
        while chunk := connection.recv(65536):  # the gateway hangs up
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize("size", [10_001, 60_000, 2_000_000])
def test_a_large_body_is_a_413_that_the_client_gets_to_read(strict, size):
    assert code(strict.post(CHAT, content=b"x" * size)) == (413, "request_too_large")
    chunked = iter([b"x" * 1000] * (min(size, 60_000) // 1000 + 1))
    assert code(strict.post(CHAT, content=chunked)) == (413, "request_too_large")


def test_a_client_that_sends_all_before_it_reads_is_not_cut_off(strict):
    head = HEAD + b"content-length: 70000\r\n\r\n"
    answer = by_hand(strict, head, *[b"x" * 10_000] * 7, pause_s=0.02)
    assert answer == (413, "request_too_large")


def test_a_body_at_the_limit_is_read(strict):
    body = json.dumps({"messages": SAID, "user": ""}).encode()
    body = body[:-2] + b"x" * (10_000 - len(body)) + body[-2:]
    assert strict.post(CHAT, content=body).status_code == 200


def test_a_body_that_drips_is_a_408(hasty):
    head = HEAD + b"content-length: 100\r\n\r\n"
    assert by_hand(hasty, head, b'{"mess') == (408, "request_timeout")


def test_headers_that_drip_are_a_408(hasty):
    assert by_hand(hasty, b"POST /v1/chat/comple") == (408, "request_timeout")
    assert by_hand(hasty, HEAD) == (408, "request_timeout")


def test_large_headers_are_a_431(strict):
    large = {"x-large": "x" * 5000}
    assert code(strict.post(CHAT, json={"messages": SAID}, headers=large)) == (
        431,
        "headers_too_large",
    )
    endless = b"POST / HTTP/1.1\r\n" + b"x-more: and more\r\n" * 400
    assert by_hand(strict, endless) == (431, "headers_too_large")
    ok = {"x-large": "x" * 3000}
    assert strict.post(CHAT, json={"messages": SAID}, headers=ok).status_code == 200


def test_a_connection_serves_one_request_after_the_other(strict):
    with httpx.Client() as client:
        for _ in range(3):
            sent = {"messages": SAID, "user": "x" * 3000}
            answer = client.post(strict.base_url + CHAT, json=sent)
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("api_key=sk-1", "api_key"),
        ("a=1&API-Key=x", "API-Key"),
        ("key=x", "key"),
        ("access_token=x", "access_token"),
        ("x%5Fapi%5Fkey=1", "x_api_key"),
        ("q=sk-abc", "q"),
        ("q=Bearer%20abc", "q"),
    ],
)
def test_a_key_in_the_address_is_refused_by_name_and_not_repeated(strict, query, name):
    for path in (f"{CHAT}?{query}", f"/models?{query}"):
        answer = strict.post(path, json={"messages": SAID})
        assert code(answer) == (400, "key_in_url")
        assert answer.json()["error"]["param"] == name
        assert "abc" not in answer.text


def test_other_queries_are_nobodys_business(strict):
    assert (
        strict.post(f"{CHAT}?api-version=2024&monkey=1", json={"messages": SAID}).status_code == 200
    )


def test_what_is_not_served_is_told_in_openais_form(strict):
    assert code(strict.post("/embeddings", json={})) == (404, "not_found")
    wrong = httpx.get(strict.base_url + CHAT)
    assert code(wrong) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["allow"]


def test_health_and_readiness(strict):
    assert httpx.get(f"{strict.url}/health").json() == {"status": "alive"}
    assert httpx.get(f"{strict.url}/ready").json() == {"status": "ready"}
    for model in ("first", "second", "third"):
        strict.gateway.live.breaker.failed(model)
    resting = httpx.get(f"{strict.url}/ready")
    assert code(resting) == (503, "not_ready")
    assert int(resting.headers["retry-after"]) <= 5
    for model in ("first", "second", "third"):
        strict.gateway.live.breaker.succeeded(model)


def test_the_api_describes_itself(strict):
    told = httpx.get(f"{strict.url}/openapi.json").json()
    chat = told["paths"]["/v1/chat/completions"]["post"]
    assert chat["requestBody"]["content"]["application/json"]["schema"]["required"] == ["messages"]
    assert {"200", "400", "413", "429", "503"} <= chat["responses"].keys()
    kinds = {"application/json", "text/event-stream"}
    assert chat["responses"]["200"]["content"].keys() == kinds
    assert {"/v1/completions", "/v1/models", "/v1/tryage/route", "/ready"} <= told["paths"].keys()
