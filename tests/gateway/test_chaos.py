"""Whatever upstreams do, and however the gateway ends: nothing that could be answered is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
from dataclasses import dataclass, field

import httpx
import pytest

from tests.gateway.serving import ScriptedUpstream, until, upstreams
from tests.gateway.whole import Whole, process, recorded

QUICK = {"first_token_s": 1, "between_tokens_s": 0.3, "whole_s": 3}
HASTY = {"first_token_s": 0.2, "between_tokens_s": 0.2, "whole_s": 0.3}
PATIENT = {"first_token_s": 60, "between_tokens_s": 60, "whole_s": 60}
SILENT = ("hung", "stall")
"""What only time can tell; a busy machine would make the others look like it."""
BREAKER = {"first_rest_s": 0.1, "longest_rest_s": 0.2}

BEFORE = {
    "hung": ("hang", {}),
    "flapping": ("status", {"status": 500, "every": 2}),
    "429": ("status", {"status": 429}),
    "429 and when": ("status", {"status": 429, "headers": {"retry-after": "30"}}),
    "403": ("status", {"status": 403}),
    "404": ("status", {"status": 404}),
    "500": ("status", {"status": 500}),
    "too long": ("context", {}),
    "garbage": ("garbage", {}),
    "malformed": ("malformed", {}),
    "empty": ("empty", {}),
    "cut": ("cut_before", {}),
}
"""What can be made good by another model, since the client has not seen anything yet."""

AFTER = ("cut_after", "unfinished", "stall", "malformed_later", "error_after")
"""What cannot, since a part of a stream has gone out."""

NO_WAY = {"Unreachable", "ConnectionBroke", "ConnectTimeout", "WholeTimeout", "FirstTokenTimeout"}
"""How a call may end that its upstream never got to see."""


@dataclass
class Told:
    """What one client was told."""

    said: str
    stream: bool
    status: int = 0
    id: str | None = None
    text: str = ""
    ends: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether it got one answer to what it said, from its beginning to its end."""
        _, heard, said = self.text.partition(" heard: ")
        answered = self.status == 200 and bool(heard) and said == self.said
        return answered and not self.errors and self.ends == 1


async def ask(client: httpx.AsyncClient, said: str, *, stream: bool) -> Told:
    """Return what a client is told that says something."""
    told = Told(said, stream)
    body = {"model": "tryage", "messages": [{"role": "user", "content": said}], "stream": stream}
    async with client.stream("POST", "/chat/completions", json=body) as answer:
        told.status, told.id = answer.status_code, answer.headers.get("x-tryage-id")
        if answer.headers["content-type"] == "text/event-stream":
            async for line in answer.aiter_lines():
                _read_line(told, line)
            return told
        value = json.loads(await answer.aread())
    if "error" in value:
        told.errors.append(value["error"]["code"])
    else:
        told.text, told.ends = value["choices"][0]["message"]["content"], 1
    return told


def _read_line(told: Told, line: str) -> None:
    if line == "data: [DONE]":
        told.ends += 1
    elif line:
        chunk = json.loads(line.removeprefix("data: "))
        if "error" in chunk:
            told.errors.append(chunk["error"]["code"])
        else:
            told.text += chunk["choices"][0]["delta"].get("content") or ""


def clients(base_url: str, count: int = 8) -> httpx.AsyncClient:
    """Return a client that has so many connections."""
    limits = httpx.Limits(max_connections=count)
    return httpx.AsyncClient(base_url=base_url, limits=limits, timeout=60, trust_env=False)


async def load(base_url: str, count: int, first: int = 0) -> list[Told]:
    """Return what clients were told that all asked at once, by turns plainly and for a stream."""
    async with clients(base_url) as client:
        numbers = range(first, first + count)
        asking = [ask(client, f"number {n}", stream=n % 2 > 0) for n in numbers]
        return await asyncio.gather(*asking)


