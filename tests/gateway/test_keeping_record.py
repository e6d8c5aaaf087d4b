"""The record: nothing that was committed is lost, and nobody waits for it."""

from __future__ import annotations

import json
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, select, text

from tests.gateway.kept import NOON, entry, gone, python, wait_for
from tryage.errors import TryageError, UsageError
from tryage.gateway.entry import Try
from tryage.gateway.record import tables, writer
from tryage.gateway.record.database import DatabaseFailed, migrate, open_database
from tryage.gateway.record.writer import Writer, WriterState

pytest_plugins = ["tests.gateway.databases"]


@pytest.fixture
def engine(database):
    engine = open_database(database, durable=True)
    yield engine
    engine.dispose()


@pytest.fixture
def make(engine):
    made = []

    def writer(**settings):
        made.append(Writer(engine, **settings))
        return made[-1]

    yield writer
    for one in made:
        one.close()


def rows(engine):
    with engine.connect() as connection:
        return connection.execute(select(tables.entries).order_by(tables.entries.c.id)).all()


def ids(engine):
    return [row.id for row in rows(engine)]


def test_an_entry_is_stored_whole(engine, make):
    whole = entry(
        1,
        flags="cost=0.3",
        stream=True,
        key="abc",
        error="UpstreamTimeout",
        tries=(Try("large", 0.0, 1.5, "Timeout", 504), Try("small", 1.5, 0.2)),
        decision={"model": "small", "alternatives": ["large"], "expected_cost_usd": None},
        decision_s=0.0004,
        first_token_s=0.1,
        prompt="Why?\n" + "é" * 10,
        response="🙂",
        cached_input_tokens=90,
        traceparent="00-0-0-01",
    )
    make().watch(whole)
    make().watch(replace(entry(2), model=None, cost_usd=None, input_tokens=None))
    wait_for(lambda: len(ids(engine)) == 2)
    stored, bare = (dict(row._mapping) for row in rows(engine))
    assert stored.pop("score") is None
    tries = stored.pop("tries")
    assert [Try(**tried) for tried in tries] == list(whole.tries)
    assert stored == {name: getattr(whole, name) for name in stored}
    assert stored["time"].utcoffset().total_seconds() == 0
    assert (bare["model"], bare["cost_usd"], bare["prompt"]) == (None, None, None)


def test_entries_are_written_in_batches_and_in_order(engine, make):
    many = make()
    for number in range(1200):
        many.watch(entry(number))
    assert many.flush(timeout_s=60)
    assert ids(engine) == [f"e{number:06d}" for number in range(1200)]
    assert many.state() == WriterState(
        written=1200, buffered=0, dropped=0, bound=10_000, lost=False
    )


def test_the_database_is_lost_and_comes_back(database, engine, make, request, caplog):
    caplog.set_level(logging.INFO)
    small = make(buffer=5)
    small.watch(entry(0, prompt="a secret prompt"))
    assert small.flush(timeout_s=60)
    with gone(database, request):
        for number in range(1, 9):
            small.watch(entry(number, prompt="a secret prompt"))
        wait_for(lambda: small.state().lost)
        assert small.state() == WriterState(written=1, buffered=5, dropped=3, bound=5, lost=True)
        assert (small.buffered, small.dropped) == (5, 3)
        assert not small.flush(timeout_s=0)
    assert small.flush(timeout_s=60)
    small.watch(entry(9))
    assert small.flush(timeout_s=60)
    # The oldest were kept: one gap, and no holes.
    assert ids(engine) == [f"e{number:06d}" for number in (0, 1, 2, 3, 4, 5, 9)]
    assert small.state() == WriterState(written=7, buffered=0, dropped=3, bound=5, lost=False)
    assert "is lost" in caplog.text
    assert "is back" in caplog.text
    assert "a secret prompt" not in caplog.text


def test_long_texts_are_bounded_too(engine, make, monkeypatch, request, database):
    monkeypatch.setattr(writer, "MOST_TEXT", 100)
    one = make()
    with gone(database, request):
        for number in range(4):
            one.watch(entry(number, prompt="x" * 30, response="y" * 10))
        one.watch(entry(4))
        assert one.state().dropped == 2
    assert one.flush(timeout_s=60)
    assert ids(engine) == ["e000000", "e000001", "e000004"]
    one.watch(entry(5, prompt="x" * 100))
    assert one.flush(timeout_s=60)
    assert one.state().dropped == 2


