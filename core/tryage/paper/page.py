"""The words and the look of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Reported:
    """What others report: shown apart from all that was measured here."""

    source: str
    reported: Mapping[str, str]


PAPER = Reported(
    source=(
        "Hari and Thomson, Tryage: Real-time, Intelligent Routing of User Prompts to Large "
        "Language Models (arXiv 2308.11601, 2023), in its abstract: selection accuracy over data "
        "that includes code, text, clinical data and patents."
    ),
    reported={
        "selection accuracy, Tryage": "50.9 %",
        "selection accuracy, GPT-3.5 Turbo": "23.6 %",
        "selection accuracy, Gorilla": "10.8 %",
    },
)


@dataclass(frozen=True)
class Target:
    """One thing that the experiment is to reach.

    Attributes:
        name: The result that is looked at.
        title: What it is.
        wanted: Says what was wanted.
        met: Says whether it was met.
    """

    name: str
    title: str
    wanted: Callable[[Found], str]
    met: Callable[[Found], bool]


TARGETS = (
    Target(
        "selection_accuracy",
        "Picks a best expert",
        lambda f: (
            "wanted: 60 %, and more than the domain alone tells "
            f"({f['per_domain_best_selection_accuracy']:.1%})"
        ),
        lambda f: (
            f["selection_accuracy"] >= 0.6
            and f["selection_accuracy"] > f["per_domain_best_selection_accuracy"]
        ),
    ),
    Target(
        "mean_loss",
        "Mean loss, nats",
        lambda f: f"wanted: below the best single expert’s {f['best_single_loss']:.3f}, each seed",
        lambda f: bool(f["below_best_single_on_every_seed"]),
    ),
    Target(
        "oracle_gap_closed",
        "Of the gap to the oracle closed",
        lambda f: (
            "wanted: more than by the best expert of the domain, told "
            f"({f['per_domain_best_gap_closed']:.1%})"
        ),
        lambda f: f["oracle_gap_closed"] > f["per_domain_best_gap_closed"],
    ),
    Target(
        "parameters_at_1_percent",
        "Parameters at 1 % less accuracy",
        lambda f: "wanted: at most 50 % of the best single expert’s",
        lambda f: f["parameters_at_1_percent"] <= 0.5,
    ),
    Target(
        "purity_gain",
        "Domain purity gained",
        lambda f: "wanted: more than the untrained encoder, interval above zero",
        lambda f: f["intervals"]["purity_gain"][0] > 0,
    ),
    Target(
        "joint_loss_saved",
        "Loss saved by joint training, nats",
        lambda f: (
            "wanted: less loss than training apart on equal steps, or evidence that it is not"
        ),
        lambda f: (
            f["intervals"]["joint_loss_saved"][0] > 0 or f["intervals"]["joint_loss_saved"][1] < 0
        ),
    ),
)

CAPTIONS = {
    "performance": (
        "Performance by domain and expert",
        "Share of masks that each expert fills rightly, by domain; beside them the routed system, "
        "and the oracle that knows which expert does best on each prompt.",
    ),
    "allocation": (
        "Where prompts go",
        "Left: the experts that the router sends each domain’s prompts to. Right: the experts that "
        "do best on them.",
    ),
    "embedding": (
        "What the router sees",
        "The test prompts in two dimensions by {method}, before the encoder learned to route and "
        "after. Purity is the share of a prompt’s ten nearest neighbours, in the full space, that "
        "are of its domain; it changes by {gain}.",
    ),
    "front": (
        "Accuracy against size",
        "As λ on size grows, smaller experts are called. At λ = {weight}, chosen on the validation "
        "prompts for at most 1 % less accuracy, the mean expert has {share} of the best single "
        "expert’s parameters; accuracy on the test prompts changes by {change} against λ = 0, and "
        "is {from_single} from the best single expert’s. Low, middle and high λ are where the mean "
        "size has fallen 10, 50 and 90 % of the way.",
    ),
}

LABELS = {
    "random": "random",
    "best_single": "best single expert",
    "keywords": "model descriptions, by keyword",
    "descriptions": "model descriptions, by embedding",
    "per_domain_best": "least loss in the domain, told it",
    "per_domain_usual": "most often best in the domain, told it",
    "knn": "nearest neighbours",
    "ridge": "ridge regression",
    "default": "default predictor",
    "mse": "perceptive router, squared error",
    "ranking": "perceptive router, ranking",
    "oracle": "oracle",
    "mean_loss": "loss, nats",
    "regret": "regret, nats",
    "masked_accuracy": "masks right",
    "mean_parameters": "mean parameters",
    "oracle_gap_closed": "gap closed",
    "selection_accuracy": "picks a best expert",
    "weight": "λ",
}

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tryage: the paper’s experiment</title>
<style>
:root { --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --page: #ffffff; --panel: #f6f8fa;
  --good: #1a7f37; --bad: #9a6700; --accent: #0969da; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d;
  --page: #0d1117; --panel: #151b23; --good: #3fb950; --bad: #d29922; --accent: #4493f8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1rem 5rem; }
h1 { font-size: clamp(1.6rem, 5vw, 2.4rem); line-height: 1.2; margin: 0 0 .6rem;
  letter-spacing: -.02em; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 3rem 0 .6rem; letter-spacing: -.01em; }
h3 { font-size: .85rem; margin: 0; color: var(--soft); font-weight: 600; }
p, figcaption { max-width: 44rem; text-wrap: pretty; }
.lead { font-size: 1.1rem; }
.meta, figcaption, small { color: var(--soft); }
.meta, figcaption { font-size: .9rem; }
code, pre { font: .85em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { overflow-x: auto; background: var(--panel); padding: 1rem; border-radius: .5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem; }
.tile { border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem; }
.tile p { margin: .2rem 0; font-size: .88rem; }
.tile .value { font-size: 1.9rem; line-height: 1.2; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.tile .range { color: var(--soft); }
.tile .verdict { font-weight: 650; }
.met .verdict { color: var(--good); } .met .verdict::before { content: "✓ "; }
.missed .verdict { color: var(--bad); } .missed .verdict::before { content: "✗ "; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .6rem 0; }
th, td { padding: .4rem .55rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td { white-space: nowrap; }
td.number { font-variant-numeric: tabular-nums; text-align: right; }
td small { display: block; font-size: .78em; }
tr.highlighted td { background: var(--panel); font-weight: 600; }
tr.highlighted small { font-weight: 400; }
figure { margin: 0; }
figure svg { display: block; width: 100%; min-width: 38rem; height: auto; font-family: inherit; }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--accent); }
</style></head><body>"""
