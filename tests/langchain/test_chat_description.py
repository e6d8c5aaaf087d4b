"""What the router says of itself: parameters, profile, token counts, its serialised form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from langchain_tryage import ChatTryage
from tests.langchain.fakes import answering, in_order, openai, router
from tests.servers.openai_server import OpenAIServer
from tryage import CircuitBreaker, Flags, ModelCard, count_tokens


def of_openai(**kwargs: Any) -> ChatTryage:
    models = [ChatOpenAI(model=name, api_key="sk-very-secret") for name in ("gpt-4o", "gpt-4")]  # type: ignore[arg-type]
    return ChatTryage(models, **{"predictor": in_order("gpt-4o", "gpt-4"), **kwargs})


def test_identifying_parameters() -> None:
    model = router(answering("a"), answering("b"), flags="cost=0.3")
    assert model._identifying_params == {
        "model_name": "tryage",
        "models": ["a", "b"],
        "flags": {"cost": 0.3},
    }
    assert model._llm_type == "tryage-chat"


def test_parameters_for_traces() -> None:
    params = of_openai(temperature=0.5, max_tokens=9, stop="END")._get_ls_params()
    assert params["ls_provider"] == "openai"
    assert params["ls_model_name"] == "tryage"
    assert (params["ls_temperature"], params["ls_max_tokens"]) == (0.5, 9)
    assert params["ls_stop"] == ["END"]
    mixed = ChatTryage(
        {"a": answering("a"), "b": ChatOpenAI(model="b", api_key="x")},  # type: ignore[arg-type]
        predictor=in_order("a", "b"),
    )
    assert mixed._get_ls_params(model="other")["ls_model_name"] == "other"
    assert mixed._get_ls_params()["ls_provider"] == "tryage"


def test_no_secret_is_shown() -> None:
    model = of_openai(flags="cheap")
    for shown in (repr(model), str(model), dumps(model), str(model._identifying_params)):
        assert "sk-very-secret" not in shown
    built = ChatTryage(["openai:gpt-4o"], predictor=in_order("gpt-4o"), api_key="sk-very-secret")
    for shown in (repr(built), str(built), dumps(built), json.dumps(built._identifying_params)):
        assert "sk-very-secret" not in shown


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_serialised_and_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-env")
    card = ModelCard(name="gpt-4", input_usd_per_mtok=7, capabilities={"tools"})
    model = of_openai(flags="cost=0.3", predictor=None, cards=[card], top_p=0.5, max_tokens=7)
    loaded = load(
        dumpd(model),
        allowed_objects=[ChatTryage, ChatOpenAI],
        valid_namespaces=["langchain_tryage"],
        secrets_from_env=True,
    )
    assert list(loaded.models) == ["gpt-4o", "gpt-4"]
    assert loaded.flags == Flags(cost=0.3)
    assert loaded.cards == (card,)
    assert (loaded.model_kwargs, loaded.max_tokens) == ({"top_p": 0.5}, 7)
    assert dumpd(loaded) == dumpd(model)


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_a_predictor_of_ones_own_is_not_serialised_and_loading_says_so() -> None:
    with pytest.raises(NotImplementedError, match="FunctionPredictor"):
        load(
            dumpd(of_openai()),
            allowed_objects=[ChatTryage, ChatOpenAI],
            valid_namespaces=["langchain_tryage"],
            secrets_map={"OPENAI_API_KEY": "x"},
        )


def test_the_profile_is_what_all_models_fulfil() -> None:
    large: Any = {"max_input_tokens": 9, "tool_calling": True, "image_inputs": True, "name": "l"}
    small: Any = {"max_input_tokens": 5, "tool_calling": True, "image_inputs": False, "name": "s"}
    model = router(answering("a", profile=large), answering("b", profile=small))
    assert model.profile == {"max_input_tokens": 5, "tool_calling": True, "image_inputs": False}
    assert router(answering("a", profile=large), answering("b")).profile is None


def test_tokens_are_counted_by_a_model_that_can_or_else_about() -> None:
    class Counter(ChatOpenAI):
        def get_num_tokens(self, text: str) -> int:
            return 42

        def get_token_ids(self, text: str) -> list[int]:
            return [4, 2]

        def get_num_tokens_from_messages(self, messages: Any, tools: Any = None) -> int:
            return 43

    text = "Hello there, how are you?"
    plain = router(answering("a"))
    assert plain.get_num_tokens(text) == count_tokens(text)
    assert plain.get_num_tokens_from_messages([HumanMessage(text)]) == count_tokens(text)
    able = router(answering("a"), Counter(model="b", api_key="x"))  # type: ignore[arg-type]
    assert able.get_num_tokens(text) == 42
    assert able.get_num_tokens_from_messages([HumanMessage(text)]) == 43


def test_the_router_can_be_asked_without_a_call(server: OpenAIServer) -> None:
    model = router(openai(server, "unasked"), openai(server, "b"))
    assert model.router.route("Hi").order == ("unasked", "b")
    assert server.calls("unasked") == 0


def test_copies_share_the_breaker() -> None:
    model = router(answering("a"), breaker=CircuitBreaker())
    assert model.model_copy(update={"tags": ["x"]}).breaker is model.breaker
