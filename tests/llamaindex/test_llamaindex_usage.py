"""What a call cost, from the tokens that the LLM's own response reports."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.llms import CompletionResponse

from llamaindex_tryage import Tryage
from llamaindex_tryage.testing import FunctionLLM
from llamaindex_tryage.usage import usage_of
from tests.llamaindex.conftest import prefers, says
from tests.llamaindex.entries import ENTRIES, every_entry, every_stream, told
from tests.llamaindex.scripted import ToolUser
from tests.llamaindex.test_llamaindex_openai_like import clients, connect, server  # noqa: F401
from tests.llamaindex.test_llamaindex_tools import ADD, streams
from tests.servers.openai_server import USAGE
from tryage import ModelCard, NoEligibleModel, Usage

CARD = ModelCard(name="a", input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)


class Counting(FunctionLLM):
    """Reports its tokens with a whole answer, and with the second chunk of a stream."""

    usage: Any = None

    def _words(self, text):
        for number, chunk in enumerate(super()._words(text), start=1):
            self._now = number == 2
            yield chunk

    def _answer(self, text):
        self._now = True
        return super()._answer(text)

    _now: bool = False

    def _raw(self):
        return {"model": self.model_name, "usage": self.usage if self._now else None}


def counting(usage: Any, card: ModelCard = CARD, error: Exception | None = None) -> Tryage:
    llms = [
        Counting(lambda text: "one two three", model_name="a", usage=usage),
        Counting(lambda text: "one two three", model_name="b", usage=usage),
    ]
    llms[0].error = error
    return Tryage(llms=llms, cards=[card], predictor=prefers("a", "b"))


@every_entry
async def test_the_cost_is_told(entry):
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    responses = await entry(counting(usage), "Hi")
    assert told(responses)["cost_usd"] == pytest.approx(0.002)
    if len(responses) > 1:
        assert [r.additional_kwargs["tryage"]["cost_usd"] for r in responses] == [
            None,
            pytest.approx(0.002),
            pytest.approx(0.002),  # and stays to the last chunk
        ]


@every_entry
async def test_an_unknown_cost_is_told_as_such(entry):
    assert told(await entry(counting(None), "Hi"))["cost_usd"] is None
    zeros = {"prompt_tokens": 0, "completion_tokens": 0}
    assert told(await entry(counting(zeros), "Hi"))["cost_usd"] is None
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    assert told(await entry(counting(usage, ModelCard(name="a")), "Hi"))["cost_usd"] is None


@every_entry
async def test_the_cost_is_that_of_the_llm_that_answered(entry):
    card = ModelCard(name="b", input_usd_per_mtok=2.0, output_usd_per_mtok=20.0)
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    report = told(await entry(counting(usage, card, TimeoutError()), "Hi"))
    assert (report["model"], report["cost_usd"]) == ("b", pytest.approx(0.004))


@every_stream
async def test_the_cost_of_a_stream_over_http(entry, connect):  # noqa: F811
    cards = [CARD]
    llm = connect("a", cards=cards, additional_kwargs={"stream_options": {"include_usage": True}})
    cost = (USAGE["prompt_tokens"] + 10 * USAGE["completion_tokens"]) / 1e6
    assert told(await entry(llm, "Hi"))["cost_usd"] == pytest.approx(cost)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if "stream" not in e.__name__])
async def test_the_cost_over_http(entry, connect):  # noqa: F811
    cost = (USAGE["prompt_tokens"] + 10 * USAGE["completion_tokens"]) / 1e6
    assert told(await entry(connect("a", cards=[CARD]), "Hi"))["cost_usd"] == pytest.approx(cost)


@pytest.mark.parametrize("way", range(4))
async def test_the_cost_of_a_call_with_tools(way):
    class Paid(ToolUser):
        def chat(self, messages, **kwargs):
            response = super().chat(messages, **kwargs)
            response.raw = {"usage": {"input_tokens": 1000, "output_tokens": 100}}
            return response

        async def achat(self, messages, **kwargs):
            return self.chat(messages, **kwargs)

        def stream_chat(self, messages, **kwargs):
            return iter([self.chat(messages, **kwargs)])

        async def astream_chat(self, messages, **kwargs):
            async def chunks():
                yield self.chat(messages, **kwargs)

            return chunks()

    llm = Tryage(llms={"a": Paid(name="a")}, cards=[CARD], predictor=prefers("a"))
    response = await streams(llm)[way](tools=[ADD], user_msg="add 2 3")
    report = response.additional_kwargs["tryage"]
    assert (report["purpose"], report["cost_usd"]) == ("tools", pytest.approx(0.002))


OPENAI = {
    "prompt_tokens": 10,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 4},
}
RESPONSES = {"input_tokens": 10, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}}
ANTHROPIC = {
    "input_tokens": 5,
    "output_tokens": 3,
    "cache_read_input_tokens": 4,
    "cache_creation_input_tokens": 1,
}
GOOGLE = {"prompt_token_count": 10, "candidates_token_count": 3}


def as_object(told: dict[str, Any]) -> Any:
    return SimpleNamespace(
        **{k: as_object(v) if isinstance(v, dict) else v for k, v in told.items()}
    )


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        ({"usage": OPENAI}, Usage(10, 3, 4)),
        ({"usage": RESPONSES}, Usage(10, 3, 4)),
        ({"usage": ANTHROPIC}, Usage(10, 3, 4)),
        ({"usage_metadata": GOOGLE}, Usage(10, 3)),
        ({"usage": {"prompt_tokens": 10, "prompt_tokens_details": None}}, Usage(10, 0)),
        ({"usage": {"input_tokens": None, "output_tokens": 3}}, Usage(0, 3)),
        ({"usage": "many"}, None),
        ({"usage": {}}, None),
        ({}, None),
    ],
)
def test_tokens_in_every_providers_words(raw, usage):
    for told_as in (raw, as_object(raw)):
        assert usage_of(CompletionResponse(text="", raw=told_as)) == usage


def test_tokens_where_llamaindex_puts_them_itself():
    kwargs = {"prompt_tokens": 10, "completion_tokens": 3}
    assert usage_of(CompletionResponse(text="", additional_kwargs=kwargs)) == Usage(10, 3)
    assert usage_of(CompletionResponse(text="", raw=None)) is None


# What a call needs


@every_entry
async def test_a_schema_for_the_answer_is_a_need(entry):
    cards = [ModelCard(name="a", capabilities={"tools"}, lacks={"json_schema"})]
    llm = Tryage(llms=[says("a"), says("b")], cards=cards, predictor=prefers("a", "b"))
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    assert told(await entry(llm, "Hi", response_format=schema))["model"] == "b"
    assert told(await entry(llm, "Hi", response_format={"type": "json_object"}))["model"] == "a"
    with pytest.raises(NoEligibleModel, match="a: lacks json_schema"):
        await entry(Tryage(llms=[says("a")], cards=cards), "Hi", response_format=dict)
