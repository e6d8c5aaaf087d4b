"""Structured output from whichever model is picked, in that model's own way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableParallel,
    RunnableSequence,
)
from langchain_core.runnables.config import ensure_config
from pydantic import BaseModel, ValidationError

from langchain_tryage.calls import RoutedCall
from langchain_tryage.delegation import acall_through, astream_through, call_through, stream_through
from langchain_tryage.metadata import has_content, reported
from tryage.strategies import Outcome

if TYPE_CHECKING:
    from langchain_tryage.chat_model import ChatTryage

Structured = dict[str, Any] | BaseModel


class RoutedStructuredOutput(Runnable[LanguageModelInput, Structured]):
    """What `ChatTryage.with_structured_output` returns.

    It routes each call, and hands it to the picked model's own `with_structured_output`: one that
    has a native way to keep to a schema uses it, and the others call a tool.
    """

    def __init__(
        self,
        model: ChatTryage,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool,
        options: dict[str, Any],
    ) -> None:
        self.model = model
        self.schema = schema
        self.include_raw = include_raw
        self.options = options
        self._needs = _needs(options.get("method"))
        self._runnables: dict[str, Runnable[LanguageModelInput, Any]] = {}

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Structured:
        """Return the structured answer of the picked model."""
        call = self._route(input, config, kwargs)

        def start(name: str) -> Structured:
            with _unreadable_is_a_misfit(name):
                runnable = self._of(name, call.kwargs_for(name))
                return _found(runnable.invoke(call.input_for(name), call.config_for(name)), name)

        outcome = call_through(call.decision, self.model.breaker, start)
        return self._reported(call, outcome)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Structured:
        """Return the structured answer of the picked model."""
        call = self._route(input, config, kwargs)

        async def start(name: str) -> Structured:
            with _unreadable_is_a_misfit(name):
                runnable = self._of(name, call.kwargs_for(name))
                return _found(
                    await runnable.ainvoke(call.input_for(name), call.config_for(name)), name
                )

        outcome = await acall_through(call.decision, self.model.breaker, start)
        return self._reported(call, outcome)

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> Iterator[Structured]:
        """Return an iterator over the structured answer of the picked model as it grows."""
        call = self._route(input, config, kwargs)
        return stream_through(
            call.decision,
            self.model.breaker,
            lambda name: self._of(name, call.kwargs_for(name)).stream(
                call.input_for(name), call.config_for(name)
            ),
            has_content,
        )

    def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[Structured]:
        """Return an iterator over the structured answer of the picked model as it grows."""
        call = self._route(input, config, kwargs)
        return astream_through(
            call.decision,
            self.model.breaker,
            lambda name: self._of(name, call.kwargs_for(name)).astream(
                call.input_for(name), call.config_for(name)
            ),
            has_content,
        )

    def _route(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> RoutedCall:
        return self.model.route_call(input, ensure_config(config), kwargs, self._needs)

    def _of(self, name: str, kwargs: dict[str, Any]) -> Runnable[LanguageModelInput, Any]:
        """Return a model's own structured form with the arguments of a call."""
        runnable = self._runnables.get(name)
        if runnable is None:
            runnable = self._runnables[name] = self._made(name)
        return _with_arguments(runnable, kwargs) if kwargs else runnable

    def _made(self, name: str) -> Runnable[LanguageModelInput, Any]:
        """Return a model's own structured form; worked out once for each model.

        Where its card says that it cannot keep to a JSON schema by itself, it calls a tool.
        """
        options = self.options
        card = self.model.router.library.find(name)
        if "method" not in options and card.has("json_schema") is False:
            options = {**options, "method": "function_calling"}
        try:
            return self.model.candidate(name).with_structured_output(
                self.schema, include_raw=self.include_raw, **options
            )
        except NotImplementedError as error:
            raise OutputParserException(f"{name!r} has no way to keep to a schema.") from error

    def _reported(self, call: RoutedCall, outcome: Outcome[Structured]) -> Structured:
        if not self.include_raw:
            return outcome.value
        return reported(outcome.value, call.decision, outcome)


def _found(answer: Structured | None, name: str) -> Structured:
    """Return the answer, if there is one; a model that wrote prose has called no tool."""
    if answer is None:
        raise OutputParserException(f"{name!r} answered without the structure that was asked for.")
    return answer


def _with_arguments(runnable: Runnable[Any, Any], kwargs: dict[str, Any]) -> Runnable[Any, Any]:
    """Return a structured form whose model takes more arguments.

    With `include_raw` its first step is a `RunnableParallel`, which hands no arguments on.
    """
    if isinstance(runnable, RunnableSequence) and isinstance(runnable.first, RunnableParallel):
        inner = {key: step.bind(**kwargs) for key, step in runnable.first.steps__.items()}
        return RunnableSequence(RunnableParallel(inner), *runnable.steps[1:])
    return runnable.bind(**kwargs)


@contextmanager
def _unreadable_is_a_misfit(name: str) -> Iterator[None]:
    """Raise what parsers raise for an answer that keeps to no schema: another model may do better.

    Some parsers let pydantic's own error through.
    """
    try:
        yield
    except ValidationError as error:
        raise OutputParserException(
            f"the answer of {name!r} does not keep to the schema {error.title} in "
            f"{error.error_count()} places; ask for include_raw=True to see it."
        ) from error


def _needs(method: str | None) -> frozenset[Any]:
    if method == "json_mode":
        return frozenset()
    return frozenset({"json_schema" if method == "json_schema" else "tools"})
