"""What the router's constructor is given beside its own arguments, and which model gets it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from langchain_tryage.candidates import Candidates

PER_CALL = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "n",
        "presence_penalty",
        "reasoning_effort",
        "seed",
        "temperature",
        "top_k",
        "top_logprobs",
        "top_p",
    }
)
"""What chat models also take with each call, so that it reaches models that the caller built."""

_PUSHED = ("cache", "rate_limiter", "output_version", "disable_streaming", "streaming")
"""Settings of the router that stand for every model that has none of its own."""


def per_call_defaults(
    candidates: Candidates, parameters: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the arguments that each model takes with every call, by model.

    Models that were built from strings have them from their constructors.
    """
    given = {key: value for key, value in parameters.items() if key in PER_CALL}
    if not given:
        return {}
    return {name: given for name in candidates.models if name not in candidates.built}


def warn_of_unused(candidates: Candidates, parameters: Iterable[str], known: Iterable[str]) -> None:
    """Warn of arguments that reach no model, since all of them were built by the caller."""
    unused = [name for name in parameters if name not in PER_CALL]
    if unused and not candidates.built:
        warnings.warn(
            f"ChatTryage: {', '.join(unused)} reaches no model. Such arguments go to models given "
            "as 'provider:model' strings; set them on the models themselves. ChatTryage's own "
            f"are: {', '.join(sorted(known))}.",
            UserWarning,
            stacklevel=3,
        )


def warn_of_uncounted(candidates: Candidates) -> None:
    """Warn of models that report no tokens when they stream, so that nobody knows what they cost.

    `ChatOpenAI` asks OpenAI for them, but another server only where it is told to.
    """
    silent = [
        name
        for name, model in candidates.models.items()
        if getattr(model, "stream_usage", False) is None
    ]
    if silent:
        warnings.warn(
            f"ChatTryage: {', '.join(silent)} will report no tokens when streaming, so that the "
            "cost of streams is not known. Give stream_usage=True where its server can count "
            "them, or stream_usage=False to be spared this.",
            UserWarning,
            stacklevel=3,
        )


def pushed_down(model: BaseChatModel, router: BaseChatModel) -> BaseChatModel:
    """Return the model with the router's settings put where it has none of its own.

    Its own come first. The copy shares the model's clients.
    """
    update = {}
    for name in _PUSHED:
        if name in router.model_fields_set and name in type(model).model_fields:
            value, own = getattr(router, name), getattr(model, name)
            unset = own is None or name not in model.model_fields_set
            if value is not None and value != own and unset:
                update[name] = value
    return model.model_copy(update=update) if update else model
