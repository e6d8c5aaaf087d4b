"""The LLMs to choose from: their names, cards and health, and the router over them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from llama_index.core.llms import LLM

from llamaindex_tryage.facts import Facts, facts_of, name_of
from tryage import (
    Capability,
    CircuitBreaker,
    Decision,
    DuplicateModel,
    EmptyLibrary,
    Flags,
    Library,
    ModelCard,
    Predictor,
    Request,
    Router,
    UsageError,
)

_TOOLS: frozenset[Capability] = frozenset({"tools"})
_NOTHING: frozenset[Capability] = frozenset()


def named(llms: Sequence[LLM], names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return one name for each LLM, unique.

    Args:
        llms: The LLMs.
        names: Their names, where the caller gives them.

    Raises:
        EmptyLibrary: There is no LLM.
        DuplicateModel: Two have one name.
        UsageError: One is no LLM, or there are not as many names as LLMs.
    """
    if not llms:
        raise EmptyLibrary("Tryage(llms=[]) has no model to choose from; give at least one LLM.")
    for position, llm in enumerate(llms):
        if not isinstance(llm, LLM):
            raise UsageError(
                f"llms[{position}] is {llm!r}, a {type(llm).__name__}; "
                "give instances of LlamaIndex LLMs."
            )
    if names is not None and len(names) != len(llms):
        raise UsageError(f"{len(names)} names for {len(llms)} LLMs; give one name for each.")
    found = tuple(names) if names is not None else tuple(name_of(llm) for llm in llms)
    for position, name in enumerate(found):
        if name in found[:position]:
            raise DuplicateModel(
                f"llms[{found.index(name)}] and llms[{position}] are both called {name!r}; "
                "give a mapping, llms={'one name': llm, 'another': llm}."
            )
    return found


class Candidates:
    """LLMs by name, with all that deciding between them takes.

    Nothing of an LLM is read before the first decision, since reading may reach for its server.

    Args:
        llms: The LLMs by name, in the order that breaks ties.
        cards: The caller's own cards; for the rest the bundled ones.
        predictor: How well each would do; the bundled default by default.
        flags: Wishes for every call.

    Raises:
        UnknownModel: A card is of none of the LLMs.
    """

    def __init__(
        self,
        llms: Mapping[str, LLM],
        cards: Iterable[ModelCard] = (),
        predictor: Predictor | None = None,
        flags: Flags | None = None,
    ) -> None:
        self.llms = dict(llms)
        self.breaker = CircuitBreaker()
        self._own = {card.name: card for card in cards}
        self._predictor = predictor
        self._flags = flags
        self._carded = Library.of(self.llms, self._own.values())
        if predictor is not None:
            predictor.for_library(self._carded)  # fails here rather than on the first call

    def decide(self, request: Request) -> Decision:
        """Return the decision for a request.

        A prompt that seems too long for all of them goes to one of the widest, to see for itself.

        Raises:
            NoEligibleModel: The limits exclude every model, or none can take the call.
        """
        widest = self.library.remember("widest context", lambda: _widest(self.library))
        if request.tokens.input > widest:
            # Sizes are estimates, and LlamaIndex fills the widest window to the brim.
            request = replace(request, tokens=request.tokens._replace(input=int(widest)))
        return self.router.route(request)

    @cached_property
    def facts(self) -> dict[str, Facts]:
        """What each LLM says of itself, by name; read once."""
        return {name: facts_of(llm) for name, llm in self.llms.items()}

    @cached_property
    def library(self) -> Library:
        """The cards, with what the LLMs themselves say laid over the bundled ones."""
        return Library(self._card(card) for card in self._carded)

    @cached_property
    def router(self) -> Router:
        """The router over all of them."""
        return Router(self.library, self._predictor, self._flags)

    @property
    def call_tools(self) -> tuple[str, ...]:
        """The names of those that can be given tools."""
        return tuple(card.name for card in self.library if card.has("tools") is not False)

    def _card(self, card: ModelCard) -> ModelCard:
        """Return the card as this LLM is set up; what the caller's own card says stays."""
        facts, own = self.facts[card.name], self._own.get(card.name)
        if facts.context_window and (own is None or own.context_tokens is None):
            card = replace(card, context_tokens=facts.context_window)
        # What has no method for tools cannot be given any, whatever its card says.
        told = own is not None and own.has("tools") is not None
        told = told and hasattr(self.llms[card.name], "chat_with_tools")
        if facts.calls_tools is not None and not told:
            card = _with_tools(card, facts.calls_tools)
        return card


def _with_tools(card: ModelCard, calls_tools: bool) -> ModelCard:
    """Return the card with what the LLM says of tools; what it says of the rest stays."""
    capabilities, lacks = card.capabilities, card.lacks
    if calls_tools:
        if capabilities is None and lacks is None:
            lacks = _NOTHING
        return replace(card, capabilities=(capabilities or _NOTHING) | _TOOLS, lacks=lacks)
    if capabilities is None or lacks is not None:
        lacks = (lacks or _NOTHING) | _TOOLS
    return replace(card, capabilities=capabilities and capabilities - _TOOLS, lacks=lacks)


def _widest(library: Library) -> float:
    """Return the widest context window in tokens; without end where one is not known."""
    return max(math.inf if c.context_tokens is None else c.context_tokens for c in library)
