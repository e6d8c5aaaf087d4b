"""Copies of a router: as plain values, pickled, copied in memory."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.llms import MockLLM
from llama_index.llms.openai_like import OpenAILike

from llamaindex_tryage import Tryage
from llamaindex_tryage.serde import redacted
from tests.llamaindex.conftest import prefers, says
from tryage import Flags, ModelCard, UsageError
from tryage.testing import FunctionPredictor, Upstream

ROOT = Path(__file__).resolve().parents[2]
SECRET = "sk-very-secret"


def openai_like(model: str = "m", **settings) -> OpenAILike:
    return OpenAILike(
        model=model,
        api_key=SECRET,
        api_base="http://127.0.0.1:1/v1",
        default_headers={"Authorization": f"Bearer {SECRET}"},
        **settings,
    )


def router(**settings) -> Tryage:
    cards = [ModelCard(name="m", parameters=1e9, capabilities={"tools", "vision", "audio"})]
    return Tryage(
        **{"llms": [openai_like(), MockLLM(max_tokens=7)], "flags": "cheap", "cards": cards}
        | settings
    )


def test_to_dict_and_back():
    before = router()
    after = Tryage.from_dict(before.to_dict())
    assert after.to_dict() == before.to_dict()
    assert [type(llm) for llm in after.llms] == [OpenAILike, MockLLM]
    assert (after.names, after.flags) == (["m", "MockLLM"], Flags(cost=0.3))
    assert after.cards == before.cards
    assert after.llms[1].max_tokens == 7


def test_json_and_back():
    before = router()
    assert Tryage.from_json(before.to_json()).to_dict() == json.loads(before.to_json())


def test_no_key_is_written_anywhere():
    llm = router()
    for written in (llm.to_dict(), llm.to_json(), llm.model_dump_json(), llm.to_payload(), llm):
        assert SECRET not in str(written)
        assert SECRET not in repr(written)
    llm.metadata  # noqa: B018
    assert SECRET not in repr(llm)


def test_keys_are_looked_for_in_the_environment_when_read_back(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")
    assert Tryage.from_dict(router().to_dict()).llms[0].api_key == "sk-from-environment"


@pytest.mark.parametrize("name", ["api_key", "x-api-key", "openaiKey", "auth_token", "PASSWORD"])
def test_names_of_secrets(name):
    assert redacted({name: "x", "a": [{name: "x"}]}) == {"a": [{}]}


@pytest.mark.parametrize("name", ["max_tokens", "top_k", "keyword", "tokenizer", "monkey"])
def test_names_of_no_secrets(name):
    assert redacted({name: "x"}) == {name: "x"}


def test_an_ingestion_cache_sees_what_decides_and_nothing_else():
    def seen(llm):
        return get_transformation_hash([], llm)

    first = seen(router())
    used = router()
    used.metadata  # noqa: B018
    assert seen(router()) == seen(used) == first
    assert seen(router(flags="cheapest")) != first
    assert seen(router(llms=[openai_like()])) != first
    assert seen(router(llms=[openai_like(temperature=0.9), MockLLM(max_tokens=7)])) != first
    assert seen(router(cards=[ModelCard(name="m", parameters=2e9)])) != first
    assert seen(router(predictor=prefers("m", "MockLLM"))) != first
    assert seen(router(prompt_flags=True)) != first


def test_to_dict_is_the_same_in_every_process():
    flags = "not m; tools; vision; audio"
    code = (
        "from tests.llamaindex.test_llamaindex_serde import router\n"
        f"print(router(flags={flags!r}).to_dict())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(router(flags=flags).to_dict())


def test_a_predictor_is_described_and_asked_for_when_read_back():
    data = Tryage(llms=[MockLLM()], predictor=FunctionPredictor(lambda *_: 0.5)).to_dict()
    assert json.loads(json.dumps(data))["predictor"]["name"] == "function"
    with pytest.raises(UsageError, match="'function'.*predictor="):
        Tryage.from_dict(data)
    again = Tryage.from_dict(data, predictor=prefers("MockLLM"))
    assert again.complete("Hi").text == "Hi"


def test_other_llms_have_other_names():
    data = router(cards=()).to_dict()
    assert Tryage.from_dict(data, llms=[says("a")]).names == ["a"]
    assert Tryage.from_dict(data, llms={"b": says("a")}).names == ["b"]
    assert Tryage.from_dict(data, llms=[says("a")], names=["c"]).names == ["c"]


def test_a_class_that_is_not_imported_is_named():
    data = router().to_dict()
    data["llms"][0]["class_name"] = "Nowhere"
    with pytest.raises(UsageError, match="'Nowhere'"):
        Tryage.from_dict(data)


def flat(text: str, model: str) -> float:
    return float(model == "MockLLM")


def test_pickle_keeps_what_decides_keys_among_it():
    before = router(predictor=FunctionPredictor(flat), prompt_flags=True)
    after = pickle.loads(pickle.dumps(before))
    assert after.to_dict() == before.to_dict()
    assert after.llms[0].api_key == SECRET
    assert after.prompt_flags
    assert after.complete("Hi").additional_kwargs["tryage"]["model"] == "MockLLM"


def test_what_decides_and_cannot_be_pickled_is_an_error_and_not_dropped():
    with pytest.raises(Exception, match=r"lambda|local"):
        pickle.dumps(router(predictor=FunctionPredictor(lambda *_: 0.5)))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, Tryage.model_copy])
def test_a_copy_decides_alike_and_remembers_nothing(copied):
    llm = Tryage(llms=[says("a", error=Upstream(500)), says("b")], predictor=prefers("a", "b"))
    llm.complete("Hi")
    told = copied(llm).complete("Hi").additional_kwargs["tryage"]
    assert [attempt["model"] for attempt in told["attempts"]] == ["a", "b"]
    assert llm.complete("Hi").additional_kwargs["tryage"]["attempts"][0]["model"] == "b"


def test_a_copy_with_other_fields_uses_them():
    llm = Tryage(llms=[says("a"), says("b")], predictor=prefers("a", "b"))
    llm.complete("Hi")
    assert llm.model_copy(update={"flags": Flags.parse("not a")}).complete("Hi").text == "b: Hi"
