"""Who may call, and how much: the seam between serving and the keys and budgets.

The server asks `admit` once for each request, when it knows what the request will probably cost
and before any upstream is called. For those of the scope `call` it says `settle` once when they
are over, whatever came of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from tryage.spend import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a request asks for, as far as it is known before it is answered.

    Attributes:
        scope: `call` to be answered by a model; `look` to see which models there are and what
            would be decided, which every key may and which costs nothing; `admin` to see the
            page's data and the metrics.
        model: As the client named it, such as `tryage:cheapest` or an upstream's name; empty
            where none is named.
        input_tokens: About how long the whole prompt is.
        output_tokens: About how long the answer will be, at most the limit that the caller set.
        cost_usd: What the decided model is expected to cost; `None` where its price is not known.
    """

    scope: Literal["call", "look", "admin"] = "call"
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """That a request was admitted; a keeper that reserves something extends it.

    Attributes:
        key: The id of the client's key; `None` where no key is needed.
        name: What people call the key; empty where there is none.
    """

    key: str | None = None
    name: str = ""


class Keeper(Protocol):
    """Keeps keys, and counts what each may spend."""

    async def admit(self, secret: str | None, expected: Expected) -> Pass:
        """Return the pass of a request.

        Args:
            secret: The client's key from `Authorization: Bearer`, or `None` without that header.
            expected: What the request asks for.

        Raises:
            Refused: 401 for a wrong key, 403 for what it may not do, 429 or 402 for a limit that
                is used up; from `tryage.gateway.refusals`.
        """
        ...

    async def settle(self, admitted: Pass, usage: Usage | None, cost_usd: float | None) -> None:
        """Count what a request came to, and free what `admit` reserved for it.

        Args:
            admitted: What `admit` returned for it.
            usage: The tokens that the upstream counted, or about how many there were where it did
                not say, as in a stream by default; `None` where nothing was answered.
            cost_usd: What they cost; `None` where that is not known.
        """
        ...


class OpenDoor:
    """The keeper without keys: everybody may call, and nothing is counted."""

    async def admit(self, secret: str | None, expected: Expected) -> Pass:
        """Return the same pass for all."""
        return _ANYBODY

    async def settle(self, admitted: Pass, usage: Usage | None, cost_usd: float | None) -> None:
        """Do nothing."""


_ANYBODY = Pass()
