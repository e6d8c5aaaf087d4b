"""The predictor that ships: for any library, trained or not, in tens of microseconds."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard
from tryage.data.table import PerformanceTable
from tryage.encoders.static import StaticEncoder
from tryage.errors import CorruptArtifact
from tryage.library import Library
from tryage.predictors.ability import CardPrior, place
from tryage.predictors.base import Predictor
from tryage.predictors.demand import DISCRIMINATION, EASE, Abilities, DemandHead, quality
from tryage.predictors.demand_fit import fit_head
from tryage.predictors.lessons import Anchors, gather
from tryage.predictors.network import Recipe

WEIGHTS = Path(__file__).parent / "weights"
ENCODER = "encoder"

Array = NDArray[np.float32]
_HEAD = tuple(DemandHead.__dataclass_fields__)
_ABILITIES = tuple(Abilities.__dataclass_fields__)


@dataclass(eq=False)
class DefaultPredictor(Predictor):
    """Quality as a prompt's demands met by a model's ability: `sigmoid(demand · ability)`.

    A model that was in the training tables has an ability vector learned there. Any other model's
    is estimated from its card: from published benchmark accuracies first, then from size, price
    and release date; see `CardPrior`. `DefaultPredictor.bundled()` is trained on public tables and
    answers for every library as it is; `fit` trains on a table of your own.

    Attributes:
        members: Networks that are averaged.
        hidden: Width of each.
        rank: Most particular strengths of a model, beyond its general ability, that are kept.
        learned_rank: Those that each network learns; tables of many kinds need more.
        steps: Most training steps, with 256 prompts each; small tables take fewer.
        seed: The same seed and table give the same predictor.

    Example:
        >>> from tryage import Library
        >>> predictor = DefaultPredictor.bundled().for_library(Library.bundled())
        >>> predictor.predict(["What is the capital of France?"]).min() > 0.5
        np.True_
    """

    name: ClassVar[str] = "default"
    members: int = 2
    hidden: int = 128
    rank: int = 40
    learned_rank: int = 8
    steps: int = 1500
    seed: int = 0

    @classmethod
    def bundled(cls) -> DefaultPredictor:
        """Return the predictor that ships with Tryage; read once per process.

        Raises:
            CorruptArtifact: The installation is damaged.
        """
        return _bundled()

    def fit(self, table: PerformanceTable) -> Self:
        """Learn from one table and return self.

        Models of the table that the bundled library knows, by name or alias, are related to its
        cards, so that a model which is not in the table can be placed beside them.
        """
        return self.fit_tables({"table": table}, Library.bundled())

    def fit_tables(
        self,
        tables: Mapping[str, PerformanceTable],
        library: Library,
        anchors: Sequence[Anchors] = (),
        encoder: StaticEncoder | None = None,
    ) -> Self:
        """Learn from several tables together and return self.

        Args:
            tables: By name. A model is the same in two tables if the library finds one card for
                both names, or if the names are equal.
            library: What the cards say of the models, and of others beside them.
            anchors: Prompts with a prior in place of measurements.
            encoder: Text to vectors; the bundled one if absent.
        """
        self._encoder = encoder or bundled_encoder()
        self._source: DefaultPredictor = self
        material = gather(tables, library, anchors, self._encoder)
        self.models_, self.known_ = material.models, material.known
        self.prior_ = material.prior.to_json()
        recipe = Recipe(
            members=self.members,
            hidden=self.hidden,
            rank=self.learned_rank,
            steps=self.steps,
            seed=self.seed,
        )
        head, vectors = fit_head(material, recipe, self.rank)
        self._learn(head, Abilities.of(vectors))
        return self

    def predict(self, prompts: Sequence[str]) -> Array:
        """Return the predicted quality, float32 (n_prompts, n_models) in [0, 1].

        Raises:
            NotFitted: Neither `fit` nor `load` came before.
        """
        self._check_fitted()
        return quality(self._head, self._encoder, prompts, self._abilities)

    def for_library(self, library: Library) -> DefaultPredictor:
        """Return a predictor whose columns are the library's models; every model gets one.

        A model that was learned, under its name or an alias, keeps its ability vector; another's
        is estimated from its card.
        """
        self._check_fitted()
        source = self._source
        known = source.known_ | {name.lower(): i for i, name in enumerate(source.models)}
        columns = np.full(len(library), -1, dtype=np.intp)
        for row, card in enumerate(library):
            names = (card.name, *card.aliases)
            columns[row] = next((known[n.lower()] for n in names if n.lower() in known), -1)
        prior = CardPrior.from_json(source.prior_)
        unseen = [library[row] for row in np.flatnonzero(columns < 0).tolist()]
        general = prior.estimate(unseen).astype(np.float32)
        return source._with(source._abilities.take(columns, general), library.names, {})

    def place(self, card: ModelCard, table: PerformanceTable) -> DefaultPredictor:
        """Return a predictor that also knows one more model, from its scores on a few prompts.

        About a hundred prompts are enough: the ability vector begins at what the card says and
        moves as far as the scores demand. Nothing else changes.

        Args:
            card: The model; known afterwards by its name and aliases.
            table: Holds a column for it, under the card's name or an alias.

        Raises:
            UnknownModel: The table has no such column.
        """
        self._check_fitted()
        names = {name.lower() for name in (card.name, *card.aliases)}
        column = next((m for m in table.models if m.lower() in names), card.name)
        scores = table.only([column]).scores[:, 0]
        measured = np.flatnonzero(~np.isnan(scores))
        head, encoder, source = self._head, self._encoder, self._source
        features = (head.features(encoder, table.prompts[row]) for row in measured)
        vectors = source._abilities.vectors()
        start = np.zeros(len(vectors))
        demands = np.zeros((len(measured), len(start)))
        for row, feature in zip(demands, features, strict=True):
            row[:] = head.demands(feature)
        start[EASE] = 1
        start[DISCRIMINATION] = CardPrior.from_json(source.prior_).estimate([card])[0]
        spread = vectors.std(axis=1).astype(np.float64)
        placed = place(demands, scores[measured].astype(np.float64), start, spread)
        vectors = np.column_stack([vectors, placed.astype(np.float32)])
        known = source.known_ | dict.fromkeys(names, len(source.models))
        grown = source._with(Abilities.of(vectors), (*source.models, card.name), known)
        grown._source = grown
        return grown

    def save(self, directory: str | Path) -> Path:
        """Write the predictor and its encoder into the directory and return it."""
        directory = super().save(directory)
        self._encoder.save(directory / ENCODER)
        return directory

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Return the predictor that `save` wrote into the directory.

        Raises:
            CorruptArtifact: A file is missing, truncated, damaged or of another predictor.
        """
        predictor = super().load(directory)
        parts = (*_HEAD, *_ABILITIES, "prior", "known", "models")
        missing = [key for key in parts if not hasattr(predictor, f"{key}_")]
        if missing:
            raise CorruptArtifact(f"{directory}: {', '.join(missing)} missing; train it again.")
        predictor._encoder = StaticEncoder.load(Path(directory) / ENCODER)
        predictor._source = predictor
        return predictor

    @functools.cached_property
    def _head(self) -> DemandHead:
        return DemandHead(**{key: getattr(self, f"{key}_") for key in _HEAD})

    @functools.cached_property
    def _abilities(self) -> Abilities:
        return Abilities(**{key: getattr(self, f"{key}_") for key in _ABILITIES})

    def _learn(self, head: DemandHead, abilities: Abilities) -> None:
        """Keep both halves as the attributes that `save` writes."""
        for part, keys in ((head, _HEAD), (abilities, _ABILITIES)):
            for key in keys:
                setattr(self, f"{key}_", getattr(part, key))
        self.__dict__.update(_head=head, _abilities=abilities)

    def _with(
        self, abilities: Abilities, models: tuple[str, ...], known: dict[str, int]
    ) -> DefaultPredictor:
        """Return the same predictor for other models."""
        other = replace(self)
        vars(other).update(vars(self))
        other._learn(self._head, abilities)
        other.models_, other.known_ = models, known
        return other


@functools.cache
def _bundled() -> DefaultPredictor:
    return DefaultPredictor.load(WEIGHTS)


def bundled_encoder() -> StaticEncoder:
    """Return the encoder that ships with Tryage, the bundled predictor's own.

    Raises:
        CorruptArtifact: The installation is damaged.
    """
    return _bundled()._encoder
