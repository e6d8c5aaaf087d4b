"""Routers over plain functions, and handlers that count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import Field

from langchain_tryage import ChatTryage
from langchain_tryage.testing import FunctionChatModel
from tests.servers.openai_server import OpenAIServer
from tests.servers.weights_server import WeightsServer
from tryage.testing import FunctionPredictor


def in_order(*names: str) -> FunctionPredictor:
    """Return a predictor for which the models are the better, the earlier they stand."""
    return FunctionPredictor(lambda prompt, model: 0.9 - 0.1 * names.index(model))


def answering(name: str, **kwargs: Any) -> FunctionChatModel:
    """Return a model that says its name and what it was asked."""
    return FunctionChatModel(lambda text: f"{name} heard: {text}", model_name=name, **kwargs)


def router(*models: BaseChatModel, **kwargs: Any) -> ChatTryage:
    """Return a router that prefers the models in the order given."""
    names = [getattr(model, "model_name", "") for model in models]
    return ChatTryage(list(models), **{"predictor": in_order(*names), **kwargs})


def openai(server: OpenAIServer | WeightsServer, name: str, **kwargs: Any) -> ChatOpenAI:
    """Return ChatOpenAI for a model of a local server."""
    settings = {"api_key": "none", "stream_usage": True, "max_retries": 0, **kwargs}
    return ChatOpenAI(model=name, base_url=server.base_url, **settings)


def authors(messages: list[BaseMessage]) -> list[str]:
    """Return who wrote each of the models' messages in a conversation."""
    return [
        message.response_metadata["tryage"]["model"]
        for message in messages
        if isinstance(message, AIMessage)
    ]


class Scripted(FunctionChatModel):
    """Does what the user wrote, such as `add(1, 2) & join(x, y) then add(3, 4)`.

    Calls are tool calls, several in one message where `&` stands between them; after `then` it
    first waits for their results. At the end, it says the results.
    """

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        asked = max(n for n, message in enumerate(messages) if message.type == "human")
        steps = re.findall(r"\w+\(.*?\)(?: & \w+\(.*?\))*", messages[asked].text)
        turn = messages[asked + 1 :]
        done = sum(message.type == "ai" for message in turn)
        if done == len(steps):
            return AIMessage("All I got: " + " ".join(m.text for m in turn if m.type == "tool"))
        calls = re.findall(r"(\w+)\((.*?), (.*?)\)", steps[done])
        return AIMessage(
            "",
            tool_calls=[
                {"name": name, "args": {"a": a, "b": b}, "id": f"{len(messages)}.{n}"}
                for n, (name, a, b) in enumerate(calls)
            ],
        )


def scripted(name: str, **kwargs: Any) -> Scripted:
    """Return a model that calls the tools that the user names."""
    return Scripted(str, model_name=name, **kwargs)


class Counting(BaseCallbackHandler):
    """Counts events by name, and keeps what chat models' runs were started with."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.starts: list[dict[str, Any]] = []
        self.tokens: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.events["chat_model_start"] += 1
        self.starts.append(kwargs)

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.events["llm_end"] += 1

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events["llm_error"] += 1

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.events["chain_start"] += 1


class Recording(BaseChatModel):
    """Keeps what reaches `_generate`; cannot stream, cannot call tools."""

    model_name: str = "recording"
    received: list[tuple[Any, Any, dict[str, Any]]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "recording"

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.received.append((messages, stop, kwargs))
        message = AIMessage("recorded", response_metadata={"model_name": self.model_name})
        return ChatResult(generations=[ChatGeneration(message=message)])


class Chunked(BaseChatModel):
    """Streams the given chunks; raises where one is an error."""

    model_name: str = "chunked"
    chunks: list[Any]
    closed: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "chunked"

    def _generate(self, messages: Any, *arguments: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, messages: Any, *arguments: Any, **kwargs: Any) -> Iterator[Any]:
        try:
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield ChatGenerationChunk(message=AIMessageChunk(**chunk))
        finally:
            self.closed.append("closed")
