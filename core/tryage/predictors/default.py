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
from tryage.errors import CorruptArtifact, UsageError
from tryage.library import Library
from tryage.predictors.ability import BARE_DOUBT, CardPrior
from tryage.predictors.base import Predictor
from tryage.predictors.demand import DISCRIMINATION, EASE, Abilities, DemandHead, quality
from tryage.predictors.demand_fit import fit_head
from tryage.predictors.lessons import Anchors, gather
from tryage.predictors.placing import informative, place_among, read_through, refine
from tryage.predictors.staging import staged

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
        rank: Most particular strengths of a model, beyond its general ability, that are kept.
        seed: The same seed and table give the same predictor.

    Example:
        >>> from tryage import Library
        >>> predictor = DefaultPredictor.bundled().for_library(Library.bundled())
        >>> predictor.predict(["What is the capital of France?"]).min() > 0.5
        np.True_
    """

    name: ClassVar[str] = "default"
    rank: int = 40
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
                both names, or if the names are equal. A table that bears the name of a benchmark
                on cards tells what an accuracy there speaks for.
            library: What the cards say of the models, and of others beside them.
            anchors: Prompts with a prior in place of measurements.
            encoder: Text to vectors; the bundled one if absent.
        """
        self._encoder = encoder or bundled_encoder()
        self._source: DefaultPredictor = self
        material = gather(tables, library, anchors, self._encoder)
        self.models_, self.known_ = material.models, material.known
        head, vectors = fit_head(material, self.rank, self.seed)
        self._learn(head, Abilities.of(vectors))
        known = vectors.astype(np.float64)
        prior = read_through(material.prior, tables, library, known, self.demands)
        self.prior_ = prior.to_json()
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

        Thirty prompts that `informative` chose are enough, or about a hundred at random: the
        ability vector begins at what the card says and moves as far as the scores demand. The
        scores of known models in the same table tell how hard those prompts are; a table in which
        they were measured on many prompts, and the new model on a few, serves best. Nothing else
        changes.

        Args:
            card: The model; known afterwards by its name and aliases.
            table: Holds a column for it, under the card's name or an alias.

        Raises:
            UnknownModel: The table has no such column.
        """
        self._check_fitted()
        names = {name.lower() for name in (card.name, *card.aliases)}
        column = next((m for m in table.models if m.lower() in names), card.name)
        scores = table.only([column]).scores[:, 0].astype(np.float64)
        source = self._source
        vectors = source._abilities.vectors().astype(np.float64)
        spread = vectors.std(axis=1)
        start = np.zeros(len(vectors))
        start[EASE] = 1
        general, doubt = CardPrior.from_json(source.prior_).read(card)
        start[DISCRIMINATION], spread[DISCRIMINATION] = general, doubt
        numbers, others = source._measured(table, column)
        use = np.flatnonzero(~np.isnan(np.column_stack([scores, others])).all(axis=1))
        demands = source.demands([table.prompts[row] for row in use])
        placed = place_among(demands, vectors[:, numbers], others[use], scores[use], start, spread)
        both = np.column_stack([vectors, placed]).astype(np.float32)
        known = source.known_ | dict.fromkeys(names, len(source.models))
        grown = source._with(Abilities.of(both), (*source.models, card.name), known)
        grown._source = grown
        return grown

    def informative(self, table: PerformanceTable, k: int) -> PerformanceTable:
        """Return the k prompts of a table that tell most about a model that is not yet known.

        Run the new model on them, score its answers, and `place` it.

        Args:
            table: Prompts to choose from. Scores of models that this predictor knows tell how hard
                the prompts are; without any, their text alone does. With domains, each gives its
                share.
            k: How many, at least 1.

        Returns:
            Their rows, the most informative first, so that any number of the first can be used.

        Raises:
            UsageError: The table has fewer than k prompts, or k is below 1.
        """
        self._check_fitted()
        if not 1 <= k <= len(table):
            raise UsageError(f"k={k}: choose from 1 to {len(table)} prompts, all that there are.")
        source = self._source
        vectors = source._abilities.vectors().astype(np.float64)
        numbers, scores = source._measured(table)
        demands = refine(source.demands(table.prompts), vectors[:, numbers], scores)
        spread = vectors.std(axis=1)
        spread[DISCRIMINATION] = BARE_DOUBT * source.prior_["sd"]
        return table.rows(informative(demands, vectors, spread, table.domains, k))

    def demands(self, prompts: Sequence[str]) -> NDArray[np.float64]:
        """Return what prompts demand of models, float64 (n_prompts, n_demands)."""
        self._check_fitted()
        rows = np.zeros((len(prompts), len(self._head.bias)))
        for row, prompt in zip(rows, prompts, strict=True):
            row[:] = self._head.demands(self._head.features(self._encoder, prompt))
        return rows

    def _measured(
        self, table: PerformanceTable, but: str | None = None
    ) -> tuple[list[int], NDArray[np.float64]]:
        """Return the numbers of the known models in a table, and their scores there."""
        known = self.known_ | {name.lower(): i for i, name in enumerate(self.models)}
        found = {m: known[m.lower()] for m in table.models if m.lower() in known and m != but}
        return [*found.values()], table.only([*found]).scores.astype(np.float64)

    def save(self, directory: str | Path) -> Path:
        """Write the predictor and its encoder into the directory and return it."""
        self._check_fitted()
        with staged(Path(directory)) as fresh:
            super().save(fresh)
            self._encoder.save(fresh / ENCODER)
        return Path(directory)

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
