"""What the router says of itself, and who may take a call, from LLMs of different abilities."""

from __future__ import annotations

import pytest
from llama_index.core.base.llms.types import AudioBlock, DocumentBlock, ImageBlock, TextBlock
from llama_index.core.llms import ChatMessage, LLMMetadata, MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM

import tryage
from llamaindex_tryage import Tryage
from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import prefers, says
from tests.llamaindex.entries import asked, every_entry, text_of, told
from tryage import ModelCard, NoEligibleModel


class Unreachable(FunctionLLM):
    """Its metadata asks a server that is down, as Ollama's does."""

    reads: int = 0

    @property
    def metadata(self) -> LLMMetadata:
        self.reads += 1
        raise ConnectionError("no server")


@every_entry
async def test_metadata_that_raises_harms_neither_calls_nor_the_routers_own(entry):
    broken = Unreachable(str, model_name="far")
    llm = Tryage(llms=[broken, says("near")], predictor=prefers("near", "far"))
    for _ in range(3):
        assert text_of(await entry(llm, "Hi")) == "near: Hi"
        assert llm.metadata.context_window == 128_000
        llm.to_payload()
    assert broken.reads == 1


def test_nothing_is_read_when_the_router_is_made():
    broken = Unreachable(str, model_name="far")
    Tryage(llms=[broken], predictor=prefers("far"))
    assert broken.reads == 0


def test_each_ability_is_there_where_any_llm_has_it():
    completion, tools = MockLLM(max_tokens=50), MockFunctionCallingLLM()
    assert Tryage(llms=[completion]).metadata.model_dump() == {
        **LLMMetadata(model_name="tryage[MockLLM]", num_output=256).model_dump(),
        "num_output": 50,
    }
    metadata = Tryage(llms=[completion, tools, says("chat", context_window=9)]).metadata
    assert metadata.is_chat_model
    assert metadata.is_function_calling_model
    assert metadata.model_name == "tryage[MockLLM,MockFunctionCallingLLM,chat]"


def test_the_callers_card_on_tools_stays_where_the_llm_has_the_methods():
    def call_tools(llm, **card):
        cards = [ModelCard(name="x", **card)]
        return Tryage(llms={"x": llm}, cards=cards).metadata.is_function_calling_model

    assert not call_tools(MockFunctionCallingLLM(), lacks={"tools"})
    assert call_tools(MockFunctionCallingLLM(), context_tokens=9)
    assert not call_tools(says("x"), capabilities={"tools"})


def test_the_context_window_is_the_widest_that_is_known():
    def window(*llms, **settings):
        return Tryage(llms=llms, **settings).metadata.context_window

    assert window(says("a", context_window=8_000), says("b", context_window=32_000)) == 32_000
    assert window(MockLLM(), says("b", context_window=8_000)) == 8_000
    assert window(MockLLM()) == 3_900
    assert window(MockLLM(), cards=[ModelCard(name="MockLLM", context_tokens=64_000)]) == 64_000


@every_entry
async def test_a_prompt_goes_to_a_llm_that_it_fits(entry):
    llms = [
        FunctionLLM(lambda text: "Yes.", model_name="narrow", context_window=100),
        FunctionLLM(lambda text: "Yes.", model_name="wide", context_window=10_000),
    ]
    llm = Tryage(llms=llms, predictor=prefers("narrow", "wide"))
    assert told(await entry(llm, "Hi"))["model"] == "narrow"
    assert told(await entry(llm, "word " * 200))["model"] == "wide"
    assert told(await entry(llm, "word " * 20_000))["model"] == "wide"  # let it see for itself
    with pytest.raises(NoEligibleModel, match="context"), tryage.flags("not wide"):
        await entry(llm, "word " * 20_000)


def test_the_frameworks_default_window_excludes_nobody():
    llm = Tryage(llms=[MockLLM()], predictor=prefers("MockLLM"))
    assert llm.complete("word " * 20_000).text


@pytest.mark.parametrize(
    ("block", "capability"),
    [
        (ImageBlock(url="http://x/y.png"), "vision"),
        (AudioBlock(url="http://x/y.wav"), "audio"),
        (DocumentBlock(url="http://x/y.pdf"), "files"),
    ],
)
async def test_blocks_go_to_a_llm_that_takes_them(block, capability):
    cards = [
        ModelCard(name="blind", capabilities={"tools"}),
        ModelCard(name="able", capabilities={capability}),
    ]
    llm = Tryage(
        llms=[says("blind"), says("able")], cards=cards, predictor=prefers("blind", "able")
    )
    message = ChatMessage(role="user", blocks=[TextBlock(text="What is this?"), block])
    assert llm.chat([message]).additional_kwargs["tryage"]["model"] == "able"
    assert (await llm.achat([message])).additional_kwargs["tryage"]["model"] == "able"
    assert llm.chat(asked("Hi")).additional_kwargs["tryage"]["model"] == "blind"
