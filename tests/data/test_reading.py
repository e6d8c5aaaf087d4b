"""Large files: in batches, each text once, without the responses."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from tests.data.test_table import FORMS, ROWS, write_jsonl
from tryage import InvalidTable, PerformanceTable
from tryage.data import formats


@pytest.fixture(params=FORMS)
def write(request, tmp_path):
    def to_file(rows):
        path = tmp_path / f"table.{request.param}"
        FORMS[request.param](path, rows)
        return path

    return to_file


def long_rows(n_prompts=40, n_models=7):
    rng = np.random.default_rng(0)
    rows = [
        {"prompt_id": f"p{p}", "prompt": f"prompt {p // 2}", "model": f"m{m}",
         "score": float(rng.integers(0, 5)) / 4, "domain": "xy"[p % 2],
         "cost_usd": float(p + m), "note": f"n{p}-{m}", "response": "text " * 20}
        for p in range(n_prompts)
        for m in range(n_models)
    ]  # fmt: skip
    return [rows[i] for i in rng.permutation(len(rows))][:-5]


def cells(table):
    return {
        (table.prompt_ids[p], table.prompts[p], table.models[m], float(table.scores[p, m]),
         table.domains[p], float(table.measures["cost_usd"][p, m]), table.extras["note"][p, m])
        for p, m in np.argwhere(~np.isnan(table.scores))
    }  # fmt: skip


@pytest.mark.parametrize("batch_rows", [1, 7, 100, 275])
def test_batches_of_any_size_give_the_same_table(write, monkeypatch, batch_rows):
    rows = long_rows()
    path = write(rows)
    whole = PerformanceTable.read(path)
    monkeypatch.setattr(formats, "BATCH_ROWS", batch_rows)
    table = PerformanceTable.read(path)
    keys = ("prompt_id", "prompt", "model", "score", "domain", "cost_usd", "note")
    assert cells(table) == {tuple(row[key] for key in keys) for row in rows}
    assert (table.prompt_ids, table.models) == (whole.prompt_ids, whole.models)
    assert table.prompt_ids[0] == rows[0]["prompt_id"]
    assert table.models[0] == rows[0]["model"]


def test_responses_are_read_only_when_asked_for(write):
    path = write([row | {"response": "an answer"} for row in ROWS])
    assert set(PerformanceTable.read(path).extras) == {"judge"}
    assert PerformanceTable.read(path, extras=()).extras == {}
    assert PerformanceTable.read(path, ["response"]).extras["response"][0, 0] == "an answer"
    with pytest.raises(InvalidTable, match="'responce' is missing. Did you mean 'response'"):
        PerformanceTable.read(path, ["responce"])


def test_memory_follows_the_scores_and_not_the_responses(write, monkeypatch):
    monkeypatch.setattr(formats, "BATCH_ROWS", 1000)
    rows = [
        {"prompt_id": str(p), "prompt": "long prompt " * 50 + str(p), "model": str(m), "score": 1.0,
         "response": f"{p} {m} " * 500}
        for p in range(300)
        for m in range(20)
    ]  # fmt: skip
    path = write(rows)
    responses = sum(len(row["response"]) for row in rows)
    del rows
    tracemalloc.start()
    PerformanceTable.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < responses / 2


def test_a_bad_row_of_a_later_batch_has_its_own_number(write, monkeypatch):
    monkeypatch.setattr(formats, "BATCH_ROWS", 4)
    for bad, message in (
        ({"score": 1.3}, "row 10: score"),
        ({"score": float("nan")}, "row 10: score"),
        ({"model": " "}, "row 10: model is empty"),
    ):
        rows = long_rows()[:20]
        rows[9] |= bad
        with pytest.raises(InvalidTable, match=message):
            PerformanceTable.read(write(rows))


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (1.0, "row 4: 'a' on prompt_id 'p1' stands in row 1 already, with the same score; drop"),
        (0.5, "row 4: .* row 1 already, with the score 1, not 0.5; average repeated samples"),
    ],
)
def test_a_duplicate_row_is_named_with_what_it_repeats(write, score, message):
    with pytest.raises(InvalidTable, match=message):
        PerformanceTable.read(write([*ROWS, ROWS[0] | {"score": score}]))


def test_a_column_that_later_rows_bring_is_padded(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "BATCH_ROWS", 1)
    bare = [{key: row[key] for key in ("prompt_id", "prompt", "model", "score")} for row in ROWS]
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [bare[0], bare[1] | {"cost_usd": 2, "note": "n"}, bare[2]])
    table = PerformanceTable.read(path)
    np.testing.assert_array_equal(table.measures["cost_usd"], [[np.nan, np.nan], [2, np.nan]])
    assert table.extras["note"].tolist() == [[None, None], ["n", None]]
    path.write_text("\n".join(json.dumps(row) for row in [bare[0], {"prompt_id": "p"}]))
    with pytest.raises(InvalidTable, match="'prompt' is missing"):
        PerformanceTable.read(path)


def test_models_stand_in_the_order_of_the_rows_whatever_a_files_dictionary_says(tmp_path):
    import pyarrow
    import pyarrow.parquet

    coded = pyarrow.DictionaryArray.from_arrays([2, 0, 2], ["late", "unused", "early"])
    columns = {"prompt_id": ["p", "p", "q"], "prompt": ["x", "x", "y"], "model": coded}
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns | {"score": [1.0, 0.0, 0.5]}), path)
    table = PerformanceTable.read(path)
    assert table.models == ("early", "late")
    np.testing.assert_array_equal(table.scores, [[1, 0], [0.5, np.nan]])


def test_parquet_cells_of_other_types_are_read(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "t.parquet"
    columns = {
        "prompt_id": pyarrow.array([1, 2]),
        "prompt": pyarrow.array(["a", "b"], pyarrow.large_string()),
        "model": pyarrow.array(["m", "m"]).dictionary_encode(),
        "score": pyarrow.array([True, False]),
        "domain": pyarrow.array([None, "x"]),
        "latency_s": pyarrow.array([None, 3], pyarrow.int64()),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    table = PerformanceTable.read(path)
    assert table.prompt_ids == ("1", "2")
    assert table.domains == ("", "x")
    np.testing.assert_array_equal(table.scores, [[1], [0]])
    np.testing.assert_array_equal(table.measures["latency_s"], [[np.nan], [3]])
    wrong = pyarrow.table(columns | {"score": pyarrow.array(["1", "good"])})
    pyarrow.parquet.write_table(wrong, path)
    with pytest.raises(InvalidTable, match="row 2: score 'good' is not a number"):
        PerformanceTable.read(path)
