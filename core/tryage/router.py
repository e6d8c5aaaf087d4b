"""Predict, then decide: `Router.route(request) -> Decision`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tryage.decision import Decision
from tryage.errors import InvalidPrediction, UsageError
from tryage.flag_context import current_flags
from tryage.flags import Flags, as_flags
from tryage.library import Library
from tryage.objective import choose
from tryage.predictors.base import Predictor
from tryage.predictors.default import DefaultPredictor
from tryage.request import Request

if TYPE_CHECKING:
    from tryage.predictors.length import LengthPredictor


class Router:
    """A library, a predictor and the wishes that hold for every call; immutable.

    Flags from four places are merged, the later the stronger: the router's own, the request's,
    those of the `with tryage.flags(...)` blocks around the call, and those read from the prompt.

    Args:
        library: The models to choose from; the bundled library by default.
        predictor: How well each would do; the bundled default predictor by default.
        flags: Wishes for every call: `Flags`, their text form, or a dictionary.
        lengths: How long answers will be, for expected cost and latency, where a request does not
            say; 300 tokens of the ordinary model without it.

    Raises:
        UnknownModel: The predictor learned nothing of a model of the library.
        NotFitted: The predictor has not learned yet.

    Example:
        >>> router = Router(flags="cheap")
        >>> router.route("What is the capital of France?").model in router.library
        True
    """

    def __init__(
        self,
        library: Library | None = None,
        predictor: Predictor | None = None,
        flags: Flags | str | dict[str, Any] | None = None,
        lengths: LengthPredictor | None = None,
    ) -> None:
        self.library = library if library is not None else Library.bundled()
        self.flags = as_flags(flags)
        predictor = predictor if predictor is not None else DefaultPredictor.bundled()
        self.predictor = predictor.for_library(self.library)
        self.lengths = lengths

    @classmethod
    def default(cls, flags: Flags | str | dict[str, Any] | None = None) -> Router:
        """Return the router over the bundled library with the bundled predictor."""
        return cls(flags=flags)

    def route(self, request: str | Request, flags: Flags | str | None = None) -> Decision:
        """Return the decision for one request.

        Args:
            request: A prompt, or a request that also says what the call needs.
            flags: Wishes for this call, when `request` is a prompt; a request carries its own.

        Raises:
            EmptyPrompt: The prompt is blank.
            NoEligibleModel: The limits exclude every model.
            InvalidPrediction: The predictor broke its contract.
        """
        asked = _request(request, None if flags is None else as_flags(flags))
        if self.lengths is not None:
            (asked,) = _sized([asked], self.lengths)
        return self._decide(self._predict([asked.text])[0], asked, current_flags())

    def route_batch(
        self, requests: Sequence[str | Request], flags: Flags | str | None = None
    ) -> list[Decision]:
        """Return one decision per request; the prediction is made for all at once.

        Args:
            requests: Prompts or requests.
            flags: Wishes for these calls, for those that are prompts.

        Raises:
            EmptyPrompt: A prompt is blank.
            UsageError: One of them is neither a prompt nor a request.
            NoEligibleModel: The limits exclude every model for a request.
            InvalidPrediction: The predictor broke its contract.
        """
        wishes = None if flags is None else as_flags(flags)
        if isinstance(requests, str):
            raise UsageError("route_batch takes a list of prompts; give one prompt to route.")
        asked = [_request(request, wishes) for request in requests]
        if self.lengths is not None:
            asked = _sized(asked, self.lengths)
        quality = self._predict([request.text for request in asked])
        around = current_flags()
        return [
            self._decide(row, request, around) for row, request in zip(quality, asked, strict=True)
        ]

    def calibrate_flags(
        self,
        prompts: Sequence[str | Request],
        *,
        budget_usd_per_1k: float | None = None,
        share: Mapping[str, float] | None = None,
        flags: Flags | str | dict[str, Any] | None = None,
    ) -> Flags:
        """Return flags that meet a budget, or a share of calls, on these prompts.

        See `tryage.budget.calibrate_flags` for the arguments and the errors.
        """
        from tryage.budget import calibrate_flags

        return calibrate_flags(
            self, prompts, budget_usd_per_1k=budget_usd_per_1k, share=share, flags=flags
        )

    def _decide(
        self, quality: NDArray[np.float32], request: Request, around: Flags | None
    ) -> Decision:
        flags = self.flags.merged(request.flags).merged(around).merged(request.prompt_flags)
        return choose(quality, self.library, flags, request)

    def _predict(self, prompts: list[str]) -> NDArray[np.float32]:
        quality = self.predictor.predict(prompts)
        wanted = (len(prompts), len(self.library))
        if quality.shape != wanted:
            raise InvalidPrediction(
                f"{type(self.predictor).__name__} answered with the shape {quality.shape}; "
                f"{wanted} is wanted: (prompts, models)."
            )
        return quality

    def __repr__(self) -> str:
        return f"Router({self.library!r}, {type(self.predictor).__name__}, {self.flags})"


def _sized(requests: list[Request], lengths: LengthPredictor) -> list[Request]:
    """Return the requests with the length of the answer predicted where none is given."""
    expected = lengths.predict([request.text for request in requests])
    return [
        request
        if request.tokens.output is not None
        else replace(request, tokens=request.tokens._replace(output=max(1, round(tokens))))
        for request, tokens in zip(requests, expected.tolist(), strict=True)
    ]


def _request(given: str | Request, wishes: Flags | None) -> Request:
    if isinstance(given, Request):
        return given
    if isinstance(given, str):
        return Request.from_prompt(given, flags=wishes)
    raise UsageError(f"cannot route a {type(given).__name__}; give a prompt (str) or a Request.")
