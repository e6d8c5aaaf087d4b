"""One call, and the next model of the ranking where it fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tryage.errors import AllModelsFailed
from tryage.failures import Verdict, judge, retry_after_s
from tryage.health import CircuitBreaker
from tryage.strategies.base import Answer, Attempt, Call, Outcome, Strategy

T = TypeVar("T")


def failover(order: Iterable[str], breaker: CircuitBreaker) -> Strategy[T]:
    """Return the strategy that calls one model at a time until one answers.

    Models that the breaker rests are passed by, and tried only when every other one has failed:
    a call that might succeed beats an error that is sure. An error that every model would give
    (see `tryage.failures`) is raised at once, as it is.

    Args:
        order: The models from best to worst, as in `Decision.order`; at least one. An iterator is
            read as the models are tried, so that two strategies can share one.
        breaker: What is known of their health; told of each success and failure.

    Raises:
        AllModelsFailed: No model answered; holds every cause, in the order of trying.

    Example:
        >>> from tryage.strategies import run
        >>> outcome = run(failover(["a", "b"], CircuitBreaker()), lambda call: call.model.upper())
        >>> outcome.value
        'A'
    """
    attempts: list[Attempt] = []
    causes: list[Exception] = []
    rested: list[str] = []

    for last_resort in (False, True):
        for model in rested if last_resort else order:
            if not last_resort and not breaker.ready(model):
                rested.append(model)
                continue
            (result,) = yield (Call(model),)
            if isinstance(result, Answer):
                breaker.succeeded(model)
                attempts.append(Attempt(model))
                return Outcome(model, result.value, tuple(attempts))
            _weigh(result.error, model, breaker)
            attempts.append(Attempt(model, type(result.error).__name__))
            causes.append(result.error)

    named = "; ".join(f"{attempt.model}: {attempt.error}" for attempt in attempts)
    raise AllModelsFailed(
        f"all {len(attempts)} models failed ({named}). "
        "Look at .exceptions for each cause; add a model of another provider.",
        causes,
        rested,
    )


def _weigh(error: Exception, model: str, breaker: CircuitBreaker) -> None:
    """Tell the breaker where the model is at fault; raise where the call is."""
    verdict = judge(error)
    if verdict is Verdict.CALL:
        raise error
    if verdict is Verdict.MODEL:
        breaker.failed(model, retry_after_s(error))
