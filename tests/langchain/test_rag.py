"""Questions about Tryage, answered from its own documents out of a vector store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from langchain_tryage import ChatTryage
from tests.langchain.fakes import Counting, answering, router
from tests.langchain.ways import Way
from tryage import ModelCard, NoEligibleModel
from tryage.predictors.default import bundled_encoder

ROOT = Path(__file__).resolve().parents[2]

ANSWERS = {
    "How do I use it in LangChain, in place of ChatOpenAI?": "import ChatTryage",
    "How do I use it in LlamaIndex, in place of Settings.llm?": "import Tryage",
    "Which weights and limits can flags have?": "`released_after`",
    "What must a change bring: a test, a line in the changelog?": "`CHANGELOG.md`",
}
"""What stands in the section that answers a question."""


class StaticEmbeddings(Embeddings):
    """The bundled encoder as LangChain's embeddings."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return bundled_encoder().encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def sections() -> list[Document]:
    """Return the sections of the repository's documents."""
    return [
        Document(section, metadata={"file": name})
        for name in ("README.md", "CONTRIBUTING.md")
        for section in re.split(r"^(?=## )", (ROOT / name).read_text("utf-8"), flags=re.M)[1:]
    ]


@pytest.fixture(scope="module")
def store() -> Iterator[QdrantVectorStore]:
    client = QdrantClient(":memory:")
    size = bundled_encoder().dimensions
    vectors = models.VectorParams(size=size, distance=models.Distance.COSINE)
    client.create_collection("sections", vectors_config=vectors)
    store = QdrantVectorStore(client, "sections", StaticEmbeddings())
    store.add_documents(sections())
    yield store
    client.close()


def rag(store: QdrantVectorStore, model: ChatTryage, sections: int = 1) -> Runnable[str, Any]:
    """Return the chain from a question to the message that answers it."""

    def joined(documents: list[Document]) -> str:
        return "\n\n".join(document.page_content for document in documents)

    retriever = store.as_retriever(search_kwargs={"k": sections})
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Answer from this alone:\n{context}"), ("human", "{question}\n{context}")]
    )
    found = {"context": retriever | joined, "question": RunnablePassthrough()}
    return found | prompt | model


async def test_the_section_that_answers_reaches_the_model(
    way: Way, store: QdrantVectorStore
) -> None:
    chain = rag(store, router(answering("a"), answering("b"))) | StrOutputParser()
    for question, holds in ANSWERS.items():
        answer = await way.invoke(chain, question)
        assert answer.startswith(f"a heard: {question}\n## ")
        assert holds in answer
        parts = await way.stream(chain, question)
        assert len(parts) > 10
        assert "".join(parts).rstrip() == answer.rstrip()
    answers = await way.batch(chain, list(ANSWERS))
    assert all(holds in answer for holds, answer in zip(ANSWERS.values(), answers, strict=True))


async def test_the_chain_holds_one_run_of_the_real_model(
    way: Way, store: QdrantVectorStore
) -> None:
    seen = Counting()
    chain = rag(store, router(answering("a"), answering("b")))
    config = {"callbacks": [seen], "configurable": {"tryage_flags": "only b"}}
    message = await way.invoke(chain, next(iter(ANSWERS)), config)
    assert message.response_metadata["tryage"]["model"] == "b"
    assert seen.events["chat_model_start"] == seen.events["llm_end"] == 1
    assert seen.starts[0]["metadata"]["ls_model_name"] == "b"


async def test_what_was_retrieved_counts_against_the_context_window(
    way: Way, store: QdrantVectorStore
) -> None:
    cards = [
        ModelCard(name="narrow", context_tokens=1_500),
        ModelCard(name="wide", context_tokens=100_000),
    ]
    narrow, wide = answering("narrow"), answering("wide")
    model = router(narrow, wide, cards=cards)
    question = next(iter(ANSWERS))
    short = await way.invoke(rag(store, model, sections=1), question)
    long = await way.invoke(rag(store, model, sections=100), question)
    told = [message.response_metadata["tryage"] for message in (short, long)]
    assert [(t["model"], t["alternatives"]) for t in told] == [("narrow", ["wide"]), ("wide", [])]
    alone = router(narrow, cards=cards[:1])
    with pytest.raises(NoEligibleModel, match="narrow: .*context"):
        await way.invoke(rag(store, alone, sections=100), question)
