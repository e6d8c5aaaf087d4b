from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tryage import (
    Decision,
    Flags,
    InvalidPrediction,
    Library,
    ModelCard,
    NoEligibleModel,
    Request,
    Tokens,
    UnknownModel,
    choose,
)

QUALITY = np.array([0.6, 0.7, 0.9], dtype=np.float32)


def decide(
    library: Library, request: Request, quality: np.ndarray = QUALITY, **flags: object
) -> Decision:
    return choose(quality, library, Flags(**flags), request)


def test_without_flags_the_best_quality_wins(library, ask):
    decision = decide(library, ask())
    assert decision.model == "large"
    assert decision.order == ("large", "middle", "small")


@pytest.mark.parametrize(
    ("weight", "model"),
    [
        ("size", "small"),
        ("cost", "small"),
        ("latency", "small"),
        ("recency", "large"),
        ("security", "small"),
        ("verbosity", "small"),
        ("readability", "small"),
    ],
)
def test_a_heavy_weight_picks_the_best_on_that_count(library, ask, weight, model):
    # Against quality: the worst model must win where the count says so, and lose where not.
    quality = np.array([0.6, 0.7, 0.6], dtype=np.float32)
    assert decide(library, ask(), quality, **{weight: 5.0}).model == model


def test_each_term_is_the_weight_times_a_constraint_in_0_1(library, ask):
    decision = decide(library, ask(), size=0.5, cost=0.25)
    by_name = {ranked.model: ranked for ranked in decision.ranking}
    assert by_name["small"].terms == {"size": 0.0, "cost": 0.0}
    assert by_name["large"].terms == {"size": 0.5, "cost": 0.25}
    # Logarithmic: 30 stands where log 30 stands between log 1 and log 400.
    assert by_name["middle"].terms["size"] == pytest.approx(0.5 * np.log(30) / np.log(400))
    for ranked in decision.ranking:
        total = 1 - ranked.quality + sum(ranked.terms.values())
        assert ranked.objective == pytest.approx(total, abs=1e-6)


def test_ties_go_to_the_library_order(library, ask):
    decision = decide(library, ask(), np.full(3, 0.5))
    assert decision.model == library.names[0]
    assert decision.order == library.names


def test_cost_and_latency_are_expected_for_this_request(library, ask):
    ranked = decide(library, ask("word " * 1000, output_tokens=200)).ranking[0]
    tokens = 1250, 200 * 1.5
    assert ranked.cost_usd == pytest.approx((tokens[0] * 5 + tokens[1] * 15) / 1e6)
    assert ranked.latency_s == pytest.approx(0.8 + tokens[1] / 40)


@pytest.mark.parametrize("limit", [None, 10, 10_000])
def test_the_summary_expects_what_the_ranking_expects(ask, limit):
    library = Library.bundled()
    request = ask("word " * 300, max_output_tokens=limit)
    decision = decide(library, request, np.full(len(library), 0.5))
    for ranked in decision.ranking:
        told = decision.summary(answered_by=ranked.model)
        assert told["expected_cost_usd"] == pytest.approx(ranked.cost_usd)
        assert told["expected_latency_s"] == pytest.approx(ranked.latency_s)


def test_cost_and_latency_are_weighed_by_their_logarithm(library, ask):
    ranking = decide(library, ask(), cost=1.0, latency=1.0).ranking
    for name, value in (("cost", "cost_usd"), ("latency", "latency_s")):
        logs = {ranked.model: np.log(getattr(ranked, value)) for ranked in ranking}
        middle = next(ranked for ranked in ranking if ranked.model == "middle")
        share = (logs["middle"] - logs["small"]) / (logs["large"] - logs["small"])
        assert middle.terms[name] == pytest.approx(share)


def test_a_worth_takes_the_expected_cost_from_quality_dollar_by_dollar(library, ask):
    decision = decide(library, ask(), worth_usd=0.02)
    for ranked in decision.ranking:
        assert ranked.terms == {"worth_usd": pytest.approx(ranked.cost_usd / 0.02)}
        assert ranked.objective == pytest.approx(1 - ranked.quality + ranked.cost_usd / 0.02)
    costs = {r.model: r.cost_usd for r in decision.ranking}
    # The large one is ahead by 0.2, so that it is called where that is worth what it costs more.
    break_even = (costs["large"] - costs["middle"]) / 0.2
    assert decide(library, ask(), worth_usd=break_even * 1.01, deny={"small"}).model == "large"
    assert decide(library, ask(), worth_usd=break_even * 0.99, deny={"small"}).model == "middle"


