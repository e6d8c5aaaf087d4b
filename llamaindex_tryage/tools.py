"""Calls with tools: routed before the tools are put into any provider's format.

Each LLM formats the tools, and reads the calls in its responses, by itself: providers agree on
neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.agent.react import ReActChatFormatter, ReActOutputParser
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import (
    LLM,
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index_instrumentation import get_dispatcher

from llamaindex_tryage.base import RoutingLLM, fresh
from llamaindex_tryage.calls import RoutedCall
from llamaindex_tryage.messages import author_of, unsigned
from llamaindex_tryage.purposes import of_tools
from llamaindex_tryage.responses import (
    arelay,
    chat_has_content,
    relay,
    reported_chat,
    reporting,
    stamped_chat,
)
from llamaindex_tryage.spans import spared
from tryage import NoEligibleModel, count_tokens

if TYPE_CHECKING:
    from llama_index.core.chat_engine.types import AgentChatResponse
    from llama_index.core.tools.types import BaseTool

dispatcher = get_dispatcher(__name__)


@spared
class ToolRoutes(RoutingLLM):
    """The entry points that take tools; they go to LLMs that can be given tools."""

    @dispatcher.span
    def chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        """Return the best function-calling LLM's answer, which may ask for tools.

        Args:
            tools: What it may call.
            user_msg: What the user says.
            chat_history: The conversation before; not changed.
            verbose: Passed on, like all that follow.
            allow_parallel_tool_calls: Whether it may call several at once.
            tool_required: Whether it must call one.
            kwargs: Passed on to the LLM that answers.

        Raises:
            NoEligibleModel: None of the LLMs can be given tools, or the limits exclude those.
            AllModelsFailed: Every LLM that was tried failed; holds each cause.
        """
        options = _options(verbose, allow_parallel_tool_calls, tool_required, kwargs)
        call, said = self._route_tools(tools, user_msg, chat_history, options)
        outcome = self._call(
            call, lambda llm: _able(llm).chat_with_tools(tools, **fresh(said), **fresh(options))
        )
        return reported_chat(call, outcome)

    @dispatcher.span
    async def achat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        """Return the best function-calling LLM's answer; otherwise like `chat_with_tools`."""
        options = _options(verbose, allow_parallel_tool_calls, tool_required, kwargs)
        call, said = self._route_tools(tools, user_msg, chat_history, options)
        outcome = await self._acall(
            call,
            lambda llm: _able(llm).achat_with_tools(tools, **fresh(said), **fresh(options)),
        )
        return reported_chat(call, outcome)

    @dispatcher.span
    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """Return the chunks of its answer, the first content there; like `chat_with_tools`."""
        options = _options(verbose, allow_parallel_tool_calls, tool_required, kwargs)
        call, said = self._route_tools(tools, user_msg, chat_history, options)
        outcome = self._open(
            call,
            lambda llm: _able(llm).stream_chat_with_tools(tools, **fresh(said), **fresh(options)),
            chat_has_content,
        )
        finish = reporting(stamped_chat, call, outcome)
        return relay(outcome, self._candidates.breaker, finish)

    @dispatcher.span
    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """Return the chunks of its answer, the first content there; like `chat_with_tools`."""
        options = _options(verbose, allow_parallel_tool_calls, tool_required, kwargs)
        call, said = self._route_tools(tools, user_msg, chat_history, options)
        outcome = await self._aopen(
            call,
            lambda llm: _able(llm).astream_chat_with_tools(tools, **fresh(said), **fresh(options)),
            chat_has_content,
        )
        finish = reporting(stamped_chat, call, outcome)
        return arelay(outcome, self._candidates.breaker, finish)

    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Return what the tools answer that the best LLM chose to call.

        Where no LLM can be given tools, the best one is led through them by text, as LlamaIndex
        does for such an LLM by itself.

        Args:
            tools: What it may call.
            user_msg: What the user says.
            chat_history: The conversation before; not changed.
            verbose: Passed on, like all that follow.
            allow_parallel_tool_calls: Whether it may call several at once.
            error_on_no_tool_call: Whether to raise where it calls none.
            error_on_tool_error: Whether to raise where a tool fails.
            kwargs: Passed on to the LLM that answers.

        Raises:
            NoEligibleModel: The limits exclude every LLM.
            AllModelsFailed: Every LLM that was tried failed; holds each cause.
        """
        call, said = self._route_tools(tools, user_msg, chat_history, kwargs, by_text_if_must=True)
        options = self._run_options(
            verbose, allow_parallel_tool_calls, error_on_no_tool_call, error_on_tool_error, kwargs
        )
        outcome = self._call(
            call,
            lambda llm: llm.predict_and_call(list(tools), **fresh(said), **fresh(options)),
        )
        return outcome.value

    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        error_on_no_tool_call: bool = True,
        error_on_tool_error: bool = False,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Return what the tools answer; otherwise like `predict_and_call`."""
        call, said = self._route_tools(tools, user_msg, chat_history, kwargs, by_text_if_must=True)
        options = self._run_options(
            verbose, allow_parallel_tool_calls, error_on_no_tool_call, error_on_tool_error, kwargs
        )
        outcome = await self._acall(
            call,
            lambda llm: llm.apredict_and_call(list(tools), **fresh(said), **fresh(options)),
        )
        return outcome.value

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool | None = None, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the tool calls of a response, as the LLM that gave it reads them.

        Args:
            response: A response of this router, or a chunk of one.
            error_on_no_tool_call: Whether to raise where there is none; if not said, that LLM
                decides.
            kwargs: Not used.

        Raises:
            ValueError: There is no tool call, and that was asked to be an error.
        """
        llm = self._candidates.llms.get(author_of(response) or "")
        if llm is not None and hasattr(llm, "get_tool_calls_from_response"):
            if error_on_no_tool_call is None:
                return _able(llm).get_tool_calls_from_response(response)
            return _able(llm).get_tool_calls_from_response(
                response, error_on_no_tool_call=error_on_no_tool_call
            )
        return _read_tool_calls(response, error_on_no_tool_call is not False)

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the call as the first function-calling LLM would make it.

        The entry points above do not come through here: they leave it to the LLM that is chosen.
        """
        able = self._candidates.call_tools
        if not able:
            raise NoEligibleModel(dict.fromkeys(self.names, "is no function-calling LLM"))
        return _able(self._candidates.llms[able[0]])._prepare_chat_with_tools_compat(
            tools,
            user_msg=user_msg,
            chat_history=list(chat_history or []),
            verbose=verbose,
            allow_parallel_tool_calls=allow_parallel_tool_calls,
            tool_required=tool_required,
            **kwargs,
        )

    def _route_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None,
        chat_history: list[ChatMessage] | None,
        kwargs: dict[str, Any],
        *,
        by_text_if_must: bool = False,
    ) -> tuple[RoutedCall, dict[str, Any]]:
        """Return the decision, and `user_msg` and `chat_history` as the LLM shall see them."""
        messages = list(chat_history or [])
        if user_msg is not None:
            asked = ChatMessage(content=user_msg) if isinstance(user_msg, str) else user_msg
            messages.append(asked)
        clean, flags = self._read(messages)
        wanted = not by_text_if_must or bool(self._candidates.call_tools)
        purpose = of_tools(messages, bool(tools), must=bool(kwargs.get("tool_required")))
        # What they say of themselves; to write out their parameters takes longer than to decide.
        told = sum(count_tokens(tool.metadata.description) for tool in tools)
        call = self._route(
            clean, kwargs, purpose, tools=wanted, tool_tokens=told, prompt_flags=flags
        )
        if user_msg is None:
            return call, {"user_msg": None, "chat_history": unsigned(clean)}
        said = user_msg if clean[-1] is messages[-1] else clean[-1]
        return call, {"user_msg": said, "chat_history": unsigned(clean[:-1])}

    def _run_options(
        self,
        verbose: bool,
        allow_parallel_tool_calls: bool,
        error_on_no_tool_call: bool,
        error_on_tool_error: bool,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the arguments, with what LlamaIndex needs to lead an LLM through tools by text."""
        by_text = {
            "react_chat_formatter": ReActChatFormatter(),
            "output_parser": ReActOutputParser(),
        }
        return {
            **({} if self._candidates.call_tools else by_text),
            **kwargs,
            "verbose": verbose,
            "allow_parallel_tool_calls": allow_parallel_tool_calls,
            "error_on_no_tool_call": error_on_no_tool_call,
            "error_on_tool_error": error_on_tool_error,
        }


def _able(llm: LLM) -> FunctionCallingLLM:
    """Return the LLM as one that has the methods for tools; the decision saw to that."""
    return cast(FunctionCallingLLM, llm)


def _options(
    verbose: bool, allow_parallel_tool_calls: bool, tool_required: bool, kwargs: dict[str, Any]
) -> dict[str, Any]:
    return {
        "verbose": verbose,
        "allow_parallel_tool_calls": allow_parallel_tool_calls,
        "tool_required": tool_required,
        **kwargs,
    }


def _read_tool_calls(response: ChatResponse, must: bool) -> list[ToolSelection]:
    """Return the tool calls that stand in a response's blocks."""
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if must and not calls:
        raise ValueError("Expected at least one tool call, but got 0 tool calls.")
    return [
        ToolSelection(
            tool_id=call.tool_call_id or "",
            tool_name=call.tool_name,
            tool_kwargs=_arguments(call.tool_kwargs),
        )
        for call in calls
    ]


def _arguments(given: dict[str, Any] | str) -> dict[str, Any]:
    if not isinstance(given, str):
        return given
    try:
        return parse_partial_json(given)  # while it streams it is not complete
    except (ValueError, TypeError):
        return {}
