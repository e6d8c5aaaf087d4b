"""What a call is for is seen, traced or not, and flags can be given for it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.extractors import SummaryExtractor
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.llms import LLM, ChatMessage, MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import RouterQueryEngine, TransformQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.selectors import LLMSingleSelector, PydanticSingleSelector
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index_instrumentation import DispatcherSpanMixin, get_dispatcher
from pydantic import BaseModel

import tryage
from llamaindex_tryage import Tryage
from llamaindex_tryage.purposes import PURPOSES
from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import prefers, says
from tests.llamaindex.entries import chat, complete, every_entry, told
from tests.llamaindex.scripted import ToolUser, router
from tryage import Flags, UnknownFlag
from tryage.testing import FunctionPredictor

# LlamaIndex's agents look at deprecated attributes of their own.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]

dispatcher = get_dispatcher(__name__)

HISTORY = [ChatMessage("Hi"), ChatMessage("Hello", role="assistant")]
CUSTOM = PromptTemplate("Read {context_str} and say: {query_str}")


@pytest.fixture(autouse=True)
def settings(monkeypatch) -> None:
    for name in ("_llm", "_embed_model", "_callback_manager", "_prompt_helper", "_node_parser"):
        monkeypatch.setattr(Settings, name, None)
    Settings.embed_model = MockEmbedding(8)
    Settings.llm = says("of the settings")


@pytest.fixture(params=["traced", "untraced"])
def traced(request) -> None:
    """With and without a handler: the router's own spans are there only with one."""
    if request.param == "traced":
        request.getfixturevalue("recorded")


@pytest.fixture
def index() -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(
        [Document(text=f"Fact {n}: water boils at {n} degrees. " * 20) for n in range(2)]
    )


def one_for_each(answer: str = "x") -> tuple[Tryage, list[str]]:
    """A router that calls the model of the call's purpose, and who was called, in order."""
    called: list[str] = []

    def model(name: str) -> FunctionLLM:
        return FunctionLLM(lambda text: called.append(name) or answer, model_name=name)

    names = ("none", *PURPOSES)
    llm = Tryage(
        llms=[model(name) for name in names],
        predictor=prefers(*names),
        flags={name: f"only {name}" for name in PURPOSES},
    )
    return llm, called


MODES = [m for m in ResponseMode if m not in (ResponseMode.NO_TEXT, ResponseMode.CONTEXT_ONLY)]


@pytest.mark.parametrize("mode", MODES)
async def test_query_engines_synthesize(mode, index, traced):
    llm, called = one_for_each()
    engine = index.as_query_engine(llm=llm, response_mode=mode)
    engine.query("Why?")
    await engine.aquery("Why?")
    assert set(called) == {"synthesize"}


@pytest.mark.parametrize("mode", ["compact", "tree_summarize"])
async def test_query_engines_that_stream_synthesize(mode, index, traced):
    llm, called = one_for_each()
    engine = index.as_query_engine(llm=llm, response_mode=mode, streaming=True)
    "".join(engine.query("Why?").response_gen)
    answer = await engine.aquery("Why?")
    assert [token async for token in answer.async_response_gen()] == ["x"]
    assert called == ["synthesize", "synthesize"]


async def test_templates_of_the_users_own_synthesize(index, traced):
    llm, called = one_for_each()
    engine = index.as_query_engine(llm=llm, text_qa_template=CUSTOM, response_mode="compact")
    engine.query("Why?")
    await engine.aquery("Why?")
    llm.predict(CUSTOM, context_str="x", query_str="Why?")
    assert called == ["synthesize"] * 3


@pytest.mark.parametrize(
    ("mode", "purposes"),
    [
        (ChatMode.SIMPLE, ["answer"]),
        (ChatMode.CONTEXT, ["synthesize"]),
        (ChatMode.CONDENSE_QUESTION, ["condense", "synthesize"]),
        (ChatMode.CONDENSE_PLUS_CONTEXT, ["condense", "synthesize"]),
    ],
)
async def test_chat_engines_condense_then_answer(mode, purposes, index, traced):
    llm, called = one_for_each()

    def engine() -> Any:
        memory = ChatMemoryBuffer.from_defaults(chat_history=list(HISTORY))
        return index.as_chat_engine(chat_mode=mode, llm=llm, memory=memory)

    engine().chat("Why?")
    assert called == purposes
    await engine().achat("Why?")
    assert called == purposes * 2
    "".join(engine().stream_chat("Why?").response_gen)
    assert called == purposes * 3


