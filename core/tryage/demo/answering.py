"""Second part of the demo: small masked language models answer, routed by their measured losses.

What is measured, compared and drawn, and how, is the experiment's (`tryage.paper`): this is that,
small, on the experts that come with the package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tryage.cards import ModelCard
from tryage.data import PerformanceTable
from tryage.errors import MissingExtra
from tryage.experts import Expert, MaskedPrompt, load_experts, load_passages
from tryage.library import Library
from tryage.paper import figures
from tryage.paper.choosing import references, routed, straight
from tryage.paper.results import Bench, Measures, measure
from tryage.paper.sweep import Point, stages, sweep
from tryage.predictors.base import Predictor
from tryage.predictors.default import DefaultPredictor

if TYPE_CHECKING:
    from rich.console import Console

NEEDED = ("torch", "transformers", "langchain_core", "llama_index", "matplotlib")
LAMBDAS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1.0)
PICTURE = "tryage-pareto"
SHOWN_MASKS = range(3, 8)
SHOWN_CHARACTERS = 350


def show_answering(console: Console, out: Path) -> None:
    """Measure the experts, train a router on their losses, and let it answer held-out passages.

    Args:
        console: Where everything is printed.
        out: The folder for the picture; made if it is not there.

    Raises:
        MissingExtra: What `tryage[demo]` installs is not there.
        CorruptArtifact: The experts' weights are damaged.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"the demo's second part needs {', '.join(missing)}: pip install 'tryage[demo]'."
        )
    from tryage.demo.chains import answer_with_langchain, answer_with_llamaindex

    console.rule("2. real models answering: masked language models, one kind of text each")
    experts = load_experts()
    cards = [ModelCard(name=e.name, parameters=e.parameters, security="local") for e in experts]
    library = Library(cards)
    passages = load_passages("test")
    learned = _measured(console, experts, load_passages("train"), "train")
    test = _measured(console, experts, passages, "held out")
    predictor = _learn(experts, learned)
    console.print(
        f"{len(experts)} experts of {min(e.parameters for e in experts) / 1e6:.1f} to "
        f"{max(e.parameters for e in experts) / 1e6:.1f} million parameters; the router learned "
        f"from their losses on {len(learned)} passages, and is judged on {len(test)} of other "
        "documents.\n"
    )
    shown = _one_per_domain(passages)
    half = (len(shown) + 1) // 2
    answer_with_langchain(console, experts, cards, predictor, shown[:half])
    answer_with_llamaindex(console, experts, cards, predictor, shown[half:])
    bench = Bench.of(test, library, learned)
    quality = predictor.for_library(library).predict(test.prompts)
    ways = references(learned, test) | {"Tryage": routed([quality])}
    _show_ways(console, bench, measure(bench, ways))
    front = sweep(bench, [quality], LAMBDAS)
    _show_front(console, front)
    out.mkdir(parents=True, exist_ok=True)
    paths = figures.write(figures.front(bench, front, stages(front)), out, PICTURE)
    console.print(f"picture of the front: {paths['png']}")


def _measured(
    console: Console, experts: Sequence[Expert], prompts: Sequence[MaskedPrompt], name: str
) -> PerformanceTable:
    """Return what every expert makes of the passages; shows how far the measuring is."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        tracked = progress.track(experts, description=f"measuring losses, {name}")
        judged = np.stack([expert.judge(prompts) for expert in tracked], axis=-1)
    texts = [prompt.text for prompt in prompts]
    tokens = [len(encoding) for encoding in experts[0].tokenizer.encode_batch(texts)]
    losses, accuracy = judged  # each (n_prompts, n_experts)
    told: dict[str, Any] = {
        "loss": losses,
        "accuracy": accuracy,
        "tokens": np.tile(np.array(tokens)[:, None], len(experts)),
    }
    table = PerformanceTable.from_scores(
        texts,
        [expert.name for expert in experts],
        np.exp(-losses),
        [prompt.domain for prompt in prompts],
    )
    return replace(table, extras={name: values.astype(object) for name, values in told.items()})


def _learn(experts: Sequence[Expert], learned: PerformanceTable) -> Predictor:
    """Return a predictor of quality = 1 − loss, in units of the loss of a blind guess."""
    blind = float(np.log(experts[0].tokenizer.get_vocab_size()))
    return DefaultPredictor().fit(straight(learned, blind))


def _one_per_domain(prompts: Sequence[MaskedPrompt]) -> list[MaskedPrompt]:
    """Return the first passage of each domain that is short enough to print."""
    first: dict[str, MaskedPrompt] = {}
    for prompt in prompts:
        if len(prompt.answers) in SHOWN_MASKS and len(prompt.text) < SHOWN_CHARACTERS:
            first.setdefault(prompt.domain, prompt)
    return list(first.values())


def _show_ways(console: Console, bench: Bench, ways: dict[str, Measures]) -> None:
    """Print routing beside the trivial ways to choose and the best that is possible."""
    from rich.table import Table

    names = {
        "random": "random expert",
        "best_single": f"best single ({bench.cards.names[bench.single]})",
        "per_domain_best": "best for the domain, told it",
        "Tryage": "Tryage",
        "oracle": "oracle (knows the losses)",
    }
    table = Table(
        title=f"{len(bench.table)} held-out passages, 95 % intervals by bootstrap",
        title_justify="left",
    )
    table.add_column("how the expert is chosen")
    for column in ("words right", "loss, nats", "picks the best expert"):
        table.add_column(column, justify="right")
    for way, name in names.items():
        table.add_row(
            name,
            _interval(ways[way], "masked_accuracy", "{:.1%}"),
            _interval(ways[way], "mean_loss", "{:.3f}"),
            _interval(ways[way], "selection_accuracy", "{:.0%}"),
            style="bold" if way == "Tryage" else None,
        )
    console.print(table)


def _show_front(console: Console, front: Sequence[Point]) -> None:
    """Print what λ on size gives up and saves."""
    from rich.table import Table

    table = Table(title="size against quality as λ on size grows", title_justify="left")
    for column in ("λ", "mean parameters", "words right", "loss, nats"):
        table.add_column(column, justify="right")
    for point in front:
        table.add_row(
            f"{point.weight:g}",
            f"{point.mean_parameters / 1e6:.2f}M",
            f"{point.masked_accuracy:.1%}",
            f"{point.mean_loss:.3f}",
        )
    console.print(table)


def _interval(measured: Measures, name: str, form: str) -> str:
    """Return a measure with its 95 % bootstrap interval."""
    low, high = measured.intervals[name]
    return f"{form.format(getattr(measured, name))} [{form.format(low)}, {form.format(high)}]"
