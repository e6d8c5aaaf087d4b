"""A predictor judged beside the baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tryage.data.split import folds_by_prompt
from tryage.data.table import PerformanceTable
from tryage.errors import InvalidTable
from tryage.evaluation.contenders import BASELINES, Predictions, is_fitted, predict, predict_as
from tryage.evaluation.costs import Costs, call_costs, cards_of, column_means
from tryage.evaluation.judging import Bench, Judge
from tryage.evaluation.pair import Pair, choose_pair
from tryage.evaluation.report import Evaluation, Measures
from tryage.library import Library
from tryage.predictors.base import Predictor

_COST_MEASURES = ("aiq", "cost_at_parity", "parity_gain")
_FOLDS = 3
OWN = "predictor"
"""What the predictor's curve is called beside those of the baselines."""


def evaluate(
    predictor: Predictor,
    train: PerformanceTable,
    test: PerformanceTable,
    *,
    library: Library | None = None,
    strong: str | None = None,
    weak: str | None = None,
    repeats: int = 1000,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> Evaluation:
    """Return how well a predictor routes, beside the baselines, with bootstrap intervals.

    All that is chosen, the best single model, the pair and the worth of an answer at parity, is
    chosen on the training part. For that worth every predictor learns thrice more, each time from
    two thirds of it, and is tried on the rest; one that comes fitted is tried there as it is.

    Args:
        predictor: A predictor that has learned is taken as it is; another learns from `train`.
        train: The training part; it may lack models of the test part.
        test: The test part; share no prompt between the two (see `tryage.data`).
        library: Cards with prices, where the table has no `cost_usd`; the bundled ones if absent.
        strong: The strong model of APGR and CPT; the best one if absent.
        weak: The weak one; the cheapest one, or the worst, if absent.
        repeats: Bootstrap resamples, at least 1.
        seed: Of the resamples and of the validation split.
        progress: Called with what is being done.

    Raises:
        InvalidTable: There are fewer than two models, or no scores to judge on.
        UnknownModel: `strong` or `weak` is not in both parts, or the predictor knows no model.
        MissingExtra: The predictor needs `pip install 'tryage[train]'` to learn.

    Example:
        >>> from tryage.data import split_by_prompt
        >>> prompts = [f"{n} + {n}" if n % 2 else f"word {n}" for n in range(20)]
        >>> scores = [[1, 0] if n % 2 else [0, 1] for n in range(20)]
        >>> table = PerformanceTable.from_scores(prompts, ["a", "b"], scores)
        >>> split = split_by_prompt(table)
        >>> from tryage.predictors import get
        >>> judged = evaluate(get("knn")(k=3), split.train, split.test, repeats=10)
        >>> judged.baselines["oracle"].quality
        1.0
    """
    train, test = _judgeable(train, test)
    cards = cards_of(test.models, library)
    train_cards = cards.select(train.models)
    costs, notes = _costs(test, train, cards)
    usd = column_means(call_costs(train, train, train_cards).expected)
    means = column_means(train.scores.astype(np.float64))
    pair = choose_pair(train.models, means, usd, strong, weak)
    made = _contenders(predictor, train, test, cards, progress)
    worths: dict[str, float] = {}
    if costs is not None:
        worths, reason = _parity_worths(predictor, train, train_cards, seed, progress)
        notes |= dict.fromkeys(_COST_MEASURES[1:], reason) if reason else {}
    bench = Bench(test, _present(made["best_single"]), costs)
    judge = Judge(bench, pair, repeats, seed)
    progress("drawing resamples")
    measured = {
        name: Measures() if predictions is None else judge.measure(predictions, worths.get(name))
        for name, predictions in made.items()
    }
    present = {name: predictions for name, predictions in made.items() if predictions is not None}
    own = measured.pop(OWN)
    if made["cheapest"] is None:
        notes["cheapest"] = notes["aiq"]
    if own.apgr is None:
        notes |= dict.fromkeys(("apgr", "cpt50", "cpt80"), _why_no_gap(pair, present[OWN]))
    return Evaluation(
        name=predictor.name,
        predictor=own,
        baselines=measured,
        models=test.models,
        unknown=present[OWN].unknown,
        pair=pair,
        prompts=bench.prompts(),
        n_train=len(train),
        curves={} if costs is None else {name: judge.curve(p) for name, p in present.items()},
        notes=notes,
    )


def _judgeable(
    train: PerformanceTable, test: PerformanceTable
) -> tuple[PerformanceTable, PerformanceTable]:
    """Return both parts without prompts on which no model that is there to learn was measured."""
    if len(train.models) < 2:
        raise InvalidTable(
            f"the table has {len(train.models)} model ({', '.join(train.models)}); routing is "
            "choosing, so give a table of two or more."
        )
    parts = []
    for part, use in ((train, "learn from"), (test, "judge on")):
        measured = ~np.isnan(part.only(train.models).scores).all(axis=1)
        if not measured.any():
            raise InvalidTable(f"there is no score to {use}; give a table with more prompts.")
        parts.append(part.rows(np.flatnonzero(measured)))
    return parts[0], parts[1]


def _costs(
    test: PerformanceTable, train: PerformanceTable, cards: Library
) -> tuple[Costs | None, dict[str, str]]:
    """Return what the test part's calls cost, or why that is not known."""
    costs = call_costs(test, train, cards)
    missing = [m for m, usd in zip(test.models, costs.expected.T, strict=True) if np.isnan(usd[0])]
    if not missing:
        return costs, {}
    named = f"{', '.join(missing[:6])}{f' and {len(missing) - 6} more' * (len(missing) > 6)}"
    reason = (
        f"no cost is known of {named}: add a column cost_usd to the table, or give a library "
        "with cards that have prices."
    )
    return None, dict.fromkeys(_COST_MEASURES, reason)


def _priced(table: PerformanceTable, cards: Library) -> PerformanceTable:
    """Return the table with the expected costs of its calls, so that `cheapest` can see them."""
    expected = call_costs(table, table, cards).expected
    if "cost_usd" in table.measures or np.isnan(expected).all():
        return table
    return replace(table, measures={**table.measures, "cost_usd": expected})


def _contenders(
    predictor: Predictor,
    train: PerformanceTable,
    test: PerformanceTable,
    cards: Library,
    progress: Callable[[str], None],
) -> dict[str, Predictions | None]:
    """Return the predictions of the predictor and of the baselines on the test part, by name."""
    train = _priced(train, cards.select(train.models))
    if not is_fitted(predictor):
        progress(f"{predictor.name} learns from {len(train):,} prompts")
        predictor = replace(predictor).fit(train)
    made: dict[str, Predictions | None] = {OWN: predict(predictor, test, cards)}
    for name in BASELINES:
        progress(f"baseline {name}")
        made[name] = predict_as(name, train, test, cards)
    return made


def _parity_worths(
    predictor: Predictor,
    train: PerformanceTable,
    cards: Library,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[dict[str, float], str]:
    """Return each contender's `worth_usd` at parity with the best single, or why there is none.

    A contender that learned from the prompts that it is tried on would promise too much, so each
    learns again from the others.
    """
    fold = folds_by_prompt(train.prompts, _FOLDS, seed)
    numbers = np.unique(fold)
    if len(numbers) < 2:
        return {}, "the training part is too small to choose a worth_usd; give more prompts."
    progress(f"{len(numbers)} times more, to choose the worth_usd at parity")
    parts = [
        (train.rows(np.flatnonzero(fold != n)), train.rows(np.flatnonzero(fold == n)))
        for n in numbers
    ]
    made = [_contenders(predictor, rest, left_out, cards, progress) for rest, left_out in parts]
    costs = [call_costs(left_out, rest, cards) for rest, left_out in parts]
    quality = {
        name: np.concatenate([_present(part[name]).quality for part in made])
        for name in made[0]
        if all(part[name] is not None for part in made)
    }
    bench = Bench(
        train.rows(np.argsort(fold, kind="stable")),
        Predictions(quality["best_single"], np.zeros(1)),
        Costs(*(np.concatenate([getattr(c, k) for c in costs]) for k in ("expected", "actual"))),
    )
    return {name: bench.parity_worth(q) for name, q in quality.items()}, ""


def _present(predictions: Predictions | None) -> Predictions:
    assert predictions is not None
    return predictions


def _why_no_gap(pair: Pair, made: Predictions) -> str:
    strangers = [name for name in (pair.strong, pair.weak) if name in made.unknown]
    if strangers:
        return f"the predictor does not know {' and '.join(strangers)}; name another pair."
    return (
        f"{pair.strong} is no better than {pair.weak} on the test part, so that there is no gap "
        "to recover; name another pair."
    )