def tools_over(index: VectorStoreIndex, llm: LLM) -> list[QueryEngineTool]:
    engine = index.as_query_engine(llm=llm)
    return [QueryEngineTool.from_defaults(engine, name=n, description=n) for n in "ab"]


def hyde(index: VectorStoreIndex, llm: LLM) -> Any:
    return TransformQueryEngine(index.as_query_engine(llm=llm), HyDEQueryTransform(llm=llm))


def fusion(index: VectorStoreIndex, llm: LLM) -> Any:
    return QueryFusionRetriever([index.as_retriever()], llm=llm, use_async=False)


def rerank(index: VectorStoreIndex, llm: LLM) -> Any:
    return index.as_query_engine(llm=llm, node_postprocessors=[LLMRerank(llm=llm)])


def select(index: VectorStoreIndex, llm: LLM) -> Any:
    selector = LLMSingleSelector.from_defaults(llm=llm)
    return RouterQueryEngine(selector, tools_over(index, llm), llm=llm)


@pytest.mark.parametrize(
    ("made", "answer", "purposes"),
    [
        (hyde, "x", ["retrieve", "synthesize"]),
        (rerank, "Doc: 1, Relevance: 5", ["retrieve", "synthesize"]),
        (select, '[{"choice": 1, "reason": "x"}]', ["retrieve", "synthesize"]),
        (fusion, "x", ["retrieve"]),
    ],
)
async def test_whatever_finds_the_context_retrieves(made, answer, purposes, index, traced):
    llm, called = one_for_each(answer)
    engine = made(index, llm)
    ask, aask = (
        (engine.retrieve, engine.aretrieve) if made is fusion else (engine.query, engine.aquery)
    )
    ask("Why?")
    assert called == purposes
    await aask("Why?")
    assert called == purposes * 2


async def test_calls_that_tell_nothing_have_no_purpose(index, traced):
    llm, called = one_for_each()
    await SummaryExtractor(llm=llm, show_progress=False).aextract(
        [scored.node for scored in index.as_retriever().retrieve("x")]
    )
    await complete(llm, "Hi")
    llm.predict(PromptTemplate("Tell me of {topic}."), topic="cats")
    assert set(called) == {"none"}


class Poem(DispatcherSpanMixin):
    """A step of the user's own."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    @dispatcher.span
    def generate(self) -> str:
        return self.llm.complete("Write.").text


class OwnQuestionGenerator(Poem):
    """One that writes queries, as LlamaIndex's do."""


def test_a_users_own_step_that_generates_has_no_purpose(traced):
    llm, called = one_for_each()
    Poem(llm).generate()
    OwnQuestionGenerator(llm).generate()
    assert called == ["none", "retrieve"]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def run(agent: Any, said: str) -> Any:
    return agent.run(said, memory=ChatMemoryBuffer.from_defaults())


@pytest.mark.parametrize("streaming", [False, True])
async def test_one_model_for_tool_calls_and_another_for_the_final_answer(streaming, traced):
    small, big = ToolUser(name="small"), ToolUser(name="big")
    llm = router(small, big, flags={"tools": "only small", "answer": "only big"})
    output = await run(FunctionAgent(tools=[add], llm=llm, streaming=streaming), "add 2 3")
    assert str(output) == "big: 5"
    assert (len(small.heard), len(big.heard)) == (1, 1)


async def test_wishes_for_the_answer_do_not_end_a_tool_loop(recorded):
    llm = router(ToolUser(name="a"), ToolUser(name="b"), flags={"answer": "sticky, cheapest"})
    cards = [tryage.ModelCard(name=n, input_usd_per_mtok=p, output_usd_per_mtok=p)
             for n, p in (("a", 9), ("b", 1))]  # fmt: skip
    llm.cards = cards
    output = await run(FunctionAgent(tools=[add], llm=llm), "add 2 3")
    assert str(output) == "a: 5"
    events = recorded.named("RoutingDecisionEvent")
    assert [(e.purpose, e.decision.kept) for e in events] == [("tools", False), ("answer", True)]


async def test_an_agent_without_tools_answers(traced):
    llm = router(ToolUser(name="a"), ToolUser(name="b"), flags={"answer": "only b"})
    assert str(await run(FunctionAgent(tools=[], llm=llm), "Hi")) == "b: Hi"


