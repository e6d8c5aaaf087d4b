from __future__ import annotations

import asyncio
import inspect
import threading

import pytest

from tryage import AllModelsFailed, CircuitBreaker
from tryage.strategies import Attempt, Call, Outcome, arun, failover, run
from tryage.testing import Upstream


class Models:
    """Answers with the model's name, or raises what it is told to; counts the calls."""

    def __init__(self, **errors):
        self.errors = errors
        self.calls = []

    def __call__(self, call):
        self.calls.append(call.model)
        if call.model in self.errors:
            raise self.errors[call.model]
        return call.model.upper()


def carry_out(how, strategy, call):
    if how == "sync":
        return run(strategy, call)

    async def acall(wanted):
        return call(wanted)

    return asyncio.run(arun(strategy, acall))


@pytest.fixture(params=["sync", "async"])
def how(request):
    return request.param


@pytest.fixture
def breaker():
    return CircuitBreaker(clock=lambda: 0.0)


def test_the_best_answers(how, breaker):
    models = Models()
    outcome = carry_out(how, failover(["a", "b"], breaker), models)
    assert outcome == Outcome("a", "A", (Attempt("a"),))
    assert models.calls == ["a"]


@pytest.mark.parametrize(
    "error",
    [Upstream(429), Upstream(500), Upstream(401), Upstream(404), TimeoutError(),
     ConnectionResetError(), Upstream(400, code="context_length_exceeded")],
    ids=str,
)  # fmt: skip
def test_the_next_is_tried_where_the_model_is_at_fault(how, breaker, error):
    outcome = carry_out(how, failover(["a", "b"], breaker), Models(a=error))
    assert (outcome.model, outcome.value) == ("b", "B")
    assert outcome.attempts == (Attempt("a", type(error).__name__), Attempt("b"))


@pytest.mark.parametrize("error", [Upstream(400), ValueError("bad tool"), KeyError("x")], ids=str)
def test_what_every_model_would_refuse_is_raised_as_it_is(how, breaker, error):
    models = Models(a=error)
    with pytest.raises(type(error)) as caught:
        carry_out(how, failover(["a", "b"], breaker), models)
    assert caught.value is error
    assert models.calls == ["a"]
    assert breaker.ready("a")


def test_a_broken_model_is_called_once_in_twenty(how, breaker):
    models = Models(a=Upstream(503))
    for _ in range(20):
        assert carry_out(how, failover(["a", "b"], breaker), models).model == "b"
    assert models.calls.count("a") == 1


def test_too_long_a_context_rests_nobody(how, breaker):
    error = Upstream(400, code="context_length_exceeded")
    carry_out(how, failover(["a", "b"], breaker), Models(a=error))
    assert breaker.resting() == {}


def test_when_all_fail_one_error_holds_every_cause(how, breaker):
    errors = {"a": Upstream(500), "b": Upstream(429), "c": TimeoutError()}
    with pytest.raises(AllModelsFailed) as caught:
        carry_out(how, failover(list(errors), breaker), Models(**errors))
    assert caught.value.exceptions == tuple(errors.values())
    assert "a: Upstream; b: Upstream; c: TimeoutError" in str(caught.value)


def test_a_resting_model_is_the_last_resort(how, breaker):
    breaker.failed("a")
    models = Models(b=Upstream(500))
    outcome = carry_out(how, failover(["a", "b"], breaker), models)
    assert outcome.model == "a"
    assert models.calls == ["b", "a"]
    assert breaker.ready("a")


def test_all_resting_and_broken_still_names_every_cause(how, breaker):
    breaker.failed("a")
    with pytest.raises(AllModelsFailed) as caught:
        carry_out(how, failover(["a"], breaker), Models(a=Upstream(500)))
    assert len(caught.value.exceptions) == 1
    assert caught.value.resting == ("a",)


def test_the_wait_that_the_provider_asks_for_is_kept(how, breaker):
    class Response:
        headers = {"retry-after": "17"}  # noqa: RUF012

    carry_out(how, failover(["a", "b"], breaker), Models(a=Upstream(429, response=Response())))
    assert breaker.resting() == {"a": 17.0}


def two_at_once():
    results = yield (Call("a"), Call("b"))
    return Outcome("both", results, ())


def test_calls_yielded_together_run_side_by_side(how):
    if how == "sync":
        meet = threading.Barrier(2, timeout=10)
        outcome = run(two_at_once(), lambda call: (meet.wait(), call.model)[1])
    else:

        async def both():
            here = asyncio.Barrier(2)

            async def call(wanted):
                await asyncio.wait_for(here.wait(), 10)
                return wanted.model

            return await arun(two_at_once(), call)

        outcome = asyncio.run(both())
    assert [result.value for result in outcome.value] == ["a", "b"]


def test_cancellation_is_not_a_failure(breaker):
    async def call(wanted):
        await asyncio.sleep(60)

    async def cancelled():
        task = asyncio.ensure_future(arun(failover(["a", "b"], breaker), call))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert breaker.resting() == {}


def test_the_strategy_does_no_io():
    assert inspect.isgenerator(failover(["a"], CircuitBreaker()))
