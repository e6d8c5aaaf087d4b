"""The model card of the bundled weights: where they come from, and how well they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tryage.data.table import PerformanceTable
from tryage.evaluation.measures import bootstrap_interval, routed_scores
from tryage.library import Library
from tryage.predictors.default import DefaultPredictor
from tryage.predictors.lessons import Anchors

SOURCES = {
    "mmlu_pro": (
        "MMLU-Pro, chain-of-thought runs published by its authors (TIGER-Lab)",
        "Apache-2.0",
    ),
    "openllm_lb_v2": (
        "Open LLM Leaderboard v2 (Hugging Face): MMLU-Pro and BBH by log-likelihood, IFEval",
        "scores are public facts; prompts Apache-2.0 and MIT",
    ),
    "zeroeval": ("ZeroEval (Allen Institute for AI): GSM8K, CRUX, MATH level 5", "Apache-2.0"),
    "reasoning_gym_easy": ("Reasoning Gym, easy settings, mean of up to 3 samples", "Apache-2.0"),
    "llmrouter9": ("LLMRouter's public training data, 13 tasks", "MIT"),
    "routellm_mmlu": ("RouteLLM's evaluation on MMLU", "Apache-2.0; questions MIT"),
    "routellm_gsm8k": ("RouteLLM's evaluation on GSM8K", "Apache-2.0; questions MIT"),
    "routellm_mt_bench": ("RouteLLM's evaluation on MT-Bench, judged by GPT-4", "Apache-2.0"),
}
"""By table: what it is, and the licence of its source."""


@dataclass(frozen=True)
class Judgement:
    """How the recipe did on the held-out questions of one table.

    Attributes:
        table: Its name.
        n_prompts: How many questions were held out.
        n_models: How many models there are to choose from.
        routed: Mean score of the model predicted best.
        best_single: Mean score of the model that was best on the other nine tenths.
        oracle: Mean of each prompt's best score.
        interval: 95 % bootstrap interval of routed less best single, over prompts.
        brier: Mean squared error of predicted quality.
        brier_means: The same of predicting each model's mean in the table, whatever the prompt.
    """

    table: str
    n_prompts: int
    n_models: int
    routed: float
    best_single: float
    oracle: float
    interval: tuple[float, float]
    brier: float
    brier_means: float


def judge(
    name: str,
    predictor: DefaultPredictor,
    known: PerformanceTable,
    unseen: PerformanceTable,
    library: Library,
) -> Judgement:
    """Return how a predictor does on the unseen part of a table."""
    bound = predictor.for_library(library)
    columns = [library.position(model) for model in unseen.models]
    quality = bound.predict(unseen.prompts)[:, columns]
    means = np.nanmean(known.scores, axis=0)
    constant = np.tile(means, (len(unseen), 1))
    routed, single = (routed_scores(q, unseen.scores) for q in (quality, constant))
    return Judgement(
        table=name,
        n_prompts=len(unseen),
        n_models=len(unseen.models),
        routed=float(routed.mean()),
        best_single=float(single.mean()),
        oracle=float(np.nanmax(unseen.scores, axis=1).mean()),
        interval=bootstrap_interval(routed - single),
        brier=float(np.nanmean((quality - unseen.scores) ** 2)),
        brier_means=float(np.nanmean((constant - unseen.scores) ** 2)),
    )


def model_card(
    predictor: DefaultPredictor,
    tables: Mapping[str, PerformanceTable],
    anchors: Sequence[Anchors],
    judgements: Sequence[Judgement],
    size_bytes: int,
    seconds: float,
) -> str:
    """Return the model card as Markdown."""
    sources = "\n".join(
        f"| `{name}` | {len(table):,} × {len(table.models)} | {SOURCES[name][0]} "
        f"| {SOURCES[name][1]} |"
        for name, table in tables.items()
    )
    results = "\n".join(_row(judgement) for judgement in judgements)
    levels = "\n".join(
        f"| {a.name} | {len(a.prompts)} | {a.ease:+.1f} | {a.slope:.1f} |" for a in anchors
    )
    return _TEMPLATE.format(
        n_models=len(predictor.models),
        rank=len(predictor._abilities.strengths),
        seed=predictor.seed,
        megabytes=size_bytes / 1e6,
        minutes=seconds / 60,
        sources=sources,
        results=results,
        levels=levels,
        n_anchors=sum(len(a.prompts) for a in anchors),
    )


def _row(j: Judgement) -> str:
    low, high = (f"{1000 * value:+.1f}" for value in j.interval)
    gain = 1000 * (j.routed - j.best_single)
    return (
        f"| `{j.table}` | {j.n_prompts:,} | {j.n_models} | {j.routed:.3f} | {j.best_single:.3f} "
        f"| {gain:+.1f} [{low}, {high}] | {j.oracle:.3f} | {j.brier:.3f} | {j.brier_means:.3f} |"
    )


_TEMPLATE = """# The bundled default predictor