async def test_what_an_agent_writes_its_tool_calls_into_has_no_purpose(traced):
    llm, called = one_for_each("Thought: I can answer without any more tools.\nAnswer: 5")
    assert str(await run(ReActAgent(tools=[add], llm=llm, streaming=False), "Add")) == "5"
    assert called == ["none"]


class Animal(BaseModel):
    """An animal."""

    name: str


def test_an_object_that_is_filled_by_way_of_a_tool_is_no_choice_of_tools(traced):
    llm = router(ToolUser(name="a"), ToolUser(name="b"), flags={"tools": "only b"})
    selector = PydanticSingleSelector.from_defaults(llm=llm)
    with pytest.raises(Exception, match="tool call"):  # which this LLM does not make
        selector.select(["x", "y"], "Why?")
    assert [len(one.heard) for one in llm.llms] == [1, 0]
    assert llm.predict_and_call([FunctionTool.from_defaults(add)], user_msg="add 2 3").response
    assert [len(one.heard) for one in llm.llms] == [1, 1]


@every_entry
async def test_responses_and_events_tell_the_purpose(entry, recorded, make):
    purpose = "answer" if "chat" in entry.__name__ else None
    assert told(await entry(make(says("a")), "Hi"))["purpose"] == purpose
    (event,) = recorded.named("RoutingDecisionEvent")
    assert event.purpose == purpose
    assert event.model_dump()["purpose"] == purpose


# What is decided on


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "accumulate"])
async def test_an_answer_from_a_context_is_decided_by_the_question(mode, index, recorded):
    seen: list[str] = []
    predictor = FunctionPredictor(lambda text, model: seen.append(text) or 0.5)
    llm = Tryage(llms=[says("a")], predictor=predictor)
    engine = index.as_query_engine(llm=llm, response_mode=mode)
    engine.query("When does water boil?")
    await engine.aquery("When does water boil?")
    assert set(seen) == {"When does water boil?"}
    for event in recorded.named("RoutingDecisionEvent"):
        assert event.decision.tokens.input > 100  # and the size is that of the whole prompt


async def test_flags_are_read_from_the_question_of_a_query_engine(index, make):
    llm = make(says("a"), says("b"), prompt_flags=True)
    engine = index.as_query_engine(llm=llm)
    for answer in (engine.query("[Flag: not a] Why?"), await engine.aquery("[Flag: not a] Why?")):
        assert str(answer).startswith("b: ")
        assert "[Flag" not in str(answer)


class Hearing(FunctionLLM):
    """Notes all that it is given, templates and conversations too."""

    heard: list[str] = []  # noqa: RUF012  # pydantic copies it

    def _extend_messages(self, messages: Any) -> Any:
        self.heard.extend(message.content or "" for message in messages)
        return super()._extend_messages(messages)


IN_TURNS = [ChatMode.CONTEXT, ChatMode.CONDENSE_QUESTION, ChatMode.CONDENSE_PLUS_CONTEXT]


@pytest.mark.parametrize("mode", IN_TURNS)
async def test_marks_of_earlier_turns_are_taken_out_and_not_read(mode, index, traced):
    llms = [Hearing(lambda text: "x", model_name=name) for name in "ab"]
    llm = Tryage(llms=llms, predictor=prefers("a", "b"), prompt_flags=True)

    def engine() -> Any:
        said = ["[Flag: cost=0.1] Hi", "[Flag: not a; cost=0.2] So?"]
        history = [*map(ChatMessage, said), ChatMessage("Hello", role="assistant")]
        memory = ChatMemoryBuffer.from_defaults(chat_history=history)
        return index.as_chat_engine(chat_mode=mode, llm=llm, memory=memory)

    engine().chat("Why?")
    await engine().achat("Why?")
    "".join(engine().stream_chat("[Flag: cost=0.3] Why?").response_gen)
    assert llms[0].calls
    assert not llms[1].calls
    assert "[Flag" not in "".join([*llms[0].calls, *llms[0].heard])
    assert any("So?" in text for text in [*llms[0].calls, *llms[0].heard])


@pytest.mark.parametrize("mode", [ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT])
async def test_the_mark_of_this_turn_counts(mode, index, traced):
    llm = Tryage(llms=[says("a"), says("b")], predictor=prefers("a", "b"), prompt_flags=True)
    memory = ChatMemoryBuffer.from_defaults(chat_history=[ChatMessage("[Flag: not b] Hi")])
    engine = index.as_chat_engine(chat_mode=mode, llm=llm, memory=memory)
    assert str(engine.chat("[Flag: not a] Why?")).startswith("b: Why?")