def test_a_worth_and_a_weight_on_cost_add(library, ask):
    both = decide(library, ask(), cost=0.3, worth_usd=0.02)
    apart = decide(library, ask(), cost=0.3), decide(library, ask(), worth_usd=0.02)
    added = sum((d.objective for d in apart), np.zeros(3)) - (1 - QUALITY.astype(float))
    np.testing.assert_allclose(both.objective, added)
    assert set(both.ranking[0].terms) == {"cost", "worth_usd"}


def test_an_unpriced_model_costs_what_the_dearest_eligible_one_does(library, ask):
    silent = Library([*library, ModelCard(name="silent")])
    quality = np.array([0.6, 0.7, 0.9, 0.9])
    terms = {r.model: r.terms["worth_usd"]
             for r in decide(silent, ask(), quality, worth_usd=0.01).ranking}  # fmt: skip
    assert terms["silent"] == terms["large"]
    cheaper = decide(silent, ask(), quality, worth_usd=0.01, deny={"large"})
    terms = {r.model: r.terms["worth_usd"] for r in cheaper.ranking}
    assert terms["silent"] == terms["middle"]
    none = Library([ModelCard(name="a"), ModelCard(name="b")])
    decision = decide(none, ask(), np.array([0.4, 0.5]), worth_usd=1e-9)
    assert decision.model == "b"
    assert decision.ranking[0].terms == {"worth_usd": 0.0}


def test_the_output_limit_caps_the_expected_cost(library, ask):
    short = decide(library, ask(max_output_tokens=10)).ranking[0]
    assert short.latency_s == pytest.approx(0.8 + 10 / 40)


def test_absence_counts_as_the_worst_never_as_zero(ask):
    library = Library([ModelCard(name="silent"), ModelCard(name="dear", output_usd_per_mtok=90.0,
                       input_usd_per_mtok=90.0), ModelCard(name="cheap", output_usd_per_mtok=0.1,
                       input_usd_per_mtok=0.1)])  # fmt: skip
    decision = decide(library, ask(), np.full(3, 0.5), cost=0.3)
    terms = {ranked.model: ranked.terms["cost"] for ranked in decision.ranking}
    assert terms == {"silent": pytest.approx(0.3), "dear": pytest.approx(0.3), "cheap": 0.0}
    assert decision.model == "cheap"
    assert next(r for r in decision.ranking if r.model == "silent").cost_usd is None


def test_a_wish_that_every_card_is_silent_about_decides_nothing(ask):
    library = Library([ModelCard(name="a"), ModelCard(name="b")])
    decision = decide(library, ask(), np.array([0.4, 0.5]), cost=0.9, latency=0.9, size=0.9)
    assert decision.model == "b"
    assert set(decision.ranking[0].terms.values()) == {0.9}


def test_a_free_model_has_a_finite_cost_term(ask):
    prices = {"free": 0, "paid": 1}
    library = Library(
        ModelCard(name=name, input_usd_per_mtok=usd, output_usd_per_mtok=usd)
        for name, usd in prices.items()
    )
    decision = decide(library, ask(), np.array([0.5, 0.6]), cost=0.3)
    assert decision.model == "free"
    assert decision.ranking[1].terms["cost"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("flags", "out"),
    [
        ({"max_cost_usd": 0.002}, {"large"}),
        ({"max_latency_s": 2.0}, {"middle", "large"}),
        ({"max_params": 30e9}, {"large"}),
        ({"min_context_tokens": 32_000}, {"small"}),
        ({"released_after": "2024-06-01"}, {"small", "middle"}),
        ({"min_security": "private"}, {"large"}),
        ({"require": {"vision"}}, {"small", "middle"}),
        ({"allow": {"ORG/small", "middle"}}, {"large"}),
        ({"deny": {"large"}}, {"large"}),
        ({"tolerance": 0.2}, {"small"}),
    ],
)
def test_each_limit_excludes_with_a_reason(library, ask, flags, out):
    decision = decide(library, ask(), **flags)
    assert {excluded.model for excluded in decision.excluded} == out
    assert all(excluded.reason for excluded in decision.excluded)
    assert set(decision.order) == set(library.names) - out


@pytest.mark.parametrize(
    "flags",
    [
        {"max_cost_usd": 1.0},
        {"max_latency_s": 99.0},
        {"max_params": 1e15},
        {"min_context_tokens": 1},
        {"released_after": "1990-01-01"},
        {"min_security": "public"},
        {"require": {"tools"}},
    ],
)
def test_a_limit_that_a_silent_card_cannot_prove_excludes_it(ask, flags):
    with pytest.raises(NoEligibleModel, match="not known to"):
        decide(Library([ModelCard(name="silent")]), ask(), np.array([0.5]), **flags)


