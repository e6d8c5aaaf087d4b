"""The gateway from a client's key to the record: real weights, tools, errors and budgets."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import httpx
import openai
import pytest
from sqlalchemy import update

from tests.gateway.kept import NOON, entry
from tests.gateway.serving import until, upstreams
from tests.gateway.whole import Whole
from tryage import cli
from tryage.gateway.keys import Limits, add_key
from tryage.gateway.record import tables
from tryage.gateway.record.database import open_database
from tryage.gateway.record.reading import past
from tryage.gateway.record.writer import Writer

pytest_plugins = ["tests.gateway.databases"]

SAID = [{"role": "user", "content": "Tell me a story."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
    },
}


def with_keys(url: str, **limits: Limits) -> dict[str, str]:
    """Return the secrets of keys that have been added to a database, by their names."""
    engine = open_database(url)
    secrets = {
        name: add_key(engine, name, admin=name == "admin", limits=limits[name])[1]
        for name in limits
    }
    engine.dispose()
    return secrets


def ask(gateway: Whole, secret: str, **options):
    """Return an answer, asked for by the official client."""
    client = gateway.client().with_options(api_key=secret)
    options = {"model": "tryage", "messages": SAID, **options}
    return client.chat.completions.with_raw_response.create(**options)


@pytest.fixture
def parts(upstream, tmp_path):
    """Settings before two models, of which the first calls tools."""
    first, second = upstreams(upstream.base_url, ["first", "second"])
    first["card"]["capabilities"] = ["tools"]
    return {
        "server": {"reference": "gpt-4o"},
        "keys": {"required": True},
        "record": {"url": f"sqlite:///{tmp_path}/tryage.db", "prompts": True},
        "upstreams": [first, second],
    }


def test_the_official_client_from_its_key_to_the_record(parts, upstream, weights_server):
    real = {"base_url": weights_server.base_url, "model": weights_server.model}
    parts["upstreams"][1].update(real)
    secrets = with_keys(
        parts["record"]["url"],
        alice=Limits(nano_usd_per_day=10**9),
        poor=Limits(requests_per_day=1),
        admin=Limits(),
    )
    alice = secrets["alice"]
    with Whole(parts) as whole:
        listed = whole.client().with_options(api_key=alice).models.list()
        assert {"tryage", "tryage:cheapest", "first", "second"} <= {one.id for one in listed}
        wrong = whole.client()
        with pytest.raises(openai.AuthenticationError):
            wrong.models.list()

        # Real weights, plainly and as a stream.
        brief = {"model": "second", "max_tokens": 8, "temperature": 0}
        plain = ask(whole, alice, **brief)
        story = plain.parse()
        counted = {"stream_options": {"include_usage": True}}
        chunks = list(ask(whole, alice, stream=True, **brief, **counted).parse())
        streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert streamed == story.choices[0].message.content
        assert plain.headers["x-tryage-model"] == "second"

        # Tools go to the model that has them; when it fails, others go to real weights.
        called = ask(whole, alice, tools=[TOOL]).parse().choices[0]
        assert called.finish_reason == "tool_calls"
        assert called.message.tool_calls[0].function.name == "weather"
        upstream.behave("first", "status", status=500)
        failed_over = ask(whole, alice, max_tokens=8)
        assert failed_over.headers["x-tryage-attempts"] == "2"
        upstream.behave("first", "filter")
        with pytest.raises(openai.BadRequestError, match="filtered"):
            ask(whole, alice, model="first")

        upstream.behave("first")
        ask(whole, secrets["poor"], model="first")
        with pytest.raises(openai.RateLimitError, match="1 requests a day"):
            ask(whole, secrets["poor"], model="first")

        rows = whole.recorded(7)
        row = rows[plain.headers["x-tryage-id"]]
        assert row["output_tokens"] == story.usage.completion_tokens
        assert row["cost_usd"] == pytest.approx(
            (story.usage.prompt_tokens + 2 * story.usage.completion_tokens) / 1e6
        )
        assert (row["key_name"], row["prompt"], row["response"]) == (
            "alice",
            SAID[0]["content"],
            streamed,
        )
        assert [one["error"] for one in rows.values()].count(None) == 5
        tries = rows[failed_over.headers["x-tryage-id"]]["tries"]
        assert [(one["model"], one["error"]) for one in tries] == [
            ("first", "ErrorStatus"),
            ("second", None),
        ]

        def look(path: str, name: str) -> httpx.Response:
            headers = {"authorization": f"Bearer {secrets[name]}"}
            return whole.http.get(whole.url + path, headers=headers)

        assert look("/metrics", "alice").status_code == 403
        assert 'model="second",path="/v1/chat/completions",status="200"} 3.0' in (
            look("/metrics", "admin").text
        )
        status = look("/v1/tryage/status", "admin").json()
        total = status["total"]
        assert total["requests"] == 7
        assert total["cost_usd"] == pytest.approx(
            sum(row["cost_usd"] or 0 for row in rows.values())
        )
        assert total["saved_usd"] > 0
        until(lambda: look("/v1/tryage/status", "admin").json()["record"]["buffered"] == 0)
        assert look("/", "alice").headers["content-type"].startswith("text/html")


def test_two_gateways_on_one_database_keep_one_budget(patient, parts, database):
    parts["record"]["url"] = database
    secret = with_keys(database, alice=Limits(requests_per_day=20))["alice"]
    with ExitStack() as stack:
        both = [stack.enter_context(Whole(parts)) for _ in range(2)]
        for one in both:
            one.gateway.keeper._patience_s = 60  # a busy machine is no database that is lost

        def status(number: int) -> int:
            try:
                return ask(both[number % 2], secret, model="first").http_response.status_code
            except openai.RateLimitError as limited:
                return limited.status_code

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(status, range(40)))

        assert sorted(told) == [200] * 20 + [429] * 20
        rows = both[0].recorded(40)
        assert len(rows) == 40
        assert sum(row["status"] == 200 for row in rows.values()) == 20


def test_who_was_refused_stands_in_the_record(parts):
    limits = {
        "poor": Limits(nano_usd_per_day=1),
        "eager": Limits(requests_per_day=0),
        "wordy": Limits(tokens_per_day=1),
    }
    secrets = with_keys(parts["record"]["url"], **limits)
    engine = open_database(parts["record"]["url"])
    _, secrets["narrow"] = add_key(engine, "narrow", models=["first"])
    engine.dispose()
    refused = {"poor": 402, "eager": 429, "wordy": 429, "narrow": 403}
    with Whole(parts) as whole:
        for name, status in refused.items():
            with pytest.raises(openai.APIStatusError) as told:
                ask(whole, secrets[name])
            assert told.value.status_code == status
        rows = whole.recorded(len(refused)).values()
    assert {row["key_name"]: row["status"] for row in rows} == refused


def test_a_key_without_requests_left_is_refused_before_its_body_comes(parts):
    secret = with_keys(parts["record"]["url"], eager=Limits(requests_per_day=1))["eager"]
    with Whole(parts) as whole:
        ask(whole, secret, model="first")
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20000000\r\n"
            f"authorization: Bearer {secret}\r\nexpect: 100-continue\r\n\r\n"
        )
        port = int(whole.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(head.encode())
            assert b" 429 " in connection.recv(65536).partition(b"\r\n")[0]


def test_the_page_begins_with_the_last_day_of_the_record(parts, database):
    parts["record"]["url"] = database
    parts["keys"]["required"] = False
    with Whole(parts) as whole:
        old = [ask(whole, "none", model="first").headers["x-tryage-id"] for _ in range(2)]
        whole.recorded(2)
    engine = open_database(database)
    columns = tables.entries.c
    with engine.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=1, minutes=1)
        aged = update(tables.entries).where(columns.id == old[0]).values(time=long_ago)
        connection.execute(aged)
    engine.dispose()

    with Whole(parts) as whole:
        before = whole.http.get(f"{whole.url}/v1/tryage/status").json()
        new = ask(whole, "none", model="first").headers["x-tryage-id"]
        whole.idle()
        after = whole.http.get(f"{whole.url}/v1/tryage/status").json()
        metrics = whole.http.get(f"{whole.url}/metrics").text

    assert [shown["id"] for shown in before["decisions"]] == [old[1]]
    assert [shown["id"] for shown in after["decisions"]] == [new, old[1]]
    assert (before["total"]["requests"], after["total"]["requests"]) == (1, 2)
    assert before["total"]["cost_usd"] > 0
    assert before["total"]["saved_usd"] > 0
    assert before["decisions"][0]["tries"] == after["decisions"][1]["tries"]
    # Counters begin at 0 with each process, as Prometheus takes them.
    assert 'model="first",path="/v1/chat/completions",status="200"} 1.0' in metrics


def test_what_the_page_begins_with_is_bounded(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/record.db")
    writer = Writer(engine)
    for number in range(10):
        writer.watch(entry(number, prompt="a secret"))
    writer.close()
    found = past(engine, NOON + timedelta(seconds=2), limit=5)
    assert [one.id for one in found] == [f"e{number:06d}" for number in range(5, 10)]
    assert found[-1] == entry(9)  # without its prompt
    assert len(past(engine, NOON + timedelta(seconds=7), limit=5)) == 3
    engine.dispose()


def test_nothing_goes_on_when_it_has_ended(parts):
    with Whole(parts):
        pass
    names = [thread.name for thread in threading.enumerate()]
    assert [name for name in names if name.startswith("tryage-")] == []


@pytest.mark.parametrize(
    ("url", "status", "says"),
    [
        ("nonsense", 2, "not the URL of a database"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", 1, "Connection refused"),
        ("sqlite:////no/such/folder/tryage.db", 1, "unable to open"),
        ("sqlite:///gateway.toml", 1, "file is not a database"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    tmp_path, monkeypatch, capsys, url, status, says
):
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'[record]\nurl = "{url}"\n[[upstreams]]\nname = "m"\nbase_url = "http://127.0.0.1:1"\n'
    )
    monkeypatch.setattr("sys.argv", ["tryage", "serve", "--config", str(config), "--port", "0"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert (ended.value.code, told.count("\n")) == (status, 1)
    assert says in told
    assert "hunter2" not in told
