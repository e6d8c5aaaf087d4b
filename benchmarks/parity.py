"""What it costs to be as good as the best single model, in tables whose models have prices.

    python benchmarks/parity.py --tables ../shared/data/tables [--seeds 5] [--encoder NAME]

Needs the public tables and `pip install 'tryage[train]'`. Prices are those of the bundled library,
and those beside `openllm_lb_v2`; models without a price are left out, the best single is the best
of those that have one. Its answers there are read off log-likelihoods, so that only prompts cost;
elsewhere an answer's length is measured (`mmlu_pro`) or the card's usual one. Splits are 70/30 by
prompt; what a right answer is worth is chosen on the training side, left out by thirds. Writes
`results/parity.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from default_predictor import MANY, MEASURED, library_without
from report import write

from tryage import Library, ModelCard, PerformanceTable
from tryage.data import split_by_prompt
from tryage.evaluation import Measures, evaluate
from tryage.predictors import get
from tryage.predictors.base import Predictor
from tryage.predictors.default import DefaultPredictor

PRICES = "openllm_lb_v2_prices_usd_per_mtok.json"
BASELINES = ("prompt_length", "per_domain_best", "knn")
CHARACTERS_PER_TOKEN = 4
TITLE = """Cost at parity with the best single model

Of the models with a price; {seeds} splits 70/30 by prompt. Each cell: what the calls cost at the
worth chosen on validation, over what the best single model costs; and in brackets by how much the
quality then lies above the best single's, × 1000. Where validation finds a router behind it at any
cost, or no cheaper, the best single is called: cost 1. Means over the splits, all of them; `±` is
1.96 standard errors over splits, which share prompts. `per_domain_best` is told the domain"""


class WithoutMeasured(DefaultPredictor):
    """The default predictor, its cards without what was measured on these very tables."""

    def fit(self, table: PerformanceTable) -> WithoutMeasured:
        """Learn from one table and return self."""
        return self.fit_tables({"table": table}, library_without(MEASURED))


def main() -> None:
    """Judge every predictor on every table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5, help="splits of each table")
    parser.add_argument("--encoder", help="also with this sentence encoder, a name or a folder")
    options = parser.parse_args()
    contenders: dict[str, Predictor] = {"default": WithoutMeasured(), "domain": get("domain")()}
    if options.encoder:
        contenders["domain + encoder"] = get("domain")(encoder=options.encoder)
    cells: dict[str, list[str]] = {name: [] for name in (*contenders, *BASELINES)}
    heads = []
    for name in MANY:
        table, library = priced(name, options.tables)
        usd = [card.input_usd_per_mtok or 0 for card in library]
        heads.append(f"`{name}`: {len(library)} models, prices {max(usd) / min(usd):.0f} : 1")
        found = judged(contenders, table, library, options.seeds)
        for row, measures in found.items():
            cells[row].append(cell(measures))
            print(name, row, cells[row][-1], flush=True)
    rows = [[name, *row] for name, row in cells.items()]
    write("parity", TITLE.format(seeds=options.seeds), ["predictor", *heads], rows)


def priced(name: str, folder: Path) -> tuple[PerformanceTable, Library]:
    """Return a table of the models that have prices, and their cards."""
    table = PerformanceTable.read(folder / f"{name}.parquet")
    bundled = Library.bundled()
    if name == "openllm_lb_v2":
        prices = json.loads((folder / PRICES).read_text(encoding="utf-8"))
        cards = [
            ModelCard(name=m, input_usd_per_mtok=prices[m], output_usd_per_mtok=prices[m])
            for m in table.models
        ]
    else:
        found = [(m, bundled.find(m)) for m in table.models if m in bundled]
        cards = [
            dataclasses.replace(card, name=m, aliases=())
            for m, card in found
            if card.output_usd_per_mtok is not None
        ]
    table = table.only([card.name for card in cards])
    rows = ~np.isnan(table.scores).all(axis=1)
    return with_lengths(name, table.rows(np.flatnonzero(rows))), Library(cards)


def with_lengths(name: str, table: PerformanceTable) -> PerformanceTable:
    """Return the table with the answers' lengths in tokens, where they are known."""
    if name == "openllm_lb_v2":
        tokens = np.zeros(table.scores.shape)
    elif "response_chars" in table.extras:
        characters = np.asarray(table.extras["response_chars"], dtype=np.float64)
        tokens = np.where(np.isnan(table.scores), np.nan, characters / CHARACTERS_PER_TOKEN)
    else:
        return table
    return dataclasses.replace(table, measures={**table.measures, "output_tokens": tokens})


def judged(
    contenders: dict[str, Predictor], table: PerformanceTable, library: Library, seeds: int
) -> dict[str, list[Measures]]:
    """Return the measures of every contender and baseline, one for each split."""
    found: dict[str, list[Measures]] = {name: [] for name in (*contenders, *BASELINES)}
    for seed in range(seeds):
        split = split_by_prompt(table, 0.3, seed)
        for name, predictor in contenders.items():
            judgement = evaluate(
                predictor, split.train, split.test, library=library, repeats=1, seed=seed
            )
            found[name].append(judgement.predictor)
        for name in BASELINES:
            found[name].append(judgement.baselines[name])
    return found


def cell(measures: list[Measures]) -> str:
    """Return the mean cost at parity and the mean gain there."""
    costs = np.array([m.cost_at_parity for m in measures], dtype=np.float64)
    gains = 1000 * np.array([m.parity_gain for m in measures], dtype=np.float64)
    error = 1.96 * costs.std(ddof=1) / len(costs) ** 0.5 if len(costs) > 1 else np.nan
    return f"{costs.mean():.2f} ± {error:.2f} [{gains.mean():+.1f}]"


if __name__ == "__main__":
    main()
