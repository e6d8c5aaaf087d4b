"""Anchor prompts that ship as identifiers."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tryage import InvalidTable, MissingExtra, PerformanceTable, UsageError
from tryage.data.anchors import LIST, AnchorList

LISTED = AnchorList(
    benchmark="b", dataset="org/b", file="b.parquet", question_ids=(7, 3), scores={"m": "1-"}
)


def write(path, rows):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def question(number, **changes):
    return {
        "question_id": number,
        "question": f"Question {number}?",
        "options": ["yes", "no"],
        "answer": "B",
        "category": "law",
    } | changes


def test_the_list_that_ships_holds_identifiers_and_marks_only():
    listed = AnchorList.bundled()
    assert len(set(listed.question_ids)) == len(listed.question_ids) == 100
    assert all(len(marks) == 100 and set(marks) <= set("01-") for marks in listed.scores.values())
    assert len(listed.scores) > 20
    assert LIST.stat().st_size < 10_000


def test_its_anchors_tell_strong_models_from_weak_ones():
    scores = AnchorList.bundled().scores
    share = {model: marks.count("1") / 100 for model, marks in scores.items()}
    assert share["gemini-1.5-pro-002"] > share["Llama-2-7b-hf"] + 0.4


def test_questions_come_from_their_source_in_the_order_of_the_list(tmp_path):
    path = write(tmp_path / "b.parquet", [question(n) for n in (1, 3, 7)])
    first, second = LISTED.prompts(path)
    assert (first.prompt_id, second.prompt_id) == ("b/7", "b/3")
    assert first.prompt == "Question 7?\nA. yes\nB. no"
    assert (first.answer, first.domain) == ("B", "law")


def test_a_source_that_lacks_a_question(tmp_path):
    path = write(tmp_path / "b.parquet", [question(7)])
    with pytest.raises(InvalidTable, match="question 3"):
        LISTED.prompts(path)


@pytest.mark.parametrize("text", ["", "no parquet"])
def test_a_source_that_is_none(tmp_path, text):
    pytest.importorskip("pyarrow")
    path = tmp_path / "b.parquet"
    path.write_text(text)
    with pytest.raises(InvalidTable, match="b.parquet") as error:
        LISTED.prompts(path)
    assert "\n" not in str(error.value)


def test_a_source_of_another_form_or_none(tmp_path):
    path = write(tmp_path / "b.parquet", [{"question_id": 7}])
    with pytest.raises(InvalidTable):
        LISTED.prompts(path)
    with pytest.raises(InvalidTable):
        LISTED.prompts(tmp_path / "nowhere.parquet")


def test_a_hub_out_of_reach(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def unreachable(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr(hub, "hf_hub_download", unreachable)
    with pytest.raises(UsageError, match="org/b cannot be fetched"):
        LISTED.prompts()


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match="pip install"):
        LISTED.prompts()


def test_what_known_models_scored_is_put_beside():
    table = PerformanceTable.from_scores(["p", "q"], ["new"], [[1], [0]])
    table = PerformanceTable(("b/3", "b/7"), table.prompts, ("new",), table.scores, table.domains)
    both = LISTED.beside(table)
    assert both.models == ("new", "m")
    np.testing.assert_array_equal(both.scores, [[1, np.nan], [0, 1]])


def test_a_table_without_anchors_or_with_its_own_scores_stays_as_it_is():
    table = PerformanceTable.from_scores(["p"], ["m"], [[0.5]])
    assert LISTED.beside(table) is table
    own = PerformanceTable(("b/7",), ("p",), ("m",), table.scores, ("",))
    np.testing.assert_array_equal(LISTED.beside(own).scores, [[0.5]])
