"""From what the caller gives as models to named chat models, and to their cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.language_models import BaseChatModel

from tryage import (
    Capability,
    DuplicateModel,
    EmptyLibrary,
    Library,
    MissingExtra,
    ModelCard,
    UsageError,
)

Models = Mapping[str, BaseChatModel | str] | Sequence[BaseChatModel | str]
"""Chat models, or `"provider:model"` strings; in a mapping, under names of your own."""

_NAME_ATTRIBUTES = ("model_name", "model", "model_id", "deployment_name")

_IN_PROFILE: dict[str, Capability] = {
    "tool_calling": "tools",
    "image_inputs": "vision",
    "audio_inputs": "audio",
    "pdf_inputs": "files",
    "structured_output": "json_schema",
    "reasoning_output": "reasoning",
}
"""Capabilities, by what LangChain's model profiles call them."""

_BY_TOOLS: frozenset[Capability] = frozenset({"tools", "json_schema"})
"""What a chat model can do only if its class can bind tools."""


@dataclass(frozen=True)
class Candidates:
    """The chat models to choose from.

    Attributes:
        models: The models by name, in the caller's order.
        built: The names of those that were built from strings.
    """

    models: dict[str, BaseChatModel]
    built: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, models: Models, parameters: Mapping[str, Any]) -> Candidates:
        """Return the candidates.

        Args:
            models: Chat models or strings, as a sequence, or a mapping from names.
            parameters: Constructor parameters for those that are built from strings.

        Raises:
            EmptyLibrary: There is no model.
            DuplicateModel: Two models go by one name.
            UsageError: One is neither a chat model nor a string, or has no name.
            MissingExtra: A string's provider needs a package that is not installed.
        """
        if isinstance(models, BaseChatModel | str) or not isinstance(models, Mapping | Sequence):
            raise UsageError(
                f"models={type(models).__name__}: give a list of models, or a mapping from names."
            )
        if not models:
            raise EmptyLibrary("models is empty; give at least one chat model or string.")
        named: dict[str, BaseChatModel] = {}
        built = set()
        keys = models.keys() if isinstance(models, Mapping) else [None] * len(models)
        values = models.values() if isinstance(models, Mapping) else models
        for position, (key, given) in enumerate(zip(keys, values, strict=True)):
            model = _build(given, parameters) if isinstance(given, str) else given
            if not isinstance(model, BaseChatModel):
                raise UsageError(
                    f"models[{position if key is None else repr(key)}] is a "
                    f"{type(model).__name__}; give a chat model or a 'provider:model' string. "
                    "Of a binding, give the model that it binds, and bind on the router instead."
                )
            name = key or name_of(model, position)
            if name in named:
                raise DuplicateModel(
                    f"two models are called {name!r}, number {list(named).index(name) + 1} and "
                    f"number {position + 1}; give them names of their own with "
                    f"models={{'name': model, ...}}."
                )
            named[name] = model
            if isinstance(given, str):
                built.add(name)
        return cls(named, frozenset(built))

    def library(self, cards: Iterable[ModelCard | dict[str, Any]]) -> Library:
        """Return the models' cards: the caller's, else the bundled ones, else bare ones.

        What a card is silent about is read from the model itself, where LangChain knows it.

        Raises:
            DuplicateModel: Two names differ in nothing but case.
            UnknownModel: A card is of none of the models.
        """
        given = as_cards(cards)
        by_caller = {card.name for card in given}
        library = Library.of(self.models, given)
        return Library(
            card if card.name in by_caller else _completed(card, self.models[card.name])
            for card in library
        )


def as_cards(cards: Iterable[ModelCard | dict[str, Any]]) -> tuple[ModelCard, ...]:
    """Return cards, made from their facts where these are given as dictionaries.

    Raises:
        InvalidCard: A fact is out of range or of the wrong type.
    """
    return tuple(c if isinstance(c, ModelCard) else ModelCard(**c) for c in cards)


def name_of(model: BaseChatModel, position: int = 0) -> str:
    """Return the name that a chat model goes by at its provider.

    Raises:
        UsageError: It has none.
    """
    for attribute in _NAME_ATTRIBUTES:
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    raise UsageError(
        f"models[{position}], a {type(model).__name__}, has no name of its own; give it one with "
        "models={'name': model, ...}."
    )


def _build(text: str, parameters: Mapping[str, Any]) -> BaseChatModel:
    """Return the model that a `"provider:model"` string stands for."""
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise MissingExtra(
            f"{text!r} is built by langchain, which is not installed: "
            "pip install 'tryage[langchain]'"
        ) from error
    try:
        model: BaseChatModel = init_chat_model(text, **parameters)
    except ImportError as error:
        raise MissingExtra(f"{text!r}: {error}") from error
    except ValueError as error:
        if "provider" not in str(error):  # a parameter's fault, which the model explains best
            raise
        raise UsageError(
            f"{text!r} names no provider that LangChain knows; give 'provider:model', such as "
            "'openai:gpt-4o-mini', or a chat model."
        ) from error
    return model


def _completed(card: ModelCard, model: BaseChatModel) -> ModelCard:
    """Return the card with what LangChain knows of the model put where it is silent."""
    profile: Mapping[str, Any] = model.profile or {}
    capabilities, lacks = card.capabilities, card.lacks
    if capabilities is None and profile.keys() & _IN_PROFILE.keys():
        capabilities = frozenset(c for key, c in _IN_PROFILE.items() if profile.get(key))
    if type(model).bind_tools is BaseChatModel.bind_tools:
        # Such a class cannot call tools, whatever the model behind it can.
        if capabilities is None:
            lacks = (lacks or frozenset()) | _BY_TOOLS
        else:
            capabilities -= _BY_TOOLS
    return replace(
        card,
        capabilities=capabilities,
        lacks=lacks,
        context_tokens=card.context_tokens or profile.get("max_input_tokens"),
        max_output_tokens=card.max_output_tokens or profile.get("max_output_tokens"),
    )