def check_record(told: list[Told], rows: dict[str, dict], *servers: ScriptedUpstream) -> None:
    """Check that each request stands in the record once, with every call and how it ended."""
    assert {one.id for one in told} == rows.keys()
    assert len(rows) == len(told)
    heard = {
        (model, call.body["messages"][0]["content"])
        for server in servers
        for model, calls in server.seen.items()
        for call in calls
    }
    for one in told:
        tries = rows[one.id]["tries"]
        asked = [tried["model"] for tried in tries]
        assert len(set(asked)) == len(asked)  # nobody is asked twice
        answered = [tried["model"] for tried in tries if tried["error"] is None]
        assert answered == ([rows[one.id]["model"]] if one.is_whole else [])
        assert (rows[one.id]["error"] is None) is one.is_whole
        called = {model for model, said in heard if said == one.said}
        down = {tried["model"] for tried in tries if tried["error"] in NO_WAY}
        assert called <= set(asked) <= called | down


def failures(rows: dict[str, dict], model: str) -> set[str]:
    """Return how calls to a model failed, as the record has it."""
    tries = [tried for row in rows.values() for tried in row["tries"]]
    return {tried["error"] for tried in tries if tried["model"] == model} - {None}


def recovers(gateway: Whole, model: str) -> None:
    """Check that a model that is well again gets its traffic back once it has rested."""
    resting = gateway.gateway.live.breaker.resting()
    assert all(left <= BREAKER["longest_rest_s"] for left in resting.values())
    body = {"messages": [{"role": "user", "content": "And now?"}]}

    def is_back() -> bool:
        return gateway.post("/chat/completions", json=body).headers["x-tryage-model"] == model

    until(is_back)


@pytest.fixture
def shaky():
    """A server beside the good one."""
    with ScriptedUpstream() as server:
        yield server


@pytest.fixture
def parts(upstream, shaky, tmp_path):
    """The settings of a gateway that is quick to forgive, before two models."""
    first, second = upstreams(shaky.base_url, ["first"]), upstreams(upstream.base_url, ["second"])
    return {
        "timeouts": PATIENT,
        "breaker": BREAKER,
        "record": {"url": f"sqlite:///{tmp_path}/tryage.db"},
        "upstreams": [*first, *second],
    }


@pytest.fixture
def fault():
    """What is the matter; tests name several."""
    return ""


@pytest.fixture
def whole(parts, fault):
    if fault in SILENT:
        parts["upstreams"][0]["timeouts"] = QUICK
    with Whole(parts) as gateway:
        yield gateway


@pytest.mark.parametrize("fault", ["killed", *BEFORE])
async def test_no_request_is_lost_to_a_model_that_fails(whole, upstream, shaky, fault):
    if fault == "killed":
        shaky.stop()
    else:
        kind, options = BEFORE[fault]
        shaky.behave("first", kind, **options)

    told = await load(whole.base_url, 16)

    assert [one for one in told if not one.is_whole] == []
    rows = whole.recorded(16)
    check_record(told, rows, upstream, shaky)
    assert len(failures(rows, "first")) >= 1
    assert failures(rows, "second") == set()
    if fault == "killed":
        shaky.start()
    shaky.behave("first")
    recovers(whole, "first")


@pytest.mark.parametrize("fault", AFTER)
async def test_an_answer_that_breaks_off_is_told_and_never_spliced(whole, upstream, shaky, fault):
    shaky.behave("first", fault)

    told = await load(whole.base_url, 16)

    broken = [one for one in told if not one.is_whole]
    assert broken
    for one in broken:
        assert one.stream
        assert (one.status, one.ends, len(one.errors)) == (200, 0, 1)
        assert f"first heard: {one.said}".startswith(one.text)
    rows = whole.recorded(16)
    check_record(told, rows, upstream, shaky)
    assert failures(rows, "second") == set()
    shaky.behave("first")
    recovers(whole, "first")


async def test_what_every_model_would_refuse_is_asked_once(whole, upstream, shaky):
    shaky.behave("first", "filter")
    told = await load(whole.base_url, 16)
    assert {(one.status, *one.errors) for one in told} == {(400, "content_filter")}
    check_record(told, whole.recorded(16), upstream, shaky)
    assert upstream.calls("second") == 0
    assert whole.gateway.live.breaker.resting() == {}


