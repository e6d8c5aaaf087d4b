"""`tryage log` and `tryage keys`, from the command line."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import create_engine
from typer.testing import CliRunner

from tests.gateway.kept import NOON, entry
from tryage import Library, PerformanceTable
from tryage.cli import app
from tryage.cli.log import _moment
from tryage.errors import UsageError
from tryage.gateway.keys import add_key, read_keys, recognise
from tryage.gateway.record import database as sqlite
from tryage.gateway.record import pruning
from tryage.gateway.record.database import DatabaseFailed, open_database
from tryage.gateway.record.writer import Writer
from tryage.spend import Usage, cost_usd

pytest_plugins = ["tests.gateway.databases"]


def tryage(*arguments):
    """Return what a command prints; an error that it ends with is raised."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def tryage_json(*arguments):
    return json.loads(tryage(*arguments, "--json"))


def written(url, entries):
    engine = open_database(url)
    writer = Writer(engine)
    for one in entries:
        writer.watch(one)
    writer.close()
    assert writer.state().dropped == 0
    engine.dispose()


@pytest.fixture
def traffic(database):
    """Three answers of small, two of large, and an error, over two hours; alice asked twice."""
    engine = open_database(database)
    alice, _ = add_key(engine, "alice")
    engine.dispose()
    hour = timedelta(hours=1)
    rest = [
        entry(2, seconds=0.75),
        entry(3, time=NOON + hour, key=alice.id, seconds=1.25, cost_usd=None),
        entry(4, model="large", asked="large", cost_usd=0.01, seconds=2.0),
        entry(5, model="large", time=NOON + hour, cost_usd=0.02, seconds=4.0, input_tokens=None),
        entry(6, model=None, status=503, error="AllModelsFailed", cost_usd=None, seconds=9.0,
              input_tokens=None, output_tokens=None),
    ]  # fmt: skip
    written(database, [entry(1, key=alice.id), *rest])
    return database


def test_the_latest_are_listed_first(traffic):
    found = tryage_json("log", "--db", traffic, "--limit", 3)["entries"]
    assert [one["id"] for one in found] == ["e000003", "e000005", "e000006"]
    assert found[0]["key_name"] == "alice"
    assert found[0]["tries"] == [
        {"model": "small", "started_s": 0.01, "seconds": 0.2, "error": None, "status": None}
    ]
    shown = tryage("log", "--db", traffic)
    for part in ("alice", "large", "AllModelsFailed", "100/10", "0.010000"):
        assert part in shown


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (["--model", "large"], [4, 5]),
        (["--key", "alice"], [1, 3]),
        (["--errors"], [6]),
        (["--since", "2026-11-22T13:00"], [3, 5]),
        (["--since", "2026-11-23"], []),
        (["--model", "large", "--key", "alice"], []),
    ],
)
def test_the_list_is_narrowed(traffic, options, numbers):
    found = tryage_json("log", "--db", traffic, *options)["entries"]
    assert sorted(one["id"] for one in found) == [f"e{n:06d}" for n in numbers]


def test_sums_by_model(traffic):
    card = Library.bundled().find("gpt-4o")
    summed = tryage_json("log", "sum", "--db", traffic, "--by", "model", "--reference", "gpt-4o")
    small, large, nobody = summed["sums"]
    assert [one["group"] for one in summed["sums"]] == ["small", "large", None]
    assert (small["requests"], small["unpriced"], small["error_share"]) == (3, 1, 0)
    assert small["cost_usd"] == pytest.approx(0.002)
    assert small["saved_usd"] == pytest.approx(2 * cost_usd(card, Usage(100, 10)) - 0.002)
    assert (small["p50_s"], small["p99_s"]) == (0.75, pytest.approx(1.24))
    assert (large["input_tokens"], large["output_tokens"], large["p50_s"]) == (100, 20, 3.0)
    assert (nobody["error_share"], nobody["p50_s"], nobody["unpriced"]) == (1, None, 0)
    total = summed["total"]
    assert (total["requests"], total["input_tokens"]) == (6, 400)
    assert total["error_share"] == pytest.approx(1 / 6)
    assert total["cost_usd"] == pytest.approx(0.032)
    shown = tryage("log", "sum", "--db", traffic, "--by", "model", "--reference", "gpt-4o")
    assert "saved against gpt-4o" in shown
    assert "1 answers of unknown cost" in shown


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("key", {None: 4, "alice": 2}),
        ("day", {"2026-11-22": 6}),
        ("hour", {"2026-11-22T12:00Z": 4, "2026-11-22T13:00Z": 2}),
    ],
)
def test_sums_by_other_things(traffic, by, groups):
    summed = tryage_json("log", "sum", "--db", traffic, "--by", by)
    assert {one["group"]: one["requests"] for one in summed["sums"]} == groups
    assert summed["total"]["saved_usd"] is None