def test_what_the_call_needs_excludes_only_cards_that_say_they_lack_it(library, ask):
    silent = Library([*library, ModelCard(name="silent")])
    request = ask(needs=frozenset({"vision"}))
    decision = decide(silent, request, np.array([0.9, 0.9, 0.5, 0.4]))
    assert decision.order == ("large", "silent")


def test_a_card_may_say_what_it_lacks_and_leave_the_rest_open(ask):
    library = Library([ModelCard(name="a", lacks={"tools"}),
                       ModelCard(name="b", capabilities={"tools"}, lacks=frozenset())])  # fmt: skip
    quality = np.array([0.9, 0.5])
    assert decide(library, ask(needs=frozenset({"vision"})), quality).order == ("a", "b")
    assert decide(library, ask(needs=frozenset({"tools"})), quality).order == ("b",)
    assert decide(library, ask(), quality, require={"tools"}).order == ("b",)
    with pytest.raises(NoEligibleModel):
        decide(library, ask(), quality, require={"vision"})


def test_a_prompt_longer_than_the_window_excludes_the_model(library, ask):
    decision = decide(library, ask("word " * 10_000))
    assert [excluded.model for excluded in decision.excluded] == ["small"]
    assert "12,500 tokens" in decision.excluded[0].reason


def test_a_window_that_the_estimate_may_still_fit_is_not_too_small(library, ask):
    assert not decide(library, ask("word" * 4_500)).excluded  # about 4,500 tokens into 4,000


def test_constraints_are_scaled_over_the_eligible_models_only(library, ask):
    decision = decide(library, ask(), size=1.0, deny={"large"})
    assert {r.model: r.terms["size"] for r in decision.ranking} == {"small": 0.0, "middle": 1.0}


def test_tolerance_with_cost_is_the_cheapest_that_is_nearly_as_good(library, ask):
    quality = np.array([0.6, 0.88, 0.9], dtype=np.float32)
    assert decide(library, ask(), quality, tolerance=0.05, cost=1.0).model == "middle"


def test_nobody_eligible_names_every_reason(library, ask):
    with pytest.raises(NoEligibleModel) as caught:
        decide(library, ask(), max_params=1e6, require={"vision"})
    assert set(caught.value.reasons) == set(library.names)
    assert "vision" in caught.value.reasons["small"]
    assert "parameters" in caught.value.reasons["small"]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "quality",
    [
        np.array([0.1, np.nan, 0.2]),
        np.array([0.1, 1.5, 0.2]),
        np.array([-0.1, 0.5, 0.2]),
        np.array([0.1, np.inf, 0.2]),
        np.array([0.5, 0.5]),
        np.zeros((1, 3)),
    ],
)
def test_a_broken_prediction_is_an_error(library, ask, quality):
    with pytest.raises(InvalidPrediction):
        decide(library, ask(), quality)


def test_a_name_that_no_model_has_is_an_error(library, ask):
    with pytest.raises(UnknownModel, match="Did you mean 'small'"):
        decide(library, ask(), deny={"smal"})


def test_stickiness_is_the_price_of_switching(library):
    request = Request(text="And then?", tokens=Tokens(50), previous="middle")
    assert decide(library, request).model == "large"
    decision = decide(library, request, stickiness=0.3)
    assert decision.model == "middle"
    assert {r.model: r.terms["stickiness"] for r in decision.ranking}["large"] == 0.3


def test_in_an_open_tool_loop_the_model_stays(library):
    request = Request(text="Go on", tokens=Tokens(50), previous="small", tool_loop=True)
    decision = decide(library, request)
    assert decision.kept
    assert decision.order == ("small", "large", "middle")  # the others stand by
    assert decision.ranking[0].model == "small"
    assert decision.as_json()["kept"]


def test_a_tolerance_does_not_end_a_tool_loop(library):
    request = Request(text="Go on", tokens=Tokens(50), previous="small", tool_loop=True)
    decision = decide(library, request, tolerance=0.0)
    assert decision.order == ("small", "large")


def test_a_tool_loop_does_not_hold_a_model_that_a_limit_excludes(library):
    request = Request(text="Go on", tokens=Tokens(50), previous="small", tool_loop=True)
    decision = decide(library, request, deny={"small"})
    assert decision.model == "large"
    assert not decision.kept


def test_the_decision_is_plain_data(library, ask):
    import json

    decision = decide(library, ask(), cost=0.1, deny={"small"})
    as_json = json.loads(json.dumps(decision.as_json()))
    assert set(as_json) == {"model", "kept", "ranking", "excluded", "flags"}
    assert set(as_json["ranking"][0]) == {
        "model", "quality", "cost_usd", "latency_s", "objective", "terms",
    }  # fmt: skip
    assert as_json["flags"] == {"cost": 0.1, "deny": ["small"]}
    summary = decision.summary(answered_by="middle")
    assert (summary["model"], summary["decided"]) == ("middle", "large")
    assert summary["quality"] == pytest.approx(0.7, abs=1e-4)


