"""How well a model is routed that the predictor never saw: by its card, and by a few scores.

    python benchmarks/unseen_models.py --tables ../shared/data/tables

Needs `mmlu_pro` and `openllm_lb_v2` and `pip install 'tryage[train]'`; takes about half an hour on
one core. Writes `results/unseen_models.md`. The form of `placing` was picked on another split (seed
0); its constants, and the reading of accuracies, were chosen on rows that are on the training side
of both splits used here, themselves split again.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from report import write

from tryage import Library, ModelCard, PerformanceTable
from tryage.data import split_by_prompt
from tryage.evaluation.measures import bootstrap_interval, routed_scores
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.placing import refine

TABLES = ("mmlu_pro", "openllm_lb_v2")
SEEDS = (1, 2)
ANCHORS = {"name": (10, 30, 100, 300), "accuracy": (30, 100)}
POOLS = 40
POOL_OF_ANCHORS = 2000
# Measured on these very tables; the whole table's accuracy is put on cards under the table's name.
MEASURED = ("mmlu_pro", "gsm8k")
TITLE = """How well a model is routed that the predictor never saw

Written by `benchmarks/unseen_models.py`. Pools of five hold one new model and four known ones; the
predictor was trained without the new one, on 70 % of the prompts, and the figures are over the
other 30 %, in two splits of which each model's mean is taken. Regret ×1000: mean score of routing
when the new model was placed by all its training scores, less that when it was placed by what
stands in the first column; in brackets the 95 % bootstrap interval over new models, and after it
the same against training with the new model. `any`: every model is left out in turn. `better than
all`: the best model of a table from which those above it were taken away. `informative` anchors
were chosen by `DefaultPredictor.informative` from the scores of known models only. `name`: the card
is bare; `accuracy`: it states the model's mean over the table's training prompts, and other
published figures. `beside others'`: known models' scores tell how hard the prompts are. `drawn`:
the 30 scores are tosses from what all scores foretell of this model, so that nothing but the luck
of 30 answers can go wrong.

The form of the recipe (domains in turn, D-optimal, the general ability fitted once more) was picked
earlier on another split of the same tables and models; its constants, and how an accuracy is read,
on rows that are on the training side of both splits here.

In short: for models of every rank, the accuracy alone costs 1.2 to 1.4. Thirty informative scores
and a bare card cost 2.5 on `mmlu_pro` and 3.3 on `openllm_lb_v2`, and more for a model better than
all known, where a few strange models make the mean. The luck of thirty answers alone costs about as
much (`drawn`); at three hundred scores 1 to 3 are left"""

Found = dict[str, dict[str, list[tuple[float, float]]]]


class Remembering(DefaultPredictor):
    """The same predictor, which reads each prompt only once."""

    def demands(self, prompts: Sequence[str]) -> np.ndarray:
        """Return what prompts demand of models."""
        rows = vars(self).setdefault("_rows", {})
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in rows]
        rows.update(zip(new, super().demands(new), strict=True))
        return np.array([rows[prompt] for prompt in prompts])


def main() -> None:
    """Leave models out and write the regrets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    folder = parser.parse_args().tables
    columns: dict[str, Found] = {}
    for name in TABLES:
        columns |= regrets_by_column(name, folder)
    kinds = list(next(iter(columns.values())))
    rows = [[kind, *(_cell(found[kind]) for found in columns.values())] for kind in kinds]
    write("unseen_models", TITLE, ["placed by", *columns], rows)


def regrets_by_column(name: str, folder: Path) -> dict[str, Found]:
    """Return the regrets of one table over all splits, by the results' columns."""
    table = PerformanceTable.read(folder / f"{name}.parquet", extras=())
    columns: dict[str, Found] = {}
    for scenario in ("any", "better than all"):
        found: Found = defaultdict(lambda: defaultdict(list))
        for seed in SEEDS:
            _regrets(name, table, scenario, seed, found)
            print(name, scenario, seed, flush=True)
        columns[f"`{name}`, {scenario}"] = {kind: dict(each) for kind, each in found.items()}
    return columns


