"""`TryageSelector`: chooses among engines by prediction, without an LLM call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.schema import QueryBundle
from llama_index.core.tools import ToolMetadata

from tryage import Flags, Library, ModelCard, Predictor, Router, UsageError, as_flags
from tryage.predictors.default import bundled_encoder


class TryageSelector(BaseSelector):
    """Chooses one engine for a query, for `RouterQueryEngine` and `RouterRetriever`.

    What it goes by depends on what the choices are:

    - *Models*: engines over different LLMs. Each choice stands for the model that `models` gives
      it, or, without `models`, for the one that it is named after, if all of them are named after
      models of the bundled library. The choice whose model is predicted best for the query under
      the flags is taken.
    - *Anything else*: data or tasks, as told by their descriptions. The choice whose description is
      nearest to the query in meaning is taken, by the encoder that ships with Tryage. It tells
      subjects apart; it does not reason. Where choices differ in something that descriptions must
      be thought through for, such as one of all documents against one of single facts, take
      LlamaIndex's `LLMSingleSelector(llm=Tryage(...))`.

    It takes exactly one choice and asks no LLM, which takes microseconds. Of the engines it knows
    nothing but these names and descriptions: what they will retrieve is in no expected cost.

    Args:
        models: The model of each choice, by the choice's name; a plain text names itself.
        flags: Wishes, where the choices are models.
        cards: Your own cards, for models that the bundled library does not know.
        predictor: How well each model would do; the bundled default if none.

    Raises:
        UnknownFlag: A flag does not exist.
        UnknownModel: A card is of none of `models`.

    Examples:
        >>> subjects = TryageSelector()
        >>> subjects.select(["recipes and cooking", "stars and planets"], "How far is Mars?").ind
        1
        >>> sizes = TryageSelector(models={"quick": "gpt-4o-mini", "deep": "gpt-4o"}, flags="cheap")
        >>> sizes.select(["quick", "deep"], "What is the capital of France?").ind
        0
    """

    def __init__(
        self,
        models: Mapping[str, str] | None = None,
        flags: Flags | str | dict[str, Any] | None = None,
        cards: Sequence[ModelCard | dict[str, Any]] = (),
        predictor: Predictor | None = None,
    ) -> None:
        self._models = None if models is None else dict(models)
        self._flags = as_flags(flags)
        self._cards = [c if isinstance(c, ModelCard) else ModelCard(**c) for c in cards]
        self._predictor = predictor
        self._routers: dict[tuple[str, ...], Router] = {}
        if models is not None:
            # What cannot be fails here rather than on the first query.
            Library.of(dict.fromkeys(models.values()), self._cards)

    def _select(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> SelectorResult:
        if not choices:
            raise UsageError("there is nothing to select from; give the engine at least one tool.")
        models = self._models_of(choices)
        chosen = _nearest(choices, query) if models is None else self._best(models, query)
        return SelectorResult(selections=[chosen])

    async def _aselect(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> SelectorResult:
        return self._select(choices, query)

    def _get_prompts(self) -> PromptDictType:
        return {}  # there is no LLM to prompt

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        return None

    def _models_of(self, choices: Sequence[ToolMetadata]) -> list[str] | None:
        """Return the model that each choice stands for; `None` where they stand for none."""
        names = [choice.name or choice.description for choice in choices]
        if self._models is not None:
            without = [name for name in names if name not in self._models]
            if without:
                raise UsageError(
                    f"no model is given for the choice {without[0]!r}; models has "
                    f"{', '.join(map(repr, self._models))}: add it there."
                )
            return [self._models[name] for name in names]
        known = {card.name for card in self._cards}
        if all(name in known or name in Library.bundled() for name in names):
            return names
        if self._flags != Flags() or self._cards or self._predictor is not None:
            raise UsageError(
                f"the choices {', '.join(map(repr, names))} are not all models, so that there is "
                "nothing to weigh; give models={'choice': 'model', ...}, or no flags and cards."
            )
        return None

    def _best(self, models: Sequence[str], query: QueryBundle) -> SingleSelection:
        """Return the choice whose model does best on the query under the flags."""
        decision = self._router(tuple(models)).route(query.query_str)
        told = decision.summary()
        reason = f"{decision.model} is predicted best: quality {told['quality']:.2f}"
        if told["expected_cost_usd"] is not None:
            reason += f", ${told['expected_cost_usd']:.6f} expected"
        return SingleSelection(index=models.index(decision.model), reason=reason)

    def _router(self, models: tuple[str, ...]) -> Router:
        """Return the router over these models; made once."""
        if models not in self._routers:
            cards = [card for card in self._cards if self._models is None or card.name in models]
            library = Library.of(dict.fromkeys(models), cards)
            self._routers[models] = Router(library, self._predictor, self._flags)
        return self._routers[models]


def _nearest(choices: Sequence[ToolMetadata], query: QueryBundle) -> SingleSelection:
    """Return the choice whose description is nearest to the query."""
    texts = [choice.description or choice.name or "" for choice in choices]
    asked, *described = bundled_encoder().encode([query.query_str, *texts])
    near = [float(asked @ vector) for vector in described]
    index = near.index(max(near))
    return SingleSelection(
        index=index, reason=f"its description is nearest to the query: {near[index]:.2f}"
    )
