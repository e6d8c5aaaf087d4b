"""How well the length of answers is foretold, and what that does to expected cost.

    python benchmarks/lengths.py --tables ../shared/data/tables

Needs `pip install 'tryage[train]'`; takes a few minutes on one core. Writes `results/lengths.md`.
The ridge's penalty was chosen on an inner split of the training sides.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from report import write

from tryage import PerformanceTable
from tryage.data import split_by_prompt, without_prompts_of
from tryage.evaluation.measures import bootstrap_interval
from tryage.predictors.length import LengthPredictor, answer_tokens
from tryage.request import EXPECTED_OUTPUT_TOKENS

TABLES = ("mmlu_pro", "zeroeval", "reasoning_gym_easy", "routellm_gsm8k")
# Their tables hold the answer only, not the thinking before it.
THINKS_UNSEEN = frozenset(
    {"o1-mini-2024-09-12", "openai_o3-mini", "qwen_qwq-32b", "deepseek_deepseek-r1"}
)
FLAT = 1e9
TITLE = """How well the length of answers is foretold

Written by `benchmarks/lengths.py`; tokens are a quarter of the characters. Error: mean absolute
error of log tokens over prompts and models, in brackets its 95 % bootstrap interval over prompts;
then R² of log tokens; then the mean absolute error of tokens as a share of their mean, which is
that of the expected cost of answers. Each model's verbosity is measured on the training prompts in
every row, so that the rows differ in what they know of the prompt. `300`: the ordinary answer has
300 tokens. `mean`: it has the training mean. `ridge`: `LengthPredictor`. `new prompts`: trained on
70 % of the table. `new table`: the prompt's part trained on the other tables, without the table's
own prompts. `new models`: on new prompts, half of the models taken out, their verbosity set to 1.

In short: with a table of one's own, a prompt's length is worth predicting: less error than the mean
on each. On a table of another kind it is now better, now worse than the mean of the other tables,
with more error in tokens over the four; so that nothing trained is shipped, and a router without
lengths of its own expects 300 tokens, times the card's verbosity. That is long for these
examinations, of which none is chat"""


def main() -> None:
    """Fit on three splits of every table and write the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    folder = parser.parse_args().tables
    tables = {name: _read(folder, name) for name in TABLES}
    splits: dict[str, Callable[[str], tuple[PerformanceTable, PerformanceTable]]] = {
        "new prompts": lambda name: _parts(tables[name]),
        "new table": lambda name: (_elsewhere(tables, name), _parts(tables[name])[1]),
        "new models": lambda name: _parts(tables[name]),
    }
    rows = []
    for kind, split in splits.items():
        for label, penalty in (("300", None), ("mean", FLAT), ("ridge", LengthPredictor.penalty)):
            cells = []
            for name in TABLES:
                train, test = split(name)
                own = _parts(tables[name])[0]
                cells.append(_cell(kind, penalty, train, test, own))
            rows.append([f"{kind}: {label}", *cells])
    write("lengths", TITLE, ["", *(f"`{name}`" for name in TABLES)], rows)


def _read(folder: Path, name: str) -> PerformanceTable:
    table = PerformanceTable.read(
        folder / f"{name}.parquet",
        extras=("response",) if name == "routellm_gsm8k" else ("response_chars",),
    )
    table = table.only([m for m in table.models if m not in THINKS_UNSEEN])
    return replace(table, measures={"output_tokens": answer_tokens(table)}, extras={})


def _parts(table: PerformanceTable) -> tuple[PerformanceTable, PerformanceTable]:
    split = split_by_prompt(table, 0.3, 0)
    return split.train, split.test


def _elsewhere(tables: dict[str, PerformanceTable], name: str) -> PerformanceTable:
    """Return the prompts of the other tables, each with its typical answer's length."""
    texts: list[str] = []
    lengths: list[float] = []
    for other, table in tables.items():
        if other != name:
            kept = without_prompts_of(table, [tables[name]])
            tokens = kept.measures["output_tokens"]
            known = np.flatnonzero((tokens > 0).any(axis=1))
            logs = np.log(np.where(tokens[known] > 0, tokens[known], np.nan))
            texts += [kept.prompts[row] for row in known]
            lengths += np.exp(np.nanmean(logs, axis=1)).tolist()
    table = PerformanceTable.from_scores(texts, ["ordinary"], np.zeros((len(texts), 1)))
    return replace(table, measures={"output_tokens": np.array(lengths)[:, None]})


def _cell(
    kind: str,
    penalty: float | None,
    train: PerformanceTable,
    test: PerformanceTable,
    own: PerformanceTable,
) -> str:
    verbosity = LengthPredictor().fit(own).verbosity_
    models = list(verbosity)
    if kind == "new models":
        models = models[1::2]
        train = train.only([m for m in train.models if m not in models])
        verbosity = dict.fromkeys(models, 1.0)
    tokens = test.only(models).measures["output_tokens"]
    if penalty is None:
        ordinary = np.full(len(test), float(EXPECTED_OUTPUT_TOKENS))
    else:
        ordinary = LengthPredictor(penalty).fit(train).predict(test.prompts)
    expected = ordinary[:, None] * [verbosity[m] for m in models]
    seen = tokens > 0
    error = np.where(seen, np.log(np.where(seen, tokens, 1)) - np.log(expected), np.nan)
    by_prompt = np.nanmean(np.abs(error[seen.any(axis=1)]), axis=1)
    low, high = bootstrap_interval(by_prompt)
    fit = 1 - np.nanmean(error**2) / np.log(tokens[seen]).var()
    share = np.abs(tokens - expected)[seen].mean() / tokens[seen].mean()
    return f"{np.nanmean(np.abs(error)):.2f} [{low:.2f}, {high:.2f}]; {fit:.2f}; {share:.2f}"


if __name__ == "__main__":
    main()
