"""Templates, structured output, and the engines that are built on them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, Settings, SummaryIndex, VectorStoreIndex
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.response_synthesizers import ResponseMode
from pydantic import BaseModel

from llamaindex_tryage import Tryage
from llamaindex_tryage.testing import FunctionLLM
from tests.llamaindex.conftest import prefers, says
from tryage import AllModelsFailed, UsageError
from tryage.testing import FunctionPredictor, Upstream

TELL = PromptTemplate("Tell me of {topic}.")


class Animal(BaseModel):
    """An animal."""

    name: str


def fills(name: str, **settings: Any) -> FunctionLLM:
    return FunctionLLM(lambda text: json.dumps({"name": name}), model_name=name, **settings)


async def predict(llm: Tryage, **given: Any) -> str:
    return llm.predict(TELL, **given)


async def apredict(llm: Tryage, **given: Any) -> str:
    return await llm.apredict(TELL, **given)


async def stream(llm: Tryage, **given: Any) -> str:
    return "".join(llm.stream(TELL, **given))


async def astream(llm: Tryage, **given: Any) -> str:
    return "".join([token async for token in await llm.astream(TELL, **given)])


async def structured_predict(llm: Tryage, **given: Any) -> str:
    return llm.structured_predict(Animal, TELL, **given).name


async def astructured_predict(llm: Tryage, **given: Any) -> str:
    return (await llm.astructured_predict(Animal, TELL, **given)).name


TEXTS = (predict, apredict, stream, astream)
every_text = pytest.mark.parametrize("entry", TEXTS, ids=lambda entry: entry.__name__)
every_object = pytest.mark.parametrize(
    "entry", [structured_predict, astructured_predict], ids=lambda entry: entry.__name__
)


@every_text
async def test_a_template_is_decided_on_as_it_is_filled(entry):
    predictor = FunctionPredictor(lambda text, model: float(("cats" in text) == (model == "cat")))
    llm = Tryage(llms=[says("cat"), says("dog")], predictor=predictor)
    assert await entry(llm, topic="cats") == "cat: Tell me of cats."
    assert await entry(llm, topic="dogs") == "dog: Tell me of dogs."


@every_text
async def test_the_llm_fills_the_template_in_its_own_way(entry, make):
    heard: list[list[ChatMessage]] = []

    class Hearing(FunctionLLM):
        def _extend_messages(self, messages):
            heard.append(super()._extend_messages(messages))
            return heard[-1]

    llm = make(Hearing(str.upper, model_name="a", system_prompt="Be kind."))
    assert await entry(llm, topic="cats") == "TELL ME OF CATS."
    assert [m.content for m in heard[0]] == ["Be kind.", "Tell me of cats."]


@every_text
async def test_the_next_llm_takes_over(entry, make, recorded):
    assert await entry(make(says("a", error=Upstream(500)), says("b")), topic="x") == (
        "b: Tell me of x."
    )
    assert len(recorded.named("RoutingDecisionEvent")) == 1
    with pytest.raises(AllModelsFailed):
        await entry(make(says("a", error=Upstream(500))), topic="x")


@every_object
async def test_structured_output_is_the_llms_own_business(entry, make):
    assert await entry(make(fills("cat"), fills("dog")), topic="x") == "cat"
    assert await entry(make(fills("cat", error=TimeoutError()), fills("dog")), topic="x") == "dog"


class Raising(FunctionLLM):
    """Fills objects in a way of its own, which fails."""

    def structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
        raise self.error

    async def astructured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
        raise self.error


NO_ANIMAL = '{"legs": 4}'


@every_object
@pytest.mark.parametrize(
    "bad",
    [
        FunctionLLM(lambda text: NO_ANIMAL, model_name="bad"),
        FunctionLLM(lambda text: "no object", model_name="bad"),
        Raising(str, model_name="bad", error=ValueError("Expected at least one tool call")),
    ],
)
async def test_the_next_llm_takes_over_where_an_object_does_not_fit(entry, bad, make):
    llm = make(bad, fills("cat"))
    assert await entry(llm, topic="x") == "cat"
    assert llm._candidates.breaker.resting() == {}
    with pytest.raises(AllModelsFailed) as caught:
        await entry(make(bad), topic="x")
    assert isinstance(caught.value.exceptions[0].__cause__, ValueError)


@every_object
async def test_a_mistake_of_the_callers_own_is_given_back(entry, make):
    llm = make(Raising(str, model_name="bad", error=UsageError("mine")), fills("cat"))
    with pytest.raises(UsageError, match="mine"):
        await entry(llm, topic="x")


@every_object
async def test_llm_kwargs_are_copied_for_each_attempt(entry, make):
    seen = []

    class Changing(FunctionLLM):
        def structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            seen.append(dict(llm_kwargs))
            llm_kwargs["response_format"] = "mine"
            raise Upstream(500)

        async def astructured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
            self.structured_predict(output_cls, prompt, llm_kwargs)

    kwargs = {"n": 1}
    llms = [Changing(str, model_name=name) for name in "ab"]
    with pytest.raises(AllModelsFailed):
        await entry(make(*llms), topic="x", llm_kwargs=kwargs)
    assert seen == [{"n": 1}, {"n": 1}]
    assert kwargs == {"n": 1}


class Streaming(FunctionLLM):
    """Streams objects by itself, with errors if wanted, as LLMs with a JSON mode do."""

    def stream_structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
        def chunks():
            if self.error:
                raise self.error
            yield output_cls(name="c")
            yield output_cls(name="cat")

        return chunks()

    async def astream_structured_predict(self, output_cls, prompt, llm_kwargs=None, **given):
        async def chunks():
            for chunk in self.stream_structured_predict(output_cls, prompt):
                yield chunk

        return chunks()


async def test_streams_of_objects(make):
    llm = make(Streaming(str, model_name="a", error=Upstream(500)), Streaming(str, model_name="b"))
    assert [a.name for a in llm.stream_structured_predict(Animal, TELL, topic="x")] == ["c", "cat"]
    chunks = await llm.astream_structured_predict(Animal, TELL, topic="x")
    assert [a.name async for a in chunks] == ["c", "cat"]


async def test_as_structured_llm(make):
    llm = make(fills("cat")).as_structured_llm(Animal)
    assert llm.chat([ChatMessage("Which?")]).raw == Animal(name="cat")
    assert (await llm.achat([ChatMessage("Which?")])).raw == Animal(name="cat")


def test_chat_templates(make):
    template = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{q}")])
    assert make(says("a")).predict(template, q="Why?") == "a: Why?"


def test_flags_are_read_from_the_question_of_a_template(make):
    template = PromptTemplate("{context_str} {query_str}")
    llm = make(says("a"), says("b"), prompt_flags=True)
    assert llm.predict(template, context_str="[Flag: not a]", query_str="Hi").startswith("a")
    assert llm.predict(template, context_str="x", query_str="[Flag: not a] Hi") == "b: x Hi"


# Engines


@pytest.fixture
def settings(monkeypatch):
    """LlamaIndex's global settings, put back afterwards."""
    for name in ("_llm", "_embed_model", "_callback_manager", "_prompt_helper", "_node_parser"):
        monkeypatch.setattr(Settings, name, None)
    Settings.embed_model = MockEmbedding(8)
    return Settings


