"""What a postprocessor tells of a retrieval reaches the answer to its question, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import tryage
from llamaindex_tryage import Tryage, TryagePostprocessor
from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import says
from tests.llamaindex.scripted import ToolUser, router
from tryage import Flags, UnknownFlag, UsageError


@pytest.fixture(autouse=True)
def settings(monkeypatch) -> None:
    for name in ("_llm", "_embed_model", "_callback_manager", "_prompt_helper", "_node_parser"):
        monkeypatch.setattr(Settings, name, None)
    Settings.embed_model = MockEmbedding(8)
    Settings.llm = says("of the settings")


class Found(BaseRetriever):
    """Finds as many facts as it is told to, the best with this score."""

    def __init__(self, score: float | None, count: int = 1, about: str = "water") -> None:
        super().__init__()
        self.nodes = [
            NodeWithScore(
                node=TextNode(text=f"Fact {n} of {about}: {about} boils. ", metadata={"page": n}),
                score=None if score is None else score - n / 100,
            )
            for n in range(count)
        ]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self.nodes


def short(name: str, **settings: Any) -> FunctionLLM:
    return FunctionLLM(lambda text: name, model_name=name, **settings)


def engine_of(llm: Tryage, found: Found, last: Any = (), **settings: Any) -> Any:
    return RetrieverQueryEngine.from_args(found, llm=llm, node_postprocessors=last, **settings)


WEAK = TryagePostprocessor(weak_below=0.5, flags_if_weak="only strong")


def cheap_and_strong() -> Tryage:
    return router(says("cheap"), says("strong"))


def retrievals(recorded: Any) -> list[Any]:
    return [event.retrieval for event in recorded.named("RoutingDecisionEvent")]


async def query(engine: Any, question: str) -> str:
    return str(engine.query(question))


async def aquery(engine: Any, question: str) -> str:
    return str(await engine.aquery(question))


async def in_a_thread(engine: Any, question: str) -> str:
    return str(await asyncio.to_thread(engine.query, question))


ASK = (query, aquery, in_a_thread)
every_way = pytest.mark.parametrize("ask", ASK, ids=lambda ask: ask.__name__)
Ask = Callable[[Any, str], Awaitable[str]]


@every_way
async def test_flags_for_a_weak_retrieval_hold_for_its_answer(ask: Ask):
    llm = cheap_and_strong()
    assert (await ask(engine_of(llm, Found(0.3), [WEAK]), "Why?")).startswith("strong: ")
    assert (await ask(engine_of(llm, Found(0.5), [WEAK]), "Why?")).startswith("cheap: ")
    assert (await ask(engine_of(llm, Found(None), [WEAK]), "Why?")).startswith("cheap: ")


@every_way
async def test_the_event_tells_what_was_retrieved(ask: Ask, recorded):
    await ask(engine_of(cheap_and_strong(), Found(0.9, 3), [TryagePostprocessor()]), "Why?")
    tokens = 3 * (len("Fact 0 of water: water boils. ") // 4)
    told = {"nodes": 3, "tokens": tokens, "top_score": 0.9, "weak": False}
    assert retrievals(recorded) == [told]
    (event,) = recorded.named("RoutingDecisionEvent")
    assert event.model_dump()["retrieval"] == told


@every_way
@pytest.mark.parametrize(
    "mode", ["compact", "refine", "tree_summarize", "simple_summarize", "accumulate"]
)
async def test_every_call_of_the_answer_is_told(mode, ask: Ask, recorded):
    engine = engine_of(cheap_and_strong(), Found(0.1, 3), [WEAK], response_mode=mode)
    assert "cheap" not in await ask(engine, "Why?")
    calls = {"refine": 3, "accumulate": 3}.get(mode, 1)
    assert [told["weak"] for told in retrievals(recorded)] == [True] * calls


@every_way
async def test_a_summary_of_summaries_is_told(ask: Ask, recorded):
    llm = router(*(short(name, context_window=560) for name in ("cheap", "strong")))
    engine = engine_of(llm, Found(0.1, 60), [WEAK], response_mode="tree_summarize")
    assert await ask(engine, "Why?") == "strong"
    assert len(retrievals(recorded)) > 2
    assert all(told and told["weak"] for told in retrievals(recorded))


@every_way
async def test_a_node_that_is_cut_in_two_is_told_to_the_end(ask: Ask, recorded):
    found = Found(0.1, 2)
    found.nodes[1].node.text = "Water " * 600
    llm = router(*(short(name, context_window=900) for name in ("cheap", "strong")))
    assert await ask(engine_of(llm, found, [WEAK]), "Why?") == "strong"
    assert len(retrievals(recorded)) > 1
    assert all(told and told["weak"] for told in retrievals(recorded))


@every_way
async def test_a_reranker_that_comes_after_it_does_not_use_it_up(ask: Ask, recorded):
    llm = router(says("cheap"), says("strong"))
    reranker = LLMRerank(llm=llm, parse_choice_select_answer_fn=lambda *_: ([1], [9]))
    answer = await ask(engine_of(llm, Found(0.1), [WEAK, reranker]), "Why?")
    assert answer.startswith("strong: ")
    assert [told is not None for told in retrievals(recorded)] == [False, True]


async def test_streams_are_told(recorded):
    llm = cheap_and_strong()
    engine = engine_of(llm, Found(0.1), [WEAK], streaming=True)
    assert "".join(engine.query("Why?").response_gen).startswith("strong: ")
    answer = await engine.aquery("Why?")
    tokens = [token async for token in answer.async_response_gen()]
    assert "".join(tokens).startswith("strong: ")


@pytest.mark.parametrize("made", [ContextChatEngine, CondensePlusContextChatEngine])
async def test_chat_engines_are_told(made, recorded):
    llm = router(says("cheap"), says("strong"))

    def engine() -> Any:
        history = [ChatMessage("Hi"), ChatMessage("Hello", role="assistant")]
        memory = ChatMemoryBuffer.from_defaults(chat_history=history)
        return made.from_defaults(Found(0.1), llm=llm, memory=memory, node_postprocessors=[WEAK])

    assert str(engine().chat("Why?")).startswith("strong: ")
    assert str(await engine().achat("Why?")).startswith("strong: ")
    assert "".join(engine().stream_chat("Why?").response_gen).startswith("strong: ")
    answer = await engine().astream_chat("Why?")
    tokens = [token async for token in answer.async_response_gen()]
    assert "".join(tokens).startswith("strong: ")


@pytest.mark.parametrize("ask", [query, aquery], ids=lambda ask: ask.__name__)
@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize"])
@pytest.mark.parametrize("then", ["the same", "more of the same", "something else"])
async def test_a_later_query_without_the_postprocessor_is_told_nothing(
    then, mode, ask: Ask, recorded
):
    llm = cheap_and_strong()
    later = {
        "the same": Found(0.1),
        "more of the same": Found(0.1, 2),
        "something else": Found(0.1, about="iron"),
    }[then]
    assert (await ask(engine_of(llm, Found(0.1), [WEAK]), "Why?")).startswith("strong: ")
    # A summary that quotes nothing is known by its question alone.
    other = mode == "tree_summarize" and then == "something else"
    later_question = "How?" if other else "Why?"
    plain = engine_of(llm, later, response_mode=mode)
    assert (await ask(plain, later_question)).startswith("cheap: ")
    assert not any(retrievals(recorded)[1:])


@pytest.mark.parametrize("ask", [query, aquery], ids=lambda ask: ask.__name__)
async def test_a_stream_that_nobody_read_leaves_nothing_behind(ask: Ask, recorded):
    llm = cheap_and_strong()
    engine_of(llm, Found(0.1), [WEAK], streaming=True).query("Why?")
    assert (await ask(engine_of(llm, Found(0.1, about="iron")), "Why?")).startswith("cheap: ")
    assert (await ask(engine_of(llm, Found(0.1)), "How?")).startswith("cheap: ")


async def test_queries_at_once_do_not_see_each_others():
    llm = cheap_and_strong()
    index = range(40)
    engines = [
        engine_of(llm, Found(0.1 if n % 2 else 0.9, about=f"metal {n}"), [WEAK]) for n in index
    ]
    answers: Sequence[Any] = await asyncio.gather(
        *(engine.aquery(f"Why {n}?") for n, engine in enumerate(engines))
    )
    wanted = ["strong" if n % 2 else "cheap" for n in index]
    assert [str(answer).split(":")[0] for answer in answers] == wanted
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: engines[n].query(f"Why {n}?"), index))
    assert [str(answer).split(":")[0] for answer in answers] == wanted


async def test_calls_beside_the_answer_are_told_nothing(recorded):
    llm = cheap_and_strong()
    WEAK.postprocess_nodes(Found(0.1).nodes)
    llm.chat([ChatMessage("Fact 0 of water: water boils. Right?")])
    llm.complete("Fact 0 of water: water boils.")
    assert retrievals(recorded) == [None, None]
    answer = str(engine_of(llm, Found(0.1)).query("Why?"))
    assert answer.startswith("strong: ")  # these nodes are those of the postprocessor


async def test_stronger_flags_and_weaker_ones():
    llm = router(says("cheap"), says("strong"), says("own"), flags={"synthesize": "only own"})
    assert str(engine_of(llm, Found(0.9), [WEAK]).query("Why?")).startswith("own: ")
    assert str(engine_of(llm, Found(0.1), [WEAK]).query("Why?")).startswith("strong: ")
    with tryage.flags("only cheap"):
        assert str(engine_of(llm, Found(0.1), [WEAK]).query("Why?")).startswith("cheap: ")


async def test_it_works_within_an_index_and_an_agents_llm(recorded):
    llm = router(ToolUser(name="plain"), says("strong"))
    index = VectorStoreIndex.from_documents([Document(text="Water boils.")])
    index.as_query_engine(llm=llm, node_postprocessors=[TryagePostprocessor()]).query("Why?")
    (told,) = retrievals(recorded)
    assert (told["nodes"], told["top_score"]) == (1, pytest.approx(1.0))


# The postprocessor itself


async def test_nodes_stay_as_they_are():
    nodes = Found(0.1, 3).nodes
    assert WEAK.postprocess_nodes(nodes, query_str="Why?") is nodes
    assert await WEAK.apostprocess_nodes(nodes, query_str="Why?") is nodes
    assert TryagePostprocessor().postprocess_nodes([]) == []


@pytest.mark.parametrize("given", [{"weak_below": 0.5}, {"flags_if_weak": "cheap"}])
def test_both_halves_are_needed(given):
    with pytest.raises(UsageError, match="give both"):
        TryagePostprocessor(**given)


def test_unknown_flags_are_errors():
    with pytest.raises(UnknownFlag, match="'bogus'"):
        TryagePostprocessor(weak_below=0.5, flags_if_weak="bogus")


def test_it_is_saved_and_read_back():
    again = TryagePostprocessor.from_dict(WEAK.to_dict())
    assert (again.weak_below, again.flags_if_weak) == (0.5, Flags.parse("only strong"))
    assert again.to_dict() == WEAK.to_dict()
    assert again.class_name() == "TryagePostprocessor"
