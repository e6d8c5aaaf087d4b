"""Budgets hold: however many ask at once, whatever crashes, and without the database."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from tests.gateway.kept import admit, gone, python, wait_for
from tryage.gateway.allowance import Over, Reservation, Use
from tryage.gateway.budgets import Budgets
from tryage.gateway.keeper import DatabaseKeeper
from tryage.gateway.keys import NANO, Limits, add_key
from tryage.gateway.record import tables
from tryage.gateway.record.database import open_database
from tryage.gateway.refusals import Refused
from tryage.spend import Usage

pytest_plugins = ["tests.gateway.databases"]

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
DAY = 86_400


class Clock:
    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def engine(database):
    engine = open_database(database)
    yield engine
    engine.dispose()


@pytest.fixture
def keepers(engine):
    """Makes keepers of one database, as that many gateways would be."""
    made = []

    def make(**settings):
        made.append(DatabaseKeeper(engine, **({"clock": Clock(), "patience_s": 60} | settings)))
        return made[-1]

    yield make
    for keeper in made:
        keeper.close()


async def status(keeper, secret, tokens=0, usd=0.0):
    try:
        await admit(keeper, secret, input_tokens=tokens, cost_usd=usd)
    except Refused as refused:
        return refused.status
    return 200


LIMITS = [
    pytest.param({"requests_per_minute": 20}, 20, 429, id="requests a minute"),
    pytest.param({"requests_per_day": 20}, 20, 429, id="requests a day"),
    pytest.param({"tokens_per_day": 2050}, 20, 429, id="tokens"),
    pytest.param({"nano_usd_per_day": 2 * NANO}, 20, 402, id="money"),
]


@pytest.mark.parametrize(("limits", "admitted", "refusal"), LIMITS)
def test_a_limit_is_exact_for_fifty_threads_and_two_gateways(
    patient, engine, keepers, limits, admitted, refusal
):
    _, secret = add_key(engine, "alice", limits=Limits(**limits))
    both = [keepers(), keepers()]
    with ThreadPoolExecutor(50) as threads:
        calls = [
            threads.submit(asyncio.run, status(both[i % 2], secret, tokens=100, usd=0.1))
            for i in range(50)
        ]
        answers = [call.result() for call in calls]
    assert sorted(answers) == [200] * admitted + [refusal] * (50 - admitted)


GATEWAY = """
import asyncio, sys
from tests.gateway.kept import admit
from tryage.gateway.keeper import DatabaseKeeper
from tryage.gateway.record import database
from tryage.gateway.record.database import open_database
from tryage.gateway.refusals import Refused
from tryage.spend import Usage

async def main(url, secret):
    database._BUSY_MS = 60_000  # a busy machine is no database that is lost
    keeper, admitted = DatabaseKeeper(open_database(url), patience_s=60), 0
    print("ready", flush=True)
    sys.stdin.readline()
    async def call():
        nonlocal admitted
        try:
            passed = await admit(keeper, secret, cost_usd=0.02)
        except Refused:
            return
        admitted += 1
        await keeper.settle(passed, Usage(10, 10), 0.02)
    for _ in range(5):
        await asyncio.gather(*(call() for _ in range(8)))
    print(admitted, flush=True)
    keeper.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_two_gateways_in_two_processes_keep_one_budget(database, engine):
    key, secret = add_key(engine, "alice", limits=Limits(nano_usd_per_day=NANO))
    gateways = [python(GATEWAY, database, secret) for _ in range(2)]
    for gateway in gateways:
        assert gateway.stdout.readline() == "ready\n"
    for gateway in gateways:
        gateway.stdin.write("go\n")
        gateway.stdin.flush()
    admitted = [int(gateway.stdout.readline()) for gateway in gateways]
    for gateway in gateways:
        gateway.communicate()
        assert gateway.returncode == 0
    spent = Budgets(engine).read(time.time())[key.id].use
    # Each asked 40 times for $0.02 of $1.
    assert sum(admitted) == 50
    assert spent == Use(50, 50 * 20, NANO)


