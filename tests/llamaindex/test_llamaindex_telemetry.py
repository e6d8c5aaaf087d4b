"""What observability counts and traces: as for the bare LLM, under a span of the router."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, Settings, SummaryIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import LLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from llamaindex_tryage import Tryage
from tests.llamaindex.conftest import KEY, prefers
from tests.llamaindex.entries import ENTRIES, Entry
from tests.servers.openai_server import USAGE

# LlamaIndex's agents look at deprecated attributes of their own.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

TELL = PromptTemplate("Tell me of the animal '{name}'.")


class Animal(BaseModel):
    """An animal."""

    name: str


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What OpenTelemetry exports of LlamaIndex."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = LlamaIndexInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()


def entry_use(entry: Entry) -> Callable[[LLM], Awaitable[Any]]:
    async def use(llm: LLM) -> None:
        await entry(llm, "Hi you")

    use.__name__ = entry.__name__
    return use


async def predict(llm: LLM) -> None:
    llm.predict(TELL, name="cat")


async def stream_predict(llm: LLM) -> None:
    list(llm.stream(TELL, name="cat"))


async def structured(llm: LLM) -> None:
    llm.structured_predict(Animal, TELL, name="cat")


async def astructured(llm: LLM) -> None:
    await llm.astructured_predict(Animal, TELL, name="cat")


async def stream_structured(llm: LLM) -> None:
    list(llm.stream_structured_predict(Animal, TELL, name="cat"))


async def query_engine(llm: LLM) -> None:
    index = SummaryIndex.from_documents(
        [Document(text="Water boils.")], embed_model=MockEmbedding(8)
    )
    engine = index.as_query_engine(llm)
    engine.query("When?")
    await engine.aquery("When?")


async def chat_engine(llm: LLM) -> None:
    memory = ChatMemoryBuffer.from_defaults()
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
    engine.chat("Hi")
    await engine.achat("Hi again")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def agent(llm: LLM, streaming: bool = False) -> None:
    tools = [FunctionTool.from_defaults(add)]
    loop = FunctionAgent(tools=tools, llm=llm, streaming=streaming)
    await loop.run("Add 2 and 3", memory=ChatMemoryBuffer.from_defaults())


async def stream_agent(llm: LLM) -> None:
    await agent(llm, streaming=True)


USES = (
    *(entry_use(entry) for entry in ENTRIES),
    predict,
    stream_predict,
    structured,
    astructured,
    stream_structured,
    query_engine,
    chat_engine,
    agent,
    stream_agent,
)
CALLS = {"query_engine": 2, "chat_engine": 2, "agent": 2, "stream_agent": 2}

every_use = pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)


@pytest.fixture
def pair(use, served) -> tuple[LLM, Tryage]:
    """A bare LLM, and a router that decides for one like it."""
    streams = "stream" in use.__name__
    usage = {"additional_kwargs": {"stream_options": {"include_usage": True}}} if streams else {}

    def connect(name: str) -> LLM:
        return served(name, is_function_calling_model=True, **usage)

    routed = Tryage(llms=[connect("a"), connect("b")], predictor=prefers("a", "b"))
    return connect("a"), routed


@every_use
async def test_tokens_are_counted_as_for_the_bare_llm(use, pair, monkeypatch):
    counts = []
    for llm in pair:
        handler = TokenCountingHandler()
        llm.callback_manager = CallbackManager([handler])
        monkeypatch.setattr(Settings, "_callback_manager", llm.callback_manager)  # for engines
        await use(llm)
        counts.append([event.total_token_count for event in handler.llm_token_counts])
    assert counts[1] == counts[0] == [USAGE["total_tokens"]] * CALLS.get(use.__name__, 1)


TOLD = ("llm.model_name", "llm.input_messages.0.message.content", "output.value")


def calls(spans: InMemorySpanExporter) -> list[tuple[Any, ...]]:
    """Return what each span of a model's call tells, in their order."""
    found = [span for span in spans.get_finished_spans() if span.name.startswith("OpenAILike.")]
    return [(span.name, *map(span.attributes.get, TOLD)) for span in found]


def tokens(spans: InMemorySpanExporter) -> list[Any]:
    """Return all counts of tokens that spans tell."""
    told = [span.attributes.get("llm.token_count.total") for span in spans.get_finished_spans()]
    return [count for count in told if count is not None]


def ancestors(span: ReadableSpan, spans: InMemorySpanExporter) -> list[str]:
    by_id = {s.context.span_id: s for s in spans.get_finished_spans()}
    names = []
    while span.parent is not None:
        span = by_id[span.parent.span_id]
        names.append(span.name)
    return names


@every_use
async def test_spans_are_those_of_the_bare_llm_under_the_routers(use, pair, spans):
    bare, routed = pair
    await use(bare)
    expected, counted = calls(spans), tokens(spans)
    spans.clear()
    await use(routed)
    assert calls(spans) == expected
    assert tokens(spans) == counted == [USAGE["total_tokens"]] * CALLS.get(use.__name__, 1)
    for span in spans.get_finished_spans():
        assert KEY not in span.to_json()
        if span.name.startswith("OpenAILike."):
            assert any(name.startswith("Tryage.") for name in ancestors(span, spans))


async def test_a_model_that_fails_leaves_its_error_in_its_own_span(served, spans):
    names = ("boom-500", "b")
    llm = Tryage(llms=[served(name) for name in names], predictor=prefers(*names))
    await llm.acomplete("Hi")
    failed = [s for s in spans.get_finished_spans() if not s.status.is_ok]
    assert {s.attributes["llm.model_name"] for s in failed} == {"boom-500"}
    assert ancestors(failed[-1], spans)[-1] == "Tryage.acomplete"
    assert not [s for s in spans.get_finished_spans() if KEY in s.to_json()]
