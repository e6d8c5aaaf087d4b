"""How well every light predictor routes in a table, and in domains that it never saw.

    python benchmarks/predictors.py --tables ../shared/data/tables [--seeds 5] [--encoder NAME]

Needs the public tables and `pip install 'tryage[train]'`; takes an hour or so on one core, and as
much again with an encoder. Splits are 70/30 by normalised prompt, or by whole domain; predictors
learn, and choose what they choose, on the training side only. The recipes of `default`, `domain`
and `stack` were chosen on the training sides of seeds 0 to 2, split again. Writes
`results/predictors.md` and `results/new_domains.md`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from default_predictor import MANY, MEASURED, library_without
from report import write

from tryage import PerformanceTable
from tryage.data import Split, split_by_domain, split_by_prompt
from tryage.evaluation.measures import bootstrap_interval, routed_scores
from tryage.predictors import get
from tryage.predictors.base import Predictor
from tryage.predictors.baselines import PerDomainBestPredictor
from tryage.predictors.default import DefaultPredictor

LIGHT = (
    "clusters", "ridge", "mlp", "item_response", "bilinear", "contrastive", "domain", "stack",
)  # fmt: skip
Made = Callable[[], Predictor]


def main() -> None:
    """Run every predictor on every table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5, help="splits of each table")
    parser.add_argument("--encoder", help="also with this sentence encoder, a name or a folder")
    parser.add_argument("--only", default=",".join(LIGHT), help="these light predictors")
    parser.add_argument("--cut", choices=("prompts", "domains"), help="one of the two files alone")
    options = parser.parse_args()
    tables = {
        name: PerformanceTable.read(options.tables / f"{name}.parquet", extras=()) for name in MANY
    }
    if options.cut != "domains":
        in_tables(tables, options.seeds, options.only.split(","), options.encoder)
    if options.cut != "prompts":
        in_new_domains(tables, options.seeds)


def in_tables(
    tables: dict[str, PerformanceTable], seeds: int, light: list[str], encoder: str | None
) -> None:
    """Judge predictors on prompts of the kinds that they learned from."""
    makers: dict[str, Made] = {n: get(n) for n in ("best_single", "per_domain_best", "knn")}
    makers |= {name: get(name) for name in ("default", *light)}
    if encoder:
        for name in ("domain", "stack"):
            makers[f"{name} + encoder"] = partial(get(name), encoder=encoder)
    routed = {
        name: routed_by(makers, table, split_by_prompt, seeds) for name, table in tables.items()
    }
    write(
        "predictors",
        f"Light predictors in a table: gain over the best single model × 1000, {seeds} splits, "
        "95 % bootstrap interval over prompts; `per_domain_best` is told the domain",
        [
            "predictor",
            *(f"`{name}`" for name in tables),
            "mean of the tables",
            "the same over `per_domain_best`",
        ],
        [row(name, routed) for name in makers],
    )


def in_new_domains(tables: dict[str, PerformanceTable], seeds: int) -> None:
    """Judge predictors on domains that they never saw."""
    makers: dict[str, Made] = {n: get(n) for n in ("best_single", "knn", "default", "domain")}
    careful = partial(get("stack"), members=("domain",), folds=5, left_out="domains")
    makers["domain, weighed by domains left out"] = careful
    routed = {
        name: routed_by(makers, table, split_by_domain, seeds) for name, table in tables.items()
    }
    write(
        "new_domains",
        "Whole domains held out: gain over the model that is best in the others × 1000, "
        f"{seeds} splits, 95 % bootstrap interval over prompts",
        ["predictor", *(f"`{name}`" for name in tables), "mean of the tables"],
        [row(name, routed)[:-1] for name in makers],
    )


def routed_by(
    makers: dict[str, Made],
    table: PerformanceTable,
    cut: Callable[[PerformanceTable, float, int], Split],
    seeds: int,
) -> dict[str, np.ndarray]:
    """Return each predictor's routed score of every prompt tested, a mean over its splits."""
    totals = {name: np.zeros(len(table)) for name in makers}
    tested = np.zeros(len(table))
    row_of = {prompt_id: row for row, prompt_id in enumerate(table.prompt_ids)}
    for seed in range(seeds):
        split = cut(table, 0.3, seed)
        rows = np.array([row_of[prompt_id] for prompt_id in split.test.prompt_ids])
        tested[rows] += 1
        for name, make in makers.items():
            start = time.perf_counter()
            scores = routed_scores(predicted(make(), split), split.test.scores)
            totals[name][rows] += scores
            seconds = time.perf_counter() - start
            print(f"{seed} {name:34} {scores.mean():.4f} {seconds:6.1f} s", flush=True)
    on = tested > 0
    return {name: total[on] / tested[on] for name, total in totals.items()}


def predicted(predictor: Predictor, split: Split) -> np.ndarray:
    """Return what a predictor that learned from one side says of the other."""
    if isinstance(predictor, DefaultPredictor):
        # No card may bring what was measured on these very tables.
        predictor.fit_tables({"table": split.train}, library_without(MEASURED))
    else:
        predictor = predictor.fit(split.train)
    if isinstance(predictor, PerDomainBestPredictor):
        predictor = predictor.reveal(split.test)
    return predictor.predict(split.test.prompts)


def row(name: str, routed: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Return a predictor's line: its gain on each table, and the mean over tables, twice."""
    gains = [1000 * (scores[name] - scores["best_single"]) for scores in routed.values()]
    above = [
        1000 * (scores[name] - scores.get("per_domain_best", scores["best_single"]))
        for scores in routed.values()
    ]
    return [name, *map(cell, gains), cell(pooled(gains)), cell(pooled(above))]


def pooled(parts: list[np.ndarray]) -> np.ndarray:
    """Return all tables' values as one sample whose mean is the mean of the tables' means."""
    total = sum(len(part) for part in parts)
    return np.concatenate([part * total / (len(parts) * len(part)) for part in parts])


def cell(gains: np.ndarray) -> str:
    """Return a mean with its interval."""
    low, high = bootstrap_interval(gains)
    return f"{gains.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main()
