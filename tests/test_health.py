from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tryage import CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(first_rest_s=2, longest_rest_s=10, clock=clock)


def test_a_failure_rests_the_model_and_no_other(breaker, clock):
    breaker.failed("a")
    assert not breaker.ready("a")
    assert breaker.ready("b")
    assert breaker.resting() == {"a": 2.0}
    clock.now += 2
    assert breaker.ready("a")


def test_each_failure_in_a_row_doubles_the_rest_up_to_the_longest(breaker, clock):
    rests = []
    for _ in range(40):
        assert breaker.ready("a")
        breaker.failed("a")
        rests.append(breaker.resting()["a"])
        clock.now += rests[-1]
    assert rests[:4] == [2, 4, 8, 10]
    assert set(rests[4:]) == {10}


def test_calls_that_fail_together_count_once(breaker, clock):
    for _ in range(20):
        breaker.failed("a")
    assert breaker.resting() == {"a": 2.0}
    breaker.failed("a", rest_s=7)  # one of them knows more
    assert breaker.resting() == {"a": 7.0}
    breaker.failed("a", rest_s=1)
    assert breaker.resting() == {"a": 7.0}
    clock.now += 7
    assert breaker.ready("a")  # the trial
    breaker.failed("a")
    breaker.failed("a")
    assert breaker.resting() == {"a": 4.0}


def test_a_failure_after_the_rest_counts_without_a_trial_too(breaker, clock):
    breaker.failed("a")
    clock.now += 2
    breaker.failed("a")
    assert breaker.resting() == {"a": 4.0}


def test_after_the_rest_one_call_tries_and_the_others_pass_by(breaker, clock):
    breaker.failed("a")
    clock.now += 2
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: breaker.ready("a"), range(200))) == 1


def test_a_trial_that_never_reports_is_followed_by_another(breaker, clock):
    breaker.failed("a")
    clock.now += 2
    assert breaker.ready("a")
    assert not breaker.ready("a")
    clock.now += 2
    assert breaker.ready("a")


def test_a_success_forgets_everything(breaker, clock):
    breaker.failed("a")
    breaker.failed("a")
    breaker.succeeded("a")
    assert breaker.ready("a")
    breaker.failed("a")
    assert breaker.resting() == {"a": 2.0}


@pytest.mark.parametrize(("asked", "rest"), [(5, 5), (0.1, 2), (1e9, 10)])
def test_the_wait_that_a_provider_asks_for_is_kept_within_bounds(breaker, asked, rest):
    breaker.failed("a", rest_s=asked)
    assert breaker.resting()["a"] == rest