async def test_all_of_it_at_once(parts, upstream, shaky):
    last = ("flapping", "filter")  # which answer now and then, so that nobody would come past them
    behaviours = {**BEFORE, **{kind: (kind, {}) for kind in AFTER}, "filter": ("filter", {})}
    names = sorted(behaviours, key=last.__contains__)
    for name in names:
        kind, options = behaviours[name]
        shaky.behave(name, kind, **options)
    with ScriptedUpstream() as dying:
        places = [("dying", dying), *((name, shaky) for name in names), ("good", upstream)]
        parts["upstreams"] = [
            {
                **upstreams(server.base_url, [name])[0],
                "card": {"benchmarks": {"mmlu": 0.9 - 0.02 * place}},
                "timeouts": HASTY if name in SILENT else PATIENT,
                "max_concurrent": 1 if name in last else 100,
            }
            for place, (name, server) in enumerate(places)
        ]
        with Whole(parts) as whole:
            told, missing = [], {"dying", *names}
            while missing:
                loading = asyncio.ensure_future(load(whole.base_url, 60, len(told)))
                await asyncio.to_thread(dying.stop)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(dying.start)
                told += await loading
                rows = whole.recorded(len(told))
                missing = {name for name in missing if not failures(rows, name)}
                assert len(told) < 1000, f"never failed: {missing}"

            lost = [one for one in told if not one.is_whole]
            for one in lost:
                filtered = (one.status, one.errors) == (400, ["content_filter"])
                broken = one.stream and one.status == 200 and not one.ends
                assert filtered or (broken and rows[one.id]["model"] in (*AFTER, "dying")), one
            check_record(told, rows, upstream, shaky, dying)
            assert failures(rows, "good") == set()
            for name in names:
                shaky.behave(name)
            recovers(whole, "dying")


async def test_a_client_that_leaves_ends_the_call_that_runs_for_it(whole, shaky):
    shaky.behave("first", "hang")
    whole.gateway.live.breaker.first_rest_s = 60  # the calls are to end by their clients alone
    async with clients(whole.base_url) as client:
        asking = [
            asyncio.ensure_future(ask(client, f"number {n}", stream=n % 2 > 0)) for n in range(6)
        ]
        await asyncio.to_thread(until, lambda: shaky.begun["first"] == 6)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    until(lambda: shaky.hung_up["first"] == 6)
    rows = whole.recorded(6)
    assert {row["error"] for row in rows.values()} == {"ClientGone"}
    assert failures(rows, "first") == {"CancelledError"}
    until(lambda: whole.gateway.live.states()["first"].in_flight == 0)


async def test_a_gateway_that_is_killed_under_load_loses_nothing_it_committed(parts, tmp_path):
    url = parts["record"]["url"]
    with process(tmp_path, parts) as (gateway, base_url):

        async def go_on(client: httpx.AsyncClient) -> None:
            with contextlib.suppress(httpx.HTTPError):
                while True:
                    await ask(client, "number 1", stream=True)

        async with clients(base_url) as client:
            asking = [asyncio.ensure_future(go_on(client)) for _ in range(8)]
            committed = await asyncio.to_thread(recorded, url, lambda rows: len(rows) >= 40)
            gateway.send_signal(signal.SIGKILL)
            await asyncio.gather(*asking)

    with sqlite3.connect(tmp_path / "tryage.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    left = recorded(url)
    assert committed.items() <= left.items()
    with Whole(parts) as again:  # and it goes on where it was
        again.post("/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}]})
        assert len(again.recorded(len(left) + 1)) == len(left) + 1


async def test_a_gateway_that_is_told_to_end_finishes_what_runs(parts, shaky, tmp_path):
    # Together longer than a server is patient that was not asked to be.
    shaky.behave("first", "trickle", delay_s=0.4)
    with process(tmp_path, parts) as (gateway, base_url):
        async with clients(base_url, 16) as client:
            running = [
                asyncio.ensure_future(ask(client, f"number {n}", stream=True)) for n in range(8)
            ]
            await asyncio.to_thread(until, lambda: shaky.begun["first"] == 8)
            gateway.send_signal(signal.SIGTERM)
            told = await asyncio.gather(*running)
        assert await asyncio.to_thread(gateway.wait, 60) == 0
    assert [one for one in told if not one.is_whole] == []
    assert recorded(parts["record"]["url"]).keys() == {one.id for one in told}
