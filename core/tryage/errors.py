"""The tree of errors. Catch the branch that you can do something about.

    TryageError
    ├── UsageError (ValueError)         you asked for something that cannot be: mend the call
    │   ├── EmptyPrompt                 nothing to route
    │   ├── EmptyLibrary                no models to choose from
    │   ├── DuplicateModel              two models of one name
    │   ├── UnknownModel                a name that the library does not hold
    │   ├── InvalidCard                 a model card with a bad value or an unknown key
    │   ├── InvalidTable                a performance table with a bad row or column
    │   ├── CannotSplit                 too few prompts, domains or models to cut a table
    │   ├── UnknownFlag                 a flag that does not exist
    │   ├── InvalidFlag                 a flag with a value it cannot have
    │   ├── UnknownPredictor            a predictor's name that nobody registered
    │   ├── NotFitted                   a predictor asked before it learned
    │   └── MissingExtra (ImportError)  an optional dependency is not installed
    ├── NoEligibleModel                 the limits exclude every model; holds each one's reason
    ├── InvalidPrediction               a predictor answered NaN, or the wrong shape
    ├── CorruptArtifact                 weights that are truncated, damaged or of another format
    ├── SaveFailed                      files that cannot be written; the old ones are unchanged
    └── AllModelsFailed (ExceptionGroup)  every candidate was tried or resting; holds every cause

Every message says what was given, what is allowed and what to do next, in one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence


class TryageError(Exception):
    """Base of every error that Tryage raises on purpose."""


class UsageError(TryageError, ValueError):
    """The call itself is at fault; the message says how to mend it."""


class EmptyPrompt(UsageError):
    """The prompt is empty or holds white space only."""


class EmptyLibrary(UsageError):
    """There is no model to choose from."""


class DuplicateModel(UsageError):
    """Two models carry one name, so that a decision could not be told apart."""


class UnknownModel(UsageError):
    """A name that is not among the models it was looked up in."""


class InvalidCard(UsageError):
    """A model card with an unknown key or a value that it cannot have."""


class InvalidTable(UsageError):
    """A performance table that breaks its contract; names file, row and reason."""


class CannotSplit(UsageError):
    """A table with too few prompts, domains or models to be cut as asked."""


class UnknownFlag(UsageError):
    """A flag that does not exist; the message names the nearest and lists the known ones."""


class InvalidFlag(UsageError):
    """A flag that exists, with a value that it cannot have."""


class UnknownPredictor(UsageError):
    """A predictor's name that is not in the registry."""


class NotFitted(UsageError):
    """A predictor was asked to predict before `fit` or `load`."""


class MissingExtra(UsageError, ImportError):
    """An optional dependency is missing; the message holds the pip line that mends it."""


class NoEligibleModel(TryageError):
    """The limits exclude every model.

    Attributes:
        reasons: Why each model is out, by the model's name.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        shown = [f"{name}: {reason}" for name, reason in list(self.reasons.items())[:20]]
        more = len(self.reasons) - len(shown)
        listing = "; ".join(shown) + (f"; and {more} more" if more else "")
        super().__init__(
            f"no model of {len(self.reasons)} meets the limits: {listing}. "
            "Loosen a limit or add a model that meets it."
        )


class InvalidPrediction(TryageError):
    """A predictor broke its contract: NaN, a value outside [0, 1], or the wrong shape."""


class CorruptArtifact(TryageError):
    """Saved weights cannot be read: truncated, damaged, or of another format."""


class SaveFailed(TryageError):
    """Files cannot be written, on a full disc for one; what stood there before is unchanged."""


class AllModelsFailed(TryageError, ExceptionGroup[Exception]):
    """No candidate answered.

    Attributes:
        exceptions: The cause of each model that was tried, in the order of trying.
        resting: The models that the circuit breaker held back.
    """

    resting: tuple[str, ...]

    def __new__(  # noqa: D102 (a magic method by any other name)
        cls, message: str, exceptions: Sequence[Exception], resting: Sequence[str] = ()
    ) -> AllModelsFailed:
        self = super().__new__(cls, message, exceptions)
        self.resting = tuple(resting)
        return self

    def __init__(
        self, message: str, exceptions: Sequence[Exception], resting: Sequence[str] = ()
    ) -> None:
        super().__init__(message, exceptions)

    def derive(self, excs: Sequence[Exception]) -> AllModelsFailed:  # type: ignore[override]
        """Return the same failure with some of its causes, as `except*` and `split` need."""
        return AllModelsFailed(self.message, excs, self.resting)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the known word most like this one, or nothing.

    >>> nearest("cots", ["cost", "size"])
    " Did you mean 'cost'?"
    """
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {matches[0]!r}?" if matches else ""
