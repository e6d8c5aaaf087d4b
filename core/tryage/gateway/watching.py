"""What those who watch share: what counts as a failure, and whom they ask beside the entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tryage.gateway.entry import Entry, Try
from tryage.spend import Spend, Usage

_NOBODYS = {"ClientGone", "Cancelled", "CancelledError"}
"""Ends before the answer that are nobody's fault: the client left, another call was faster."""


def failed(entry: Entry) -> bool:
    """Return whether a request failed by a fault other than its client's."""
    if entry.error in _NOBODYS or 400 <= entry.status < 500:
        return False
    return entry.error is not None or entry.status >= 500


def call_failed(attempt: Try) -> bool:
    """Return whether a call ended without an answer, and by somebody's fault."""
    return attempt.error is not None and attempt.error not in _NOBODYS


class State(Protocol):
    """How one upstream does right now."""

    @property
    def resting_s(self) -> float:
        """Seconds for which it is still left in peace; 0 where it is up."""

    @property
    def in_flight(self) -> int:
        """Calls to it that are under way."""


class Live(Protocol):
    """Knows how every upstream does right now."""

    def states(self) -> Mapping[str, State]:
        """Return the state of each upstream, by the card's name."""


class Buffer(Protocol):
    """The way to the record: entries that wait to be written, within a bound."""

    @property
    def buffered(self) -> int:
        """Entries that wait."""

    @property
    def dropped(self) -> int:
        """Entries lost since the start, since the bound was reached."""


def add_to(spend: Spend, entry: Entry) -> None:
    """Add an entry's answer to what was spent, where one was given."""
    if entry.model is None or entry.input_tokens is None or entry.output_tokens is None:
        return
    cached = entry.cached_input_tokens or 0
    spend.add(entry.model, Usage(entry.input_tokens, entry.output_tokens, cached))
