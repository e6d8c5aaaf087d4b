"""LLMs for scenarios: one that does with tools what the user's words say, and where they fall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.llms.mock import MockFunctionCallingLLM

from llamaindex_tryage import Tryage
from tests.llamaindex.conftest import prefers


class ToolUser(MockFunctionCallingLLM):
    """Calls the tools that the last user message names, step by step, then says what came out.

    `add 2 3; double` calls `add` with 2 and 3, then `double` with what came back. What is no
    tool's name is answered with.

    Attributes:
        name: What it is called, in its answers too.
        error: Raised on every call, if any.
        heard: The messages of each call.
    """

    name: str
    error: Any = None
    heard: list[list[ChatMessage]] = []  # noqa: RUF012  # pydantic copies it

    @property
    def model_name(self) -> str:
        return self.name

    def _get_response_generator(self) -> Callable[..., ChatMessage]:
        return self._respond

    def _respond(
        self, messages: Sequence[ChatMessage], tools: Sequence[Any] = (), **kwargs: Any
    ) -> ChatMessage:
        if self.error is not None:
            raise self.error
        self.heard.append(list(messages))
        asked = max(i for i, message in enumerate(messages) if message.role == "user")
        steps = str(messages[asked].content).split("; ")
        results = [message.content for message in messages[asked:] if message.role == "tool"]
        named = {tool.metadata.name: tool for tool in tools}
        done = len(results) >= len(steps)
        word, *given = [""] if done else steps[len(results)].split()
        if word not in named:
            said = results[-1] if results else messages[asked].content
            return ChatMessage(role="assistant", content=f"{self.name}: {said}")
        parameters = named[word].metadata.get_parameters_dict()["properties"]
        if results and len(given) < len(parameters):
            given = [results[-1], *given]
        call = ToolCallBlock(
            tool_call_id=f"{self.name}-{len(messages)}",
            tool_name=word,
            tool_kwargs={
                key: int(value) if parameter.get("type") == "integer" else value
                for (key, parameter), value in zip(parameters.items(), given, strict=False)
            },
        )
        return ChatMessage(role="assistant", blocks=[call])


def router(*llms: LLM, **settings: Any) -> Tryage:
    """A router over LLMs that are preferred in the order in which they are given."""
    names = [llm.model_name for llm in llms]
    settings.setdefault("predictor", prefers(*names))
    return Tryage(llms=dict(zip(names, llms, strict=True)), **settings)
