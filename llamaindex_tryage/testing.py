"""An LLM made of a plain function: for tests, examples, and trying routing without a server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

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
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from pydantic import Field, PrivateAttr


class FunctionLLM(LLM):
    """An LLM that answers with what a function makes of the last user message or the prompt.

    It streams word by word and reports to callbacks and spans as a provider's LLM does.

    Args:
        function: From text to answer.
        model_name: What the model is called.
        error: Raised on every call instead of answering, or on the way through a stream.
        fail_after_chunks: With `error`: how many chunks a stream gives before it.
        context_window: Tokens that it takes.
        callback_manager: Who is told of its calls.
        settings: Further fields of LlamaIndex's `LLM`, such as `system_prompt`.

    Attributes:
        calls: The texts it was asked, oldest first.

    Examples:
        >>> llm = FunctionLLM(str.upper, model_name="loud")
        >>> llm.complete("hello there").text
        'HELLO THERE'
        >>> [chunk.delta for chunk in llm.stream_chat([ChatMessage("hello there")])]
        ['HELLO ', 'THERE']
    """

    model_name: str
    function: Callable[[str], str] = Field(exclude=True)
    error: Exception | None = Field(default=None, exclude=True)
    fail_after_chunks: int = 0
    context_window: int
    _calls: list[str] = PrivateAttr(default_factory=list)

    def __init__(
        self,
        function: Callable[[str], str],
        model_name: str = "function",
        error: Exception | None = None,
        fail_after_chunks: int = 0,
        context_window: int = 128_000,
        callback_manager: CallbackManager | None = None,
        **settings: Any,
    ) -> None:
        own: dict[str, Any] = {
            "function": function,
            "model_name": model_name,
            "error": error,
            "fail_after_chunks": fail_after_chunks,
            "context_window": context_window,
        }
        super().__init__(
            callback_manager=callback_manager or CallbackManager([]), **own, **settings
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the id under which LlamaIndex saves this class."""
        return "FunctionLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """A chat model without tools."""
        return LLMMetadata(
            model_name=self.model_name, context_window=self.context_window, is_chat_model=True
        )

    @property
    def calls(self) -> list[str]:
        """The texts it was asked, oldest first."""
        return self._calls

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the function's answer to the last user message."""
        return self._chat_response(self._answer(_asked(messages)))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the function's answer to the last user message."""
        return self._chat_response(self._answer(_asked(messages)))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Return the function's answer to the last user message, word by word."""

        def chunks() -> ChatResponseGen:
            for text, delta in self._words(_asked(messages)):
                yield self._chat_response(text, delta)

        return chunks()

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Return the function's answer to the last user message, word by word."""

        async def chunks() -> ChatResponseAsyncGen:
            for text, delta in self._words(_asked(messages)):
                yield self._chat_response(text, delta)

        return chunks()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the function's answer to the prompt."""
        return CompletionResponse(text=self._answer(prompt), raw=self._raw())

    @llm_completion_callback()
    async def acomplete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponse:
        """Return the function's answer to the prompt."""
        return CompletionResponse(text=self._answer(prompt), raw=self._raw())

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Return the function's answer to the prompt, word by word."""

        def chunks() -> CompletionResponseGen:
            for text, delta in self._words(prompt):
                yield CompletionResponse(text=text, delta=delta, raw=self._raw())

        return chunks()

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Return the function's answer to the prompt, word by word."""

        async def chunks() -> CompletionResponseAsyncGen:
            for text, delta in self._words(prompt):
                yield CompletionResponse(text=text, delta=delta, raw=self._raw())

        return chunks()

    def _answer(self, text: str) -> str:
        self._calls.append(text)
        if self.error is not None:
            raise self.error
        return self.function(text)

    def _words(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield the answer so far and the word that is new in it."""
        self._calls.append(text)
        words = re.findall(r"\s*\S+\s*", self.function(text)) or [""]
        so_far = ""
        for position, word in enumerate(words):
            if self.error is not None and position == self.fail_after_chunks:
                raise self.error
            so_far += word
            yield so_far, word
        if self.error is not None and len(words) <= self.fail_after_chunks:
            raise self.error

    def _raw(self) -> dict[str, Any]:
        return {"model": self.model_name}

    def _chat_response(self, text: str, delta: str | None = None) -> ChatResponse:
        message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
        return ChatResponse(message=message, delta=delta, raw=self._raw())


def _asked(messages: Sequence[ChatMessage]) -> str:
    said = [m.content or "" for m in messages if m.role == MessageRole.USER]
    return said[-1] if said else ""
