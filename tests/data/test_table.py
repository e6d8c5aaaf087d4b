from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tryage import InvalidTable, PerformanceTable, UnknownModel
from tryage.data import normalise, split_by_prompt
from tryage.errors import UsageError

ROWS = [
    {"prompt_id": "p1", "prompt": "one", "model": "a", "score": 1.0, "domain": "x", "cost_usd": 0.5,
     "judge": "j"},
    {"prompt_id": "p2", "prompt": "two", "model": "a", "score": 0.5, "domain": "y", "cost_usd": 0.1,
     "judge": "k"},
    {"prompt_id": "p1", "prompt": "one", "model": "b", "score": 0.0, "domain": "x", "cost_usd": 0.2,
     "judge": "l"},
]  # fmt: skip


def write_jsonl(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def write_csv(path, rows):
    import csv

    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path, rows):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


FORMS = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}


@pytest.fixture(params=FORMS)
def write(request, tmp_path):
    def to_file(rows):
        path = tmp_path / f"table.{request.param}"
        FORMS[request.param](path, rows)
        return path

    return to_file


def test_long_rows_become_a_matrix(write):
    table = PerformanceTable.read(write(ROWS))
    assert table.prompts == ("one", "two")
    assert table.models == ("a", "b")
    np.testing.assert_array_equal(table.scores, [[1, 0], [0.5, np.nan]])
    assert table.domains == ("x", "y")
    np.testing.assert_array_equal(table.measures["cost_usd"], [[0.5, 0.2], [0.1, np.nan]])
    assert table.extras["judge"].tolist() == [["j", "l"], ["k", None]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": 1.5}, "row 3: score"),
        ({"score": "good"}, "row 3: score"),
        ({"score": None}, "row 3: score"),
        ({"model": ""}, "row 3: model is empty"),
        ({"prompt": "  "}, "row 3: prompt is empty"),
        ({"cost_usd": "much"}, "row 3: cost_usd 'much'"),
        ({"prompt": "another"}, "row 3: prompt_id 'p1' stood for another prompt in row 1"),
        ({"model": "a"}, "row 3: 'a' on prompt_id 'p1' stands in row 1 already"),
    ],
)
def test_a_bad_row_is_named(tmp_path, change, message):
    path = tmp_path / "table.jsonl"
    write_jsonl(path, [*ROWS[:2], ROWS[2] | change])
    with pytest.raises(InvalidTable) as caught:
        PerformanceTable.read(path)
    assert message in str(caught.value)
    assert "table.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named(write):
    rows = [{k: v for k, v in row.items() if k != "score"} | {"scores": 1} for row in ROWS]
    with pytest.raises(InvalidTable, match="'score' is missing. Did you mean 'scores'"):
        PerformanceTable.read(write(rows))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", '{"prompt_id": 1,', "row 1: not JSON"),
        ("t.jsonl", "[1]", "row 1: .* is not a JSON object"),
        ("t.jsonl", "", "'prompt_id' is missing"),
        ("t.csv", "prompt_id,prompt,model,score\na,b,c\n", "row 1: 3 cells under 4"),
        ("t.csv", "prompt_id,prompt,model,score\n", "no rows"),
        ("t.csv", "prompt_id,prompt,model,score,score\n", "stands twice"),
        ("t.parquet", "PAR1 but not really", "not a complete Parquet"),
        ("t.xlsx", "", "cannot read '.xlsx'"),
    ],
)
def test_a_bad_file_is_an_error_in_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InvalidTable, match=message) as caught:
        PerformanceTable.read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InvalidTable, match="none.csv"):
        PerformanceTable.read(tmp_path / "none.csv")


def test_a_table_checks_what_it_is_made_of():
    with pytest.raises(InvalidTable, match=r"\(1, 2\) is wanted"):
        PerformanceTable.from_scores(["a"], ["x", "y"], [[1]])
    with pytest.raises(InvalidTable, match="outside"):
        PerformanceTable.from_scores(["a"], ["x"], [[2.0]])
    with pytest.raises(InvalidTable, match="twice"):
        PerformanceTable.from_scores(["a"], ["x", "x"], [[1, 1]])


def test_rows_and_models_are_selected(table):
    part = table.rows([3, 1]).only(["giant", "tiny"])
    np.testing.assert_array_equal(part.scores, table.scores[[3, 1]][:, [3, 0]])
    assert part.prompts == (table.prompts[3], table.prompts[1])
    with pytest.raises(UnknownModel, match="Did you mean 'giant'"):
        table.only(["giants"])


@given(
    st.lists(st.sampled_from(["A b", "a  B!", "c", "ｃ", "数学", "物理"]), min_size=4),
    st.integers(0, 9),
)
def test_prompts_that_read_alike_stand_on_one_side(prompts, seed):
    table = PerformanceTable.from_scores(prompts, ["m"], [[1.0]] * len(prompts))
    try:
        split = split_by_prompt(table, 0.5, seed)
    except UsageError:
        assert len({normalise(p) for p in prompts}) < 2
        return
    sides = [{normalise(p) for p in side.prompts} for side in (split.train, split.test)]
    assert not sides[0] & sides[1]
    assert len(split.train) + len(split.test) == len(prompts)


def test_chinese_prompts_stay_apart():
    assert normalise("数学") != normalise("物理")
