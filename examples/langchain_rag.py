"""Retrieval: questions about Tryage, answered from its own README.

    python examples/langchain_rag.py

Runs offline: the passages are found with Tryage's own encoder, and the models are functions that
quote the passage they were given. Put your store, embeddings and models in their place.
"""

import re
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_tryage import ChatTryage
from langchain_tryage.testing import FunctionChatModel
from tryage.predictors.default import bundled_encoder

README = Path(__file__).resolve().parents[1] / "README.md"


class StaticEmbeddings(Embeddings):
    """The encoder that ships with Tryage, as LangChain's embeddings."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return bundled_encoder().encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class Quoting(FunctionChatModel):
    """Answers with the first line of what was retrieved."""

    def answer(self, messages: list[BaseMessage]) -> AIMessage:
        return AIMessage(f"{self.model_name}: {messages[0].text.splitlines()[0]}")


def joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


sections = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
store = InMemoryVectorStore.from_texts(sections, StaticEmbeddings())
prompt = ChatPromptTemplate([("system", "{context}"), ("user", "{question}")])
llm = ChatTryage(
    [Quoting(str, model_name="gpt-5"), Quoting(str, model_name="gpt-4o-mini")],
    flags="tolerance=0.05; cost=1",
)
retriever = store.as_retriever(search_kwargs={"k": 1})
chain = (
    {"context": retriever | joined, "question": RunnablePassthrough()}
    | prompt
    | llm
    | StrOutputParser()
)
for question in (
    "Which flags are there: weights and limits?",
    "How do I use it in place of ChatOpenAI?",
    "How is a decision made: the objective?",
):
    print(f"{question}\n  {chain.invoke(question)}")
