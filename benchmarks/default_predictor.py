"""How well the default predictor routes: in a table, for a new model, on a new table.

    python benchmarks/default_predictor.py --tables ../shared/data/tables

Needs the public tables and `pip install 'tryage[train]'`; takes about half an hour on two cores
(OPENBLAS_NUM_THREADS=1 helps where other work runs beside it). Every part refits on its own
training side; nothing was chosen on the test sides. Writes `results/default_predictor.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from report import RESULTS, commit

from tryage import Library, ModelCard, PerformanceTable
from tryage.data import question_of, split_by_prompt
from tryage.evaluation.contenders import BASELINES, predict_as
from tryage.evaluation.measures import apgr, bootstrap_interval, cpt, routed_scores
from tryage.predictors.default import DefaultPredictor
from tryage.training.artifact import read_anchors, read_tables

SEEDS = (0, 1, 2)
MANY = ("mmlu_pro", "openllm_lb_v2", "reasoning_gym_easy", "zeroeval", "llmrouter9")
PAIRS = {"routellm_mmlu": "MMLU", "routellm_gsm8k": "GSM8K"}
STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"
PLACED = {"name only, 30 scores": 30, "name only, 100 scores": 100}
# Card facts that were measured on these very tables; no card may bring them to a test.
MEASURED = ("mmlu_pro", "gsm8k")


def main() -> None:
    """Run every part and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path, required=True)
    tables = read_tables(parser.parse_args().tables)
    parts = [HEAD.format(commit=commit(), python=platform.python_version())]
    for part in (in_tables, new_models, new_tables):
        parts += [*part(tables), ""]
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "default_predictor.md").write_text("\n".join(parts), encoding="utf-8")
        print("\n".join(parts), flush=True)


HEAD = """# Routing quality of the default predictor

Commit {commit}, Python {python}. Written by `benchmarks/default_predictor.py`. Splits are 70/30 by
normalised prompt; predictors learn from the training side only; `mmlu_pro` and `gsm8k`, which cards
carry from these tables, are taken off the cards. Intervals are 95 % bootstrap, over prompts.

In short: trained on a table, the default predictor beats the best single model where there is
something to gain, and comes near `per_domain_best`, which is told the domain. A new model is placed
well by the benchmarks on its card, but for `llmrouter9`, whose scores hold failures of answer
format that no card foretells. On a table of a kind that it never saw, the length of the prompt
tells better than it does which prompts need the strong model.
"""


def library_without(names: Sequence[str]) -> Library:
    """Return the bundled library without some benchmarks on its cards."""
    return Library(
        dataclasses.replace(c, benchmarks={k: v for k, v in c.benchmarks.items() if k not in names})
        for c in Library.bundled()
    )


def in_tables(tables: dict[str, PerformanceTable]) -> list[str]:
    """Return the mean score of the chosen model, and its gain over the best single one."""
    lines = [
        "## In a table",
        "",
        "Mean score of the model predicted best, and in brackets the gain over the best single",
        f"model, times 1000; {len(SEEDS)} splits. `per_domain_best` is told the domain, `oracle`",
        "the scores.",
        "",
        "| predictor | " + " | ".join(f"`{n}`" for n in MANY if n in tables) + " |",
        "| --- |" + " --- |" * sum(n in tables for n in MANY),
    ]
    cells: dict[str, list[str]] = {name: [] for name in ("default", *BASELINES)}
    plainly = []
    for name in MANY:
        if name in tables:
            results = _one_table(tables[name])
            for predictor, (mean, gain, low, high) in results.items():
                cells[predictor].append(f"{mean:.3f} ({gain:+.1f} [{low:+.1f}, {high:+.1f}])")
            better = [r for r in BASELINES[:-1] if results[r][0] > results["default"][0]]
            plainly.append(f"* `{name}`: {', '.join(better) or 'none'}")
    lines += [f"| {name} | {' | '.join(row)} |" for name, row in cells.items()]
    return [*lines, "", "Simple predictors with a higher mean than the default one:", "", *plainly]


