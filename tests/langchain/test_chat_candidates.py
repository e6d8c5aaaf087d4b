"""What may be given as models, and what they are called."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tryage import ChatTryage
from tests.langchain.fakes import Recording, answering, in_order, openai
from tests.langchain.ways import Way
from tests.servers.openai_server import OpenAIServer
from tryage import DuplicateModel, EmptyLibrary, MissingExtra, ModelCard, UnknownModel, UsageError


def test_names_are_the_models_own() -> None:
    model = ChatTryage([answering("a"), answering("b")], predictor=in_order("a", "b"))
    assert list(model.models) == ["a", "b"]
    assert model.router.library.names == ("a", "b")


def test_a_mapping_gives_other_names() -> None:
    models = {"first": answering("a"), "second": answering("a")}
    model = ChatTryage(models, predictor=in_order("first", "second"))
    assert list(model.models) == ["first", "second"]


def test_two_models_of_one_name() -> None:
    with pytest.raises(DuplicateModel, match=r"called 'a', number 1 and number 2.*models=\{"):
        ChatTryage([answering("a"), answering("a")])


def test_two_names_that_differ_in_case() -> None:
    with pytest.raises(DuplicateModel, match="names two models"):
        ChatTryage([answering("a"), answering("A")])


@pytest.mark.parametrize("models", [[], {}, ()])
def test_no_models(models: Any) -> None:
    with pytest.raises(EmptyLibrary, match="at least one"):
        ChatTryage(models)


def test_a_model_without_a_name() -> None:
    with pytest.raises(UsageError, match=r"models\[1\], a FakeListChatModel, has no name"):
        ChatTryage([answering("a"), FakeListChatModel(responses=["x"])])


@pytest.mark.parametrize("wrong", [answering("a").bind(stop=["x"]), 7, str.upper])
def test_something_that_is_no_chat_model(wrong: Any) -> None:
    with pytest.raises(UsageError, match=r"models\[0\] is a .*; give a chat model"):
        ChatTryage([wrong])


def test_a_single_model_is_no_list() -> None:
    with pytest.raises(UsageError, match="give a list"):
        ChatTryage(answering("a"))  # type: ignore[arg-type]


async def test_strings_are_built_with_the_constructors_parameters(
    way: Way, fresh_server: OpenAIServer
) -> None:
    model = ChatTryage(
        ["openai:a", openai(fresh_server, "b")],
        predictor=in_order("a", "b"),
        base_url=fresh_server.base_url,
        api_key="secret",
        temperature=0.25,
        max_tokens=9,
        timeout=30,
        max_retries=0,
        top_p=0.5,
        stream_usage=True,
        streaming=False,
    )
    built = model.models["a"]
    assert isinstance(built, ChatOpenAI)
    assert built.request_timeout == 30
    assert built.max_retries == 0
    assert built.openai_api_key == SecretStr("secret")
    assert model.model_kwargs["top_p"] == 0.5
    for name in ("a", "b"):
        await way.invoke(model, "Hi", model=name)
        (body,) = fresh_server.requests[name]
        assert (body["temperature"], body["max_completion_tokens"], body["top_p"]) == (0.25, 9, 0.5)


def test_arguments_that_reach_no_model_are_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"flgs, timeout reaches no model.* flags,"):
        model = ChatTryage([answering("a")], predictor=in_order("a"), flgs="cheap", timeout=3)
    assert model.model_kwargs == {"flgs": "cheap", "timeout": 3}


def test_a_string_without_a_known_provider() -> None:
    with pytest.raises(UsageError, match="'nobody:x' names no provider.*'provider:model'"):
        ChatTryage(["nobody:x"])


def test_a_provider_whose_package_is_absent() -> None:
    with pytest.raises(MissingExtra, match="pip install langchain-fireworks"):
        ChatTryage(["fireworks:x"])


def test_strings_need_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tryage\[langchain\]'"):
        ChatTryage(["openai:x"])


def test_a_card_of_none_of_the_models() -> None:
    with pytest.raises(UnknownModel, match="'c', which is none of the models"):
        ChatTryage([answering("a")], cards=[ModelCard(name="c")])


def test_own_cards_come_first_then_bundled_ones_then_what_langchain_knows() -> None:
    profile: Any = {"max_input_tokens": 1234, "tool_calling": True, "image_inputs": False}
    model = ChatTryage(
        [answering("a"), answering("gpt-4o"), answering("b", profile=profile), answering("c")],
        predictor=in_order("a", "gpt-4o", "b", "c"),
        cards=[ModelCard(name="a", parameters=7e9)],
    )
    cards = model.router.library
    assert cards.find("a") == ModelCard(name="a", parameters=7e9)
    assert cards.find("gpt-4o").provider == "openai"
    assert cards.find("b").context_tokens == 1234
    assert cards.find("b").capabilities == {"tools"}
    assert cards.find("c").capabilities is None


def test_a_class_without_bind_tools_lacks_tools_whatever_its_card_says() -> None:
    models = {"gpt-4o": Recording(), "own": Recording()}
    model = ChatTryage(models, predictor=in_order("gpt-4o", "own"))
    known, bare = model.router.library
    assert (known.has("tools"), known.has("vision")) == (False, True)
    assert (bare.has("tools"), bare.has("vision")) == (False, None)


def test_candidates_are_called_as_they_are() -> None:
    child = answering("a")
    model = ChatTryage([child], predictor=in_order("a"))
    assert model.candidate("a") is child
    with pytest.raises(UnknownModel, match="'b' is none of the models"):
        model.candidate("b")
