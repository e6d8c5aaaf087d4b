"""What calls cost, once their tokens are known."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from tryage.cards import ModelCard
from tryage.errors import UsageError
from tryage.library import Library


class Usage(NamedTuple):
    """The tokens of one call, as its provider counted them.

    Attributes:
        input_tokens: Of the prompt, those from the provider's cache among them.
        output_tokens: Of the answer, hidden thinking among them.
        cached_input_tokens: Those of the prompt that the provider's cache held.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0


def cost_usd(card: ModelCard, usage: Usage) -> float | None:
    """Return what a call cost in USD; `None` where the card has no prices.

    Tokens from the provider's cache cost the card's price for them, or the ordinary one where the
    card has none. What a provider charges for writing to its cache is not counted.

    Args:
        card: The model that answered.
        usage: The tokens of the call.

    Example:
        >>> card = ModelCard(name="m", input_usd_per_mtok=2.0, output_usd_per_mtok=10.0)
        >>> cost_usd(card, Usage(input_tokens=1000, output_tokens=100))
        0.003
    """
    if card.input_usd_per_mtok is None or card.output_usd_per_mtok is None:
        return None
    cached_price = card.cached_input_usd_per_mtok
    if cached_price is None:
        cached_price = card.input_usd_per_mtok
    fresh = usage.input_tokens - usage.cached_input_tokens
    return (
        fresh * card.input_usd_per_mtok
        + usage.cached_input_tokens * cached_price
        + usage.output_tokens * card.output_usd_per_mtok
    ) / 1e6


@dataclass(frozen=True, slots=True)
class ModelSpend:
    """What one model was called for, and what that cost.

    Attributes:
        calls: Answers that were paid for.
        cached: Answers that the application's own cache gave, which cost nothing.
        failed: Calls that ended in an error.
        unpriced: Answers of unknown cost: no prices on the card, or no tokens reported.
        input_tokens: Tokens of all prompts.
        output_tokens: Tokens of all answers.
        cost_usd: USD for all answers of known cost.
    """

    calls: int = 0
    cached: int = 0
    failed: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


class Spend:
    """Adds up what calls cost, by model, and what they would have cost on one model.

    Safe to share between threads.

    Args:
        reference: The model to compare with: the one that would have been called without a router.
        library: Where models are looked up first, such as a router's; then the bundled library.

    Raises:
        UnknownModel: No library holds the reference model.
        UsageError: The reference model's card has no prices.

    Example:
        >>> spend = Spend(reference="gpt-4o")
        >>> spend.add("gpt-4o-mini", Usage(1000, 200))
        >>> round(spend.cost_usd, 6), round(spend.saved_usd, 6)
        (0.00027, 0.00423)
    """

    def __init__(self, reference: str | None = None, library: Library | None = None) -> None:
        bundled = Library.bundled()
        self._libraries = (bundled,) if library is None else (library, bundled)
        self._lock = threading.Lock()
        self._models: dict[str, ModelSpend] = {}
        self._reference_usd = 0.0
        self.reference = None if reference is None else self._priced(reference)

    def add(self, model: str, usage: Usage | None) -> None:
        """Add one answer.

        Args:
            model: The model that gave it.
            usage: Its tokens, or `None` where nobody counted them.
        """
        card = self._card(model)
        cost = None if usage is None or card is None else cost_usd(card, usage)
        tokens = usage or Usage(0, 0)
        with self._lock:
            so_far = self._of(model)
            self._models[model] = replace(
                so_far,
                calls=so_far.calls + 1,
                unpriced=so_far.unpriced + (cost is None),
                input_tokens=so_far.input_tokens + tokens.input_tokens,
                output_tokens=so_far.output_tokens + tokens.output_tokens,
                cost_usd=so_far.cost_usd + (cost or 0.0),
            )
            if self.reference is not None and cost is not None:
                # The reference model's own cache would have held as much of the prompt.
                self._reference_usd += cost_usd(self.reference, tokens) or 0.0

    def add_cached(self, model: str) -> None:
        """Add an answer that the application's own cache gave: no model was paid."""
        with self._lock:
            self._models[model] = replace(self._of(model), cached=self._of(model).cached + 1)

    def add_failed(self, model: str) -> None:
        """Add a call that ended in an error; what a provider charges for it is not known."""
        with self._lock:
            self._models[model] = replace(self._of(model), failed=self._of(model).failed + 1)

    @property
    def models(self) -> dict[str, ModelSpend]:
        """What each model was called for, by name."""
        with self._lock:
            return dict(self._models)

    @property
    def cost_usd(self) -> float:
        """USD for all answers of known cost."""
        return sum(model.cost_usd for model in self.models.values())

    @property
    def reference_usd(self) -> float | None:
        """USD that the same tokens would have cost on the reference model, if one was named.

        Of answers whose cost is known. Another model would have used somewhat other tokens, so
        this is an estimate.
        """
        return None if self.reference is None else self._reference_usd

    @property
    def saved_usd(self) -> float | None:
        """USD saved against the reference model; below 0 where more was spent."""
        return None if self.reference is None else self._reference_usd - self.cost_usd

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {
            "cost_usd": self.cost_usd,
            "reference": None if self.reference is None else self.reference.name,
            "reference_usd": self.reference_usd,
            "saved_usd": self.saved_usd,
            "models": {name: asdict(spent) for name, spent in self.models.items()},
        }

    def _of(self, model: str) -> ModelSpend:
        return self._models.get(model) or ModelSpend()

    def _card(self, model: str) -> ModelCard | None:
        return next((lib.find(model) for lib in self._libraries if model in lib), None)

    def _priced(self, name: str) -> ModelCard:
        card = self._card(name) or self._libraries[-1].find(name)  # which raises UnknownModel
        if cost_usd(card, Usage(1, 1)) is None:
            raise UsageError(
                f"the reference model {name!r} has no prices; give a library whose card for it "
                "has input_usd_per_mtok and output_usd_per_mtok, or name another model."
            )
        return card

    def __repr__(self) -> str:
        calls = sum(model.calls for model in self.models.values())
        saved = "" if self.saved_usd is None else f", saved ${self.saved_usd:.6f}"
        return f"Spend({calls} calls, ${self.cost_usd:.6f}{saved})"
