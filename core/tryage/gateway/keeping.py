"""Who may call, and how much: the seam between serving and the keys and budgets.

The server asks `identify` and `check` before it reads a request any further than its head, and
`check` once more when it knows the model that is asked for. It asks `admit` when it knows what the
request will probably cost and before any upstream is called, and says `settle` once for each that
was admitted, whatever came of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from tryage.spend import Usage

Scope = Literal["call", "look", "admin"]
"""To be answered by a model; to see which models there are and what would be decided, which every
key may and which costs nothing; to see the page's data and the metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a request will probably take, as far as it is known before it is answered.

    Attributes:
        input_tokens: About how long the whole prompt is.
        output_tokens: About how long the answer will be, at most the limit that the caller set.
        cost_usd: What the decided model is expected to cost; `None` where its price is not known.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """Who asks; a keeper that knows more of them extends it.

    Attributes:
        key: The id of the client's key; `None` where no key is needed.
        name: What people call the key; empty where there is none.
    """

    key: str | None = None
    name: str = ""


class Keeper(Protocol):
    """Keeps keys, and counts what each may spend."""

    def identify(self, secret: str | None) -> Pass:
        """Return who asks.

        Args:
            secret: The client's key from `Authorization: Bearer`, or `None` without that header.

        Raises:
            Refused: 401 for a wrong key.
        """
        ...

    def check(self, caller: Pass, scope: Scope, model: str | None = None) -> None:
        """Return where the request may go on.

        Args:
            caller: What `identify` returned.
            scope: What is asked for.
            model: As the client named it, such as `tryage:cheapest`, once that is known.

        Raises:
            Refused: 403 for what the key may not do, 429 where it has no request left.
        """
        ...

    async def admit(self, caller: Pass, expected: Expected) -> Pass:
        """Return the pass of a request that is to be answered by a model.

        Args:
            caller: What `identify` returned.
            expected: What the request will probably take.

        Raises:
            Refused: 429 or 402 for a limit that is used up.
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

    def identify(self, secret: str | None) -> Pass:
        """Return the same pass for all."""
        return _ANYBODY

    def check(self, caller: Pass, scope: Scope, model: str | None = None) -> None:
        """Do nothing."""

    async def admit(self, caller: Pass, expected: Expected) -> Pass:
        """Return the pass as it is."""
        return caller

    async def settle(self, admitted: Pass, usage: Usage | None, cost_usd: float | None) -> None:
        """Do nothing."""


_ANYBODY = Pass()
