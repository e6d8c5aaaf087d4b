"""`TryageDecisionModel`: Tryage behind LangChain's own router hook."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables.config import ensure_config
from pydantic import ConfigDict, InstanceOf, PrivateAttr

from langchain_tryage.inputs import Routable, library_of, request_from
from tryage import (
    Decision,
    Flags,
    Library,
    MissingExtra,
    ModelCard,
    Predictor,
    Router,
    UsageError,
    as_flags,
)

try:
    from langchain_core.decisions import (
        Answer,
        BaseDecisionModel,
        Choice,
        ChoiceAnswer,
        ClassifierResponse,
        Question,
        State,
    )
except ImportError as error:
    raise MissingExtra(
        f"TryageDecisionModel needs langchain-core 1.8, and {version('langchain-core')} is "
        "installed: pip install -U 'langchain-core>=1.8'"
    ) from error

DOUBT = 0.1
"""By how much an objective may well be off: the scale of the odds between two models.

A model whose objective is better by this much is e times, about 2.7 times, as likely.
"""


class TryageDecisionModel(BaseDecisionModel):
    """Answers which model is best for a prompt, where LangChain asks a decision model.

    With it, LangChain's `ModelRouterMiddleware` routes by what Tryage predicts. It answers
    `Choice` questions whose options are names of models; what their criteria say in words is not
    read, since Tryage knows the models by their cards. `TryageMiddleware` decides on more, for
    each model call, and has the next model answer where one fails.

    The probabilities are those of a choice between objectives that are each in some doubt: the
    softmax of `-objective / DOUBT`. They order the options as the ranking does; no data stands
    behind their size. An option that a limit excludes has 0. The confidence is the probability of
    the option that is chosen.

    Args:
        models: What may be asked for: names, cards, a `Library`, or chat models as `ChatTryage`
            takes them; the bundled library by default.
        flags: Wishes for every question; `tryage_flags` in `config["configurable"]` and
            `with tryage.flags(...)` are stronger.
        cards: Cards for models that are given by name or as chat models.
        predictor: Predicts quality; the bundled default predictor by default.

    Raises:
        EmptyLibrary: There is no model.
        DuplicateModel: Two models go by one name.
        UnknownModel: A card is of none of the models.
        UsageError: One is neither a name nor a card nor a chat model.
        InvalidFlag: A flag has a value that it cannot have.
        UnknownFlag: There is no such flag.

    Example:
        >>> from langchain_core.decisions import Choice
        >>> question = Choice(
        ...     instructions="Which model?", criteria={"gpt-4o": None, "gpt-4o-mini": None}
        ... )
        >>> decider = TryageDecisionModel(flags="cheapest")
        >>> response = decider.invoke({"state": "Hello", "questions": {"route": question}})
        >>> response.choices["route"].choice
        'gpt-4o-mini'
    """

    model: str = "tryage"
    """What the router goes by in traces."""

    models: InstanceOf[Library]
    """The cards of the models that may be asked for."""

    flags: InstanceOf[Flags]
    """Wishes for every question."""

    predictor: InstanceOf[Predictor] | None = None
    """Predicts quality; `None` for the bundled one."""

    _router_over: Any = PrivateAttr()

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def __init__(
        self,
        models: Routable | None = None,
        *,
        flags: Flags | str | dict[str, Any] | None = None,
        cards: Iterable[ModelCard | dict[str, Any]] = (),
        predictor: Predictor | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs |= {
            "models": library_of(models, cards),
            "flags": as_flags(flags),
            "predictor": predictor,
        }
        super().__init__(**kwargs)

        # The options are the same with every call of an agent.
        @lru_cache(maxsize=64)
        def router_over(options: tuple[str, ...]) -> Router:
            return Router(self.models.select(options), predictor, self.flags)

        self._router_over = router_over

    @property
    def _provider(self) -> str:
        return "tryage"

    def _classify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        _, request = request_from(_messages(state), ensure_config(), self.models)
        answers: dict[str, Answer] = {}
        for name, question in questions.items():
            options = self._options(name, question)
            decision = self._router_over(options).route(request)
            answers[name] = _answer(options, decision)
        return ClassifierResponse(model=self.model, answers=answers)

    async def _aclassify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        return self._classify(state, questions)

    def _options(self, name: str, question: Question) -> tuple[str, ...]:
        """Return the models to choose from."""
        if not isinstance(question, Choice):
            raise UsageError(
                f"question {name!r} is a {type(question).__name__}; TryageDecisionModel picks "
                "models, so ask a Choice whose options are names of models."
            )
        unknown = [option for option in question.criteria if option not in self.models]
        if unknown:
            raise UsageError(
                f"question {name!r} has options that are no known models: {', '.join(unknown)}. "
                "Call the options as the models are called, or tell of them with "
                "TryageDecisionModel(models=[ModelCard(name=...), ...])."
            )
        return tuple(question.criteria)


def _answer(options: Sequence[str], decision: Decision) -> ChoiceAnswer:
    least = float(decision.objective.min())
    # Relative to the least, so that the exponential cannot overflow; excluded models are at inf.
    odds = [math.exp((least - float(value)) / DOUBT) for value in decision.objective]
    probabilities = {option: odd / sum(odds) for option, odd in zip(options, odds, strict=True)}
    choice = options[decision.library.position(decision.model)]
    return ChoiceAnswer(
        type="choice",
        choice=choice,
        probabilities=probabilities,
        confidence=probabilities[choice],
    )


def _messages(state: State) -> list[BaseMessage]:
    """Return the state as a conversation; what is neither text nor messages as JSON text."""
    if isinstance(state, str):
        return [HumanMessage(state)]
    if isinstance(state, BaseMessage):
        return [state]
    if isinstance(state, Sequence):
        messages = [part for part in state if isinstance(part, BaseMessage)]
        if len(messages) == len(state):
            return messages
    return [HumanMessage(json.dumps(state, default=_text))]


def _text(part: object) -> str:
    return part.text if isinstance(part, BaseMessage) else str(part)
