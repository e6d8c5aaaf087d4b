"""Tools that are bound to whichever model is picked, in that model's own form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool

from tryage import UsageError, count_tokens

OPTIONS = (
    "tool_choice",
    "strict",
    "parallel_tool_calls",
    "response_format",
    "ls_structured_output_format",
)
"""Arguments of `bind_tools` beside the tools: the model's own `bind_tools` puts them right."""


class Target(NamedTuple):
    """A chat model, and what a binding adds to each call of it."""

    model: BaseChatModel
    kwargs: dict[str, Any]
    config: RunnableConfig | None = None


@dataclass(frozen=True)
class BoundTools:
    """The tools of one `bind_tools`, as given and in OpenAI's form.

    Attributes:
        given: What the caller gave: tools, functions, classes or dictionaries.
        formatted: The same in OpenAI's form; what a binding carries, since others look at it.
        options: The other arguments that the binding carries.
        tokens: About how many tokens the tools are.
    """

    given: tuple[Any, ...]
    formatted: list[dict[str, Any]]
    options: dict[str, Any]
    tokens: int = 0
    _targets: dict[str, Target] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, tools: Sequence[Any], options: Mapping[str, Any]) -> BoundTools:
        """Return the tools with the options that were given."""
        strict = options.get("strict")
        formatted = [_formatted(tool, strict) for tool in tools]
        return cls(tuple(tools), formatted, dict(options), count_tokens(str(formatted)))

    def target(self, name: str, model: BaseChatModel) -> Target:
        """Return the model with these tools bound; worked out once for each model."""
        target = self._targets.get(name)
        if target is None:
            target = self._targets[name] = unwrap(model.bind_tools(self.given, **self.options))
        return target


def tokens_of_tools(kwargs: Mapping[str, Any], bound: BoundTools | None) -> int:
    """Return about how many tokens the tools are that a call tells the model of."""
    tools = kwargs.get("tools")
    if not tools:
        return 0
    if bound is not None and tools is bound.formatted:
        return bound.tokens
    return count_tokens(str(tools))


def with_tools(
    name: str, model: BaseChatModel, kwargs: Mapping[str, Any], bound: BoundTools | None
) -> Target:
    """Return the model with a call's arguments, the tools bound as the model does it.

    Args:
        name: What the model is called.
        model: The picked model.
        kwargs: The arguments of the call; `tools` among them.
        bound: Where they may come from: the tools that `bind_tools` was given.
    """
    rest = {key: value for key, value in kwargs.items() if key != "tools" and key not in OPTIONS}
    options = {key: kwargs[key] for key in OPTIONS if key in kwargs}
    if not kwargs["tools"] and not options:
        return Target(model, rest)
    if bound is not None and kwargs["tools"] is bound.formatted and options == bound.options:
        target = bound.target(name, model)
    else:
        same = bound is not None and kwargs["tools"] is bound.formatted
        tools = bound.given if bound is not None and same else kwargs["tools"]
        target = unwrap(model.bind_tools(tools, **options))
    return Target(target.model, {**target.kwargs, **rest}, target.config)


def unwrap(runnable: Runnable[Any, Any]) -> Target:
    """Return the chat model inside of bindings, and all that they add.

    Raises:
        UsageError: There is something else inside.
    """
    kwargs: dict[str, Any] = {}
    config: RunnableConfig | None = None
    while isinstance(runnable, RunnableBinding):
        kwargs = {**runnable.kwargs, **kwargs}
        config = config or runnable.config or None
        runnable = runnable.bound
    if not isinstance(runnable, BaseChatModel):
        raise UsageError(
            f"bind_tools of a candidate gave a {type(runnable).__name__}; a binding of a chat "
            "model is wanted. Leave that model out, or wrap it."
        )
    return Target(runnable, kwargs, config)


def _formatted(tool: Any, strict: bool | None) -> dict[str, Any]:
    """Return a tool in OpenAI's form; a provider's own dictionary as it is."""
    try:
        return convert_to_openai_tool(tool, strict=strict)
    except ValueError:
        if isinstance(tool, dict):
            return tool
        raise
