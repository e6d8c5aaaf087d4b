"""Live speed and errors: a slow upstream loses its traffic, and gets it back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tryage import CircuitBreaker, Flags, Library, ModelCard, NoEligibleModel, Router
from tryage.gateway.live import Live
from tryage.gateway.settings import UpstreamSettings
from tryage.gateway.speed import SLOW, Speed
from tryage.gateway.upstream_errors import NoRoom


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


CARD = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1, "parameters": 1e9}


def live_of(clock, cards=None, flags=None, **limits):
    cards = cards or [
        ModelCard(name="fast", first_token_s=0.1, output_tokens_per_s=100, **CARD),
        ModelCard(name="slow", first_token_s=0.4, output_tokens_per_s=25, **CARD),
    ]
    router = Router(Library(cards), flags=flags or Flags(latency=1))
    settings = {
        name: UpstreamSettings(name=name, base_url="http://127.0.0.1/v1", **bounds)
        for name, bounds in limits.items()
    }
    return Live(router, CircuitBreaker(clock=clock), settings, clock)


def answer(live, clock, model, seconds, tokens=300, stream=False, times=1):
    for _ in range(times):
        ticket = live.begin(model, stream=stream)
        clock.now += seconds
        if stream:
            ticket.showed()
        ticket.answered(tokens)


def chosen(live):
    return live.router().route("Hello").model


def test_expected_latency_is_that_of_the_last_seconds(clock):
    live = live_of(clock)
    assert chosen(live) == "fast"

    answer(live, clock, "fast", seconds=3.1, times=3)  # the card says 3.1 s for 300 tokens
    assert chosen(live) == "fast"
    answer(live, clock, "fast", seconds=50, times=3)
    assert chosen(live) == "slow"
    assert live.states()["fast"].latency_s > 12
    assert live.states()["slow"].latency_s is None

    clock.now += 120  # nothing is heard of it: the bad time is forgotten
    answer(live, clock, "fast", seconds=3.1, times=2)
    assert live.router().library.find("fast").output_tokens_per_s > 25


def test_a_latency_limit_reads_the_speed_of_late(clock):
    live = live_of(clock, flags=Flags(max_latency_s=5, allow={"fast"}))
    assert chosen(live) == "fast"
    answer(live, clock, "fast", seconds=60, times=4)
    with pytest.raises(NoEligibleModel):
        chosen(live)


def test_a_silent_card_gets_its_speed_from_what_is_measured(clock):
    live = live_of(clock, [ModelCard(name="a", **CARD), ModelCard(name="b", **CARD)])
    answer(live, clock, "a", seconds=2.0, tokens=100, stream=True, times=5)
    card = live.router().library.find("a")

    assert card.first_token_s == pytest.approx(2.0, rel=0.05)
    assert live.router().library.find("b").first_token_s is None


def test_errors_make_a_model_slower_to_expect_and_are_forgotten(clock):
    live = live_of(clock)
    for _ in range(8):
        live.begin("fast", stream=False).failed()
        answer(live, clock, "fast", seconds=0.1, tokens=3)
    rate = live.states()["fast"].error_rate
    assert 0.4 < rate < 0.5
    slower = live.router().library.find("fast").output_tokens_per_s
    clock.now += 60
    assert live.states()["fast"].error_rate < 0.3
    assert live.router().library.find("fast").output_tokens_per_s > 1.2 * slower


def test_the_router_is_made_anew_only_when_there_is_news(clock):
    live = live_of(clock)
    first = live.router()
    answer(live, clock, "fast", seconds=3.2, times=5)
    assert live.router() is first
    answer(live, clock, "fast", seconds=9, times=5)
    changed = live.router()
    assert changed is not first
    assert changed.library.names == first.library.names
    answer(live, clock, "fast", seconds=0.1, tokens=1)
    assert live.router() is changed


def test_a_model_that_becomes_slow_rests_and_comes_back(clock):
    live = live_of(clock)
    answer(live, clock, "fast", seconds=3.1, times=10)
    answer(live, clock, "fast", seconds=3.1 * SLOW * 3)
    assert live.states()["fast"].resting_s == 0  # one may be chance
    answer(live, clock, "fast", seconds=3.1 * SLOW * 3, times=2)
    assert live.states()["fast"].resting_s > 0

    clock.now += 6
    assert live.breaker.ready("fast")  # the one call that tries
    live.breaker.succeeded("fast")
    answer(live, clock, "fast", seconds=3.1)
    assert live.states()["fast"].resting_s == 0


@pytest.mark.parametrize("stream", [True, False])
def test_calls_that_hang_are_held_against_a_model_before_they_time_out(clock, stream):
    live = live_of(clock)
    usual = 0.1 if stream else 3.1
    answer(
        live, clock, "fast", seconds=usual, stream=stream, tokens=300 if not stream else 1, times=5
    )
    hanging = [live.begin("fast", stream=stream) for _ in range(3)]
    clock.now += usual + 0.5
    live.router()
    assert live.states()["fast"].resting_s == 0
    clock.now += 10 * usual + 2
    live.router()
    assert live.states()["fast"].resting_s > 0
    assert live.states()["fast"].in_flight == 3

    # They told it once; the call that tries is judged by itself.
    clock.now += 6
    assert live.breaker.ready("fast")
    clock.now += 1
    live.router()
    assert live.states()["fast"].resting_s <= 4  # the trial is still open
    live.breaker.succeeded("fast")
    assert live.states()["fast"].resting_s == 0
    for ticket in hanging:
        ticket.dropped()
    assert live.states()["fast"].in_flight == 0


def test_nothing_is_slow_before_it_is_known_what_is_usual(clock):
    live = live_of(clock)
    answer(live, clock, "fast", seconds=60, times=2)
    live.begin("fast", stream=True)
    clock.now += 100
    live.router()
    assert live.states()["fast"].resting_s == 0


def test_small_delays_of_a_quick_model_are_no_slowness(clock):
    live = live_of(clock)
    answer(live, clock, "fast", seconds=0.01, tokens=1, times=10)
    answer(live, clock, "fast", seconds=0.5, tokens=1, times=10)
    assert live.states()["fast"].resting_s == 0


def test_a_minutes_requests_are_counted_exactly(clock):
    live = live_of(clock, fast={"requests_per_minute": 2})
    live.begin("fast", stream=False).answered(1)
    clock.now += 10
    live.begin("fast", stream=False).failed()
    with pytest.raises(NoRoom) as full:
        live.begin("fast", stream=False)
    assert full.value.retry_after_s == 50
    live.begin("slow", stream=False)
    clock.now += 50
    live.begin("fast", stream=False)
    with pytest.raises(NoRoom):
        live.begin("fast", stream=False)


@pytest.mark.parametrize("end", ["answered", "failed", "dropped"])
def test_a_place_is_free_again_however_a_call_ended(clock, end):
    live = live_of(clock, fast={"max_concurrent": 1})
    for _ in range(3):
        ticket = live.begin("fast", stream=False)
        with pytest.raises(NoRoom):
            live.begin("fast", stream=False)
        ticket.answered(1) if end == "answered" else getattr(ticket, end)()


def test_a_card_is_left_alone_until_something_is_known():
    card = ModelCard(name="m", first_token_s=0.0, output_tokens_per_s=10)
    speed = Speed(card)
    assert speed.card(5.0) is card
    speed.answered(1.0, 10, 5.0)
    measured = speed.card(5.0)
    assert measured.output_tokens_per_s == pytest.approx(10, rel=0.1)
    assert replace(measured, first_token_s=0.0, output_tokens_per_s=10) == card