Written by `python -m tryage.training.artifact`; every number here is from the run that made these
weights ({minutes:.1f} minutes, {megabytes:.1f} MB, {n_models} measured models, seed {seed}).

## What it is

`quality = sigmoid(demand · ability)`. A prompt's demands are those of the domains that it may be
of, each as likely as a logistic regression finds it, and a straight line from the prompt's features
to what the domains leave (logistic ridge regression, one step of Newton's). Features are a static
embedding distilled from all-MiniLM-L6-v2 (Apache-2.0) with Model2Vec, and 20 of the prompt's form.
A prompt far from every domain's centre demands what prompts usually do. Abilities have one general
number, in log-odds of MMLU-Pro, and {rank} particular strengths. A model of the tables has learned
abilities; any other is placed by its card: published benchmarks first, then size, price and release
date, through a one-factor model fitted to the bundled cards.

## What it was trained on

| table | prompts × models | source | licence |
| --- | --- | --- | --- |
{sources}

No text of these tables is in the weights. Scores of one model in two tables are joined by its card.

## A prior, not data

Tables hold examination questions, few easy ones, and little chat. {n_anchors} prompts written
for Tryage (`training/anchors.toml`) state what we expect of every model, in log-odds:
`ease + slope × ability`. They are judgements. Nothing below is measured on them.

| level | prompts | ease | slope |
| --- | --- | --- | --- |
{levels}

## How well it does

A tenth of the questions was held out, the same in every table, compared by normalised text without
answer options (not the tenth on which the recipe was chosen); the recipe was trained on the rest;
then the shipped weights were trained on all.
`gain` is the mean score of the chosen model less that of the table's best single model, times 1000,
with a 95 % bootstrap interval. The Brier score is the squared error of predicted quality (less is
better), beside that of each model's mean in that table.

| table | prompts | models | routed | best single | gain | oracle | Brier | of means |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{results}

Where the interval holds 0, routing by predicted quality is no better than the best single model;
there the use of the predictor lies in knowing when a smaller model will do. In tables of two models
the strong one is nearly always predicted better; what counts there is the order of prompts, which
`benchmarks/results/default_predictor.md` measures, with new models and tables left out.

## Limits

* English and Western examinations dominate. Other scripts are read through few tokens each, and
  fall back towards the prior.
* It reads the first 6,000 and the last 2,000 characters of a prompt, and no conversation.
* General ability is one number. A specialist without measured scores is placed by the mean of its
  benchmarks: a code model looks weaker at code, and stronger elsewhere, than it is.
* Published benchmarks are the makers' own and come under different settings, with errors of about
  0.3 in log-odds; contaminated ones flatter. A card with a name only is placed one standard
  deviation below the average card.
* Multiple choice by log-likelihood (`openllm_lb_v2`) and by generation differ in level; the
  tables are told apart by the guessed domain, not by a term of their own.
* The levels of everyday prompts are a prior, as said above.
"""
