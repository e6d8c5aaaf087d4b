"""Tryage: one language model made of many.

For every call Tryage predicts how well each model of a library would do on the prompt, weighs
that against the caller's flags, and picks the best.

    >>> import tryage
    >>> router = tryage.Router.default(flags="cheap")
    >>> decision = router.route("Prove that there are infinitely many primes.")
    >>> decision.model in router.library
    True
"""

from tryage.arguments import needs_of, output_limit
from tryage.cards import CAPABILITIES, SECURITY_LEVELS, Capability, ModelCard, Security
from tryage.conversation import Role, Turn, flags_in_prompt, request_of
from tryage.data import PerformanceTable
from tryage.decision import Decision, ExcludedModel, RankedModel
from tryage.errors import (
    AllModelsFailed,
    CannotSplit,
    CorruptArtifact,
    DuplicateModel,
    EmptyLibrary,
    EmptyPrompt,
    InvalidCard,
    InvalidFlag,
    InvalidPrediction,
    InvalidTable,
    MissingExtra,
    NoEligibleModel,
    NotFitted,
    SaveFailed,
    TryageError,
    UnknownFlag,
    UnknownModel,
    UnknownPredictor,
    UsageError,
)
from tryage.flag_context import current_flags, flags
from tryage.flag_text import take_from_prompt
from tryage.flags import Flags, as_flags
from tryage.health import CircuitBreaker
from tryage.library import Library
from tryage.objective import choose
from tryage.predictors import Predictor
from tryage.request import Request, Tokens, count_tokens
from tryage.router import Router
from tryage.spend import ModelSpend, Spend, Usage, cost_usd

__version__ = "0.1.0"

__all__ = [
    "CAPABILITIES",
    "SECURITY_LEVELS",
    "AllModelsFailed",
    "CannotSplit",
    "Capability",
    "CircuitBreaker",
    "CorruptArtifact",
    "Decision",
    "DuplicateModel",
    "EmptyLibrary",
    "EmptyPrompt",
    "ExcludedModel",
    "Flags",
    "InvalidCard",
    "InvalidFlag",
    "InvalidPrediction",
    "InvalidTable",
    "Library",
    "MissingExtra",
    "ModelCard",
    "ModelSpend",
    "NoEligibleModel",
    "NotFitted",
    "PerformanceTable",
    "Predictor",
    "RankedModel",
    "Request",
    "Role",
    "Router",
    "SaveFailed",
    "Security",
    "Spend",
    "Tokens",
    "TryageError",
    "Turn",
    "UnknownFlag",
    "UnknownModel",
    "UnknownPredictor",
    "Usage",
    "UsageError",
    "as_flags",
    "choose",
    "cost_usd",
    "count_tokens",
    "current_flags",
    "flags",
    "flags_in_prompt",
    "needs_of",
    "output_limit",
    "request_of",
    "take_from_prompt",
]
