"""Calls with a prompt template: passed on whole.

The LLM that answers fills the template in its own way, with its own system prompt, its own choice
between chat and completion, and its own road to structured output.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from llama_index.core.llms import LLM
from llama_index.core.output_parsers.base import OutputParserException
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from pydantic import BaseModel

from llamaindex_tryage.base import RoutingLLM, fresh
from llamaindex_tryage.calls import RoutedCall
from llamaindex_tryage.messages import (
    Template,
    flags_of_arguments,
    unmarked_template,
    unsigned_template,
)
from llamaindex_tryage.purposes import goes_on, of_template, question_of
from llamaindex_tryage.responses import arelay, as_is, relay
from llamaindex_tryage.retrieval import awaited, retrieved_for
from llamaindex_tryage.spans import spared
from tryage import TryageError
from tryage.failures import Verdict, judge
from tryage.flag_text import without_marks

if TYPE_CHECKING:
    from llama_index.core.program.utils import FlexibleModel
    from llama_index.core.types import TokenAsyncGen, TokenGen

Model = TypeVar("Model", bound=BaseModel)


@spared
class PromptRoutes(RoutingLLM):
    """The entry points that take a prompt template, for text and for structured output.

    What they return has no room for the decision: the `RoutingDecisionEvent` tells what was
    decided. Who answered, where that one failed, is told by the span of the LLM that did.
    """

    def predict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        """Return the best LLM's answer to a filled template.

        Args:
            prompt: The template.
            prompt_args: What it is filled with.

        Raises:
            EmptyPrompt: The filled template is blank.
            NoEligibleModel: The limits exclude every LLM.
            AllModelsFailed: Every LLM that was tried failed; holds each cause.
        """
        call, prompt, arguments = self._route_prompt(prompt, prompt_args)
        return self._call(call, lambda llm: llm.predict(prompt, **arguments)).value

    async def apredict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        """Return the best LLM's answer to a filled template; otherwise like `predict`."""
        call, prompt, arguments = self._route_prompt(prompt, prompt_args)
        outcome = await self._acall(call, lambda llm: llm.apredict(prompt, **arguments))
        return outcome.value

    def stream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenGen:
        """Return the words of its answer, the first of them there; otherwise like `predict`."""
        call, prompt, arguments = self._route_prompt(prompt, prompt_args)
        outcome = self._open(call, lambda llm: llm.stream(prompt, **arguments), bool)
        return relay(outcome, self._candidates.breaker, as_is)

    async def astream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenAsyncGen:
        """Return the words of its answer, the first of them there; otherwise like `predict`."""
        call, prompt, arguments = self._route_prompt(prompt, prompt_args)
        outcome = await self._aopen(call, lambda llm: llm.astream(prompt, **arguments), bool)
        return arelay(outcome, self._candidates.breaker, as_is)

    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Return an object that the best LLM fills, by whatever means it has for that.

        Args:
            output_cls: The class of the object.
            prompt: The template.
            llm_kwargs: Passed on to the LLM that answers; not changed.
            prompt_args: What the template is filled with.

        Raises:
            EmptyPrompt: The filled template is blank.
            NoEligibleModel: The limits exclude every LLM.
            AllModelsFailed: Every LLM that was tried failed; holds each cause.
        """
        call, prompt, arguments = self._route_prompt(prompt, prompt_args, llm_kwargs)

        def ask(llm: LLM) -> Model:
            with _fitting():
                filled: Model = llm.structured_predict(
                    output_cls=output_cls, prompt=prompt, llm_kwargs=_copy(llm_kwargs), **arguments
                )
            return filled

        return self._call(call, ask).value

    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Return an object that the best LLM fills; otherwise like `structured_predict`."""
        call, prompt, arguments = self._route_prompt(prompt, prompt_args, llm_kwargs)

        async def ask(llm: LLM) -> Model:
            with _fitting():
                filled: Model = await llm.astructured_predict(
                    output_cls=output_cls, prompt=prompt, llm_kwargs=_copy(llm_kwargs), **arguments
                )
            return filled

        return (await self._acall(call, ask)).value

    def stream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Model | FlexibleModel, None, None]:
        """Return the object as it fills, the first state there; like `structured_predict`."""
        call, prompt, arguments = self._route_prompt(prompt, prompt_args, llm_kwargs)
        outcome = self._open(
            call,
            lambda llm: llm.stream_structured_predict(
                output_cls=output_cls, prompt=prompt, llm_kwargs=_copy(llm_kwargs), **arguments
            ),
            _anything,
        )
        return relay(outcome, self._candidates.breaker, as_is)

    async def astream_structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Model | FlexibleModel, None]:
        """Return the object as it fills, the first state there; like `structured_predict`."""
        call, prompt, arguments = self._route_prompt(prompt, prompt_args, llm_kwargs)
        outcome = await self._aopen(
            call,
            lambda llm: llm.astream_structured_predict(
                output_cls=output_cls, prompt=prompt, llm_kwargs=_copy(llm_kwargs), **arguments
            ),
            _anything,
        )
        return arelay(outcome, self._candidates.breaker, as_is)

    def _route_prompt(
        self,
        prompt: Template,
        prompt_args: dict[str, Any],
        llm_kwargs: dict[str, Any] | None = None,
    ) -> tuple[RoutedCall, Template, dict[str, Any]]:
        """Return what is decided, and the template and its arguments as the LLM shall see them.

        An answer from a context is decided by the question alone; what was retrieved for it, pages
        of it perhaps, counts by its length.
        """
        if self.prompt_flags:
            prompt = unmarked_template(prompt)
        question, arguments, flags = question_of(prompt, prompt_args), prompt_args, None
        if self.prompt_flags and question is not None:
            # Also where the template holds the question already: arguments come before that.
            arguments, flags = flags_of_arguments({**prompt_args, "query_str": question})
            question = arguments["query_str"]
        purpose, retrieval = of_template(prompt, arguments), None
        if self.prompt_flags and purpose == "condense":
            arguments = {name: _unmarked(value) for name, value in arguments.items()}
        messages = prompt.format_messages(llm=self, **arguments)
        if purpose == "synthesize" and awaited():
            text = "\n".join(message.content or "" for message in messages)
            retrieval = retrieved_for(text, question, goes_on(prompt, arguments))
        call = self._route(
            messages,
            llm_kwargs or {},
            purpose,
            prompt_flags=flags,
            question=question if purpose == "synthesize" else None,
            retrieval=retrieval,
        )
        return call, unsigned_template(prompt), arguments


@contextmanager
def _fitting() -> Iterator[None]:
    """Raise `OutputParserException`, for which the next LLM is tried, where an answer does not fit.

    LlamaIndex has no error of its own for that: it raises pydantic's, or a bare `ValueError`.
    """
    try:
        yield
    except ValueError as error:
        if isinstance(error, TryageError) or judge(error) is not Verdict.CALL:
            raise
        raise OutputParserException(str(error)) from error


def _unmarked(value: object) -> object:
    return without_marks(value) if isinstance(value, str) else value


def _copy(llm_kwargs: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if llm_kwargs is None else fresh(llm_kwargs)


def _anything(_: object) -> bool:
    return True