DOCUMENTS = [Document(text=f"Fact {n}: water boils at {n} degrees.") for n in range(4)]

WITHOUT_LLM = (ResponseMode.NO_TEXT, ResponseMode.CONTEXT_ONLY, ResponseMode.GENERATION)


@pytest.mark.parametrize("mode", [mode for mode in ResponseMode if mode not in WITHOUT_LLM])
async def test_query_engines_answer_in_every_mode(mode, settings, make):
    settings.llm = make(says("a"), says("b"))
    index = VectorStoreIndex.from_documents(DOCUMENTS)
    engine = index.as_query_engine(response_mode=mode, similarity_top_k=3)
    assert "When does water boil?" in str(engine.query("When does water boil?"))
    assert "When does water boil?" in str(await engine.aquery("When does water boil?"))


async def test_query_engines_stream(settings, make):
    settings.llm = make(says("a", error=Upstream(500)), says("b"))
    engine = VectorStoreIndex.from_documents(DOCUMENTS).as_query_engine(streaming=True)
    assert "".join(engine.query("Why?").response_gen).startswith("b: ")
    answer = await engine.aquery("Why?")
    assert "".join([token async for token in answer.async_response_gen()]).startswith("b: ")


async def test_query_engines_fill_objects(settings, make):
    settings.llm = make(fills("cat"), says("b"))
    engine = VectorStoreIndex.from_documents(DOCUMENTS).as_query_engine(output_cls=Animal)
    assert engine.query("Which?").response == Animal(name="cat")
    assert (await engine.aquery("Which?")).response == Animal(name="cat")


@pytest.mark.parametrize(
    "mode", ["simple", "context", "condense_question", "condense_plus_context"]
)
async def test_chat_engines_answer(mode, settings, make):
    settings.llm = make(says("a"), says("b"))
    index = VectorStoreIndex.from_documents(DOCUMENTS)
    engine = index.as_chat_engine(chat_mode=mode, memory=ChatMemoryBuffer.from_defaults())
    assert "Why?" in str(engine.chat("Why?"))
    assert "Then?" in str(await engine.achat("Then?"))
    assert "So?" in "".join(engine.stream_chat("So?").response_gen)


def test_a_wide_llm_spares_calls(settings):
    def calls(*llms):
        settings._prompt_helper = None
        settings.llm = Tryage(llms=llms, predictor=prefers(*(llm.model_name for llm in llms)))
        documents = [Document(text="word " * 3_000) for _ in range(4)]
        SummaryIndex.from_documents(documents).as_query_engine().query("What?")
        return sum(len(llm.calls) for llm in llms)

    narrow = FunctionLLM(lambda text: "Yes.", model_name="narrow", context_window=3_900)
    wide = FunctionLLM(lambda text: "Yes.", model_name="wide", context_window=128_000)
    assert calls(narrow, wide) == 1
    assert calls(narrow) > 1


def test_completion_models_alone_are_given_completions(settings):
    settings.llm = Tryage(llms=[MockLLM()], predictor=prefers("MockLLM"))
    engine = VectorStoreIndex.from_documents(DOCUMENTS).as_query_engine()
    assert "Context information is below." in str(engine.query("Why?"))