@pytest.mark.parametrize(
    "odd",
    [
        {"prompt": "NUL \0 and half a pair \ud800", "asked": "\0\udfff"},
        {"decision": {"text": "\0\ud800"}},
        {"prompt": "x" * 5_000_000},
    ],
    ids=["text", "json", "long"],
)
def test_texts_that_no_database_takes_do_not_stop_the_record(engine, make, odd):
    one = make()
    one.watch(entry(0, **odd))
    one.watch(entry(1))
    assert one.flush(timeout_s=60)
    assert ids(engine) == ["e000000", "e000001"]
    assert one.dropped == 0


@pytest.mark.parametrize(
    "bad",
    [{"input_tokens": 2**70}, {"decision": {"x": object()}}, {"status": None}],
    ids=["a number too great", "not JSON", "nothing where something must be"],
)
def test_an_entry_that_cannot_be_stored_keeps_no_other_out(engine, make, bad):
    one = make()
    for number in range(3):
        one.watch(entry(number, **(bad if number == 1 else {})))
    assert one.flush(timeout_s=60)
    assert ids(engine) == ["e000000", "e000002"]
    state = one.state()
    assert (state.written, state.dropped, state.lost) == (2, 1, False)


def test_what_was_committed_twice_stands_once(engine, make):
    one = make()
    one.watch(entry(1))
    assert one.flush(timeout_s=60)
    one.watch(entry(1))
    one.watch(entry(2))
    assert one.flush(timeout_s=60)
    assert ids(engine) == ["e000001", "e000002"]
    assert one.dropped == 0


def test_closing_writes_what_waits_and_takes_no_more(engine):
    one = Writer(engine)
    for number in range(100):
        one.watch(entry(number))
    one.close()
    one.watch(entry(100))
    assert len(ids(engine)) == 100
    assert one.state().dropped == 1
    assert not one._thread.is_alive()


def test_closing_without_the_database_ends_and_says_so(database, engine, request, caplog):
    one = Writer(engine)
    with gone(database, request):
        one.watch(entry(0))
        one.watch(entry(1))
        one.close(timeout_s=0.2 if database.startswith("sqlite") else 30)
        assert "2 entries are not in the record" in caplog.text
    one._thread.join(60)
    assert not one._thread.is_alive()


def test_a_file_that_was_deleted_is_made_again(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/record.db", durable=True)
    one = Writer(engine)
    one.watch(entry(0))
    assert one.flush(timeout_s=60)
    engine.dispose()
    for file in tmp_path.iterdir():
        file.unlink()
    one.watch(entry(1))
    assert one.flush(timeout_s=60)
    assert ids(engine) == ["e000001"]
    one.close()
    engine.dispose()


GATEWAY = """
import sys, threading
from dataclasses import replace
from tests.gateway.kept import entry
from tryage.gateway.record.database import open_database
from tryage.gateway.record.writer import Writer

writer = Writer(open_database(sys.argv[1], durable=True))
def load():
    for number in range(10**6):
        while writer.state().buffered > 3000:
            pass
        writer.watch(entry(number, prompt="x" * 200))
threading.Thread(target=load, daemon=True).start()
while True:
    print(writer.state().written, flush=True)
"""


def test_a_gateway_that_is_killed_loses_no_committed_record(database):
    gateway = python(GATEWAY, database)
    committed = 0
    while committed < 1500:
        committed = int(gateway.stdout.readline())
    gateway.kill()  # SIGKILL, in the middle of it
    last = [line for line in gateway.stdout.read().splitlines(keepends=True) if "\n" in line]
    committed = int(last[-1]) if last else committed
    gateway.wait()
    gateway.stdin.close()
    gateway.stdout.close()
    engine = open_database(database)
    found = ids(engine)
    assert found[:committed] == [f"e{number:06d}" for number in range(committed)]
    engine.dispose()


def test_the_migrations_make_what_the_tables_say(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "tryage_version", "compare_type": True}
        )
        assert compare_metadata(context, tables.metadata) == []


