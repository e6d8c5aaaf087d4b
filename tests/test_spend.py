from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tryage import Library, ModelCard, Spend, UnknownModel, Usage, UsageError, cost_usd

CHEAP = ModelCard(name="cheap", input_usd_per_mtok=1, output_usd_per_mtok=2)
DEAR = ModelCard(
    name="dear", input_usd_per_mtok=10, output_usd_per_mtok=20, cached_input_usd_per_mtok=1
)
SILENT = ModelCard(name="silent")
LIBRARY = Library([CHEAP, DEAR, SILENT])


def test_a_call_costs_its_tokens_at_the_cards_prices():
    assert cost_usd(CHEAP, Usage(1_000_000, 500_000)) == pytest.approx(2.0)
    assert cost_usd(SILENT, Usage(1, 1)) is None
    assert cost_usd(ModelCard(name="m", input_usd_per_mtok=1), Usage(1, 1)) is None
    free = ModelCard(name="m", input_usd_per_mtok=0, output_usd_per_mtok=0)
    assert cost_usd(free, Usage(9, 9)) == 0.0


def test_tokens_from_the_providers_cache_have_their_own_price():
    assert cost_usd(DEAR, Usage(1_000_000, 0, 600_000)) == pytest.approx(4 + 0.6)
    assert cost_usd(CHEAP, Usage(1_000_000, 0, 600_000)) == pytest.approx(1.0)


def test_spend_is_summed_by_model():
    spend = Spend("dear", LIBRARY)
    spend.add("cheap", Usage(1_000_000, 0))
    spend.add("cheap", Usage(0, 1_000_000))
    spend.add("dear", Usage(1_000_000, 0, 1_000_000))
    assert spend.cost_usd == pytest.approx(1 + 2 + 1)
    assert spend.reference_usd == pytest.approx(10 + 20 + 1)
    assert spend.saved_usd == pytest.approx(27)
    cheap = spend.models["cheap"]
    assert (cheap.calls, cheap.input_tokens, cheap.output_tokens) == (2, 1_000_000, 1_000_000)
    told = spend.as_json()
    assert (told["reference"], told["models"]["dear"]["calls"]) == ("dear", 1)
    assert "3 calls" in repr(spend)


def test_what_cost_nothing_or_is_not_known_is_told_apart():
    spend = Spend("dear", LIBRARY)
    spend.add("silent", Usage(10, 10))
    spend.add("cheap", None)
    spend.add("nobody", Usage(10, 10))
    spend.add_cached("cheap")
    spend.add_failed("cheap")
    assert {name: m.unpriced for name, m in spend.models.items()} == {
        "silent": 1, "cheap": 1, "nobody": 1,
    }  # fmt: skip
    assert (spend.models["cheap"].cached, spend.models["cheap"].failed) == (1, 1)
    assert (spend.cost_usd, spend.reference_usd, spend.saved_usd) == (0, 0, 0)


def test_without_a_reference_there_is_no_saving():
    spend = Spend(library=LIBRARY)
    spend.add("cheap", Usage(1, 1))
    assert spend.reference_usd is None
    assert spend.saved_usd is None


def test_the_reference_must_be_known_and_priced():
    with pytest.raises(UnknownModel, match="Did you mean 'gpt-4o'"):
        Spend("gpt-4oo")
    with pytest.raises(UsageError, match="'silent' has no prices"):
        Spend("silent", LIBRARY)


def test_own_prices_come_before_the_bundled_ones():
    own = ModelCard(name="gpt-4o", input_usd_per_mtok=1000, output_usd_per_mtok=0)
    spend = Spend(library=Library([own]))
    spend.add("gpt-4o", Usage(1000, 5))
    spend.add("gpt-4o-mini", Usage(0, 0))  # still found
    assert spend.cost_usd == pytest.approx(1.0)
    assert spend.models["gpt-4o-mini"].unpriced == 0


def test_threads_lose_no_call():
    spend = Spend("dear", LIBRARY)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2000):
            pool.submit(spend.add, "cheap", Usage(1_000_000, 0))
    assert spend.models["cheap"].calls == 2000
    assert spend.cost_usd == pytest.approx(2000)


@given(st.lists(st.tuples(st.sampled_from(["cheap", "dear"]), st.integers(0, 10**6))))
def test_a_call_to_the_reference_saves_nothing_and_to_a_cheaper_one_never_loses(calls):
    spend = Spend("dear", LIBRARY)
    for name, tokens in calls:
        spend.add(name, Usage(tokens, tokens))
    only_cheap = sum(2 * t for name, t in calls if name == "cheap")
    assert spend.saved_usd >= -1e-9
    assert (spend.saved_usd < 1e-9) == (only_cheap == 0)
