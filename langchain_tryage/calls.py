"""One call: what it needs, what was decided for it, and how the picked model is called."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.callbacks import Callbacks
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue, PromptValue
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from langchain_tryage.portability import Recipient, portable, portable_arguments
from langchain_tryage.tools import BoundTools, with_tools
from tryage import Decision, Flags, Router, as_flags

CONFIG_KEY = "tryage_flags"
"""Where `config["configurable"]` holds flags for a call."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A chat model with all that one call of it takes.

    Attributes:
        model: The chat model.
        prompt: What it is asked, as it can take it.
        config: The config of its run.
        kwargs: Its arguments, stop sequences among them.
    """

    model: BaseChatModel
    prompt: PromptValue
    config: RunnableConfig
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a chat model of many is made of: worked out once, the same for every call.

    Attributes:
        router: What decides.
        models: The models by name, as they are called.
        recipients: By name, how each can take a conversation.
        defaults: By name, the arguments that stand where a call gives none.
        only: By name, the flags that leave no other model.
        output_limit: The most tokens of an answer, where the constructor was given a limit.
        tools: What `bind_tools` was given, if it was called.
    """

    router: Router
    models: Mapping[str, BaseChatModel]
    recipients: Mapping[str, Recipient]
    defaults: Mapping[str, Mapping[str, Any]]
    only: Mapping[str, Flags]
    output_limit: int | None
    tools: BoundTools | None = None


@dataclass(slots=True)
class RoutedCall:
    """A call on its way to the models.

    Attributes:
        decision: What was decided.
        setup: The models that there are.
        input: What they are asked, as the caller gave it.
        prompt: The same, converted once.
        messages: Its messages.
        config: The caller's, with what the router's own constructor adds.
        kwargs: The arguments for whichever model is called, stop sequences among them.
        tries: How many models were tried.
    """

    decision: Decision
    setup: Setup
    input: LanguageModelInput
    prompt: PromptValue
    messages: list[BaseMessage]
    config: RunnableConfig
    kwargs: dict[str, Any]
    tries: int = 0

    def prepare(self, name: str) -> Prepared:
        """Return a model with what to call it with: the next to be tried."""
        model = self.setup.models[name]
        config, kwargs = self.config_for(name), self.kwargs_for(name)
        if "tools" in kwargs:
            target = with_tools(name, model, kwargs, self.setup.tools)
            model, kwargs = target.model, target.kwargs
            if target.config:
                config = merge_configs(target.config, config)
        return Prepared(model, self.prompt_for(name), config, kwargs)

    def prompt_for(self, name: str) -> PromptValue:
        """Return what a model is asked, without what only those that spoke before understand."""
        recipients = self.setup.recipients
        fit = portable(self.messages, recipients[name], recipients)
        return self.prompt if fit is self.messages else ChatPromptValue(messages=fit)

    def input_for(self, name: str) -> LanguageModelInput:
        """Return the same, in the caller's own form where nothing has to change."""
        prompt = self.prompt_for(name)
        return self.input if prompt is self.prompt else prompt

    def kwargs_for(self, name: str) -> dict[str, Any]:
        """Return the arguments for a model, without what only others understand."""
        defaults = self.setup.defaults.get(name)
        kwargs = {**defaults, **self.kwargs} if defaults else self.kwargs
        return portable_arguments(kwargs, self.setup.recipients[name]) if kwargs else kwargs

    def config_for(self, name: str) -> RunnableConfig:
        """Return the config for the next model to be tried.

        Its run says why it was picked. A run's id is the caller's for the first try alone, since
        two runs of one id would be one in every trace.
        """
        self.tries += 1
        quality = self.decision.quality[self.decision.library.position(name)]
        config = cast(RunnableConfig, dict(self.config))
        config["metadata"] = {
            **(config.get("metadata") or {}),
            "tryage_model": name,
            "tryage_quality": round(float(quality), 4),
            "tryage_try": self.tries,
        }
        if self.tries > 1:
            config.pop("run_id", None)
        return config


def both_callbacks(own: Callbacks, given: Callbacks) -> Callbacks:
    """Return the handlers of the router together with those of a call."""
    if own is None:
        return given
    handlers = own if isinstance(own, list) else own.handlers
    if given is None or isinstance(given, list):
        return [*handlers, *(given or [])]
    manager = given.copy()
    for handler in handlers:
        manager.add_handler(handler, inherit=True)
    return manager


def flags_in(config: RunnableConfig) -> Flags | None:
    """Return the flags in `config["configurable"]["tryage_flags"]`, if any.

    Raises:
        UnknownFlag: There is no such flag.
        InvalidFlag: A flag has a value that it cannot have.
    """
    given = (config.get("configurable") or {}).get(CONFIG_KEY)
    if given is None or isinstance(given, Flags):
        return given
    return _parsed(given) if isinstance(given, str) else as_flags(given)


_parsed = functools.lru_cache(maxsize=256)(Flags.parse)
