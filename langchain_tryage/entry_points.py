"""The entry points of a chat model, each handed to the same one of whichever model is picked.

No run is opened here: the picked model opens its own, with the caller's callbacks, so that a trace
shows the model that answered, tokens are counted once, and the model's own cache, rate limiter,
callbacks and tags hold. The underscored forms at the end are for code that calls them directly,
inside of a run that it opened itself.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from typing import Any, Literal, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
    Callbacks,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_tryage.calls import Prepared, RoutedCall
from langchain_tryage.delegation import (
    acall_through,
    astream_through,
    call_through,
    stream_through,
)
from langchain_tryage.events import aevent_stream, event_stream
from langchain_tryage.metadata import (
    chunks_reported,
    generation_chunks_reported,
    generation_has_content,
    generation_reported,
    has_content,
    reported,
)
from langchain_tryage.results import as_chunk, joined, result_reported
from tryage import CircuitBreaker


class TransparentChatModel(BaseChatModel):
    """A chat model that has others answer, and stays out of the way."""

    breaker: CircuitBreaker

    @abstractmethod
    def route_call(
        self,
        input: LanguageModelInput,
        config: RunnableConfig,
        kwargs: dict[str, Any],
        needs: frozenset[Any] = frozenset(),
    ) -> RoutedCall:
        """Return a call with what was decided for it."""

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Return the answer of the model that is picked for this input."""
        call = self.route_call(input, ensure_config(config), _with_stop(kwargs, stop))

        def start(name: str) -> AIMessage:
            ready = call.prepare(name)
            return ready.model.invoke(ready.prompt, ready.config, **ready.kwargs)

        outcome = call_through(call.decision, self.breaker, start)
        return reported(outcome.value, call.decision, outcome)

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Return the answer of the model that is picked for this input."""
        call = self.route_call(input, ensure_config(config), _with_stop(kwargs, stop))

        def start(name: str) -> Awaitable[AIMessage]:
            ready = call.prepare(name)
            return ready.model.ainvoke(ready.prompt, ready.config, **ready.kwargs)

        outcome = await acall_through(call.decision, self.breaker, start)
        return reported(outcome.value, call.decision, outcome)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Return an iterator over the answer of the model that is picked for this input.

        The model is picked at once, so that the flags around this call count; it is called when
        the first chunk is asked for.
        """
        disabled = self._streaming_disabled(**{**kwargs, "stream": True})
        call = self.route_call(input, ensure_config(config), _with_stop(kwargs, stop))

        def start(name: str) -> Iterator[AIMessageChunk]:
            ready = call.prepare(name)
            if disabled:
                whole = ready.model.invoke(ready.prompt, ready.config, **ready.kwargs)
                return iter((cast(AIMessageChunk, whole),))
            return ready.model.stream(ready.prompt, ready.config, **ready.kwargs)

        return stream_through(call.decision, self.breaker, start, has_content, chunks_reported)

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Return an iterator over the answer of the picked model; like `stream`."""
        disabled = self._streaming_disabled(**{**kwargs, "stream": True})
        call = self.route_call(input, ensure_config(config), _with_stop(kwargs, stop))

        def start(name: str) -> AsyncIterator[AIMessageChunk]:
            ready = call.prepare(name)
            if disabled:
                return _awaited(ready.model.ainvoke(ready.prompt, ready.config, **ready.kwargs))
            return ready.model.astream(ready.prompt, ready.config, **ready.kwargs)

        return astream_through(call.decision, self.breaker, start, has_content, chunks_reported)

    def stream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2", "v3"] = "v2",
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the events of the picked model; `v3` moves on to the next as `stream` does."""
        if version != "v3":
            return super().stream_events(input, config, version=version, stop=stop, **kwargs)
        disabled = self._streaming_disabled(**{**kwargs, "stream": True})
        call = self.route_call(input, ensure_config(config), _with_stop(kwargs, stop))
        return event_stream(call, self.breaker, disabled)

    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Literal["v1", "v2", "v3"] = "v2",
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the events of the picked model; like `stream_events`."""
        if version != "v3":
            return super().astream_events(input, config, version=version, stop=stop, **kwargs)
        disabled = self._streaming_disabled(**{**kwargs, "stream": True})
        call = self.route_call(input, ensure_config(config), _with_stop(kwargs, stop))
        return aevent_stream(call, self.breaker, disabled)

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: uuid.UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Return the answers to several conversations, each from the model picked for it."""
        results = []
        for conversation in messages:
            config = _legacy_config(callbacks, tags, metadata, run_name, run_id)
            run_id = None  # the first conversation's
            call = self.route_call(conversation, config, _with_stop(kwargs, stop))

            def start(name: str, call: RoutedCall = call) -> LLMResult:
                ready = call.prepare(name)
                conversations = [ready.prompt.to_messages()]
                return ready.model.generate(conversations, **_generate_arguments(ready))

            outcome = call_through(call.decision, self.breaker, start)
            results.append(result_reported(outcome.value, call.decision, outcome))
        return joined(results)

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        run_name: str | None = None,
        run_id: uuid.UUID | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        """Return the answers to several conversations, each from the model picked for it."""

        async def one(conversation: list[BaseMessage], run_id: uuid.UUID | None) -> LLMResult:
            config = _legacy_config(callbacks, tags, metadata, run_name, run_id)
            call = self.route_call(conversation, config, _with_stop(kwargs, stop))

            def start(name: str) -> Awaitable[LLMResult]:
                ready = call.prepare(name)
                conversations = [ready.prompt.to_messages()]
                return ready.model.agenerate(conversations, **_generate_arguments(ready))

            outcome = await acall_through(call.decision, self.breaker, start)
            return result_reported(outcome.value, call.decision, outcome)

        ids = [run_id, *[None] * (len(messages) - 1)]  # the id is the first conversation's
        results = await asyncio.gather(*map(one, messages, ids), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):  # once all have ended
                raise result
        return joined([result for result in results if isinstance(result, LLMResult)])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self.route_call(messages, ensure_config(), _with_stop(kwargs, stop))

        def start(name: str) -> ChatResult:
            ready = call.prepare(name)
            conversation = ready.prompt.to_messages()
            return ready.model._generate_with_cache(
                conversation, run_manager=run_manager, **ready.kwargs
            )

        outcome = call_through(call.decision, self.breaker, start)
        generations = [
            generation_reported(g, call.decision, outcome) for g in outcome.value.generations
        ]
        return outcome.value.model_copy(update={"generations": generations})

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = self.route_call(messages, ensure_config(), _with_stop(kwargs, stop))

        def start(name: str) -> Awaitable[ChatResult]:
            ready = call.prepare(name)
            conversation = ready.prompt.to_messages()
            return ready.model._agenerate_with_cache(
                conversation, run_manager=run_manager, **ready.kwargs
            )

        outcome = await acall_through(call.decision, self.breaker, start)
        generations = [
            generation_reported(g, call.decision, outcome) for g in outcome.value.generations
        ]
        return outcome.value.model_copy(update={"generations": generations})

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self.route_call(messages, ensure_config(), _with_stop(kwargs, stop))

        def start(name: str) -> Iterator[ChatGenerationChunk]:
            ready = call.prepare(name)
            conversation = ready.prompt.to_messages()
            if ready.model._should_stream(async_api=False, **{**ready.kwargs, "stream": True}):
                return ready.model._stream(conversation, run_manager=run_manager, **ready.kwargs)
            whole = ready.model._generate_with_cache(conversation, **ready.kwargs)
            return iter((as_chunk(whole.generations[0]),))

        return stream_through(
            call.decision, self.breaker, start, generation_has_content, generation_chunks_reported
        )

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = self.route_call(messages, ensure_config(), _with_stop(kwargs, stop))

        async def whole(ready: Prepared) -> ChatGenerationChunk:
            result = await ready.model._agenerate_with_cache(
                ready.prompt.to_messages(), **ready.kwargs
            )
            return as_chunk(result.generations[0])

        def start(name: str) -> AsyncIterator[ChatGenerationChunk]:
            ready = call.prepare(name)
            if not ready.model._should_stream(async_api=True, **{**ready.kwargs, "stream": True}):
                return _awaited(whole(ready))
            conversation = ready.prompt.to_messages()
            return ready.model._astream(conversation, run_manager=run_manager, **ready.kwargs)

        return astream_through(
            call.decision, self.breaker, start, generation_has_content, generation_chunks_reported
        )


async def _awaited(value: Awaitable[Any]) -> AsyncIterator[Any]:
    yield await value


def _with_stop(kwargs: Mapping[str, Any], stop: list[str] | None) -> dict[str, Any]:
    """Return a copy of the arguments, with the stop sequences where there are any."""
    return dict(kwargs) if stop is None else {**kwargs, "stop": stop}


def _legacy_config(
    callbacks: Callbacks,
    tags: list[str] | None,
    metadata: dict[str, Any] | None,
    run_name: str | None,
    run_id: uuid.UUID | None,
) -> RunnableConfig:
    """Return the config that the arguments of `generate` stand for.

    Flags come from the config around it, as for the other entry points.
    """
    config = RunnableConfig(
        callbacks=callbacks,
        tags=tags or [],
        metadata=metadata or {},
        configurable=ensure_config().get("configurable") or {},
    )
    if run_name is not None:
        config["run_name"] = run_name
    if run_id is not None:
        config["run_id"] = run_id
    return config


def _generate_arguments(ready: Prepared) -> dict[str, Any]:
    named = ("callbacks", "tags", "metadata", "run_name", "run_id")
    return {**ready.kwargs, **{name: ready.config.get(name) for name in named}}
