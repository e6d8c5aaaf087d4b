from __future__ import annotations

import numpy as np
import pytest

from tryage import InvalidTable, PerformanceTable
from tryage.data import merged, normalise, question_of, shared_prompts, without_prompts_of
from tryage.data.leaks import fingerprints


def table_of(*prompts, models=("a", "b"), fill=1.0):
    return PerformanceTable.from_scores(prompts, models, np.full((len(prompts), len(models)), fill))


@pytest.mark.parametrize(
    ("one", "other"),
    [("数学", "物理"), ("Да?", "Нет?"), ("का", "कि"), ("+", "-"), ("☃", "☂"), ("naive", "native")],
)
def test_prompts_of_every_script_stay_apart(one, other):
    assert normalise(one) != normalise(other)
    assert normalise(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("What's  this?", "what s THIS"), ("Ｘ１", "x1"), ("é", "e\u0301"), ("a_b\n", "a b"),
     ("数学。", "数学")],
)  # fmt: skip
def test_prompts_that_read_alike_are_one(one, other):
    assert normalise(one) == normalise(other)


def test_shared_prompts_are_found_and_taken_out():
    table = table_of("Hi there!", "数学", "What is 2+2?\nA. 3\nB. 4", "new")
    other = table_of("物理", "hi  there", "What is 2 + 2?\nA. 4\nB. 5", models=("c",))
    assert shared_prompts(table, other).tolist() == [0]
    assert shared_prompts(table, other, question_of).tolist() == [0, 2]
    assert without_prompts_of(table, [other]).prompts == table.prompts[1:]
    assert without_prompts_of(table, [other], question_of).prompts == ("数学", "new")
    assert shared_prompts(table, table).tolist() == [0, 1, 2, 3]
    assert len(without_prompts_of(table, [other, table])) == 0
    assert without_prompts_of(table, []).prompts == table.prompts


def test_fingerprints_know_a_prompt_again():
    known = fingerprints(["Hi there!", "数学", "hi there"])
    assert known.dtype == np.uint64
    assert len(known) == 2
    assert np.isin(fingerprints(["HI THERE"]), known).all()
    assert not np.isin(fingerprints(["物理"]), known).any()
    assert len(fingerprints([])) == 0


def test_tables_of_the_same_models_become_one(table):
    turned = table_of("x", "y", models=table.models[::-1], fill=0.25)
    whole = merged({"one": table, "two": turned})
    assert len(whole) == len(table) + 2
    assert whole.models == table.models
    assert whole.prompt_ids[-1] == "two/1"
    np.testing.assert_array_equal(whole.scores[:-2], table.scores)
    assert np.isnan(whole.measures["cost_usd"][-2:]).all()
    assert merged({"one": table}) is table


def test_columns_follow_the_names_of_the_models():
    one = PerformanceTable.from_scores(["p"], ["a", "b"], [[0.1, 0.2]])
    two = PerformanceTable.from_scores(["q"], ["b", "a"], [[0.3, 0.4]])
    expected = np.array([[0.1, 0.2], [0.4, 0.3]], dtype=np.float32)
    np.testing.assert_array_equal(merged({"1": one, "2": two}).scores, expected)


def test_tables_of_other_models_are_refused(table):
    with pytest.raises(InvalidTable, match=r"one and two have different .*\(a, b, coder, giant"):
        merged({"one": table, "two": table_of("x")})
    with pytest.raises(InvalidTable, match="no table"):
        merged({})