def test_nothing_adds_up_to_nothing(tmp_path):
    url = f"sqlite:///{tmp_path}/empty.db"
    open_database(url).dispose()
    total = tryage_json("log", "sum", "--db", url)["total"]
    assert (total["requests"], total["error_share"], total["p99_s"]) == (0, 0, None)
    assert tryage_json("log", "--db", url)["entries"] == []


@pytest.fixture
def prompted(tmp_path):
    url = f"sqlite:///{tmp_path}/prompts.db"
    texts = ["What is 1 + 1?", 'a "quoted",\nmulti-line ünïcode 🙂', "same", "same"]
    entries = [
        entry(n, prompt=text, response=f"answer {n}", model="large" if n % 2 else "small")
        for n, text in enumerate(texts)
    ]
    entries += [
        entry(4, prompt="failed", error="UpstreamError"),
        entry(5, prompt="\n "),
        entry(6),
        entry(7, prompt="unscored", cost_usd=None),
    ]
    written(url, entries)
    for number, score in enumerate([1, 0.25, 0, 0.5]):
        tryage("log", "score", f"e{number:06d}", score, "--db", url)
    return url


def test_an_id_may_be_shortened(tmp_path):
    url = f"sqlite:///{tmp_path}/record.db"
    ids = ["0123456789abcdef", "0123456789abcdef00"]
    written(url, [entry(n, id=name) for n, name in enumerate(ids)])
    tryage("log", "score", ids[0], 0.5, "--db", url)  # one id that is the beginning of another
    tryage("log", "score", ids[1], 1, "--db", url)
    scores = {row["id"]: row["score"] for row in tryage_json("log", "--db", url)["entries"]}
    assert scores == {ids[0]: 0.5, ids[1]: 1}


