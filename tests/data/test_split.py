from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tryage import CannotSplit, PerformanceTable, UnknownModel
from tryage.data import normalise, split_by_domain, split_by_model, split_by_prompt


def texts(table):
    return {normalise(prompt) for prompt in table.prompts}


def test_whole_domains_go_to_one_side(table):
    split = split_by_domain(table, 0.3, seed=3)
    assert set(split.test.domains) & set(split.train.domains) == set()
    assert len(set(split.test.domains)) == 1
    assert len(split.train) + len(split.test) == len(table)
    assert split_by_domain(table, 0.3, seed=3).test.prompts == split.test.prompts
    drawn = {split_by_domain(table, 0.3, seed).test.domains[0] for seed in range(9)}
    assert drawn == {"code", "math", "chat"}


def test_at_least_one_domain_goes_and_one_stays(table):
    for share, tested in ((0.01, 1), (0.99, 2)):
        split = split_by_domain(table, share)
        assert len(set(split.test.domains)) == tested
        assert len(set(split.train.domains)) == 3 - tested


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=2),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
def test_no_text_stands_on_both_sides_of_a_domain_split(rows, share, seed):
    prompts, domains = zip(*rows, strict=True)
    table = PerformanceTable.from_scores(prompts, ["m"], [[1.0]] * len(rows), domains)
    try:
        split = split_by_domain(table, share, seed)
    except CannotSplit:
        return
    assert not texts(split.train) & texts(split.test)
    assert not set(split.train.domains) & set(split.test.domains)
    # Only what reads like the test side is left out.
    out = set(table.prompt_ids) - {*split.train.prompt_ids, *split.test.prompt_ids}
    assert {normalise(prompts[int(i)]) for i in out} <= texts(split.test)


def test_held_out_models_are_missing_from_the_training_side_alone(table):
    split = split_by_model(table, ["coder"], seed=1)
    assert split.train.models == ("tiny", "thinker", "giant")
    assert split.test.models == table.models
    assert not texts(split.train) & texts(split.test)
    drawn = split_by_model(table, 0.5, seed=2)
    assert len(drawn.train.models) == 2
    assert drawn.train.models == split_by_model(table, 0.5, seed=2).train.models
    assert {split_by_model(table, 0.5, seed=s).train.models for s in range(9)} > {
        drawn.train.models
    }


def two_models(table):
    return table.only(["tiny", "giant"])


@pytest.mark.parametrize(
    ("cut", "error", "message"),
    [
        (lambda t: split_by_prompt(t.rows([0])), CannotSplit, "1 distinct prompts leaves a side"),
        (lambda t: split_by_prompt(t, 1.0), CannotSplit, "give a share in"),
        (lambda t: split_by_prompt(t.rows([])), CannotSplit, "of 0 distinct"),
        (lambda t: split_by_domain(t.rows([0, 3])), CannotSplit, "of 1 domain.*column `domain`"),
        (lambda t: split_by_domain(t, 0), CannotSplit, "give a share"),
        (lambda t: split_by_model(t, ["coders"]), UnknownModel, "Did you mean 'coder'"),
        (lambda t: split_by_model(two_models(t)), CannotSplit, "leaves 1 to learn from"),
        (lambda t: split_by_model(t, []), CannotSplit, "holding out 0 of 4"),
        (lambda t: split_by_model(t, 1), CannotSplit, "holding out 0 of 4"),
    ],
)
def test_what_cannot_be_cut_is_an_error_in_one_line(table, cut, error, message):
    with pytest.raises(error, match=message) as caught:
        cut(table)
    assert "\n" not in str(caught.value)


def test_a_domain_whose_every_prompt_stands_in_another_cannot_be_learned_from():
    table = PerformanceTable.from_scores(["a", "A!"], ["m"], np.ones((2, 1)), ["x", "y"])
    with pytest.raises(CannotSplit, match="also stands on the test side"):
        split_by_domain(table)
