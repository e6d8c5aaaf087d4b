"""An ordered, immutable set of model cards."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from tryage.cards import ModelCard
from tryage.errors import DuplicateModel, EmptyLibrary, UnknownModel, nearest
from tryage.library.reader import read_cards

T = TypeVar("T")
_MISSING = object()


class Library:
    """What a router chooses from: model cards in an order that breaks ties.

    Args:
        cards: At least one card; names and aliases are unique without regard to case.

    Raises:
        EmptyLibrary: There is no card.
        DuplicateModel: Two cards share a name or an alias.

    Example:
        >>> library = Library([ModelCard(name="small"), ModelCard(name="large", aliases=("xl",))])
        >>> library.find("XL").name
        'large'
    """

    def __init__(self, cards: Iterable[ModelCard]) -> None:
        self._cards = tuple(cards)
        if not self._cards:
            raise EmptyLibrary("a library needs at least one model card; 0 were given.")
        self.names: tuple[str, ...] = tuple(card.name for card in self._cards)
        self._positions: dict[str, int] = {}
        for position, card in enumerate(self._cards):
            for name in (card.name, *card.aliases):
                other = self._positions.setdefault(name.lower(), position)
                if other != position:
                    raise DuplicateModel(
                        f"{name!r} names two models: {self.names[other]!r} (number {other + 1}) "
                        f"and {card.name!r} (number {position + 1}). Rename one, or drop the alias."
                    )
        self._remembered: dict[str, object] = {}

    @classmethod
    def read(cls, *paths: str | Path) -> Library:
        """Return the library written in TOML files, in the order given.

        Args:
            paths: Files with one `[[models]]` table per card; the keys are `ModelCard`'s fields.

        Raises:
            InvalidCard: A card is at fault; the message names file, line and key.
            UsageError: A file cannot be read as TOML.
            DuplicateModel: Two cards share a name or an alias.
            EmptyLibrary: No file holds a card.
        """
        return cls(card for path in paths for card in read_cards(Path(path)))

    @classmethod
    def bundled(cls) -> Library:
        """Return the library that ships with Tryage; read once per process."""
        return _bundled()

    @classmethod
    def of(cls, names: Iterable[str], cards: Iterable[ModelCard] = ()) -> Library:
        """Return the library of the models that a caller holds, one card per name, in that order.

        Args:
            names: What the caller calls the models; unique.
            cards: The caller's own cards. A model without one takes the bundled card of that name
                or alias; without that either, a bare card, on which all but the name is unknown.

        Raises:
            EmptyLibrary: There is no name.
            DuplicateModel: A name stands twice.
            UnknownModel: A card is of none of the models.
        """
        wanted = list(names)
        own = {card.name: card for card in cards}
        for name in own.keys() - set(wanted):
            raise UnknownModel(
                f"a card is given for {name!r}, which is none of the models."
                f"{nearest(name, wanted)} The models are: {', '.join(wanted)}."
            )
        bundled = cls.bundled()
        found = (
            own.get(name) or (bundled.find(name) if name in bundled else ModelCard(name=name))
            for name in wanted
        )
        # Aliases go, but for the card's own name: two of the caller's models may be one model,
        # served from two places.
        taken = {name.lower() for name in wanted}
        renamed = []
        for name, card in zip(wanted, found, strict=True):
            alias = () if card.name.lower() in taken else (card.name,)
            taken.update(alias)
            renamed.append(replace(card, name=name, aliases=alias))
        return cls(renamed)

    def find(self, name: str) -> ModelCard:
        """Return the card of this name or alias, without regard to case.

        Raises:
            UnknownModel: No card has that name.
        """
        return self._cards[self.position(name)]

    def position(self, name: str) -> int:
        """Return where in the order the model of this name or alias stands, from 0.

        Raises:
            UnknownModel: No card has that name.
        """
        position = self._positions.get(name.lower())
        if position is None:
            listed = ", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else "")
            raise UnknownModel(
                f"{name!r} is not in this library of {len(self)} models."
                f"{nearest(name, self.names)} It holds: {listed}."
            )
        return position

    def select(self, names: Iterable[str]) -> Library:
        """Return the library of these models, in the order of `names`.

        Raises:
            UnknownModel: No card has one of the names.
        """
        return Library(self.find(name) for name in names)

    def column(self, name: str, value: Callable[[ModelCard], float | None]) -> NDArray[np.float64]:
        """Return one number for every card as an array (n_models,), NaN where the card is silent.

        Args:
            name: What the column is remembered by; one name, one `value`.
            value: Reads the number off a card.
        """
        return self.remember(name, lambda: self._read_column(value))

    def remember(self, name: str, compute: Callable[[], T]) -> T:
        """Return what `compute` gave the first time that this name was asked for.

        Cards do not change, so what follows from them alone is worked out once. Two threads that
        ask at the same time may both compute; they get equal values.
        """
        value = self._remembered.get(name, _MISSING)
        if value is _MISSING:
            value = self._remembered[name] = compute()
        return cast(T, value)

    def _read_column(self, value: Callable[[ModelCard], float | None]) -> NDArray[np.float64]:
        read = (value(card) for card in self._cards)
        column = np.array([np.nan if v is None else v for v in read], dtype=np.float64)
        column.setflags(write=False)
        return column

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._positions

    def __len__(self) -> int:
        return len(self._cards)

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self._cards)

    def __getitem__(self, position: int) -> ModelCard:
        return self._cards[position]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Library) and self._cards == other._cards

    def __hash__(self) -> int:
        return hash(self._cards)

    def __repr__(self) -> str:
        more = ", ..." if len(self) > 4 else ""
        return f"Library({len(self)} models: {', '.join(self.names[:4])}{more})"


def names_of(card: ModelCard) -> tuple[str, ...]:
    """Return every name that a model is known by in lower case, the bundled card's among them."""
    own = (card.name, *card.aliases)
    bundled = Library.bundled()
    twin = next((bundled.find(name) for name in own if name in bundled), None)
    others = (twin.name, *twin.aliases) if twin else ()
    return tuple(name.lower() for name in (*own, *others))


@functools.cache
def _bundled() -> Library:
    return Library.read(*sorted(Path(__file__).parent.glob("*.toml")))
