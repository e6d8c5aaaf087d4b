"""Structured output from whichever model is picked, in that model's own way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable, RunnableConfig
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
                answer: Structured = self._of(name).invoke(
                    call.input_for(name), call.config_for(name), **call.kwargs_for(name)
                )
                return answer

        outcome = call_through(call.decision, self.model.breaker, start)
        return self._reported(call, outcome)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Structured:
        """Return the structured answer of the picked model."""
        call = self._route(input, config, kwargs)

        async def start(name: str) -> Structured:
            with _unreadable_is_a_misfit(name):
                answer: Structured = await self._of(name).ainvoke(
                    call.input_for(name), call.config_for(name), **call.kwargs_for(name)
                )
                return answer

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
            lambda name: self._of(name).stream(
                call.input_for(name), call.config_for(name), **call.kwargs_for(name)
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
            lambda name: self._of(name).astream(
                call.input_for(name), call.config_for(name), **call.kwargs_for(name)
            ),
            has_content,
        )

    def _route(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: dict[str, Any]
    ) -> RoutedCall:
        return self.model.route_call(input, ensure_config(config), kwargs, self._needs)

    def _of(self, name: str) -> Runnable[LanguageModelInput, Any]:
        """Return a model's own structured form; worked out once for each model."""
        runnable = self._runnables.get(name)
        if runnable is None:
            runnable = self._runnables[name] = self.model.candidate(name).with_structured_output(
                self.schema, include_raw=self.include_raw, **self.options
            )
        return runnable

    def _reported(self, call: RoutedCall, outcome: Outcome[Structured]) -> Structured:
        if not self.include_raw:
            return outcome.value
        return reported(outcome.value, call.decision, outcome)


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
