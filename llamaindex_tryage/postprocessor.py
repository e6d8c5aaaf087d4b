"""`TryagePostprocessor`: tells the router what was retrieved, and how close it is."""

from __future__ import annotations

from typing import Annotated, Any

from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import Field, PlainSerializer, SkipValidation

from llamaindex_tryage.retrieval import Retrieval, note
from tryage import Flags, UsageError, as_flags, count_tokens


class TryagePostprocessor(BaseNodePostprocessor):
    """Tells `Tryage` what was retrieved for a question; the nodes stay as they are.

    Put it last among the `node_postprocessors` of a query engine or chat engine whose LLM is
    `Tryage`. The `RoutingDecisionEvent` of each call that synthesizes the answer then says how many
    nodes there were, how long they are and how close the best one is. And where even the best one
    is far from the question, other flags can hold for the answer: a stronger model says sooner
    that the context does not hold it.

    They are weaker than flags of a `with tryage.flags(...)` block, and stronger than the LLM's own.
    They hold for this answer alone.

    Args:
        weak_below: Score of the best node below which a retrieval is weak, on the scale of whatever
            scored the nodes last: the retriever, or a reranker. A retrieval without scores is
            never weak.
        flags_if_weak: Wishes for the answer from a weak retrieval: flags, their text form, or a
            dictionary.
        callback_manager: LlamaIndex's callbacks.

    Raises:
        UsageError: Only one of `weak_below` and `flags_if_weak` is given.
        UnknownFlag: A flag does not exist.
        InvalidFlag: A flag has a value that it cannot have.

    Examples:
        >>> from llama_index.core.schema import TextNode
        >>> last = TryagePostprocessor(weak_below=0.5, flags_if_weak="most recent model")
        >>> nodes = [NodeWithScore(node=TextNode(text="Water boils at 100 C."), score=0.8)]
        >>> last.postprocess_nodes(nodes, query_str="When does water boil?") == nodes
        True
    """

    weak_below: float | None = Field(
        default=None, description="Score of the best node below which a retrieval is weak."
    )
    flags_if_weak: Annotated[
        SkipValidation[Flags], PlainSerializer(Flags.as_json, return_type=dict[str, Any])
    ] = Field(default_factory=Flags, description="Wishes for the answer from a weak retrieval.")

    def __init__(
        self,
        weak_below: float | None = None,
        flags_if_weak: Flags | str | dict[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
        **fields: Any,
    ) -> None:
        flags = as_flags(flags_if_weak)
        if (weak_below is None) != (flags == Flags()):
            raise UsageError(
                f"weak_below={weak_below!r} and flags_if_weak={flags_if_weak!r}: "
                "give both, or neither to observe only."
            )
        fields |= {"weak_below": weak_below, "flags_if_weak": flags}
        super().__init__(callback_manager=callback_manager or CallbackManager([]), **fields)

    @classmethod
    def class_name(cls) -> str:
        """Return the id under which LlamaIndex saves this class."""
        return "TryagePostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        texts = [node.node.get_content(MetadataMode.NONE) for node in nodes]
        scores = [node.score for node in nodes if node.score is not None]
        top = max(scores, default=None)
        weak = self.weak_below is not None and top is not None and top < self.weak_below
        retrieval = Retrieval(
            nodes=len(nodes),
            tokens=sum(count_tokens(text) for text in texts if text),
            top_score=top,
            weak=weak,
            flags=self.flags_if_weak if weak else None,
        )
        note(retrieval, texts)
        return nodes

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        # Not in a thread, as LlamaIndex would do it: what is noted there nobody sees here.
        return self._postprocess_nodes(nodes, query_bundle)