def _cell(regrets: dict[str, list[tuple[float, float]]]) -> str:
    # The same model in two splits is one model: the interval is over models.
    values = np.array([np.mean(pairs, axis=0) for pairs in regrets.values()])
    low, high = bootstrap_interval(values[:, 0])
    return f"{values[:, 0].mean():.1f} [{low:.1f}, {high:.1f}]; {values[:, 1].mean():.1f}"


def _regrets(name: str, table: PerformanceTable, scenario: str, seed: int, found: Found) -> None:
    split = split_by_prompt(table, 0.3, seed)
    library = _library(name, split.train)
    rng = np.random.default_rng(seed)
    wholes: dict[frozenset[str], np.ndarray] = {}
    for new, known in _left_out(split.train, scenario):
        both = frozenset([*known, *new])
        if both not in wholes:
            together = _fit(name, split.train.only([m for m in table.models if m in both]), library)
            wholes[both] = _quality(together, split.test, table.models)
        predictor = _fit(name, split.train.only(known), library)
        others = _quality(predictor, split.test, known)
        some = split.train.rows(rng.permutation(len(split.train))[:POOL_OF_ANCHORS])
        best = predictor.informative(some.only(known), max(ANCHORS["name"])).prompt_ids
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
            whole = wholes[both]
            for kind, pair in _compare(split.test, model, known, others, placed, whole, pools):
                found[kind][model].append(pair)


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


def _fit(name: str, table: PerformanceTable, library: Library) -> DefaultPredictor:
    return Remembering().fit_tables({name: table}, library)


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
    yield "all scores", predictor.place(bare, train.only([model]))
    beside = predictor.place(bare, train.only([*known, model]))
    yield "all scores, beside others'", beside
    # Whatever the model lacks a score on cannot be an anchor.
    column = some.models.index(model)
    measured = [i for i, s in enumerate(some.scores[:, column]) if not np.isnan(s)]
    have = {some.prompt_ids[i] for i in measured}
    random = np.random.default_rng(len(model)).permutation(sorted(have)).tolist()
    chosen = {"informative": [p for p in best if p in have], "random": random}
    asked = some.only([*known, model])
    luck = _by_chance(predictor, beside, model, asked)
    few = _only_scored(luck, model, set(chosen["informative"][:30]))
    yield "name, 30 informative, drawn", predictor.place(bare, few)
    for label, fact in (("name", bare), ("accuracy", card)):
        yield f"{label}, no score", predictor.place(fact, _only_scored(asked, model, set()))
        for k in ANCHORS[label]:
            for kind, ids in chosen.items():
                few = _only_scored(asked, model, set(ids[:k]))
                yield f"{label}, {k} {kind}", predictor.place(fact, few)


def _only_scored(table: PerformanceTable, model: str, ids: set[str]) -> PerformanceTable:
    """Return the table with the model's scores on these prompts only."""
    scores = table.scores.copy()
    hidden = [row for row, prompt_id in enumerate(table.prompt_ids) if prompt_id not in ids]
    scores[hidden, table.models.index(model)] = np.nan
    return dataclasses.replace(table, scores=scores)


def _by_chance(
    predictor: DefaultPredictor, placed: DefaultPredictor, model: str, table: PerformanceTable
) -> PerformanceTable:
    """Return the table with scores drawn as if the model were just what it is taken for."""
    numbers, others = predictor._measured(table, model)
    vectors = predictor._abilities.vectors().astype(np.float64)
    refined = refine(predictor.demands(table.prompts), vectors[:, numbers], others)
    likely = 1 / (1 + np.exp(-refined @ placed._abilities.vectors()[:, -1]))
    scores = table.scores.copy()
    scores[:, table.models.index(model)] = np.random.default_rng(0).random(len(likely)) < likely
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
