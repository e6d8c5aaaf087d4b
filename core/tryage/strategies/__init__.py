"""How a decision is carried out: what to call next, given what came back."""

from tryage.strategies.base import Answer, Attempt, Call, Failure, Outcome, Strategy, arun, run
from tryage.strategies.failover import failover
from tryage.strategies.report import report
from tryage.strategies.streams import AsyncOpenedStream, OpenedStream, aopen_stream, open_stream

__all__ = [
    "Answer",
    "AsyncOpenedStream",
    "Attempt",
    "Call",
    "Failure",
    "OpenedStream",
    "Outcome",
    "Strategy",
    "aopen_stream",
    "arun",
    "failover",
    "open_stream",
    "report",
    "run",
]
