"""Second part of the demo: small masked language models answer, routed by their measured losses."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard
from tryage.data import PerformanceTable
from tryage.errors import MissingExtra
from tryage.evaluation.measures import bootstrap_interval
from tryage.experts import Expert, MaskedPrompt, load_experts, load_passages
from tryage.flags import Flags
from tryage.library import Library
from tryage.predictors.base import Predictor
from tryage.predictors.default import DefaultPredictor
from tryage.router import Router

if TYPE_CHECKING:
    from rich.console import Console

FloatArray = NDArray[np.float32]

NEEDED = ("torch", "transformers", "langchain_core", "llama_index", "matplotlib")
LAMBDAS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1.0)
SHOWN_MASKS = range(3, 8)
SHOWN_CHARACTERS = 350


@dataclass(frozen=True)
class Measured:
    """What each expert makes of each passage.

    Attributes:
        prompts: The passages.
        losses: Mean cross-entropy at the masks in nats, (n_prompts, n_experts).
        correct: Share of the masks filled rightly, (n_prompts, n_experts).
    """

    prompts: list[MaskedPrompt]
    losses: FloatArray
    correct: FloatArray

    def mean(self, values: FloatArray, picks: NDArray[np.intp]) -> float:
        """Return the mean of a measure over the expert picked for each passage."""
        return float(values[np.arange(len(picks)), picks].mean())


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
    from tryage.demo.picture import draw_front

    console.rule("2. real models answering: masked language models, one kind of text each")
    experts = load_experts()
    cards = [ModelCard(name=e.name, parameters=e.parameters, security="local") for e in experts]
    library = Library(cards)
    train = _measure(console, experts, load_passages("train"), "train")
    test = _measure(console, experts, load_passages("test"), "held out")
    predictor = _learn(experts, train)
    router = Router(library, predictor)
    console.print(
        f"{len(experts)} experts of {min(e.parameters for e in experts) / 1e6:.1f} to "
        f"{max(e.parameters for e in experts) / 1e6:.1f} million parameters; the router learned "
        f"from their losses on {len(train.prompts)} passages, and is judged on "
        f"{len(test.prompts)} of other documents.\n"
    )
    shown = _one_per_domain(test.prompts)
    half = (len(shown) + 1) // 2
    answer_with_langchain(console, experts, cards, predictor, shown[:half])
    answer_with_llamaindex(console, experts, cards, predictor, shown[half:])
    _compare(console, router, train, test)
    front = _sweep(console, router, test)
    console.print(f"picture of the front: {draw_front(library, test.correct, front, out)}")


def _measure(
    console: Console, experts: Sequence[Expert], prompts: list[MaskedPrompt], name: str
) -> Measured:
    """Run every expert over the passages, with a progress bar."""
    from rich.progress import Progress

    losses, correct = [], []
    with Progress(console=console, transient=True) as progress:
        for expert in progress.track(experts, description=f"measuring losses, {name}"):
            judged = expert.judge(prompts)
            losses.append(judged[0])
            correct.append(judged[1])
    return Measured(prompts, np.stack(losses, axis=1), np.stack(correct, axis=1))


def _learn(experts: Sequence[Expert], train: Measured) -> Predictor:
    """Return a predictor of quality = 1 − loss, in units of the loss of a blind guess."""
    blind = np.log(experts[0].tokenizer.get_vocab_size())
    table = PerformanceTable.from_scores(
        [prompt.text for prompt in train.prompts],
        [expert.name for expert in experts],
        np.clip(1 - train.losses / blind, 0, 1),
        [prompt.domain for prompt in train.prompts],
    )
    return DefaultPredictor().fit(table)


def _one_per_domain(prompts: Sequence[MaskedPrompt]) -> list[MaskedPrompt]:
    """Return the first passage of each domain that is short enough to print."""
    first: dict[str, MaskedPrompt] = {}
    for prompt in prompts:
        if len(prompt.answers) in SHOWN_MASKS and len(prompt.text) < SHOWN_CHARACTERS:
            first.setdefault(prompt.domain, prompt)
    return list(first.values())


def _compare(console: Console, router: Router, train: Measured, test: Measured) -> None:
    """Print routing beside the trivial ways to choose and the best that is possible."""
    from rich.table import Table

    texts = [prompt.text for prompt in test.prompts]
    routed = _positions(router, texts, Flags())
    n, best = len(texts), test.losses.argmin(axis=1)
    single = int(train.losses.mean(axis=0).argmin())
    rng = np.random.default_rng(0)
    ways = {
        "random expert": rng.integers(len(router.library), size=n),
        f"best single ({router.library.names[single]})": np.full(n, single),
        "best for the domain, told it": _per_domain(train, test),
        "Tryage": routed,
        "oracle (knows the losses)": best,
    }
    table = Table(title=f"{n} held-out passages, 95 % intervals by bootstrap", title_justify="left")
    table.add_column("how the expert is chosen")
    for column in ("words right", "loss, nats", "picks the best expert"):
        table.add_column(column, justify="right")
    for way, picks in ways.items():
        rows = np.arange(n)
        table.add_row(
            way,
            _interval(test.correct[rows, picks], "{:.1%}"),
            _interval(test.losses[rows, picks], "{:.3f}"),
            _interval((picks == best).astype(np.float32), "{:.0%}"),
            style="bold" if way == "Tryage" else None,
        )
    console.print(table)


def _per_domain(train: Measured, test: Measured) -> NDArray[np.intp]:
    domains = np.array([prompt.domain for prompt in train.prompts])
    best = {
        domain: int(train.losses[domains == domain].mean(axis=0).argmin())
        for domain in sorted(set(domains))
    }
    return np.array([best[prompt.domain] for prompt in test.prompts])


def _sweep(console: Console, router: Router, test: Measured) -> list[tuple[float, float, float]]:
    """Print and return (λ, mean parameters, share of words right) as λ on size grows."""
    from rich.table import Table

    texts = [prompt.text for prompt in test.prompts]
    sizes = np.array([card.parameters for card in router.library], dtype=np.float64)
    table = Table(title="size against quality as λ on size grows", title_justify="left")
    for column in ("λ", "mean parameters", "words right", "loss, nats"):
        table.add_column(column, justify="right")
    front = []
    for weight in LAMBDAS:
        picks = _positions(router, texts, Flags(size=weight))
        point = (weight, float(sizes[picks].mean()), test.mean(test.correct, picks))
        front.append(point)
        loss = test.mean(test.losses, picks)
        table.add_row(f"{weight:g}", f"{point[1] / 1e6:.2f}M", f"{point[2]:.1%}", f"{loss:.3f}")
    console.print(table)
    return front


def _positions(router: Router, texts: Sequence[str], flags: Flags) -> NDArray[np.intp]:
    decisions = router.route_batch(texts, flags)
    return np.array([router.library.position(decision.model) for decision in decisions])


def _interval(values: FloatArray, form: str) -> str:
    """Return a mean with its 95 % bootstrap interval."""
    low, high = bootstrap_interval(values.astype(np.float64))
    return f"{form.format(float(values.mean()))} [{form.format(low)}, {form.format(high)}]"
