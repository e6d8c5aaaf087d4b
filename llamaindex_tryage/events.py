"""What the router tells LlamaIndex's instrumentation: one event for each decision."""

from __future__ import annotations

from typing import Annotated, Any

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from pydantic import PlainSerializer, SkipValidation

from llamaindex_tryage.purposes import Purpose
from llamaindex_tryage.retrieval import Retrieval
from llamaindex_tryage.spans import heard
from tryage import Decision

dispatcher = get_dispatcher(__name__)


class RoutingDecisionEvent(BaseEvent):
    """A model was decided for a call, and is about to be called.

    It stands in the router's own span, around the spans of the LLM that answers. Dumping it
    writes the whole reasoning: every model's terms, and why others are out.

    Attributes:
        model: The chosen model's name.
        decision: The decision; see `tryage.Decision`.
        purpose: What the call is for, where that is known; see `llamaindex_tryage.purposes`.
        retrieval: What a `TryagePostprocessor` told of the nodes that it answers from.
    """

    model: str
    decision: Annotated[
        SkipValidation[Decision], PlainSerializer(Decision.as_json, return_type=dict)
    ]
    purpose: Purpose | None = None
    retrieval: dict[str, Any] | None = None

    @classmethod
    def class_name(cls) -> str:
        """Return the event's name for handlers."""
        return "RoutingDecisionEvent"


def announce(decision: Decision, purpose: Purpose | None, retrieval: Retrieval | None) -> None:
    """Send the event of a decision to whoever listens."""
    if heard(dispatcher):  # making an event costs more than asking
        event = RoutingDecisionEvent(
            model=decision.model,
            decision=decision,
            purpose=purpose,
            retrieval=None if retrieval is None else retrieval.as_json(),
        )
        dispatcher.event(event)
