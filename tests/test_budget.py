"""From a budget to the worth of an answer, and from a share to a weight on cost."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tryage import Flags, Library, ModelCard, Request, Router, Tokens, UnknownModel, UsageError
from tryage.testing import FunctionPredictor

PROMPTS = [f"{'word ' * (1 + 7 * i % 40)} number {i}" for i in range(120)]


@functools.cache
def quality(prompt: str, model: str) -> float:
    """Something in [0, 1] that differs by prompt and, mostly, favours the dear models."""
    seed = sum(map(ord, prompt + model))
    better = {"small": 0.2, "middle": 0.35, "large": 0.5}.get(model, 0.3)
    return float(better + 0.5 * np.random.default_rng(seed).random())


@pytest.fixture
def router(library):
    return Router(library, FunctionPredictor(quality))


def spend(router, flags):
    decisions = router.route_batch(PROMPTS, flags)
    return 1000 * np.mean([d.ranking[0].cost_usd for d in decisions])


def share(router, flags, model):
    return np.mean([d.model == model for d in router.route_batch(PROMPTS, flags)])


def attainable(router):
    return spend(router, Flags(cost=1e6)), spend(router, Flags())


def looser(flags):
    return dataclasses.replace(flags, worth_usd=flags.worth_usd * (1 + 1e-4))


@pytest.mark.parametrize("part", [0.05, 0.3, 0.7, 0.95])
def test_the_spend_meets_the_budget_and_wastes_little_of_it(router, part):
    low, high = attainable(router)
    budget = low + part * (high - low)
    flags = router.calibrate_flags(PROMPTS, budget_usd_per_1k=budget)
    assert spend(router, flags) <= budget
    assert spend(router, looser(flags)) > budget - (high - low) / 20
    assert spend(router, looser(flags)) >= spend(router, flags)


def test_the_greatest_worth_is_chosen(router):
    low, high = attainable(router)
    budget = (low + high) / 2
    flags = router.calibrate_flags(PROMPTS, budget_usd_per_1k=budget)
    assert spend(router, looser(flags)) > budget


PRICED = Library(
    ModelCard(name=n, input_usd_per_mtok=p, output_usd_per_mtok=p)
    for n, p in (("small", 0.1), ("middle", 2.0), ("large", 15.0))
)


@settings(max_examples=10, deadline=None)
@given(parts=st.lists(st.floats(0, 1.2), min_size=2, max_size=3))
def test_a_larger_budget_never_makes_an_answer_worth_less(parts):
    router = Router(PRICED, FunctionPredictor(quality))
    low, high = attainable(router)
    budgets = sorted(low * 1.0001 + part * (high - low) for part in parts)
    flags = [router.calibrate_flags(PROMPTS, budget_usd_per_1k=budget) for budget in budgets]
    worths = [f.worth_usd for f in flags]
    assert worths == sorted(worths)
    for f, budget in zip(flags, budgets, strict=True):
        assert spend(router, f) <= budget


@settings(max_examples=20, deadline=None)
@given(part=st.floats(0.01, 0.99), weight=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_no_other_choice_that_spends_as_much_expects_more(part, weight, seed):
    router = Router(PRICED, FunctionPredictor(quality))
    low, high = attainable(router)
    flags = router.calibrate_flags(PROMPTS, budget_usd_per_1k=low + part * (high - low))
    decisions = router.route_batch(PROMPTS, flags)
    usd = np.array([d.expected.cost_usd for d in decisions])
    hoped = np.array([d.quality for d in decisions], np.float64)
    rows = np.arange(len(PROMPTS))
    ours = np.array([PRICED.position(d.model) for d in decisions])
    weighed = router.route_batch(PROMPTS, Flags(cost=weight))
    others = [np.array([PRICED.position(d.model) for d in weighed])]
    rng = np.random.default_rng(seed)
    for _ in range(200):  # a few prompts go elsewhere, some to dearer models and some to cheaper
        moved = rng.choice(rows, size=rng.integers(1, 6), replace=False)
        others.append(ours.copy())
        others[-1][moved] = rng.integers(0, len(PRICED), len(moved))
    for other in others:
        if usd[rows, other].sum() <= usd[rows, ours].sum():
            assert hoped[rows, other].sum() <= hoped[rows, ours].sum() + 1e-6


def test_a_budget_that_is_never_spent_lets_cost_not_count(router):
    _, high = attainable(router)
    free = router.calibrate_flags(PROMPTS, budget_usd_per_1k=high * 2)
    assert free == Flags(worth_usd=1e8)
    assert [d.model for d in router.route_batch(PROMPTS, free)] == (
        [d.model for d in router.route_batch(PROMPTS)]
    )


def test_a_budget_takes_the_place_of_a_weight_on_cost_and_of_another_worth(router):
    low, high = attainable(router)
    budget = (low + high) / 2
    plain = router.calibrate_flags(PROMPTS, budget_usd_per_1k=budget)
    thrifty = Router(router.library, router.predictor, "cheap; worth $0.0001")
    flags = thrifty.calibrate_flags(PROMPTS, budget_usd_per_1k=budget)
    assert flags == plain.merged(Flags(cost=0.0))
    flags = router.calibrate_flags(PROMPTS, budget_usd_per_1k=budget, flags="cheapest")
    assert flags == plain.merged(Flags(cost=0.0))


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_for_two_models_and_calls_of_one_size_a_budget_is_a_share(part):
    router = Router(PRICED.select(["small", "large"]), FunctionPredictor(quality))
    calls = [
        dataclasses.replace(Request.from_prompt(p), tokens=Tokens(100, output=100)) for p in PROMPTS
    ]
    by_share = router.calibrate_flags(calls, share={"large": part})
    decisions = Router(router.library, router.predictor, by_share).route_batch(calls)
    usd = 1000 * np.mean([d.ranking[0].cost_usd for d in decisions])
    by_budget = router.calibrate_flags(calls, budget_usd_per_1k=usd * (1 + 1e-9))
    again = Router(router.library, router.predictor, by_budget).route_batch(calls)
    assert [d.model for d in again] == [d.model for d in decisions]


@pytest.mark.parametrize("budget", [-1.0, 0.0, float("nan")])
def test_a_budget_below_the_cheapest_names_the_range(router, budget):
    low, high = attainable(router)
    with pytest.raises(UsageError, match=f"from \\${low:.6g}.* to \\${high:.6g}") as error:
        router.calibrate_flags(PROMPTS, budget_usd_per_1k=budget)
    assert "\n" not in str(error.value)


def test_two_models_are_calibrated_as_by_a_threshold(library):
    pair = library.select(["small", "large"])
    router = Router(pair, FunctionPredictor(quality))
    gains = np.array([quality(p, "large") - quality(p, "small") for p in PROMPTS])
    for wanted in (0.1, 0.25, 0.5):
        flags = router.calibrate_flags(PROMPTS, share={"large": wanted})
        assert share(router, flags, "large") == pytest.approx(wanted, abs=1e-9)
        ordered = np.sort(gains)[::-1]
        calls = round(wanted * len(gains))
        assert ordered[calls] <= flags.cost <= ordered[calls - 1]  # C_cost is 0 and 1


def test_shares_among_three_models(router):
    flags = router.calibrate_flags(PROMPTS, share={"large": 0.3})
    assert share(router, flags, "large") == pytest.approx(0.3, abs=0.01)
    got = share(router, flags, "middle")
    both = router.calibrate_flags(PROMPTS, share={"large": 0.3, "middle": got})
    assert share(router, both, "middle") == pytest.approx(got, abs=0.03)


def test_a_share_that_no_weight_gives_names_the_range(router):
    with pytest.raises(UsageError, match=r"'small'.*from .*% to 100.0%"):
        router.calibrate_flags(PROMPTS, share={"small": 0.0, "large": 0.001})
    with pytest.raises(UsageError, match=r"\['large'\]=1: .*nearest"):
        router.calibrate_flags(PROMPTS, share={"large": 1})


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"budget_usd_per_1k": 1.0, "share": {"large": 0.1}},
        {"share": {}},
        {"share": {"large": 1.5}},
        {"share": {"large": float("nan")}},
        {"share": {"large": 0.8, "small": 0.8}},
    ],
)
def test_what_cannot_be_asked(router, asked):
    with pytest.raises(UsageError, match="give"):
        router.calibrate_flags(PROMPTS, **asked)


def test_a_share_of_a_stranger(router):
    with pytest.raises(UnknownModel, match="'larg'"):
        router.calibrate_flags(PROMPTS, share={"larg": 0.5})


@pytest.mark.parametrize("prompts", [[], "one prompt"])
def test_without_prompts_there_is_nothing_to_calibrate_on(router, prompts):
    with pytest.raises(UsageError, match="at least one prompt"):
        router.calibrate_flags(prompts, budget_usd_per_1k=1.0)


def test_models_without_prices_are_denied(library):
    silent = ModelCard(name="silent")
    router = Router(Library([*library, silent]), FunctionPredictor(lambda p, m: m == "silent"))
    flags = router.calibrate_flags(PROMPTS, budget_usd_per_1k=5.0, flags="recent")
    assert flags.deny == {"silent"}
    assert flags.recency
    assert spend(router, flags) <= 5.0
    alone = Router(Library([silent]), FunctionPredictor(lambda p, m: 0.5))
    with pytest.raises(UsageError, match="none of the 1 models has a price"):
        alone.calibrate_flags(PROMPTS, budget_usd_per_1k=5.0)


def test_other_wishes_and_limits_hold_while_it_calibrates(router):
    flags = router.calibrate_flags(PROMPTS, budget_usd_per_1k=1e3, flags="max params 50b")
    assert flags.max_params == 50e9
    assert share(router, flags, "large") == 0


def test_what_a_request_asks_for_itself_outdoes_the_calibration(router):
    own = Flags(worth_usd=1e6)
    free = [dataclasses.replace(Request.from_prompt(p), flags=own) for p in PROMPTS]
    _, high = attainable(router)
    with pytest.raises(UsageError, match="budget"):
        router.calibrate_flags(free, budget_usd_per_1k=high * 0.9)
    assert router.calibrate_flags(free, budget_usd_per_1k=high * 1.1).worth_usd == 1e8
    dear = [dataclasses.replace(Request.from_prompt(p), flags=Flags(cost=0.0)) for p in PROMPTS]
    with pytest.raises(UsageError, match="'small'"):
        router.calibrate_flags(dear, share={"small": 0.9})


def test_an_open_tool_loop_keeps_its_model_whatever_it_costs(router):
    held = [
        dataclasses.replace(Request.from_prompt(p), previous="large", tool_loop=True)
        for p in PROMPTS
    ]
    low, _ = attainable(router)
    with pytest.raises(UsageError, match="budget"):
        router.calibrate_flags(held, budget_usd_per_1k=2 * low)


def test_the_bundled_router_is_calibrated_as_it_is():
    router = Router.default()
    flags = router.calibrate_flags(PROMPTS, budget_usd_per_1k=0.5)
    assert spend(router, flags) <= 0.5


def test_of_two_models_of_one_price_only_the_better_is_ever_chosen():
    prices = {"better": 9.0, "worse": 9.0, "cheap": 0.1}
    library = Library(
        ModelCard(name=n, input_usd_per_mtok=p, output_usd_per_mtok=p) for n, p in prices.items()
    )
    level = {"better": 0.5, "worse": 0.4, "cheap": 0.0}
    router = Router(library, FunctionPredictor(lambda p, m: level[m] + quality(p, "any") / 10))
    with pytest.raises(UsageError, match=r"'worse'.*from 0.0% to 0.0%"):
        router.calibrate_flags(PROMPTS, share={"worse": 0.5})
