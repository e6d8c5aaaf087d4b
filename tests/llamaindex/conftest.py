"""What the tests of the LlamaIndex skin share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from llama_index.core.llms import LLM
from llama_index.llms.openai_like import OpenAILike
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span_handlers import SimpleSpanHandler

from llamaindex_tryage import Tryage
from llamaindex_tryage.testing import FunctionLLM
from tests.servers.openai_server import OpenAIServer
from tryage.testing import FunctionPredictor

KEY = "sk-not-a-key"
"""What servers are given for a key, and nothing else should hold."""


@dataclass
class Recorded:
    """What LlamaIndex's instrumentation saw, in order."""

    events: list[Any] = field(default_factory=list)
    spans: SimpleSpanHandler = field(default_factory=SimpleSpanHandler)

    def named(self, name: str) -> list[Any]:
        return [event for event in self.events if event.class_name() == name]

    @property
    def ended_calls(self) -> list[Any]:
        names = ("LLMChatEndEvent", "LLMCompletionEndEvent")
        return [event for event in self.events if event.class_name() in names]

    @property
    def started_calls(self) -> list[Any]:
        names = ("LLMChatStartEvent", "LLMCompletionStartEvent")
        return [event for event in self.events if event.class_name() in names]

    def parent_of(self, span_id: str) -> str | None:
        done = [*self.spans.completed_spans, *self.spans.dropped_spans]
        return next(span.parent_id for span in done if span.id_ == span_id)


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """Events and spans, as an observability package sees them."""
    seen = Recorded()

    class Handler(BaseEventHandler):
        @classmethod
        def class_name(cls) -> str:
            return "Recorder"

        def handle(self, event: Any, **kwargs: Any) -> None:
            seen.events.append(event)

    root = get_dispatcher()
    events, spans = root.event_handlers, root.span_handlers
    root.event_handlers, root.span_handlers = [*events, Handler()], [*spans, seen.spans]
    yield seen
    root.event_handlers, root.span_handlers = events, spans


def prefers(*names: str) -> FunctionPredictor:
    """A predictor that ranks models in this order, whatever the prompt."""
    return FunctionPredictor(lambda text, model: 1 - names.index(model) / len(names))


def says(name: str, **settings: Any) -> FunctionLLM:
    """An LLM that answers with its own name and what it was asked."""
    return FunctionLLM(lambda text: f"{name}: {text}", model_name=name, **settings)


@pytest.fixture
def make() -> Callable[..., Tryage]:
    """Makes a router over LLMs that are preferred in the order in which they are given."""

    def router(*llms: LLM, **settings: Any) -> Tryage:
        names = [llm.model_name for llm in llms]
        return Tryage(llms=llms, predictor=prefers(*names), **settings)

    return router


@pytest.fixture(scope="session")
async def clients() -> AsyncIterator[dict[str, Any]]:
    """Connections for LLMs, closed in the end."""
    with httpx.Client() as sync:
        async with httpx.AsyncClient() as asynchronous:
            yield {"http_client": sync, "async_http_client": asynchronous}


@pytest.fixture(scope="session")
def _running() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def server(_running) -> OpenAIServer:
    """A server that speaks OpenAI's API, which nobody has asked anything yet."""
    _running.requests.clear()
    return _running


@pytest.fixture
def served(server, clients) -> Callable[..., OpenAILike]:
    """Makes an LLM that is a model of the server."""

    def connect(name: str, **settings: Any) -> OpenAILike:
        given = {"is_chat_model": True, "max_retries": 0, "api_key": KEY, **clients, **settings}
        return OpenAILike(model=name, api_base=server.base_url, **given)

    return connect
