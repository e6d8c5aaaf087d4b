"""What all candidates have in common: what the router can promise whichever is picked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from langchain_core.language_models import BaseChatModel, ModelProfile

from tryage import count_tokens

NO_COMMON_PROVIDER = "tryage"


def common_profile(models: Iterable[BaseChatModel]) -> ModelProfile | None:
    """Return the profile that every model fulfils, or `None` where one has none.

    What one is able to do all must be; of limits the smallest holds; the rest is left out.
    """
    profiles: list[dict[str, Any]] = [dict(model.profile or {}) for model in models]
    shared = set(profiles[0]).intersection(*profiles[1:])
    common: dict[str, Any] = {}
    for key in profiles[0]:
        values = [profile[key] for profile in profiles] if key in shared else []
        if values and all(isinstance(value, bool) for value in values):
            common[key] = all(values)
        elif values and all(type(value) is int for value in values):
            common[key] = min(values)
    return cast(ModelProfile, common) if common else None


def common_provider(models: Iterable[BaseChatModel]) -> str:
    """Return the provider of all models as traces name it; `"tryage"` where they differ."""
    providers = {model._get_ls_params().get("ls_provider") for model in models}
    only = providers.pop()
    return only if only and not providers else NO_COMMON_PROVIDER


def count_with(
    models: Iterable[BaseChatModel], count: Callable[[BaseChatModel], int], text: str
) -> int:
    """Return the count of the first model that has a tokenizer of its own, or else an estimate.

    Args:
        models: The models, in order.
        count: Asks one of them.
        text: What is counted where none can.
    """
    for model in models:
        counts = (type(model).get_token_ids, type(model).get_num_tokens)
        if counts != (BaseChatModel.get_token_ids, BaseChatModel.get_num_tokens):
            try:
                return count(model)
            except (NotImplementedError, ImportError):  # unknown model, or its tokenizer is absent
                continue
    return count_tokens(text)
