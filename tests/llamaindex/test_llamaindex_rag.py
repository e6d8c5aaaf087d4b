"""Questions about Tryage, answered from its own documents by real weights behind a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.node_parser import MarkdownNodeParser
from llama_index.llms.openai_like import OpenAILike

from llamaindex_tryage import Tryage
from tests.llamaindex.conftest import prefers, says
from tests.servers.weights_server import ENDLESS, MODEL, WeightsServer
from tryage import ModelCard
from tryage.predictors.default import bundled_encoder

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

ANSWERS = {
    "How do I use it in LlamaIndex, in place of Settings.llm?": "Settings.llm",
    "Which weights and limits can flags have?": "released_after",
    "What must a change bring: a test, a line in the changelog?": "CHANGELOG.md",
}
"""What stands in a section that answers a question."""


class StaticEmbedding(BaseEmbedding):
    """The bundled encoder as LlamaIndex's embedding."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return bundled_encoder().encode_one(text).tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


@pytest.fixture(scope="module")
def index() -> VectorStoreIndex:
    documents = [
        Document(text=file.read_text("utf-8"), metadata={"file": file.name}) for file in FILES
    ]
    return VectorStoreIndex.from_documents(
        documents, embed_model=StaticEmbedding(), transformations=[MarkdownNodeParser()]
    )


@pytest.fixture
def over(clients) -> Callable[..., Tryage]:
    """Makes a router that prefers the weights of a server, before an LLM that says its name."""

    def make(server: WeightsServer, **settings) -> Tryage:
        usage = {"stream_options": {"include_usage": True}} if settings.pop("streams", 0) else {}
        real = OpenAILike(
            model=MODEL,
            api_base=server.base_url,
            api_key="none",
            is_chat_model=True,
            max_retries=0,
            additional_kwargs={**usage, **settings},
            **clients,
        )
        cards = [ModelCard(name=MODEL, context_tokens=4_096)]
        return Tryage(llms=[real, says("b")], cards=cards, predictor=prefers(MODEL, "b"))

    return make


@pytest.mark.parametrize("way", ["query", "aquery", "stream", "astream"])
async def test_the_section_that_answers_reaches_real_weights(
    way, index, over, weights_server, recorded
):
    streams = "stream" in way
    llm, handler = over(weights_server, streams=streams, max_tokens=20), TokenCountingHandler()
    engine = index.as_query_engine(llm, similarity_top_k=2, streaming=streams)
    llm.callback_manager = CallbackManager([handler])
    for question, holds in ANSWERS.items():
        recorded.events.clear()
        answer = await engine.aquery(question) if way[0] == "a" else engine.query(question)
        if way == "astream":
            text = "".join([token async for token in answer.async_response_gen()])
        else:
            text = "".join(answer.response_gen) if way == "stream" else answer.response
        assert text.strip()
        assert any(holds in node.text for node in answer.source_nodes)
        (start,), (end,) = recorded.started_calls[-1:], recorded.ended_calls[-1:]
        assert any(holds in message.content for message in start.messages)
        usage = end.response.raw.usage
        count = handler.llm_token_counts[-1]
        assert count.prompt_token_count == usage.prompt_tokens > 100
        assert count.completion_token_count == usage.completion_tokens > 0
        assert [event.model for event in recorded.named("RoutingDecisionEvent")] == [MODEL]
    assert len(handler.llm_token_counts) == len(ANSWERS)


@pytest.fixture
def mortal() -> Iterator[WeightsServer]:
    """A server of real weights for one test, which kills it."""
    with WeightsServer() as running:
        yield running


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_server_killed_within_an_answer_is_an_error_and_then_passed_by(
    way, index, over, mortal, recorded
):
    llm = over(mortal, **ENDLESS)
    engine = index.as_query_engine(llm, similarity_top_k=1, streaming=True)
    question = next(iter(ANSWERS))

    async def read(heard: list[str], then_kill: bool) -> None:
        if way == "stream":
            for token in engine.query(question).response_gen:
                heard.append(token)
                if then_kill and len(heard) == 3:
                    mortal.kill()
            return
        async for token in (await engine.aquery(question)).async_response_gen():
            heard.append(token)
            if then_kill and len(heard) == 3:
                mortal.kill()

    heard: list[str] = []
    with pytest.raises(httpx.TransportError):
        await read(heard, then_kill=True)
    assert len(heard) >= 3
    assert not any("b: " in token for token in heard)
    heard = []
    recorded.events.clear()
    await read(heard, then_kill=False)
    assert "".join(heard).startswith("b: ")
    assert {event.model_dict["class_name"] for event in recorded.started_calls} == {"FunctionLLM"}