def _one_table(table: PerformanceTable) -> dict[str, tuple[float, float, float, float]]:
    """Return each predictor's mean score, its gain over the best single model, and the interval."""
    names = ("default", *BASELINES)
    totals = {name: np.zeros(len(table)) for name in names}
    tested = np.zeros(len(table))
    row_of = {prompt_id: row for row, prompt_id in enumerate(table.prompt_ids)}
    for seed in SEEDS:
        split = split_by_prompt(table, 0.3, seed)
        rows = np.array([row_of[prompt_id] for prompt_id in split.test.prompt_ids])
        tested[rows] += 1
        for name in names:
            quality = _fit_and_predict(name, split.train, split.test)
            if quality is None:
                totals[name][:] = np.nan  # nothing tells what these models cost
                continue
            totals[name][rows] += routed_scores(quality, split.test.scores)
    # A prompt that several splits tested is one prompt: its mean is what is resampled.
    on = tested > 0
    means = {name: total[on] / tested[on] for name, total in totals.items()}
    results = {}
    for name, routed in means.items():
        gain = 1000 * (routed - means["best_single"])
        interval = bootstrap_interval(np.nan_to_num(gain))
        results[name] = (float(routed.mean()), float(gain.mean()), *interval)
    return results


def _fit_and_predict(
    name: str, train: PerformanceTable, test: PerformanceTable
) -> np.ndarray | None:
    if name == "default":
        predictor = DefaultPredictor().fit_tables({"table": train}, library_without(MEASURED))
        return predictor.predict(test.prompts)
    made = predict_as(name, train, test, Library.of(test.models))
    return None if made is None else made.quality


def new_models(tables: dict[str, PerformanceTable]) -> list[str]:
    """Return the regret of routing with a model that was never measured, by what its card says."""
    cards: dict[str, Callable[[ModelCard], ModelCard]] = {
        "whole card": lambda card: card,
        "without `mmlu_pro`, `gsm8k`": lambda card: dataclasses.replace(
            card, benchmarks={k: v for k, v in card.benchmarks.items() if k not in MEASURED}
        ),
        "size, price, date only": lambda card: dataclasses.replace(card, benchmarks={}),
        "name only": lambda card: ModelCard(name=card.name, aliases=card.aliases),
    }
    lines = [
        "## A new model",
        "",
        "A fifth of a table's models is left out of training and placed by its cards, in turn.",
        "Pools of five hold one of them and four others; 40 pools each. Regret, times 1000: mean",
        "score when every model of the pool was in training, less that when one was not.",
        "",
        "| the new model's card | " + " | ".join(f"`{n}`" for n in MANY if n in tables) + " |",
        "| --- |" + " --- |" * sum(n in tables for n in MANY),
    ]
    rows: dict[str, list[str]] = {kind: [] for kind in (*cards, *PLACED)}
    for name in MANY:
        if name in tables:
            for kind, regret in _leave_models_out(tables[name], cards).items():
                rows[kind].append(f"{regret:.1f}")
    return lines + [f"| {kind} | {' | '.join(row)} |" for kind, row in rows.items()]


def _leave_models_out(
    table: PerformanceTable, cards: dict[str, Callable[[ModelCard], ModelCard]]
) -> dict[str, float]:
    split = split_by_prompt(table, 0.3, 0)
    library = library_without(MEASURED)
    full = (
        DefaultPredictor().fit_tables({"table": split.train}, library).predict(split.test.prompts)
    )
    rng = np.random.default_rng(0)
    order = rng.permutation(len(table.models))
    regrets: dict[str, list[float]] = {kind: [] for kind in (*cards, *PLACED)}
    for fold in np.array_split(order, 5):
        rest = [m for i, m in enumerate(table.models) if i not in fold]
        predictor = DefaultPredictor().fit_tables({"table": split.train.only(rest)}, library)
        quality = {
            kind: predictor.for_library(_columns(table, change)).predict(split.test.prompts)
            for kind, change in cards.items()
        }
        for kind, n_prompts in PLACED.items():
            few = split.train.rows(rng.permutation(len(split.train))[:n_prompts])
            quality[kind] = _placed(predictor, few, table, fold).predict(split.test.prompts)
        for model in fold:
            others = np.setdiff1d(np.arange(len(table.models)), fold)
            for _ in range(40):
                pool = np.append(rng.choice(others, min(4, len(others)), replace=False), model)
                scores = split.test.scores[:, pool]
                on_offer = ~np.isnan(scores).all(axis=1)
                known = routed_scores(full[on_offer][:, pool], scores[on_offer]).mean()
                for kind, q in quality.items():
                    routed = routed_scores(q[on_offer][:, pool], scores[on_offer]).mean()
                    regrets[kind].append(1000 * (known - routed))
    return {kind: float(np.mean(values)) for kind, values in regrets.items()}


