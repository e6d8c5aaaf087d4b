"""How the router decides on a call, and how a decision is carried out.

The entry points stand in the classes on top of this one. None of them is decorated with
LlamaIndex's callbacks: the LLM that answers reports the call, once, under its own name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from llama_index.core.llms import LLM, ChatMessage

from llamaindex_tryage.calls import RoutedCall
from llamaindex_tryage.component import Component
from llamaindex_tryage.events import announce
from llamaindex_tryage.messages import turns_of, without_marks
from llamaindex_tryage.purposes import Purpose
from llamaindex_tryage.retrieval import Retrieval
from tryage import Flags, flags_in_prompt, needs_of, output_limit, request_of
from tryage.strategies import (
    AsyncOpenedStream,
    OpenedStream,
    Outcome,
    aopen_stream,
    arun,
    failover,
    open_stream,
    run,
)

T = TypeVar("T")


class RoutingLLM(Component):
    """What all entry points of the router share; see `Tryage`."""

    # Deciding

    def _route(
        self,
        messages: Sequence[ChatMessage],
        kwargs: Mapping[str, Any],
        purpose: Purpose | None,
        *,
        tools: bool = False,
        tool_tokens: int = 0,
        prompt_flags: Flags | None = None,
        question: str | None = None,
        retrieval: Retrieval | None = None,
    ) -> RoutedCall:
        """Return what is decided for a call.

        Args:
            messages: What the LLM is given.
            kwargs: Those of the call.
            purpose: What it is for.
            tools: Whether it gives tools, beside what `kwargs` say.
            tool_tokens: About how many tokens these are.
            prompt_flags: Wishes read from the prompt.
            question: What the user asks, where the messages hold much beside it.
            retrieval: What was retrieved for it, where that is known.
        """
        flags = self.purpose_flags.get(purpose) if purpose else None
        if retrieval is not None and retrieval.flags is not None:
            flags = (flags or Flags()).merged(retrieval.flags)
        request = request_of(
            turns_of(messages),
            needs=needs_of({**kwargs, "tools": True} if tools else kwargs),
            flags=flags,
            prompt_flags=prompt_flags,
            max_output_tokens=output_limit(kwargs),
            tool_tokens=tool_tokens,
        )
        if question and not question.isspace():
            request = replace(request, text=question)
        decision = self._candidates.decide(request)
        announce(decision, purpose, retrieval)
        return RoutedCall(decision, purpose)

    def _read(self, messages: Sequence[ChatMessage]) -> tuple[Sequence[ChatMessage], Flags | None]:
        """Return the messages as the model shall see them, and the flags written in them."""
        if not self.prompt_flags:
            return messages, None
        return without_marks(messages), flags_in_prompt(turns_of(messages))

    # Carrying out. `ask` makes the call on one LLM; it gives each a list and kwargs of its own.

    def _call(self, call: RoutedCall, ask: Callable[[LLM], T]) -> Outcome[T]:
        """Return the first answer along the decision's order."""
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()
        return run(
            failover(call.decision.order, self._candidates.breaker),
            lambda wanted: ask(self._llm(wanted.model)),
        )

    async def _acall(self, call: RoutedCall, ask: Callable[[LLM], Awaitable[T]]) -> Outcome[T]:
        """Return the first answer along the decision's order."""
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        return await arun(
            failover(call.decision.order, self._candidates.breaker),
            lambda wanted: ask(self._llm(wanted.model)),
        )

    def _open(
        self,
        call: RoutedCall,
        ask: Callable[[LLM], Iterator[T]],
        has_content: Callable[[T], bool],
    ) -> Outcome[OpenedStream[T]]:
        """Return the first stream along the decision's order that comes to content."""
        return self._call(call, lambda llm: open_stream(ask(llm), has_content))

    async def _aopen(
        self,
        call: RoutedCall,
        ask: Callable[[LLM], Awaitable[AsyncIterator[T]]],
        has_content: Callable[[T], bool],
    ) -> Outcome[AsyncOpenedStream[T]]:
        """Return the first stream along the decision's order that comes to content."""

        async def opened(llm: LLM) -> AsyncOpenedStream[T]:
            return await aopen_stream(await ask(llm), has_content)

        return await self._acall(call, opened)

    def _llm(self, name: str) -> LLM:
        """Return an LLM, reporting to the router's callbacks where it has none of its own."""
        llm = self._candidates.llms[name]
        mine, theirs = self.callback_manager, llm.callback_manager
        if theirs is not mine and (
            (mine.handlers and not theirs.handlers) or self._lent.get(name) is theirs
        ):
            # At call time, since `Settings` gives the router another manager when it likes.
            llm.callback_manager = self._lent[name] = mine
        return llm


def fresh(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments that one LLM may change without the next seeing it."""
    return {k: v.copy() if isinstance(v, list | dict) else v for k, v in kwargs.items()}
