from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tryage
from tryage import (
    EmptyPrompt,
    Flags,
    InvalidPrediction,
    Library,
    NoEligibleModel,
    NotFitted,
    Request,
    Router,
    Tokens,
    UnknownModel,
    UsageError,
)
from tryage.predictors.baselines import BestSinglePredictor
from tryage.testing import FunctionPredictor


@pytest.fixture
def router(library):
    return Router(library, FunctionPredictor(lambda prompt, model: len(model) / 10))


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t"])
def test_an_empty_prompt_is_an_error(router, prompt):
    with pytest.raises(EmptyPrompt):
        router.route(prompt)


@pytest.mark.parametrize("given", [None, 3, b"bytes", ["a", "list"]])
def test_what_is_no_prompt_is_an_error(router, given):
    with pytest.raises(UsageError, match=type(given).__name__):
        router.route(given)


def test_a_batch_is_not_one_prompt(router):
    with pytest.raises(UsageError, match="route_batch"):
        router.route_batch("one prompt")


def test_a_request_without_text_may_need_something_else(router):
    request = Request(text="", tokens=Tokens(800), needs=frozenset({"vision"}))
    assert router.route(request).model == "large"


def test_a_batch_decides_as_one_by_one(router):
    prompts = ["one", "two", "three"]
    batch = router.route_batch(prompts, "cost=0.2")
    assert [d.as_json() for d in batch] == [
        router.route(prompt, "cost=0.2").as_json() for prompt in prompts
    ]
    assert router.route_batch([]) == []


def test_flags_from_four_places_the_later_the_stronger(library):
    quality = FunctionPredictor(lambda prompt, model: 0.5)
    router = Router(library, quality, flags="cost=0.1; size=0.1; latency=0.1; recency=0.1")
    request = Request(
        text="hi",
        tokens=Tokens(1),
        flags=Flags(cost=0.2, size=0.2, latency=0.2),
        prompt_flags=Flags(cost=0.4),
    )
    with tryage.flags(cost=0.3, size=0.3):
        decision = router.route(request)
    assert decision.flags == Flags(cost=0.4, size=0.3, latency=0.2, recency=0.1)


def test_limits_that_nobody_meets(router):
    with pytest.raises(NoEligibleModel):
        router.route("hi", "max params 1m")


def test_a_predictor_must_be_fitted_and_know_the_models(library, table):
    with pytest.raises(NotFitted):
        Router(library, BestSinglePredictor())
    with pytest.raises(UnknownModel, match="'small'"):
        Router(library, BestSinglePredictor().fit(table))


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_a_predictor_that_answers_nonsense(library, value):
    router = Router(library, FunctionPredictor(lambda prompt, model: value))
    with pytest.raises(InvalidPrediction, match="'small'"):
        router.route("hi")


def test_a_predictor_of_the_wrong_shape(library, monkeypatch):
    router = Router(library, FunctionPredictor(lambda prompt, model: 0.5))
    monkeypatch.setattr(router.predictor, "predict", lambda prompts: np.zeros((1, 9), np.float32))
    with pytest.raises(InvalidPrediction, match=r"\(1, 3\)"):
        router.route("hi")


def test_the_default_router_answers_out_of_the_box():
    decision = Router.default().route("Prove that there are infinitely many primes", "cost=0.3")
    assert decision.model in Library.bundled()
    assert len(decision.ranking) == len(Library.bundled())


def test_smallest_model_picks_a_smaller_model():
    router = Router.default(flags="max params 1000b")  # among those of known size
    prompt = "Prove that there are infinitely many primes"
    free, small = router.route(prompt), router.route(prompt, "smallest model")
    assert small.card.parameters < free.card.parameters


def test_of_a_prompt_of_ten_megabytes_only_the_ends_are_read_and_all_is_counted():
    router = Router.default()
    start, end = "Prove this theorem. " * 400, "Why is the sky blue? " * 200
    one, other = (start + filler * 5_000_000 + end for filler in ("a ", "§ "))
    assert len(one) > 10_000_000
    np.testing.assert_array_equal(router.route(one).quality, router.route(other).quality)
    assert router.route(one).tokens.input == len(one) // 4


def test_a_router_is_shared_between_threads(library):
    router = Router(library, FunctionPredictor(lambda prompt, model: float(prompt == model)))
    names = list(library.names) * 100
    with ThreadPoolExecutor(8) as pool:
        assert [d.model for d in pool.map(router.route, names)] == names
