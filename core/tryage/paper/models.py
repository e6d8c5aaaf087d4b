"""What a run made, to be used: its experts, their cards and the router, loaded from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tryage.cards import ModelCard
from tryage.errors import CorruptArtifact
from tryage.library import Library
from tryage.predictors.perceptive import PerceptivePredictor
from tryage.predictors.staging import staged

if TYPE_CHECKING:
    from tryage.experts import Expert
    from tryage.paper.published import PublishedExpert

MODELS_FILE = "models.json"


@dataclass(frozen=True, eq=False)
class Models:
    """A run's library of experts with its router; see `tryage.paper.chains` for what to do with it.

    Attributes:
        experts: In the order of the cards.
        cards: One card for each.
        router: Fitted on them: the first seed of the kind that did best on validation.
    """

    experts: tuple[Expert | PublishedExpert, ...]
    cards: Library
    router: PerceptivePredictor


def write_models(
    out: Path, cards: Library, experts: Mapping[str, Path | str], router: Path
) -> Path:
    """Write down where a run's models lie; return the file.

    Args:
        out: The run's folder.
        cards: One card per expert.
        experts: By name, the folder within `out` of one that was trained; of a published one, what
            it is called on the hub.
        router: The router's folder within `out`.
    """
    told = {
        "cards": [card.as_json() for card in cards],
        "trained": {n: str(f.relative_to(out)) for n, f in experts.items() if isinstance(f, Path)},
        "published": {name: f for name, f in experts.items() if isinstance(f, str)},
        "router": str(router.relative_to(out)),
    }
    with staged(out) as fresh:
        (fresh / MODELS_FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return out / MODELS_FILE


def load_models(out: Path) -> Models:
    """Return the experts and the router of a run.

    Args:
        out: The folder that the run was written to.

    Raises:
        CorruptArtifact: There is no finished run in it, or a file of it is damaged.
    """
    from tryage.paper.library import load_expert
    from tryage.paper.published import PublishedExpert

    try:
        told = json.loads((out / MODELS_FILE).read_text(encoding="utf-8"))
        cards = Library([ModelCard(**facts) for facts in told["cards"]])
        trained, published, router = told["trained"], told["published"], told["router"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(
            f"{out}: no finished run of the experiment ({type(error).__name__}: {error}); make one "
            f"with `tryage paper --out {out}`."
        ) from error
    return Models(
        experts=tuple(
            load_expert(name, out / trained[name])
            if name in trained
            else PublishedExpert.load(name, published[name])
            for name in cards.names
        ),
        cards=cards,
        router=PerceptivePredictor.load(out / router),
    )