numbers = st.floats(0.01, 100, allow_nan=False)
silent_or = lambda known: st.none() | known  # noqa: E731


@st.composite
def random_libraries(draw: st.DrawFn) -> tuple[Library, np.ndarray]:
    n = draw(st.integers(1, 8))
    cards = []
    for i in range(n):
        prices = draw(silent_or(st.tuples(numbers, numbers)))
        cards.append(
            ModelCard(
                name=f"m{i}",
                parameters=draw(silent_or(st.floats(1e8, 1e12))),
                input_usd_per_mtok=prices and prices[0],
                output_usd_per_mtok=prices and prices[1],
                verbosity=draw(silent_or(st.floats(0.2, 5))),
            )
        )
    quality = draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    return Library(cards), np.array(quality, dtype=np.float32)


@settings(max_examples=200, deadline=None)
@given(random_libraries(), st.lists(st.floats(0, 3), min_size=2, max_size=6), st.floats(0, 1))
def test_as_the_weight_on_cost_grows_neither_cost_nor_quality_rises(drawn, weights, size):
    library, quality = drawn
    request = Request.from_prompt("Why is the sky blue?")
    chosen = [
        choose(quality, library, Flags(cost=weight, size=size), request).ranking[0]
        for weight in sorted(weights)
    ]
    for lighter, heavier in itertools.pairwise(chosen):
        dear = np.inf if lighter.cost_usd is None else lighter.cost_usd
        assert (np.inf if heavier.cost_usd is None else heavier.cost_usd) <= dear * (1 + 1e-9) or (
            # A model whose cost is unknown counts as the dearest, and may be left for it.
            lighter.cost_usd is None
        )


@settings(max_examples=200, deadline=None)
@given(random_libraries(), st.lists(st.floats(0, 3), min_size=2, max_size=6))
def test_as_the_weight_on_cost_grows_predicted_quality_never_rises(drawn, weights):
    library, quality = drawn
    request = Request.from_prompt("Why is the sky blue?")
    chosen = [
        choose(quality, library, Flags(cost=weight), request).ranking[0].quality
        for weight in sorted(weights)
    ]
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(chosen))


worths = st.floats(-6, 3).map(lambda exponent: 10.0**exponent)


@settings(max_examples=200, deadline=None)
@given(random_libraries(), st.lists(worths, min_size=2, max_size=6), st.floats(0, 1))
def test_the_more_an_answer_is_worth_the_dearer_and_the_better_it_is(drawn, values, size):
    library, quality = drawn
    request = Request.from_prompt("Why is the sky blue?")
    decisions = [
        choose(quality, library, Flags(worth_usd=worth, size=size), request)
        for worth in sorted(values)
    ]
    known = [r.cost_usd for r in decisions[0].ranking if r.cost_usd is not None]
    dearest = max(known, default=0.0)
    for lesser, greater in itertools.pairwise([d.ranking[0] for d in decisions]):
        before, after = (dearest if r.cost_usd is None else r.cost_usd for r in (lesser, greater))
        assert after >= before * (1 - 1e-9)
        held = [1 - r.quality + r.terms.get("size", 0) for r in (lesser, greater)]
        assert held[1] <= held[0] + 1e-9


@settings(max_examples=100, deadline=None)
@given(random_libraries(), worths, st.floats(0.01, 100))
def test_a_worth_is_counted_in_prices_whatever_their_unit(drawn, worth, times):
    library, quality = drawn
    request = Request.from_prompt("Why is the sky blue?")
    scaled = Library(
        dataclasses.replace(
            card,
            input_usd_per_mtok=card.input_usd_per_mtok and card.input_usd_per_mtok * times,
            output_usd_per_mtok=card.output_usd_per_mtok and card.output_usd_per_mtok * times,
        )
        for card in library
    )
    once = choose(quality, library, Flags(worth_usd=worth), request)
    again = choose(quality, scaled, Flags(worth_usd=worth * times), request)
    np.testing.assert_allclose(once.objective, again.objective, rtol=1e-9)


@settings(max_examples=200, deadline=None)
@given(random_libraries(), st.floats(0, 0.01), st.floats(0, 1))
def test_a_limit_on_cost_is_never_passed(drawn, limit, weight):
    library, quality = drawn
    request = Request.from_prompt("Why is the sky blue?")
    try:
        decision = choose(quality, library, Flags(max_cost_usd=limit, size=weight), request)
    except NoEligibleModel:
        return
    assert all(r.cost_usd is not None and r.cost_usd <= limit for r in decision.ranking)