def test_a_database_of_an_older_form_is_brought_up_with_its_rows(database):
    old = create_engine(database)
    migrate(old, "0001")
    values = {"id": "old", "time": NOON.isoformat(" ")[:19], "d": json.dumps({"model": "m"})}
    with old.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO tryage_entries (id, time, path, asked, flags, stream, status,"
                " decision, tries, decision_s, seconds) VALUES (:id, :time, '/v1', 'tryage', '',"
                " false, 200, :d, '[]', 0.1, 0.5)"
            ),
            values,
        )
    old.dispose()
    engine = open_database(database)
    (row,) = rows(engine)
    assert (row.id, row.decision, row.score) == ("old", {"model": "m"}, None)
    assert math.isclose(row.time.timestamp(), NOON.timestamp())
    one = Writer(engine)
    one.watch(entry(1))
    one.close()
    assert ids(engine) == ["e000001", "old"]
    engine.dispose()


def test_several_gateways_start_on_an_empty_database(database):
    code = (
        "import sys; from tryage.gateway.record.database import open_database as o\n"
        "print('ready', flush=True); sys.stdin.readline(); o(sys.argv[1]).dispose()"
    )
    gateways = [python(code, database) for _ in range(2)]
    for gateway in gateways:
        gateway.stdout.readline()
    for gateway in gateways:
        gateway.stdin.write("go\n")
        gateway.stdin.flush()
    for gateway in gateways:
        gateway.communicate()
        assert gateway.returncode == 0
    engine = open_database(database)
    assert ids(engine) == []
    engine.dispose()


def test_a_new_file_that_somebody_else_is_at_is_waited_for(patient, tmp_path):
    other = create_engine(f"sqlite:///{tmp_path}/record.db")
    with other.connect() as theirs, ThreadPoolExecutor() as threads:
        theirs.exec_driver_sql("BEGIN IMMEDIATE")  # SQLite then refuses WAL without any wait
        opening = threads.submit(open_database, f"sqlite:///{tmp_path}/record.db")
        time.sleep(0.2)
        assert not opening.done()
        theirs.rollback()
        opening.result().dispose()
    other.dispose()


def test_a_database_of_a_newer_tryage_is_left_alone(database, engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE tryage_version SET version_num = '9999'"))
    with pytest.raises(DatabaseFailed, match="made by a newer Tryage"):
        open_database(database)


def test_other_tables_are_left_alone(database):
    theirs = create_engine(database)
    with theirs.begin() as connection:
        connection.execute(text("CREATE TABLE entries (id INTEGER)"))
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    open_database(database).dispose()
    with theirs.connect() as connection:
        assert connection.execute(text("SELECT * FROM alembic_version")).all() == [("theirs",)]
    theirs.dispose()


def test_reading_does_not_wait_for_writing(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/record.db", durable=True)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    other = create_engine(f"sqlite:///{tmp_path}/record.db")
    with other.connect() as locked:
        locked.exec_driver_sql("BEGIN IMMEDIATE")
        assert ids(engine) == []
        locked.rollback()
    other.dispose()
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "give sqlite:///FILE or postgresql"),
        ("mysql://root:hunter2@localhost/x", "'mysql'; give sqlite:///FILE"),
        ("sqlite://", "give sqlite:///FILE"),
        ("sqlite:///:memory:", "give sqlite:///FILE"),
        ("sqlite:////no/such/folder/tryage.db", "unable to open database file"),
        ("postgresql://me:hunter2@127.0.0.1:1/x", "cannot be used.*Check that it is there"),
        ("://me:hunter2@", "not the URL of a database"),
        ("postgresql://me:hunter2@host:port/x", "not the URL of a database"),
    ],
)
def test_a_database_that_cannot_be_is_named_in_one_line(url, says):
    with pytest.raises(TryageError, match=says) as raised:
        open_database(url)
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_file_that_is_not_there_is_not_made_by_reading(tmp_path):
    with pytest.raises(UsageError, match=r"no database .*--config FILE or --db URL"):
        open_database(f"sqlite:///{tmp_path}/record.db", create=False)
    assert not list(tmp_path.iterdir())
