"""From what LangChain hands over to what the core routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig

from langchain_tryage.calls import flags_in
from langchain_tryage.candidates import Candidates, Models, as_cards
from langchain_tryage.messages import turns_of, without_flags
from tryage import Flags, Library, ModelCard, Request, UsageError, request_of

T = TypeVar("T")

Routable = Library | Sequence[ModelCard] | Sequence[str] | Models
"""A library, cards or names of models; or chat models, as `ChatTryage` takes them."""


def request_from(
    messages: list[BaseMessage],
    config: RunnableConfig,
    library: Library,
    *,
    prompt_flags: bool = False,
    needs: frozenset[Any] = frozenset(),
    only: Flags | None = None,
    max_output_tokens: int | None = None,
    tool_tokens: int = 0,
) -> tuple[list[BaseMessage], Request]:
    """Return the messages as a model shall see them, and the request to be routed.

    Args:
        messages: The conversation, oldest first.
        config: The config of the call, complete.
        library: The models that there are to choose from.
        prompt_flags: Read flags from user messages, and take them out.
        needs: Capabilities without which the call fails, beside what the messages show.
        only: Flags stronger than all others.
        max_output_tokens: The cut that the caller sets, if any.
        tool_tokens: How many tokens the tools are that the model is told of.

    Raises:
        EmptyPrompt: There is neither text nor an attachment.
        UnknownFlag: The config or a message names a flag that does not exist.
        InvalidFlag: A flag has a value that it cannot have.
    """
    strongest = None
    if prompt_flags:
        messages, strongest = without_flags(messages)
    if only is not None:
        strongest = only if strongest is None else strongest.merged(only)
    request = request_of(
        turns_of(messages, library),
        needs=needs,
        flags=flags_in(config),
        prompt_flags=strongest,
        max_output_tokens=max_output_tokens,
        tool_tokens=tool_tokens,
    )
    return messages, request


def messages_of(input: LanguageModelInput) -> list[BaseMessage]:
    """Return the messages of a prompt in any form that chat models take.

    Raises:
        UsageError: It has none of these forms.
    """
    if isinstance(input, str):
        return [HumanMessage(input)]
    if isinstance(input, PromptValue):
        return input.to_messages()
    if isinstance(input, Sequence):
        return convert_to_messages(input)
    raise UsageError(
        f"cannot route a {type(input).__name__}; give a prompt (str), a PromptValue or a list of "
        "messages."
    )


def library_of(
    models: Routable | None, cards: Iterable[ModelCard | dict[str, Any]] = ()
) -> Library:
    """Return the cards to choose from.

    Args:
        models: What there is to choose from; the bundled library where it is `None`.
        cards: Cards for models that are given by name or as chat models.

    Raises:
        EmptyLibrary: There is no model.
        DuplicateModel: Two models go by one name.
        UnknownModel: A card is of none of the models.
        UsageError: One is neither a card nor a name nor a chat model; or `cards` are given for
            what has cards already.
    """
    own = as_cards(cards)
    if models is None:
        models = Library.bundled()
    if isinstance(models, str) or not isinstance(models, Library | Mapping | Sequence):
        raise UsageError(
            f"models={type(models).__name__}: give a list of names, cards or chat models, a "
            "mapping from names to chat models, or a Library."
        )
    if isinstance(models, Library) or _all(models, ModelCard):
        if own:
            raise UsageError(
                f"cards for {len(own)} models, though all have cards of their own; put yours into "
                "models."
            )
        return models if isinstance(models, Library) else Library(models)
    if _all(models, str):
        return Library.of([_model_named(text) for text in models], own)
    return Candidates.of(cast(Models, models), {}).library(own)


def _all(models: Mapping[str, Any] | Sequence[Any], kind: type[T]) -> TypeGuard[Sequence[T]]:
    """Return whether this is a list of one kind, with at least one in it."""
    return (
        not isinstance(models, Mapping)
        and len(models) > 0
        and all(isinstance(model, kind) for model in models)
    )


def _model_named(text: str) -> str:
    """Return the model's name; of `"provider:model"` the second part, if the library knows it."""
    model = text.partition(":")[2]
    bundled = Library.bundled()
    return model if text not in bundled and model in bundled else text
