"""Engines selected by prediction: over different models, and over different data."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.base_selector import BaseSelector, SelectorResult
from llama_index.core.query_engine import CustomQueryEngine, RouterQueryEngine
from llama_index.core.retrievers import RouterRetriever
from llama_index.core.schema import QueryBundle
from llama_index.core.tools import QueryEngineTool, RetrieverTool, ToolMetadata

import tryage
from llamaindex_tryage import TryageSelector
from tests.llamaindex.conftest import prefers, says
from tests.llamaindex.test_llamaindex_retrieval import Found
from tryage import EmptyPrompt, ModelCard, NoEligibleModel, UnknownFlag, UnknownModel, UsageError
from tryage.testing import FunctionPredictor

SUMS = FunctionPredictor(lambda text, model: float(("+" in text) == (model == "sums")))


async def select(selector: BaseSelector, choices: Any, query: Any) -> SelectorResult:
    return selector.select(choices, query)


async def aselect(selector: BaseSelector, choices: Any, query: Any) -> SelectorResult:
    return await selector.aselect(choices, query)


both = pytest.mark.parametrize("select", [select, aselect], ids=lambda way: way.__name__)


def named(*names: str) -> list[ToolMetadata]:
    return [ToolMetadata(name=name, description=f"Answers ({name}).") for name in names]


# Models


@both
async def test_choices_that_are_models_are_decided_by_prediction(select):
    selector = TryageSelector(models={"A": "sums", "B": "tales"}, predictor=SUMS)
    result = await select(selector, named("B", "A"), "2 + 2?")
    assert result.ind == 1
    assert "sums" in result.reason
    assert (await select(selector, named("B", "A"), QueryBundle("Once?"))).ind == 0
    assert (await select(selector, ["A", "B"], "Once?")).ind == 1


@both
async def test_flags_decide_too(select):
    cards = [
        {"name": "big", "input_usd_per_mtok": 10.0, "output_usd_per_mtok": 10.0},
        ModelCard(name="small", input_usd_per_mtok=0.1, output_usd_per_mtok=0.1),
    ]
    models = {"a": "big", "b": "small"}
    predictor = prefers("big", "small")
    plain = TryageSelector(models=models, cards=cards, predictor=predictor)
    cheap = TryageSelector(models=models, cards=cards, predictor=predictor, flags="cheapest")
    assert (await select(plain, named("a", "b"), "Hi")).ind == 0
    result = await select(cheap, named("a", "b"), "Hi")
    assert result.ind == 1
    assert "$0.00003" in result.reason
    with tryage.flags("not big"):
        assert (await select(plain, named("a", "b"), "Hi")).ind == 1
    assert (await select(cheap, named("a"), "Hi")).ind == 0  # the others are not offered


async def test_choices_named_after_models_of_the_bundled_library_stand_for_them():
    cheap = TryageSelector(flags="cheapest")
    assert cheap.select(named("gpt-4o", "gpt-4o-mini"), "Hi").ind == 1
    assert cheap.select(["GPT-4o", "gpt-4o-mini"], "Hi").ind == 1
    assert TryageSelector(flags="only gpt-4o").select(named("gpt-4o-mini", "gpt-4o"), "Hi").ind == 1


def test_two_engines_over_one_model_are_no_error():
    selector = TryageSelector(models={"a": "m", "b": "m", "c": "n"}, predictor=prefers("n", "m"))
    assert selector.select(named("a", "b", "c"), "Hi").ind == 2
    assert selector.select(named("b", "a"), "Hi").ind == 0


def test_no_model_left_is_an_error():
    selector = TryageSelector(models={"a": "m"}, flags="max cost $0.00001", predictor=prefers("m"))
    with pytest.raises(NoEligibleModel):
        selector.select(named("a"), "Hi")
    with pytest.raises(EmptyPrompt):
        selector.select(named("a"), " ")


def test_a_choice_without_a_model_is_named():
    selector = TryageSelector(models={"a": "m"}, predictor=prefers("m"))
    with pytest.raises(UsageError, match="'b'.*'a'"):
        selector.select(named("a", "b"), "Hi")


def test_what_cannot_be_fails_before_the_first_query():
    with pytest.raises(UnknownModel, match="'x'"):
        TryageSelector(models={"a": "m"}, cards=[{"name": "x"}], predictor=prefers("m"))
    with pytest.raises(UnknownFlag):
        TryageSelector(flags="bogus")


# Data and tasks


SUBJECTS = [
    ToolMetadata(name="hr", description="Employee handbook: holidays, sick leave, parental leave"),
    ToolMetadata(name="ops", description="Runbooks for servers: outages, deployments, backups"),
    ToolMetadata(name="law", description="Contracts with suppliers: liability and termination"),
]


@both
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("How many vacation days do I get?", 0),
        ("The database server is down, what now?", 1),
        ("Can the supplier cancel the contract early?", 2),
    ],
)
async def test_other_choices_are_decided_by_their_descriptions(query, index, select):
    for choices in (SUBJECTS, [choice.description for choice in SUBJECTS]):
        result = await select(TryageSelector(), choices, query)
        assert result.ind == index
        assert "nearest" in result.reason


@both
@pytest.mark.parametrize("query", ["", "   ", "zzzz", "\ud800"])
async def test_a_query_that_says_nothing_still_selects_one(query, select):
    assert (await select(TryageSelector(), SUBJECTS, query)).ind in range(3)


@both
async def test_nothing_to_select_from_is_an_error(select):
    with pytest.raises(UsageError, match="nothing to select"):
        await select(TryageSelector(), [], "Why?")


@pytest.mark.parametrize(
    "given", [{"flags": "cheap"}, {"predictor": SUMS}, {"cards": [{"name": "hr"}]}]
)
def test_flags_for_choices_that_are_no_models_are_an_error(given):
    with pytest.raises(UsageError, match="'hr', 'ops', 'law'.*models="):
        TryageSelector(**given).select(SUBJECTS, "Why?")


# Within LlamaIndex


class Says(CustomQueryEngine):
    """Answers with its own name."""

    name: str

    def custom_query(self, query_str: str) -> str:
        return f"{self.name}: {query_str}"


async def test_in_a_router_query_engine(monkeypatch):
    tools = [
        QueryEngineTool.from_defaults(Says(name=c.name), name=c.name, description=c.description)
        for c in SUBJECTS
    ]
    engine = RouterQueryEngine(TryageSelector(), tools, llm=says("nobody"))
    answer = engine.query("What is the sick leave policy?")
    assert str(answer) == "hr: What is the sick leave policy?"
    assert answer.metadata["selector_result"].ind == 0
    assert str(await engine.aquery("How to restore backups?")) == "ops: How to restore backups?"
    assert "selector:" not in " ".join(engine.get_prompts())


async def test_in_a_router_retriever():
    founds = [Found(0.5, about=choice.name) for choice in SUBJECTS]
    tools = [
        RetrieverTool.from_defaults(found, name=c.name, description=c.description)
        for found, c in zip(founds, SUBJECTS, strict=True)
    ]
    retriever = RouterRetriever(TryageSelector(), tools, llm=says("nobody"))
    assert retriever.retrieve("parental leave?") == founds[0].nodes
    assert await retriever.aretrieve("parental leave?") == founds[0].nodes


def test_there_are_no_prompts():
    selector = TryageSelector()
    assert selector.get_prompts() == {}
    selector.update_prompts({})
