"""How well every light predictor routes in a table, beside the default one and the baselines.

    python benchmarks/predictors.py --tables ../shared/data/tables [--seeds 5] [--only ridge,stack]

Needs the public tables and `pip install 'tryage[train]'`; set OMP_NUM_THREADS=1 where other work
runs beside it. Splits are 70/30 by normalised prompt; predictors learn, and choose what they
choose, on the training side only. Writes `results/predictors.md`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from default_predictor import MANY, MEASURED, library_without
from report import write

from tryage import PerformanceTable
from tryage.data import split_by_prompt
from tryage.evaluation.measures import bootstrap_interval, routed_scores
from tryage.predictors import get
from tryage.predictors.baselines import PerDomainBestPredictor
from tryage.predictors.default import DefaultPredictor

BASELINES = ("best_single", "per_domain_best", "knn", "default")
LIGHT = (
    "clusters", "ridge", "mlp", "item_response", "bilinear", "contrastive", "domain", "stack",
)  # fmt: skip


def main() -> None:
    """Run every predictor on every table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5, help="splits of each table")
    parser.add_argument("--only", default="", help="these predictors, beside the baselines")
    options = parser.parse_args()
    names = (*BASELINES, *(options.only.split(",") if options.only else LIGHT))
    routed = {}
    for table in MANY:
        source = PerformanceTable.read(options.tables / f"{table}.parquet")
        routed[table] = routed_by(names, source, options.seeds)
    rows = [row(name, routed) for name in names]
    write(
        "predictors",
        f"Light predictors in a table: gain over the best single model × 1000, {options.seeds} "
        "splits, 95 % bootstrap interval over prompts; `per_domain_best` is told the domain",
        [
            "predictor",
            *(f"`{table}`" for table in routed),
            "mean of the tables",
            "the same over `per_domain_best`",
        ],
        rows,
    )


def routed_by(names: tuple[str, ...], table: PerformanceTable, seeds: int) -> dict[str, np.ndarray]:
    """Return each predictor's routed score of every prompt tested, a mean over its splits."""
    totals = {name: np.zeros(len(table)) for name in names}
    tested = np.zeros(len(table))
    row_of = {prompt_id: row for row, prompt_id in enumerate(table.prompt_ids)}
    for seed in range(seeds):
        split = split_by_prompt(table, 0.3, seed)
        rows = np.array([row_of[prompt_id] for prompt_id in split.test.prompt_ids])
        tested[rows] += 1
        for name in names:
            start = time.perf_counter()
            quality = predicted(name, split.train, split.test)
            scores = routed_scores(quality, split.test.scores)
            totals[name][rows] += scores
            seconds = time.perf_counter() - start
            print(f"{seed} {name:16} {scores.mean():.4f} {seconds:6.1f} s", flush=True)
    on = tested > 0
    return {name: total[on] / tested[on] for name, total in totals.items()}


def predicted(name: str, train: PerformanceTable, test: PerformanceTable) -> np.ndarray:
    """Return what a predictor that learned from one side says of the other."""
    if name == "default":
        # No card may bring what was measured on these very tables.
        library = library_without(MEASURED)
        return DefaultPredictor().fit_tables({"table": train}, library).predict(test.prompts)
    predictor = get(name)().fit(train)
    if isinstance(predictor, PerDomainBestPredictor):
        predictor = predictor.reveal(test)
    return predictor.predict(test.prompts)


def row(name: str, routed: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Return a predictor's line: its gain on each table, and the mean over tables, twice."""
    gains = [1000 * (scores[name] - scores["best_single"]) for scores in routed.values()]
    above = [1000 * (scores[name] - scores["per_domain_best"]) for scores in routed.values()]
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
