"""A plain function as a chat model: for tests, demonstrations and what is built on Tryage."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, PrivateAttr

from tryage import count_tokens


class FunctionChatModel(BaseChatModel):
    """A function from text to text, as a chat model: offline, at once, always the same.

    It streams word by word, reports usage, and carries its name where providers' models do. To
    answer with more than text, such as tool calls, override `answer`.

    Args:
        function: Gives the answer to the last human message's text.
        model_name: The name to go by.
        error: Raised instead of an answer.
        fail_after_chunks: A stream first gives this many words, then raises `error`.

    Example:
        >>> shout = FunctionChatModel(str.upper, model_name="shout")
        >>> shout.invoke("hello").content
        'HELLO'
    """

    function: Callable[[str], str]
    model_name: str
    error: Exception | None
    fail_after_chunks: int
    _calls: list[str] = PrivateAttr(default_factory=list)

    model_config = ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())

    def __init__(
        self,
        function: Callable[[str], str],
        *,
        model_name: str = "function",
        error: Exception | None = None,
        fail_after_chunks: int = 0,
        **kwargs: Any,
    ) -> None:
        kwargs |= {
            "function": function,
            "model_name": model_name,
            "error": error,
            "fail_after_chunks": fail_after_chunks,
        }
        super().__init__(**kwargs)

    @property
    def calls(self) -> list[str]:
        """The texts that the model was asked, oldest first; failed calls among them."""
        return self._calls

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        """Return the message that answers a conversation."""
        return AIMessage(self.function(_last_words(messages)))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools bound; whether to call them is up to `answer`."""
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._calls.append(_last_words(messages))
        if self.error is not None:
            raise self.error
        message = self.answer(messages)
        message.usage_metadata = _usage(messages, message)
        message.response_metadata = {"model_name": self.model_name, **message.response_metadata}
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        await asyncio.sleep(0)
        return self._generate(messages)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._calls.append(_last_words(messages))
        if self.error is not None and not self.fail_after_chunks:
            raise self.error
        message = self.answer(messages)
        for number, word in enumerate(re.findall(r"\s*\S+|\s+$", message.text)):
            if self.error is not None and number == self.fail_after_chunks:
                raise self.error
            yield self._tell(AIMessageChunk(content=word), run_manager)
        if self.error is not None:
            raise self.error
        last = AIMessageChunk(
            content="",
            tool_calls=message.tool_calls,
            usage_metadata=_usage(messages, message),
            response_metadata={"model_name": self.model_name},
            chunk_position="last",
        )
        yield self._tell(last, run_manager)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            await asyncio.sleep(0)
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    @staticmethod
    def _tell(
        message: AIMessageChunk, run_manager: CallbackManagerForLLMRun | None
    ) -> ChatGenerationChunk:
        chunk = ChatGenerationChunk(message=message)
        if run_manager is not None:
            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
        return chunk

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider="function",
            ls_model_name=kwargs.get("model", self.model_name),
            ls_model_type="chat",
        )

    @property
    def _llm_type(self) -> str:
        return "tryage-function"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}


def _last_words(messages: list[BaseMessage]) -> str:
    return next((m.text for m in reversed(messages) if m.type == "human"), "")


def _usage(messages: list[BaseMessage], answer: AIMessage) -> UsageMetadata:
    asked = sum(count_tokens(message.text) for message in messages)
    answered = count_tokens(answer.text)
    return UsageMetadata(input_tokens=asked, output_tokens=answered, total_tokens=asked + answered)