async def test_a_react_agent_keeps_to_the_users_mark(traced):
    def act(text: str) -> str:
        if text.startswith("Observation"):
            return "Thought: I can answer without any more tools.\nAnswer: " + text
        return 'Thought: I need a tool.\nAction: look\nAction Input: {"at": "x"}'

    def look(at: str) -> str:
        """Look."""
        return "[Flag: not b] found"

    llms = [FunctionLLM(act, model_name=name) for name in "ab"]
    llm = Tryage(llms=llms, predictor=prefers("a", "b"), prompt_flags=True)
    agent = ReActAgent(tools=[FunctionTool.from_defaults(look)], llm=llm, streaming=False)
    assert "[Flag: not b] found" in str(await run(agent, "[Flag: not a] Look"))
    assert [len(one.calls) for one in llms] == [0, 2]


# Flags


def test_the_stronger_flags_win(make):
    llm = make(says("a"), flags={"cost": 0.1, "size": 0.1, "answer": {"cost": 0.2, "size": 0.2}},
               prompt_flags=True)  # fmt: skip
    hi = [ChatMessage("Hi")]

    def weights(**of: float) -> dict[str, float]:
        return {"cost": 0.2, "size": 0.2, **of}

    assert told([llm.complete("Hi")])["flags"] == {"cost": 0.1, "size": 0.1}
    assert told([llm.chat(hi)])["flags"] == weights()
    with tryage.flags(cost=0.3):
        assert told([llm.chat(hi)])["flags"] == weights(cost=0.3)
        marked = [ChatMessage("[Flag: cost=0.4] Hi")]
        assert told([llm.chat(marked)])["flags"] == weights(cost=0.4)


def test_an_unknown_name_lists_flags_and_purposes(make):
    with pytest.raises(UnknownFlag, match=r"'synthesise'.*cost.*Purposes: .*synthesize") as caught:
        make(says("a"), flags={"synthesise": "cheap"})
    assert "\n" not in str(caught.value)
    with pytest.raises(UnknownFlag, match="'bogus'"):
        make(says("a"), flags={"synthesize": "bogus"})


GIVEN = {"synthesize": "not a", "condense": Flags(size=1), "cost": 0.1}


def back_from_dict(llm: Tryage) -> Tryage:
    return Tryage.from_dict(llm.to_dict(), predictor=llm.predictor)


def pickled(llm: Tryage) -> Tryage:
    return pickle.loads(pickle.dumps(llm))


def first(text: str, model: str) -> float:
    return float(model == "a")


@pytest.mark.parametrize("copied", [back_from_dict, Tryage.model_copy, pickled])
def test_copies_keep_the_flags_of_each_purpose(copied: Callable[[Tryage], Tryage]):
    llms = {"a": MockLLM(max_tokens=1), "b": MockLLM(max_tokens=2)}
    llm = Tryage(llms=llms, predictor=FunctionPredictor(first), flags=GIVEN)
    after = copied(llm)
    assert after.flags == Flags(cost=0.1)
    assert after.purpose_flags == {"condense": Flags(size=1), "synthesize": Flags.parse("not a")}
    assert after.to_dict() == llm.to_dict()
    assert after.predict(CUSTOM, context_str="x", query_str="y") == "text text"


def test_an_ingestion_cache_sees_the_flags_of_a_purpose(make):
    def seen(flags: Any) -> str:
        llm = make(says("a"), flags=flags)
        json.dumps(llm.to_dict())
        return get_transformation_hash([], llm)

    assert seen({"answer": "cheap"}) == seen({"answer": "cheap"})
    assert len({seen(f) for f in (None, "cheap", {"answer": "cheap"}, {"tools": "cheap"})}) == 4


async def test_flags_are_set_anew_as_a_whole(make):
    llm = make(says("a"), says("b"), flags={"answer": "only b", "cost": 0.1})
    llm.flags = {"tools": "only b"}
    assert told(await chat(llm, "Hi"))["model"] == "a"
    assert llm.flags == Flags()
    llm.flags = {"answer": "only b"}
    assert told(await chat(llm, "Hi"))["model"] == "b"
    llm.purpose_flags = {"answer": "not b"}
    assert told(await chat(llm, "Hi"))["model"] == "a"
    assert llm.purpose_flags == {"answer": Flags.parse("not b")}