def test_the_latest_can_be_read_in_a_narrow_window(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/record.db"
    now = datetime.now(UTC)
    written(
        url,
        [
            entry(1, id="a" * 32, time=now, asked="tryage:cheapest", model="gpt-4o-mini"),
            entry(2, id="b" * 32, time=NOON - timedelta(days=400), asked="[red]odd"),
            entry(3, id="c" * 32, time=now, model=None, error="AllModelsFailed", status=503),
        ],
    )
    shown = CliRunner().invoke(app, ["log", "--db", url], env={"COLUMNS": "80"}).stdout
    rows = {line.split()[1]: line.split() for line in shown.splitlines()[2:]}
    assert rows["aaaaaaaa"][2:] == ["tryage:cheapest", "gpt-4o-mini", "100/10", "0.001000", "0.25"]
    assert rows["bbbbbbbb"][:3:2] == ["2025-10-18", "[red]odd"]
    assert rows["cccccccc"][3] == "AllModelsFailed"
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_the_export_is_a_performance_table(prompted, tmp_path, ending):
    out = tmp_path / f"traffic.{ending}"
    done = tryage_json("log", "export", "--out", out, "--db", prompted)
    assert done == {"out": str(out), "rows": 4, "left_out": 1}
    table = PerformanceTable.read(out)
    assert table.prompt_ids == ("e000000", "e000001", "e000002", "e000003")
    assert table.prompts[1] == 'a "quoted",\nmulti-line ünïcode 🙂'
    assert table.models == ("small", "large")
    expected = [[1, np.nan], [np.nan, 0.25], [0, np.nan], [np.nan, 0.5]]
    np.testing.assert_array_equal(table.scores, np.array(expected, dtype=np.float32))
    assert table.measures["cost_usd"][0, 0] == 0.001
    assert table.measures["latency_s"][0, 0] == 0.25
    assert table.measures["input_tokens"][1, 1] == 100
    assert table.measures["output_tokens"][1, 1] == 10
    assert sorted(file.name for file in tmp_path.iterdir() if "part" in file.name) == []


def test_answers_without_a_score_are_exported_to_be_scored(prompted, tmp_path):
    out = tmp_path / "to-score.jsonl"
    done = tryage("log", "export", "--out", out, "--db", prompted, "--unscored")
    assert "1 answers" in done
    assert "left out 4 with a score" in done
    row = json.loads(out.read_text())
    assert (row["prompt_id"], row["score"], row["response"]) == ("e000007", None, None)
    with pytest.raises(UsageError, match="score None is not a number"):
        PerformanceTable.read(out)
    out.write_text(json.dumps(row | {"score": 0.7}))
    assert PerformanceTable.read(out).scores.tolist() == [[pytest.approx(0.7)]]


@pytest.mark.parametrize(
    ("entries", "options", "says"),
    [
        ([], [], "holds no such request"),
        ([entry(1)], [], "none of the 1 requests .* prompts = true under .record."),
        ([entry(1, prompt="x", model=None, error="E")], [], "holds 0 answers"),
        ([entry(1, prompt="x")], [], "none of the 1 answers has a score.*--unscored"),
        ([entry(1, prompt="x")], ["--since", "2027-01-01"], "holds no such request"),
    ],
)
def test_an_export_of_nothing_says_why(tmp_path, entries, options, says):
    url = f"sqlite:///{tmp_path}/record.db"
    written(url, entries)
    with pytest.raises(UsageError, match=says) as raised:
        tryage("log", "export", "--out", tmp_path / "out.csv", "--db", url, *options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out.csv").exists()


def test_scores_are_checked(prompted, tmp_path):
    with pytest.raises(UsageError, match=r"1\.5 is outside \[0, 1\]"):
        tryage("log", "score", "e000000", "1.5", "--db", prompted)
    with pytest.raises(UsageError, match="nan is outside"):
        tryage("log", "score", "e000000", "nan", "--db", prompted)
    with pytest.raises(UsageError, match="several ids begin with 'e00000'"):
        tryage("log", "score", "e00000", "0.5", "--db", prompted)
    with pytest.raises(UsageError, match="no answer '%'"):
        tryage("log", "score", "%", "0.5", "--db", prompted)
    with pytest.raises(UsageError, match="no answer 'e999999'"):
        tryage("log", "score", "e999999", "0.5", "--db", prompted)
    with pytest.raises(UsageError, match="parquet, .csv, .jsonl"):
        tryage("log", "export", "--out", tmp_path / "x.txt", "--db", prompted)


def test_old_requests_are_pruned_exactly_and_no_others(traffic, monkeypatch):
    monkeypatch.setattr(pruning, "_ROWS", 2)  # in several steps
    edge = (NOON + timedelta(seconds=4)).isoformat()
    assert tryage_json("log", "prune", "--before", edge, "--db", traffic) == {
        "before": edge,
        "pruned": 2,
    }
    left = {one["id"] for one in tryage_json("log", "--db", traffic)["entries"]}
    assert left == {"e000003", "e000004", "e000005", "e000006"}
    assert tryage_json("log", "prune", "--before", edge, "--db", traffic)["pruned"] == 0
    assert "0 requests from before" in tryage("log", "prune", "--before", "5200w", "--db", traffic)
    assert "4 requests from before" in tryage("log", "prune", "--before", "2999-01-01",
                                              "--db", traffic)  # fmt: skip
    assert [key["name"] for key in tryage_json("keys", "list", "--db", traffic)["keys"]] == [
        "alice"
    ]
    with pytest.raises(UsageError, match="--before 'soon' is not a time"):
        tryage("log", "prune", "--before", "soon", "--db", traffic)


def test_a_gateway_goes_on_writing_while_old_requests_are_pruned(patient, database, monkeypatch):
    monkeypatch.setattr(pruning, "_ROWS", 20)
    monkeypatch.setattr(pruning, "_PAUSE_S", 0.01)
    written(database, [entry(n) for n in range(500)])
    engine = open_database(database, durable=True)
    writer = Writer(engine)
    with ThreadPoolExecutor() as threads:
        pruned = threads.submit(pruning.prune, engine, NOON + timedelta(seconds=500))
        for number in range(500, 1000):
            writer.watch(entry(number))
            time.sleep(0.001)
    assert pruned.result() == 500
    writer.close(timeout_s=60)
    state = writer.state()
    assert (state.written, state.dropped) == (500, 0)
    found = tryage_json("log", "--db", database, "--limit", 10**6)["entries"]
    assert {one["id"] for one in found} == {f"e{n:06d}" for n in range(500, 1000)}
    engine.dispose()


def test_a_record_that_is_locked_is_named_in_one_line(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/record.db"
    written(url, [entry(1)])
    monkeypatch.setattr(sqlite, "_BUSY_MS", 1)
    engine = open_database(url)
    other = create_engine(url)
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseFailed, match="cannot be used: database is locked") as failed:
            pruning.prune(engine, NOON + timedelta(days=1))
        connection.rollback()
    assert "\n" not in str(failed.value)
    other.dispose()
    engine.dispose()


def test_times_are_read_as_people_write_them():
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert _moment("90m", now, "--since") == now - timedelta(minutes=90)
    assert _moment("7d", now, "--since") == now - timedelta(days=7)
    assert _moment("2026-01-31", now, "--since") == datetime(2026, 1, 31, tzinfo=UTC)
    assert _moment("2026-01-31T01:00+01:00", now, "--since") == datetime(2026, 1, 31, tzinfo=UTC)
    for wrong in ("yesterday", "1y", "999999w", "2026-13-01", ""):
        with pytest.raises(UsageError, match="is not a time"):
            _moment(wrong, now, "--since")


def test_keys_are_added_listed_and_revoked(database):
    limits = ["--requests-per-minute", 60, "--tokens-per-day", 1000, "--usd-per-day", 2.5]
    added = tryage_json("keys", "add", "alice", "--db", database, *limits, "--models", "tryage",
                        "--models", "gpt-*")  # fmt: skip
    engine = open_database(database)
    known = {key.id: key for key in read_keys(engine)}
    engine.dispose()
    assert recognise(added.pop("secret"), known) == known[added["id"]]
    assert added["models"] == ["tryage", "gpt-*"]
    assert (added["requests_per_minute"], added["requests_per_day"]) == (60, None)
    assert (added["tokens_per_day"], added["usd_per_day"]) == (1000, 2.5)
    secret = tryage("keys", "add", "bob", "--db", database, "--admin")
    assert secret.startswith("try-")
    listed = tryage_json("keys", "list", "--db", database)["keys"]
    assert [key["name"] for key in listed] == ["alice", "bob"]
    assert listed[0] == added | {"today": {"requests": 0, "tokens": 0, "usd": 0.0}}
    assert (listed[1]["admin"], listed[1]["today"]) == (True, None)
    shown = tryage("keys", "list", "--db", database)
    for part in ("alice", "tryage gpt-*", "0 / 2.5", "0 / –", "all, admin"):
        assert part in shown
    assert secret.strip() not in shown
    assert "bob" in tryage("keys", "revoke", "bob", "--db", database)
    assert len(tryage_json("keys", "list", "--db", database)["keys"]) == 1
    assert len(tryage_json("keys", "list", "--db", database, "--revoked")["keys"]) == 2


@pytest.mark.parametrize("usd", ["-1", "nan", "inf", "1e12"])
def test_a_limit_that_cannot_be_is_named(tmp_path, usd):
    with pytest.raises(UsageError, match="--usd-per-day .*: give 0 to"):
        tryage("keys", "add", "alice", "--db", f"sqlite:///{tmp_path}/x.db", "--usd-per-day", usd)
    assert not list(tmp_path.iterdir())


def test_the_database_is_that_of_the_config_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[server]\nreference = "gpt-4o"\n[record]\nurl = "sqlite:///mine.db"\n'
        '[[upstreams]]\nname = "small"\nbase_url = "http://127.0.0.1:1/v1"\n'
    )
    with pytest.raises(UsageError, match=rf"no database '{tmp_path}/mine\.db'"):
        tryage("log", "--config", config)
    with pytest.raises(UsageError, match=r"no database 'tryage\.db'"):
        tryage("keys", "list")
    with pytest.raises(UsageError, match="not both"):
        tryage("log", "--config", config, "--db", "sqlite:///x.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tryage("keys", "add", "alice", "--config", config)
    assert (tmp_path / "mine.db").exists()
    monkeypatch.chdir(tmp_path)
    assert [key["name"] for key in tryage_json("keys", "list", "--config", config)["keys"]] == [
        "alice"
    ]
    assert tryage_json("log", "sum", "--config", config)["reference"] == "gpt-4o"