async def test_what_was_expected_is_exchanged_for_the_truth(engine, keepers):
    key, secret = add_key(engine, "alice", limits=Limits(tokens_per_day=1000))
    keeper = keepers()
    passed = await admit(keeper, secret, input_tokens=500, output_tokens=400)
    assert await status(keeper, secret, tokens=200) == 429
    await keeper.settle(passed, Usage(100, 50), None)
    assert Budgets(engine).read(NOON)[key.id].use == Use(1, 150, 0)
    assert await status(keeper, secret, tokens=850) == 200
    assert await status(keeper, secret, tokens=0) == 429  # nothing is left


async def test_a_request_that_failed_costs_nothing_but_itself(engine, keepers):
    key, secret = add_key(engine, "alice", limits=Limits(nano_usd_per_day=NANO))
    keeper = keepers()
    passed = await admit(keeper, secret, cost_usd=0.9)
    await keeper.settle(passed, None, None)
    assert Budgets(engine).read(NOON)[key.id].use == Use(1, 0, 0)
    assert _reserved(engine) == 0


async def test_what_a_crashed_gateway_reserved_is_given_back_when_its_time_is_up(engine, keepers):
    key, secret = add_key(engine, "alice", limits=Limits(nano_usd_per_day=NANO))
    crashed = Budgets(engine, hold_s=60)
    held, _ = crashed.reserve(key, Use(1, 0, NANO), NOON)
    clock = Clock()
    keeper = keepers(clock=clock, hold_s=60)
    clock.now = NOON + 59
    assert await status(keeper, secret, usd=0.1) == 402
    clock.now = NOON + 61
    assert await status(keeper, secret, usd=0.1) == 200
    assert Budgets(engine).read(clock.now)[key.id].use == Use(2, 0, NANO // 10)
    # It had not crashed, it was slow: what it used is counted all the same, and once.
    crashed.settle(held, Use(0, 5, NANO // 2))
    assert Budgets(engine).read(clock.now)[key.id].use == Use(2, 5, NANO // 10 + NANO // 2)


async def test_each_day_begins_at_midnight_utc(engine, keepers):
    key, secret = add_key(engine, "alice", limits=Limits(requests_per_day=1))
    clock = Clock(NOON + DAY / 2 - 1)
    keeper = keepers(clock=clock)
    late = await admit(keeper, secret)
    with pytest.raises(Refused, match="1 requests a day") as refused:
        await admit(keeper, secret)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 1.0)
    clock.now += 1
    assert await status(keeper, secret) == 200
    await keeper.settle(late, Usage(3, 4), None)  # counts for the day on which it began
    assert Budgets(engine).read(NOON)[key.id].use == Use(1, 7, 0)
    assert Budgets(engine).read(NOON + DAY)[key.id].use == Use(1, 0, 0)


async def test_each_minute_has_its_requests(engine, keepers):
    _, secret = add_key(engine, "alice", limits=Limits(requests_per_minute=2))
    clock = Clock(NOON + 30)
    keeper, behind = keepers(clock=clock), keepers(clock=Clock(NOON - 20))
    assert [await status(keeper, secret) for _ in range(3)] == [200, 200, 429]
    with pytest.raises(Refused) as refused:
        await admit(keeper, secret)
    assert refused.value.retry_after_s == 30
    assert await status(behind, secret) == 429  # whose clock is late opens no back door
    clock.now += 30
    assert [await status(keeper, secret) for _ in range(3)] == [200, 200, 429]


async def test_a_request_greater_than_the_whole_day_is_refused_at_once(engine, keepers):
    key, secret = add_key(engine, "alice", limits=Limits(nano_usd_per_day=NANO))
    keeper = keepers()
    with pytest.raises(Refused, match=r"\$0 of its \$1 for today.*12\.0 h") as refused:
        await admit(keeper, secret, cost_usd=1.01)
    assert (refused.value.status, refused.value.retry_after_s) == (402, None)
    assert key.id not in Budgets(engine).read(NOON)
    assert await status(keeper, secret, usd=1.0) == 200


def test_the_statement_and_the_rule_agree(engine):
    key, _ = add_key(engine, "alice", limits=Limits(tokens_per_day=100, requests_per_minute=3))
    budgets = Budgets(engine)
    for tokens, fits in ((60, True), (50, False), (40, True), (0, False)):
        if fits:
            budgets.reserve(key, Use(1, tokens), NOON)
        else:
            with pytest.raises(Over, match="tokens_per_day"):
                budgets.reserve(key, Use(1, tokens), NOON)
    assert budgets.read(NOON)[key.id].use == Use(2, 100, 0)


async def test_without_the_database_a_gateway_goes_by_what_it_knows(
    database, engine, keepers, request
):
    limited, secret = add_key(engine, "alice", limits=Limits(requests_per_day=5))
    _, unlimited = add_key(engine, "bob")
    keeper = keepers(refresh_s=0.02, patience_s=0.3)
    before = await admit(keeper, secret, input_tokens=10)
    with gone(database, request):
        while not keeper.lost:  # a first request may be the one that finds out
            await keeper.settle(before, Usage(1, 1), None)
            before = await admit(keeper, secret, input_tokens=10)
        known = keeper._known._seen[limited.id].use.requests
        answers = [await status(keeper, secret) for _ in range(6)]
        assert answers == [200] * (5 - known) + [429] * (1 + known)
        assert await status(keeper, unlimited) == 200
        assert await status(keeper, secret + "x") == 401
        await keeper.settle(before, Usage(3, 4), None)
    wait_for(lambda: not keeper.lost)
    assert await status(keeper, secret) == 429
    wait_for(lambda: Budgets(engine).read(NOON)[limited.id].use.requests >= 5)
    spent = Budgets(engine).read(NOON)[limited.id].use
    assert 7 <= spent.tokens <= 7 + 2 + 20  # what came late expires later


async def test_what_was_used_meanwhile_is_added_when_the_database_is_back(
    database, engine, keepers, request
):
    key, secret = add_key(engine, "alice", limits=Limits(nano_usd_per_day=NANO))
    keeper = keepers(refresh_s=3600)
    with gone(database, request):
        keeper._lose(TimeoutError())
        for _ in range(3):
            passed = await admit(keeper, secret, cost_usd=0.2)
            await keeper.settle(passed, Usage(10, 20), 0.25)
        assert await status(keeper, secret, usd=0.26) == 402
    if not database.startswith("sqlite"):
        engine.dispose()  # connections from before
    keeper._refresh()
    assert not keeper.lost
    assert Budgets(engine).read(NOON)[key.id].use == Use(3, 90, 3 * NANO // 4)
    assert await status(keeper, secret, usd=0.26) == 402
    assert await status(keeper, secret, usd=0.25) == 200


async def test_a_client_that_leaves_while_it_is_admitted_holds_nothing(engine, keepers):
    key, secret = add_key(engine, "alice", limits=Limits(nano_usd_per_day=NANO))
    keeper, reserved, go = keepers(), threading.Event(), threading.Event()
    reserve = keeper._budgets.reserve

    def slow(*arguments):
        reservation = reserve(*arguments)
        reserved.set()
        go.wait()
        return reservation

    keeper._budgets.reserve = slow
    task = asyncio.create_task(admit(keeper, secret, cost_usd=0.9))
    await asyncio.to_thread(reserved.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _reserved(engine) == 1
    go.set()
    await asyncio.to_thread(wait_for, lambda: _reserved(engine) == 0)
    assert Budgets(engine).read(NOON)[key.id].use == Use(1, 0, 0)


async def test_a_database_that_hangs_holds_no_request_up(engine, keepers):
    key, secret = add_key(engine, "alice", limits=Limits(requests_per_day=2))
    keeper, go = keepers(patience_s=0.05, refresh_s=3600), threading.Event()
    reserve = keeper._budgets.reserve

    def hanging(*arguments):
        go.wait()
        return reserve(*arguments)

    keeper._budgets.reserve = hanging
    assert [await status(keeper, secret) for _ in range(3)] == [200, 200, 429]
    assert keeper.lost
    go.set()
    await asyncio.to_thread(wait_for, lambda: key.id in Budgets(engine).read(NOON))
    await asyncio.to_thread(wait_for, lambda: _reserved(engine) == 0)


def test_old_reservations_are_swept_out(engine):
    key, _ = add_key(engine, "alice", limits=Limits(requests_per_day=9))
    budgets = Budgets(engine, hold_s=60)
    budgets.reserve(key, Use(1), NOON)
    budgets.owe({}, NOON + DAY)
    assert _reserved(engine) == 0
    budgets.settle(Reservation("gone", key.id, "2026-11-22", Use(1, 5)), Use(0, 7))
    assert budgets.read(NOON)[key.id].use == Use(1, 7, 0)


def _reserved(engine):
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(tables.reserved)).scalar()
