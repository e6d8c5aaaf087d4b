"""One request from its arrival to its entry: read, decide, admit, carry out, answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from tryage.errors import AllModelsFailed, TryageError
from tryage.expectations import expected_of
from tryage.gateway import jsons, replies
from tryage.gateway.asked import Asked, read, refusal_of
from tryage.gateway.calls import Calls
from tryage.gateway.draft import Draft
from tryage.gateway.entry import Watcher
from tryage.gateway.exchange import JSON, ClientGone, Exchange, raw_headers, secret_in
from tryage.gateway.keeping import Expected, Keeper, Scope
from tryage.gateway.live import Live
from tryage.gateway.refusals import Refused, bug
from tryage.gateway.sending import give, relay, send_on
from tryage.gateway.settings import Settings
from tryage.gateway.upstream import Stream, Upstream
from tryage.gateway.upstream_errors import ErrorTold
from tryage.library import Library


@dataclass
class Gateway:
    """Answers requests.

    Attributes:
        settings: What it was told.
        live: How the upstreams do, and the router.
        upstreams: By the card's name.
        keeper: Who may call.
        watchers: Told of every request when it is over.
        session: What upstreams are called with; set while the server runs.
        clock: Gives the time in seconds; never runs backwards.
        in_flight: Requests that are being answered.
        draining: Whether it takes no new requests, since it will end.
    """

    settings: Settings
    live: Live
    upstreams: Mapping[str, Upstream]
    keeper: Keeper
    watchers: Sequence[Watcher] = ()
    session: aiohttp.ClientSession | None = None
    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    draining: bool = False

    @property
    def library(self) -> Library:
        """The upstreams' cards, with the speed of late in them."""
        return self.live.router().library

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request for a completion, and tell the watchers of it."""
        told = exchange.headers.get("traceparent")
        draft = Draft(self.library, self.clock, traceparent=told)
        self.in_flight += 1
        try:
            await self._answer(exchange, draft)
        except Refused as refusal:
            draft.error = draft.error or refusal.code
            await exchange.refuse(refusal, draft.headers())
        except ClientGone:
            draft.error = "ClientGone"
        except asyncio.CancelledError:
            draft.error = "Cancelled"
            raise
        except Exception as error:
            draft.error = type(error).__name__
            await exchange.refuse(bug(error), draft.headers())
        finally:
            try:
                await self._close(exchange, draft)
            finally:
                self.in_flight -= 1

    async def decide(self, exchange: Exchange) -> None:
        """Answer a request with the decision for it; no model is called."""
        try:
            self.admit(exchange.headers, "look")
            asked = await self._read(exchange)
            try:
                decision = self.live.router().route(asked.request)
            except TryageError as error:
                raise refusal_of(error) from None
            await exchange.give(200, jsons.dumps(decision.as_json()), raw_headers(JSON))
        except Refused as refusal:
            await exchange.refuse(refusal)
        except ClientGone:
            pass

    def admit(self, headers: Mapping[str, str], scope: Scope) -> None:
        """Let a request pass that asks for no answer of a model.

        Raises:
            Refused: The key is wrong, or it may not do this.
        """
        self.keeper.check(self.keeper.identify(secret_in(headers)), scope)

    def check_ready(self) -> None:
        """Return where new requests can be answered.

        Raises:
            Refused: They cannot: the gateway is shutting down, or every upstream rests.
        """
        if self.draining:
            raise _shutting_down()
        resting = self.live.breaker.resting()
        if len(resting) == len(self.upstreams):
            wait = min(resting.values())
            raise Refused(503, "not_ready", "every upstream rests.", retry_after_s=wait)

    async def _read(self, exchange: Exchange) -> Asked:
        if self.draining:
            raise _shutting_down()
        bounds = self.settings.server
        raw = await exchange.body(int(bounds.max_body_mb * 1e6), bounds.body_timeout_s)
        prompt_flags = self.settings.routing.prompt_flags
        return read(raw, exchange.headers, self.library, prompt_flags=prompt_flags)

    async def _answer(self, exchange: Exchange, draft: Draft) -> None:
        # Who has no key must cost next to nothing: neither a large body is read, nor is a decision
        # made, for a stranger.
        caller = draft.caller = self.keeper.identify(secret_in(exchange.headers))
        self.keeper.check(caller, "call")
        asked = draft.asked = await self._read(exchange)
        self.keeper.check(caller, "call", asked.model)
        began = self.clock()
        if asked.upstream is None:
            try:
                draft.decision = self.live.router().route(asked.request)
            except TryageError as error:
                raise refusal_of(error) from None
        draft.decision_s = self.clock() - began
        draft.admitted = await self.keeper.admit(caller, _expected(asked, draft))
        async with exchange.while_connected():
            await self._carry_out(exchange, asked, draft)

    async def _carry_out(self, exchange: Exchange, asked: Asked, draft: Draft) -> None:
        assert self.session is not None, "the gateway has not been started"
        order = (str(asked.upstream),) if draft.decision is None else draft.decision.order
        calls = draft.calls = Calls(
            upstreams=self.upstreams,
            session=self.session,
            live=self.live,
            path=exchange.path.removeprefix("/v1"),
            asked=asked,
            headers=replies.forwarded(exchange.headers),
            elapsed=draft.elapsed,
            keep_text=self.settings.record.prompts,
        )
        try:
            outcome = draft.outcome = await calls.carry_out(order, self.settings.hedge.after_s)
        except ErrorTold as refused:
            await send_on(exchange, refused, draft)
            return
        except AllModelsFailed as failed:
            draft.error = "AllModelsFailed"
            told = replies.returned(failed, chosen=draft.decision is None)
            if told is None:
                resting = self.live.breaker.resting()
                left = {name: resting[name] for name in order if name in resting}
                raise replies.refusal_of_all(failed, left) from None
            await send_on(exchange, told, draft)
            return
        trying, answer = outcome.value
        if isinstance(answer, Stream):
            breaker = self.live.breaker
            await relay(exchange, answer, draft, calls, trying, breaker, report=asked.report)
        else:
            await give(exchange, answer, draft, calls, trying, report=asked.report)

    async def _close(self, exchange: Exchange, draft: Draft) -> None:
        """Settle with the keeper, and tell the watchers."""
        try:
            if draft.admitted is not None:
                await self.keeper.settle(draft.admitted, *draft.spent())
        finally:
            keep_text = self.settings.record.prompts
            entry = draft.entry(exchange.path, exchange.status, keep_text=keep_text)
            for watch in self.watchers:
                watch(entry)


def _expected(asked: Asked, draft: Draft) -> Expected:
    """Return what the keeper is told beforehand."""
    tokens = asked.request.tokens
    model = asked.upstream if draft.decision is None else draft.decision.model
    cost = None if model is None else expected_of(draft.library.find(model), tokens)[0]
    most = tokens.expected_output if tokens.output_limit is None else tokens.output_limit
    return Expected(
        input_tokens=tokens.input,
        output_tokens=min(tokens.expected_output, most),
        cost_usd=cost,
    )


def _shutting_down() -> Refused:
    return Refused(503, "shutting_down", "the gateway is shutting down.", retry_after_s=1)
