from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tryage import PerformanceTable
from tryage.data import split_by_prompt
from tryage.errors import UsageError
from tryage.predictors import get


def picks(predictor, prompts):
    return [predictor.models[i] for i in predictor.predict(prompts).argmax(axis=1)]


def test_best_single_is_the_best_mean(table):
    predictor = get("best_single")().fit(table)
    assert set(picks(predictor, table.prompts)) == {"giant"}
    np.testing.assert_allclose(predictor.predict(["x"])[0], table.scores.mean(axis=0), rtol=1e-5)


def test_cheapest_goes_by_the_tables_costs(table):
    assert set(picks(get("cheapest")().fit(table), table.prompts)) == {"tiny"}


def test_cheapest_goes_by_card_prices_where_the_table_is_silent():
    table = PerformanceTable.from_scores(["a"], ["gpt-4o", "gpt-4o-mini", "stranger"], [[1, 1, 1]])
    assert get("cheapest")().fit(table).predict(["a"]).tolist() == [[0.5, 1.0, 0.0]]


def test_cheapest_without_any_cost_is_an_error(table):
    with pytest.raises(UsageError, match="cost_usd"):
        get("cheapest")().fit(replace(table, measures={}))


def test_prompt_length_tells_long_from_short():
    prompts = ["x" * n for n in (1, 2, 4, 300, 400, 500)]
    scores = [[1, 0.5]] * 3 + [[0, 0.5]] * 3
    predictor = get("prompt_length")().fit(
        PerformanceTable.from_scores(prompts, ["s", "l"], scores)
    )
    assert picks(predictor, ["yyy", "y" * 350]) == ["s", "l"]


def test_per_domain_best_knows_only_the_domains_it_was_told(table):
    split = split_by_prompt(table, seed=1)
    predictor = get("per_domain_best")().fit(split.train)
    told = predictor.reveal(split.test)
    best = {"code": "coder", "math": "thinker", "chat": "giant"}
    assert picks(told, split.test.prompts) == [best[d] for d in split.test.domains]
    assert set(picks(predictor, split.test.prompts)) == {"giant"}


def test_the_oracle_picks_the_best_of_every_row(table):
    predictor = get("oracle")().fit(table)
    np.testing.assert_array_equal(
        predictor.predict(table.prompts).argmax(axis=1), table.scores.argmax(axis=1)
    )


def test_knn_learns_what_each_model_is_good_at(table):
    split = split_by_prompt(table, seed=1)
    predictor = get("knn")(k=5).fit(split.train)
    chosen = predictor.predict(split.test.prompts).argmax(axis=1)
    single = split.train.scores.mean(axis=0).argmax()
    rows = np.arange(len(split.test))
    assert split.test.scores[rows, chosen].mean() >= split.test.scores[:, single].mean()


def test_random_noise_is_spread_and_follows_the_seed():
    table = PerformanceTable.from_scores(["a"], ["x", "y"], [[1, 0]])
    prompts = [str(i) for i in range(400)]
    noise = get("random")().fit(table).predict(prompts)
    assert 0.45 < noise.mean() < 0.55
    assert not np.array_equal(noise, get("random")(seed=1).fit(table).predict(prompts))
