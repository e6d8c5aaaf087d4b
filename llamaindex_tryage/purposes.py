"""What a call of LlamaIndex is for, so that flags can be given for each purpose.

One LLM serves a whole pipeline, and LlamaIndex does not say which part of it is calling. It can be
seen all the same: from the step whose span is around the call, from a template's type and its
variables, and from whether there are tools. A call of which none of them tells has no purpose.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, get_args

from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.prompts import BasePromptTemplate, PromptType

from llamaindex_tryage.retrieval import GoesOn
from llamaindex_tryage.spans import calling_step
from tryage import Flags, UnknownFlag, as_flags

Purpose = Literal["condense", "retrieve", "synthesize", "tools", "answer"]
"""What a call is for.

- `condense`: a chat engine makes one question of the conversation.
- `retrieve`: whatever finds the context: queries written (SQL, HyDE, sub-questions, keywords),
  engines and nodes selected, nodes reranked.
- `synthesize`: the answer from what was retrieved, refinements and summaries of it included.
- `tools`: a call that is given tools, and may choose among them.
- `answer`: a chat without tools, and an agent's call once the results of its tools are there.
"""

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)

_OF_TYPES: Final[Mapping[str, Purpose]] = {
    PromptType.QUESTION_ANSWER: "synthesize",
    PromptType.REFINE: "synthesize",
    PromptType.SIMPLE_INPUT: "synthesize",
    PromptType.SQL_RESPONSE_SYNTHESIS: "synthesize",
    PromptType.SQL_RESPONSE_SYNTHESIS_V2: "synthesize",
    PromptType.CHOICE_SELECT: "retrieve",
    PromptType.DECOMPOSE: "retrieve",
    PromptType.JSON_PATH: "retrieve",
    PromptType.MULTI_SELECT: "retrieve",
    PromptType.PANDAS: "retrieve",
    PromptType.QUERY_KEYWORD_EXTRACT: "retrieve",
    PromptType.RANKGPT_RERANK: "retrieve",
    PromptType.SINGLE_SELECT: "retrieve",
    PromptType.SUB_QUESTION: "retrieve",
    PromptType.TEXT_TO_GRAPH_QUERY: "retrieve",
    PromptType.TEXT_TO_SQL: "retrieve",
    PromptType.TREE_SELECT: "retrieve",
    PromptType.TREE_SELECT_MULTIPLE: "retrieve",
    PromptType.VECTOR_STORE_QUERY: "retrieve",
}
# The methods that LlamaIndex's own classes, and a user's, implement for each step.
_OF_METHODS: Final[Mapping[str, Purpose]] = {
    **dict.fromkeys(("retrieve", "_retrieve", "_get_keywords"), "retrieve"),
    **dict.fromkeys(("aretrieve", "_aretrieve", "_aget_keywords"), "retrieve"),
    **dict.fromkeys(("_postprocess_nodes", "_apostprocess_nodes"), "retrieve"),
    **dict.fromkeys(("_select", "_aselect"), "retrieve"),
    **dict.fromkeys(("synthesize", "get_response", "get_response_from_messages"), "synthesize"),
    **dict.fromkeys(("asynthesize", "aget_response", "aget_response_from_messages"), "synthesize"),
}
_WRITES_QUERIES = ("QueryTransform", "QuestionGenerator")
_CONTEXT = frozenset({"context_str", "context_msg", "context_messages"})
_RESULTS = (MessageRole.TOOL, MessageRole.FUNCTION)


def split_flags(
    given: Flags | str | Mapping[str, Any] | None,
) -> tuple[Flags, dict[Purpose, Flags]]:
    """Return the flags for every call, and those for calls of one purpose.

    Raises:
        UnknownFlag: A name is neither a flag nor a purpose.
        InvalidFlag: A value is out of range or of the wrong type.

    Example:
        >>> split_flags({"cost": 0.1, "condense": "smallest model"})
        (Flags(cost=0.1), {'condense': Flags(size=1.0)})
    """
    if not isinstance(given, Mapping):
        return as_flags(given), {}
    by_purpose = {name: as_flags(given[name]) for name in PURPOSES if name in given}
    try:
        every = as_flags({name: v for name, v in given.items() if name not in PURPOSES})
    except UnknownFlag as error:
        raise UnknownFlag(f"{error} Purposes: {', '.join(PURPOSES)}.") from None
    return every, by_purpose


def of_template(prompt: BasePromptTemplate, given: Collection[str]) -> Purpose | None:
    """Return what a call with a template is for.

    Args:
        prompt: The template.
        given: The names of what it is filled with in this call.
    """
    kind, names = prompt.metadata.get("prompt_type"), {*prompt.kwargs, *given}
    purpose = _OF_TYPES.get(kind or "") or _of_step()
    if purpose is not None:
        return purpose
    if "query_str" in names and (names & _CONTEXT):
        return "synthesize"
    if {"chat_history", "question"} <= names or _in_chat_engine():
        return "condense"
    return None


def question_of(prompt: BasePromptTemplate, given: Mapping[str, Any]) -> str | None:
    """Return what the user asks, where a template is filled with it."""
    question = given.get("query_str", prompt.kwargs.get("query_str"))
    return question if isinstance(question, str) else None


def goes_on(prompt: BasePromptTemplate, given: Collection[str]) -> GoesOn | None:
    """Return how a call with a template goes on from earlier answers, if it does."""
    if "existing_answer" in prompt.kwargs or "existing_answer" in given:
        return "refines"
    return "sums up" if prompt.metadata.get("prompt_type") == PromptType.SUMMARY else None


def of_completion() -> Purpose | None:
    """Return what a completion is for: chat engines rewrite questions, retrievers write them."""
    return _of_step() or ("condense" if _in_chat_engine() else None)


def of_chat(messages: Sequence[ChatMessage], tools: bool) -> Purpose | None:
    """Return what a chat is for; `tools` says whether it is given any."""
    if tools:
        return of_tools(messages, tools)
    purpose = _of_step()
    if purpose is not None:
        return purpose
    # An agent that gives no tools to the LLM may have it choose one by text.
    return None if _in_program() or _step()[1] == "run_agent_step" else "answer"


def of_tools(messages: Sequence[ChatMessage], tools: bool, must: bool = False) -> Purpose | None:
    """Return what a call is for that can be given tools.

    Args:
        messages: The conversation.
        tools: Whether it is given any.
        must: Whether it must call one.
    """
    purpose = _of_step()
    if purpose is not None or _in_program():
        return purpose
    done = bool(messages) and messages[-1].role in _RESULTS
    return "tools" if tools and (must or not done) else "answer"


def _in_program() -> bool:
    """Return whether an object is filled, by way of a tool or not, or a document is prepared."""
    owner, _ = _step()
    return owner.endswith("Program") or owner == "run_jobs"


def _of_step() -> Purpose | None:
    owner, method = _step()
    return "retrieve" if owner.endswith(_WRITES_QUERIES) else _OF_METHODS.get(method)


def _in_chat_engine() -> bool:
    return _step()[0].endswith("ChatEngine")


def _step() -> tuple[str, str]:
    """Return the class and the method of the step that calls, or blanks."""
    owner, _, method = calling_step().partition(".")
    return owner, method
