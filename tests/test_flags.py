from __future__ import annotations

import asyncio
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tryage
from tryage import Flags, InvalidFlag, TryageError, UnknownFlag, current_flags, take_from_prompt
from tryage.flags import WEIGHTS, as_flags


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("", Flags()),
        ("cost=0.3", Flags(cost=0.3)),
        ("cost 0.3; size = 0.1", Flags(cost=0.3, size=0.1)),
        ("smallest model; max cost $0.002; tools",
         Flags(size=1.0, max_cost_usd=0.002, require={"tools"})),
        ("Cheap, FAST", Flags(cost=0.3, latency=0.3)),
        ("cheapest; fastest; newest; most secure; shortest answers; readable",
         Flags(cost=1, latency=1, recency=1, security=1, verbosity=1, readability=0.3)),
        ("max latency 500ms", Flags(max_latency_s=0.5)),
        ("max_params=10B", Flags(max_params=10e9)),
        ("min context 100k", Flags(min_context_tokens=100_000)),
        ("released after 2024-06-01", Flags(released_after=date(2024, 6, 1))),
        ("min security local", Flags(min_security="local")),
        ("within 0.02", Flags(tolerance=0.02)),
        ("worth $0.01", Flags(worth_usd=0.01)),
        ("worth_usd=2 usd; cheap", Flags(worth_usd=2, cost=0.3)),
        ("under $0.01", Flags(max_cost_usd=0.01)),
        ("json schema; vision", Flags(require={"json_schema", "vision"})),
        ("only gpt-4o; only Org/Name; not x:7b",
         Flags(allow={"gpt-4o", "Org/Name"}, deny={"x:7b"})),
    ],
)  # fmt: skip
def test_the_text_form(text, flags):
    assert Flags.parse(text) == flags


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_weight_is_read_by_name(name):
    assert Flags.parse(f"{name}=0.25") == Flags(**{name: 0.25})


@pytest.mark.parametrize(
    ("text", "hint"),
    [("cots=0.3", "'cost'"), ("smalest", "'smallest'"), ("bogus", "Weights: size, cost"),
     ("max cots 3", "'max cost'"), ("cost", "'cost'"), ("wort", "'worth'"),
     ("bogus", "In dollars: worth_usd. Limits: tolerance")],
)  # fmt: skip
def test_an_unknown_flag_names_the_nearest_and_the_known_ones(text, hint):
    with pytest.raises(UnknownFlag) as caught:
        Flags.parse(text)
    assert hint in str(caught.value)
    assert "tolerance" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["cost=-1", "cost=much", "max cost tools", "max params 5s", "tolerance=2", "cost=nan",
     "worth $0", "worth $-1", "worth much", "worth 5s", "worth $1; worth $2",
     "min security secret", "released after soon", "require=tool", "cheap; cost=0.9"],
)  # fmt: skip
def test_a_bad_value_is_an_error_in_one_line(text):
    with pytest.raises(InvalidFlag) as caught:
        Flags.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [{"worth_usd": 0}, {"worth_usd": -1.0}, {"worth_usd": float("nan")}, {"worth_usd": True},
     {"worth_usd": float("inf")}, {"worth_usd": 1e-300}, {"worth_usd": "1"}, {"cost": -0.1},
     {"cost": float("inf")}, {"cost": "0.3"}, {"cost": True}, {"tolerance": 1.5},
     {"require": "tools"}, {"require": {"teleport"}}, {"allow": 3}, {"min_security": "x"},
     {"released_after": "x"}],
)  # fmt: skip
def test_a_bad_field_is_an_error(values):
    with pytest.raises(InvalidFlag):
        Flags(**values)


@given(st.text(max_size=80))
def test_any_text_is_flags_or_one_of_our_errors(text):
    try:
        assert isinstance(Flags.parse(text), Flags)
    except TryageError as error:
        assert isinstance(error, UnknownFlag | InvalidFlag)  # noqa: PT017


@given(st.floats(0, 5), st.floats(0, 5))
def test_the_stronger_flags_win_one_by_one(a, b):
    merged = Flags(cost=a, size=a).merged(Flags(cost=b))
    assert merged == Flags(cost=b, size=a)


def test_a_weight_of_zero_switches_a_weaker_wish_off():
    assert Flags(cost=0.3).merged(Flags(cost=0)).weights == {}
    assert Flags(cost=0.3).merged(None) == Flags(cost=0.3)


def test_a_worth_is_merged_and_told_like_the_rest():
    weaker = Flags(worth_usd=0.01, cost=0.2)
    assert weaker.merged(Flags(worth_usd=0.5)) == Flags(worth_usd=0.5, cost=0.2)
    assert weaker.merged(Flags(size=0.1)).worth_usd == 0.01
    assert weaker.weights == {"cost": 0.2, "worth_usd": 100.0}
    assert repr(weaker) == "Flags(cost=0.2, worth_usd=0.01)"
    assert as_flags(weaker.as_json()) == weaker
    with pytest.raises(InvalidFlag, match=r"worth_usd=0: give a finite number, 1e-09 or more"):
        Flags(worth_usd=0)


def test_flags_are_taken_out_of_the_prompt():
    text, flags = take_from_prompt("[Flag: smallest model] Explain [0, 1]. [flags: tools; cheap]")
    assert text == "Explain [0, 1]. "
    assert flags == Flags(size=1.0, require={"tools"}, cost=0.3)
    assert take_from_prompt("[Flag: worth $0.02] Hi") == ("Hi", Flags(worth_usd=0.02))
    assert take_from_prompt("no marks [here]") == ("no marks [here]", None)


def test_flags_of_a_block_end_with_it_and_nest():
    with tryage.flags(cost=0.3):
        with tryage.flags("size=0.1"):
            assert current_flags() == Flags(cost=0.3, size=0.1)
        assert current_flags() == Flags(cost=0.3)
    assert current_flags() is None


async def test_flags_of_a_block_do_not_leak_between_tasks():
    async def under(cost):
        with tryage.flags(cost=cost):
            await asyncio.sleep(0.01)
            return current_flags()

    assert await asyncio.gather(under(0.1), under(0.2)) == [Flags(cost=0.1), Flags(cost=0.2)]
    assert current_flags() is None


def test_flags_come_in_every_form():
    assert as_flags(None) == Flags()
    assert as_flags("cheap") == as_flags({"cost": 0.3}) == as_flags(Flags(cost=0.3))
    with pytest.raises(UnknownFlag, match="'cost'"):
        as_flags({"cots": 1})
    with pytest.raises(InvalidFlag):
        as_flags(3)
    with pytest.raises(InvalidFlag), tryage.flags("cheap", size=1):
        pass
