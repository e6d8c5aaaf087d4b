"""Retrieval: questions about Tryage, answered from its own README, each purpose with its flags.

    python examples/llamaindex_rag.py

Runs offline: the passages are found with Tryage's own encoder, and the LLMs are functions. Put your
embedding model and LLMs in their place.
"""

import re
from pathlib import Path

from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.schema import TextNode

from llamaindex_tryage import Tryage, TryagePostprocessor
from llamaindex_tryage.events import RoutingDecisionEvent
from llamaindex_tryage.testing import FunctionLLM
from tryage.predictors.default import bundled_encoder

README = Path(__file__).resolve().parents[1] / "README.md"


class StaticEmbedding(BaseEmbedding):
    """The encoder that ships with Tryage, as a LlamaIndex embedding model."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return bundled_encoder().encode([text])[0].tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


class Decisions(BaseEventHandler):
    """Prints what was decided for each call."""

    def handle(self, event: object, **kwargs: object) -> None:
        if isinstance(event, RoutingDecisionEvent):
            print(f"  {event.purpose or 'no purpose':10} -> {event.model}")


Settings.embed_model = StaticEmbedding()
Settings.llm = Tryage(
    llms=[
        FunctionLLM(function=lambda text: "An answer from gpt-5.", model_name="gpt-5"),
        FunctionLLM(function=lambda text: "From gpt-4o-mini.", model_name="gpt-4o-mini"),
    ],
    flags={"synthesize": "cost=0.05", "condense": "cheapest"},
)
get_dispatcher().add_event_handler(Decisions())

sections = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
index = VectorStoreIndex([TextNode(text=section) for section in sections])
weak = TryagePostprocessor(weak_below=0.2, flags_if_weak="only gpt-5")
chat = index.as_chat_engine(
    chat_mode="condense_plus_context", similarity_top_k=1, node_postprocessors=[weak]
)
for question in ("Which flags are there: weights and limits?", "And how is a decision made?"):
    answer = chat.chat(question)
    print(f"{question}\n  {answer.source_nodes[0].text.splitlines()[0]}: {answer}")
