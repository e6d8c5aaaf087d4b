"""`Tryage`: the LLM to put in the place of one LLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import (
    LLM,
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
)

from llamaindex_tryage.base import fresh
from llamaindex_tryage.calls import RoutedCall
from llamaindex_tryage.messages import unsigned
from llamaindex_tryage.prompts import PromptRoutes
from llamaindex_tryage.purposes import of_chat, of_completion
from llamaindex_tryage.responses import (
    arelay,
    chat_has_content,
    completion_has_content,
    relay,
    reported_chat,
    reported_completion,
    reporting,
    stamped_chat,
    stamped_completion,
)
from llamaindex_tryage.spans import spared
from llamaindex_tryage.tools import ToolRoutes
from tryage import EmptyPrompt, Flags, ModelCard, Predictor, take_from_prompt
from tryage.flag_text import without_marks


@spared
class Tryage(PromptRoutes, ToolRoutes):
    """One LLM made of many: for every call the best of them answers.

    For each call the router predicts how well each LLM would do on this prompt, weighs that
    against the flags, and calls the best. If that one fails before its first content, the next in
    the ranking is tried; an LLM that failed is left in peace for a while. The response is that
    LLM's own, with the decision in `additional_kwargs["tryage"]`. There the message in it names its
    author too, which memories keep and the LLMs do not see: so a tool loop stays with one model.

    Callbacks, spans and token counts are those of the LLM that answers, under its own name: the
    router adds a span around them and a `RoutingDecisionEvent`. Settings such as `system_prompt`,
    `max_tokens` and keys belong to the LLMs.

    One LLM serves all parts of a pipeline, so flags can be given for each part, by its purpose:
    `condense` (a chat engine makes one question of the conversation), `retrieve` (what finds the
    context: queries, selections, reranking), `synthesize` (the answer from it), `tools` (a call
    that is given tools) and `answer` (a chat without tools, and an agent's call once its tools have
    answered). They are added to the flags for every call, and stronger. Where LlamaIndex does not
    show what a call is for, as with a bare `complete` or in a text-only ReAct agent, only those
    for every call hold. The answer from a context is decided by the question alone.

    While an agent waits for its tools, the model that called them is kept, whatever the wishes for
    `answer`; a limit, such as `"answer": "only big"`, hands over. Be sure then that the other model
    takes the history of the first.

    LLMs retry by themselves, and their retries come before the next LLM is tried: give
    `max_retries=1` to those that take it.

    Args:
        llms: LlamaIndex LLMs, or a mapping of names to them. Their order breaks ties.
        flags: Wishes for every call: `tryage.Flags`, their text form, or a dictionary. A dictionary
            may hold purposes too, each with flags in any of these forms.
        cards: Your own cards, for models that the bundled library does not know.
        predictor: How well each would do; the bundled default if none.
        prompt_flags: Whether to read `[Flag: ...]` marks in what users say, and take them out.
        names: Names for `llms` where it is a list; by default each LLM's model name.
        callback_manager: For LLMs that have no callbacks of their own.
        rate_limiter: LlamaIndex's limiter, asked once for each call of the router.
        settings: Further fields of LlamaIndex's `LLM`.

    Raises:
        EmptyLibrary: There is no LLM.
        DuplicateModel: Two LLMs have one name; give a mapping.
        UnknownModel: A card is of none of the LLMs.
        UnknownFlag: A flag or a purpose does not exist.
        UsageError: One of `llms` is no LLM.

    Examples:
        `pip install 'tryage[llamaindex]'`

        >>> from llamaindex_tryage.testing import FunctionLLM
        >>> from tryage.testing import FunctionPredictor
        >>> llm = Tryage(
        ...     llms=[
        ...         FunctionLLM(lambda text: "4", model_name="sums"),
        ...         FunctionLLM(lambda text: "Once upon a time", model_name="tales"),
        ...     ],
        ...     predictor=FunctionPredictor(lambda text, model: ("+" in text) == (model == "sums")),
        ... )
        >>> response = llm.complete("2 + 2 = ?")
        >>> response.text, response.additional_kwargs["tryage"]["model"]
        ('4', 'sums')
        >>> llm.chat([ChatMessage("Tell me a story.")]).message.content
        'Once upon a time'

        The smallest model for rewriting questions, one of two for the answer:

        >>> llm.flags = {"condense": "smallest model", "synthesize": "not tales", "cost": 0.1}
        >>> llm.flags, sorted(llm.purpose_flags)
        (Flags(cost=0.1), ['condense', 'synthesize'])

        In the place of one LLM, for every query engine, chat engine and agent:

        >>> from llama_index.core import Settings
        >>> Settings.llm = llm
    """

    if TYPE_CHECKING:
        # Type checkers would make up another constructor from the fields.
        def __init__(
            self,
            llms: Sequence[LLM] | Mapping[str, LLM],
            flags: Flags | str | dict[str, Any] | None = None,
            cards: Sequence[ModelCard | dict[str, Any]] = (),
            predictor: Predictor | None = None,
            prompt_flags: bool = False,
            *,
            names: Sequence[str] | None = None,
            callback_manager: CallbackManager | None = None,
            rate_limiter: Any = None,
            **settings: Any,
        ) -> None: ...

    # Chat

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the answer of the best LLM.

        Args:
            messages: The conversation.
            kwargs: Passed on to the LLM that answers.

        Raises:
            EmptyPrompt: No message holds text or an attachment.
            NoEligibleModel: The limits exclude every LLM.
            AllModelsFailed: Every LLM that was tried failed; holds each cause.
        """
        messages, call = self._route_chat(messages, kwargs)
        outcome = self._call(call, lambda llm: llm.chat(list(messages), **fresh(kwargs)))
        return reported_chat(call, outcome)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the answer of the best LLM; otherwise like `chat`."""
        messages, call = self._route_chat(messages, kwargs)
        outcome = await self._acall(call, lambda llm: llm.achat(list(messages), **fresh(kwargs)))
        return reported_chat(call, outcome)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Return the chunks of the best LLM's answer, whose first content has arrived.

        Up to then another LLM may take over; after it an error is raised from the stream.

        Args:
            messages: The conversation.
            kwargs: Passed on to the LLM that answers.

        Raises:
            EmptyPrompt: No message holds text or an attachment.
            NoEligibleModel: The limits exclude every LLM.
            AllModelsFailed: Every LLM that was tried failed; holds each cause.
        """
        messages, call = self._route_chat(messages, kwargs)
        outcome = self._open(
            call,
            lambda llm: llm.stream_chat(list(messages), **fresh(kwargs)),
            chat_has_content,
        )
        finish = reporting(stamped_chat, call, outcome)
        return relay(outcome, self._candidates.breaker, finish)

    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Return the chunks of the best LLM's answer; otherwise like `stream_chat`."""
        messages, call = self._route_chat(messages, kwargs)
        outcome = await self._aopen(
            call,
            lambda llm: llm.astream_chat(list(messages), **fresh(kwargs)),
            chat_has_content,
        )
        finish = reporting(stamped_chat, call, outcome)
        return arelay(outcome, self._candidates.breaker, finish)

    # Completion

    def complete(
        self, prompt: str | None = None, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """Return the completion of the best LLM.

        Args:
            prompt: The text.
            formatted: Whether it is already in the form that the LLM wants.
            kwargs: Passed on to the LLM that answers.

        Raises:
            EmptyPrompt: The prompt is missing or blank.
            NoEligibleModel: The limits exclude every LLM.
            AllModelsFailed: Every LLM that was tried failed; holds each cause.
        """
        text, call = self._route_completion(prompt, kwargs)
        options = _options(formatted, kwargs)
        outcome = self._call(call, lambda llm: llm.complete(text, **fresh(options)))
        return reported_completion(call, outcome)

    async def acomplete(
        self, prompt: str | None = None, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """Return the completion of the best LLM; otherwise like `complete`."""
        text, call = self._route_completion(prompt, kwargs)
        options = _options(formatted, kwargs)
        outcome = await self._acall(call, lambda llm: llm.acomplete(text, **fresh(options)))
        return reported_completion(call, outcome)

    def stream_complete(
        self, prompt: str | None = None, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Return the chunks of the best LLM's completion, whose first content has arrived.

        Args:
            prompt: The text.
            formatted: Whether it is already in the form that the LLM wants.
            kwargs: Passed on to the LLM that answers.

        Raises:
            EmptyPrompt: The prompt is missing or blank.
            NoEligibleModel: The limits exclude every LLM.
            AllModelsFailed: Every LLM that was tried failed; holds each cause.
        """
        text, call = self._route_completion(prompt, kwargs)
        options = _options(formatted, kwargs)
        outcome = self._open(
            call,
            lambda llm: llm.stream_complete(text, **fresh(options)),
            completion_has_content,
        )
        finish = reporting(stamped_completion, call, outcome)
        return relay(outcome, self._candidates.breaker, finish)

    async def astream_complete(
        self, prompt: str | None = None, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Return the chunks of the best LLM's completion; otherwise like `stream_complete`."""
        text, call = self._route_completion(prompt, kwargs)
        options = _options(formatted, kwargs)
        outcome = await self._aopen(
            call,
            lambda llm: llm.astream_complete(text, **fresh(options)),
            completion_has_content,
        )
        finish = reporting(stamped_completion, call, outcome)
        return arelay(outcome, self._candidates.breaker, finish)

    # Deciding

    def _route_chat(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]
    ) -> tuple[Sequence[ChatMessage], RoutedCall]:
        clean, flags = self._read(messages)
        purpose = of_chat(clean, tools=bool(kwargs.get("tools")))
        return unsigned(clean), self._route(clean, kwargs, purpose, prompt_flags=flags)

    def _route_completion(
        self, prompt: str | None, kwargs: dict[str, Any]
    ) -> tuple[str, RoutedCall]:
        if prompt is None:
            raise EmptyPrompt("complete() was given no prompt; give the text to complete.")
        text, flags, purpose = prompt, None, of_completion()
        if self.prompt_flags:
            # A step's prompt is made of many things that are not what the user says now.
            text = without_marks(prompt)
            flags = take_from_prompt(prompt)[1] if purpose is None else None
        asked = [ChatMessage(role="user", content=text)]
        return text, self._route(asked, kwargs, purpose, prompt_flags=flags)


def _options(formatted: bool, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments of a completion as the caller gave them, and no others."""
    return {**kwargs, "formatted": True} if formatted else kwargs
