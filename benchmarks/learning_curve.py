"""How much a router gains with more prompts to learn from: what more data would be worth.

    python benchmarks/learning_curve.py --tables ../shared/data/tables [--seeds 3]

Needs the public tables and `pip install 'tryage[train]'`. Splits are 70/30 by prompt; predictors
learn from an eighth, a quarter, a half and all of the training side. Writes
`results/learning_curve.md`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from default_predictor import MANY
from predictors import cell, pooled, predicted
from report import write

from tryage import PerformanceTable
from tryage.data import Split, split_by_prompt
from tryage.evaluation.measures import routed_scores
from tryage.predictors import get

SHARES = (0.125, 0.25, 0.5, 1.0)
NAMES = ("per_domain_best", "default", "domain")


def main() -> None:
    """Learn from more and more prompts and write what that gains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="splits of each table")
    options = parser.parse_args()
    gains: dict[tuple[str, float], list[np.ndarray]] = {}
    for name in MANY:
        table = PerformanceTable.read(options.tables / f"{name}.parquet", extras=())
        for key, values in gains_of(table, options.seeds).items():
            gains.setdefault(key, []).append(values)
        print(name, flush=True)
    rows = [
        [name, f"{share:g}", *(cell(part) for part in gains[name, share]), cell(whole)]
        for name in NAMES
        for share in SHARES
        for whole in [pooled(gains[name, share])]
    ]
    write(
        "learning_curve",
        "Gain over the model that is best on all of the training side × 1000, by the share of it "
        f"that is learned from; {options.seeds} splits, 95 % bootstrap interval over prompts; "
        "`per_domain_best` is told the domain",
        ["predictor", "share", *(f"`{name}`" for name in MANY), "mean of the tables"],
        rows,
    )


def gains_of(table: PerformanceTable, seeds: int) -> dict[tuple[str, float], np.ndarray]:
    """Return the gain of every prompt tested, a mean over its splits, by predictor and share."""
    row_of = {prompt_id: row for row, prompt_id in enumerate(table.prompt_ids)}
    totals = {(name, share): np.zeros(len(table)) for name in NAMES for share in SHARES}
    tested = np.zeros(len(table))
    for seed in range(seeds):
        whole = split_by_prompt(table, 0.3, seed)
        rows = np.array([row_of[prompt_id] for prompt_id in whole.test.prompt_ids])
        tested[rows] += 1
        single = routed_scores(predicted(get("best_single")(), whole), whole.test.scores)
        for share in SHARES:
            learned = whole.train
            if share < 1:
                learned = split_by_prompt(whole.train, share, seed).test
            for name in NAMES:
                quality = predicted(get(name)(), Split(learned, whole.test))
                totals[name, share][rows] += routed_scores(quality, whole.test.scores) - single
    on = tested > 0
    return {key: 1000 * total[on] / tested[on] for key, total in totals.items()}


if __name__ == "__main__":
    main()
