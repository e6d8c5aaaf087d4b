"""The calls that one request makes to upstreams, until one of them answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

from tryage.errors import AllModelsFailed
from tryage.failures import Verdict, judge
from tryage.gateway.asked import Asked
from tryage.gateway.entry import Try
from tryage.gateway.live import Live, Ticket
from tryage.gateway.sse import Progress
from tryage.gateway.upstream import Stream, Upstream
from tryage.gateway.upstream_errors import Headers, Response
from tryage.strategies import Call, Outcome, arun, failover


@dataclass(slots=True)
class Trying:
    """One call, from its start to its end; see `Try`."""

    model: str
    started_s: float
    ticket: Ticket
    seconds: float | None = None
    error: str | None = None
    status: int | None = None

    def as_try(self, elapsed_s: float) -> Try:
        """Return it as it stands now."""
        seconds = elapsed_s - self.started_s if self.seconds is None else self.seconds
        return Try(self.model, self.started_s, seconds, self.error, self.status)


class Answered(NamedTuple):
    """An answer, or the beginning of one, and the call that brought it."""

    trying: Trying
    answer: Response | Stream

    async def close(self) -> None:
        """Take the answer no further: nobody wants it."""
        self.trying.ticket.dropped()
        if isinstance(self.answer, Stream):
            await self.answer.source.aclose()


@dataclass(slots=True)
class Calls:
    """The calls of one request.

    Attributes:
        upstreams: By the card's name.
        session: What calls are made with.
        live: Told of every call.
        path: Beneath an upstream's base URL.
        asked: What is asked of each.
        headers: What is sent beside the upstream's own.
        elapsed: Gives the seconds since the request arrived.
        keep_text: Whether to keep the text of a stream.
        tries: The calls so far.
    """

    upstreams: Mapping[str, Upstream]
    session: aiohttp.ClientSession
    live: Live
    path: str
    asked: Asked
    headers: Headers
    elapsed: Callable[[], float]
    keep_text: bool
    tries: list[Trying] = field(default_factory=list)

    async def carry_out(self, order: Sequence[str], hedge_s: float | None) -> Outcome[Answered]:
        """Return the outcome of asking one model after the other until one answers.

        Args:
            order: The models from best to worst.
            hedge_s: Seconds after which a second model is asked beside the first, if ever; the
                first of them to answer wins, and the other call is cancelled.

        Raises:
            AllModelsFailed: No model answered.
            Exception: The error that every model would give to this call.
        """
        if hedge_s is None or len(order) == 1:
            return await arun(failover(order, self.live.breaker), self._call)
        left = deque(order)

        def start() -> asyncio.Task[Outcome[Answered]]:
            # Both draw from one list, so that no model is asked twice.
            drawn = _drawn(left.popleft(), left)
            return asyncio.ensure_future(arun(failover(drawn, self.live.breaker), self._call))

        racing, winner = {start()}, None
        try:
            done, _ = await asyncio.wait(racing, timeout=hedge_s)
            if not done and left:
                racing.add(start())
            winner = await _first(racing)
            return winner
        finally:
            await _dismiss(racing, winner)

    async def _call(self, wanted: Call) -> Answered:
        upstream = self.upstreams[wanted.model]
        ticket = self.live.begin(wanted.model, stream=self.asked.stream)
        trying = Trying(wanted.model, self.elapsed(), ticket)
        self.tries.append(trying)
        body = self.asked.body_for(upstream.served_as)
        try:
            if self.asked.stream:
                progress = Progress(keep_text=self.keep_text)
                stream = await upstream.open(self.session, self.path, body, self.headers, progress)
                ticket.showed()
                trying.status = 200
                return Answered(trying, stream)
            response = await upstream.ask(self.session, self.path, body, self.headers)
            trying.status = response.status
            return Answered(trying, response)
        except BaseException as error:
            self.failed(trying, error)
            raise

    def failed(self, trying: Trying, error: BaseException) -> None:
        """Take note of how a call failed."""
        trying.seconds = self.elapsed() - trying.started_s
        trying.error = type(error).__name__
        trying.status = getattr(error, "status", trying.status)
        if isinstance(error, Exception) and judge(error) is Verdict.MODEL:
            trying.ticket.failed()
        else:
            trying.ticket.dropped()

    def ended(self, trying: Trying, tokens: int) -> None:
        """Take note of the end of an answer."""
        trying.seconds = self.elapsed() - trying.started_s
        trying.ticket.answered(tokens)


def _drawn(first: str, left: deque[str]) -> Iterator[str]:
    yield first
    while left:
        yield left.popleft()


async def _first(racing: set[asyncio.Task[Outcome[Answered]]]) -> Outcome[Answered]:
    """Return the first outcome; failures of all models only count when nobody is left."""
    waiting, causes, resting = racing, list[Exception](), list[str]()
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            try:
                return task.result()
            except AllModelsFailed as failed:
                causes.extend(failed.exceptions)
                resting.extend(failed.resting)
    raise AllModelsFailed(f"all {len(causes)} models failed", causes, resting)


async def _dismiss(
    racing: set[asyncio.Task[Outcome[Answered]]], winner: Outcome[Answered] | None
) -> None:
    """Cancel what still runs, and close what came in second."""
    for task in racing:
        task.cancel()
    for ended in await asyncio.gather(*racing, return_exceptions=True):
        if isinstance(ended, Outcome) and ended is not winner:
            await ended.value.close()