def _placed(
    predictor: DefaultPredictor, few: PerformanceTable, table: PerformanceTable, fold: np.ndarray
) -> DefaultPredictor:
    """Return the predictor with a fold's models placed by their scores on a few prompts."""
    plain = _columns(table, lambda card: ModelCard(name=card.name))
    for column in fold:
        predictor = predictor.place(plain[int(column)], few)
    return predictor.for_library(plain)


def _columns(table: PerformanceTable, change: Callable[[ModelCard], ModelCard]) -> Library:
    """Return a library of the table's models in its order, under the table's names."""
    cards = [dataclasses.replace(change(Library.bundled().find(m)), name=m) for m in table.models]
    return Library(dataclasses.replace(card, aliases=()) for card in cards)


def new_tables(tables: dict[str, PerformanceTable]) -> list[str]:
    """Return how well prompts are ordered by their need of the strong model, on unseen tables."""
    lines = [
        "## Two models: which prompts need the strong one",
        "",
        "RouteLLM's measures for GPT-4 over Mixtral-8x7B: average performance gap recovered",
        "(APGR, .5 at random), and the share of calls to GPT-4 that recovers 50 and 80 % of the",
        "gap. `new table`: trained on all tables but RouteLLM's, without a question of the target",
        "(normalised text, answer options apart). `in table`: trained on 70 % of the target and",
        "tested on the rest.",
        "",
        "| | APGR | CPT50 | CPT80 |",
        "| --- | --- | --- | --- |",
    ]
    for name, title in PAIRS.items():
        if name not in tables:
            continue
        target = _decontaminated(tables[name])
        length = np.array([len(p) for p in target.prompts], dtype=np.float64)
        lines.append(_pair_row(f"{title}: prompt length", target, length))
        for prior in (False, True):
            predictor = _train_elsewhere(tables, target, prior)
            kind = "with" if prior else "without"
            label = f"{title}: default, new table, {kind} prior prompts"
            lines.append(_pair_row(label, target, _preference(predictor, target)))
        split = split_by_prompt(target, 0.3, 0)
        length = np.array([len(p) for p in split.test.prompts], dtype=np.float64)
        lines.append(_pair_row(f"{title}, 30 %: prompt length", split.test, length))
        predictor = DefaultPredictor().fit_tables({"t": split.train}, library_without(MEASURED))
        label = f"{title}, 30 %: default, in table"
        lines.append(_pair_row(label, split.test, _preference(predictor, split.test)))
    return lines


def _decontaminated(table: PerformanceTable) -> PerformanceTable:
    flags = table.extras["contaminated"]
    return table.rows([row for row, cells in enumerate(flags) if not any(bool(c) for c in cells)])


def _train_elsewhere(
    tables: dict[str, PerformanceTable], target: PerformanceTable, prior: bool
) -> DefaultPredictor:
    questions = {question_of(prompt) for prompt in target.prompts}
    others = {
        name: table.rows(
            [i for i, p in enumerate(table.prompts) if question_of(p) not in questions]
        )
        for name, table in tables.items()
        if not name.startswith("routellm")
    }
    anchors = read_anchors() if prior else []
    others = {name: table for name, table in others.items() if len(table)}
    predictor = DefaultPredictor()
    return predictor.fit_tables(others, library_without(MEASURED), anchors)


def _preference(predictor: DefaultPredictor, table: PerformanceTable) -> np.ndarray:
    pair = Library([Library.bundled().find(STRONG), Library.bundled().find(WEAK)])
    quality = predictor.for_library(pair).predict(table.prompts).astype(np.float64)
    return quality[:, 0] - quality[:, 1]


def _pair_row(label: str, table: PerformanceTable, preference: np.ndarray) -> str:
    pair = table.only([WEAK, STRONG])
    values = np.column_stack([preference, pair.scores.astype(np.float64)])
    low, high = bootstrap_interval(values, lambda v: apgr(v[:, 0], v[:, 1], v[:, 2]), repeats=300)
    columns = (values[:, 0], values[:, 1], values[:, 2])
    shares = " | ".join(f"{100 * cpt(*columns, recovery):.1f} %" for recovery in (0.5, 0.8))
    return f"| {label} | {apgr(*columns):.3f} [{low:.3f}, {high:.3f}] | {shares} |"


if __name__ == "__main__":
    main()
