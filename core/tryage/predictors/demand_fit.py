"""How the halves of the default predictor are learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tryage.predictors.ability import log_odds
from tryage.predictors.demand import DemandHead, sigmoid
from tryage.predictors.guess import guess_unseen, learn_guess, softmax
from tryage.predictors.lessons import Lessons

Array = NDArray[np.float32]
Ints = NDArray[np.intp]

_FOLDS = 3
_SHRINKAGE = 5.0  # prompts' worth of the overall mean in a domain's mean
_PENALTIES = 10.0 ** np.arange(0.5, 4.1, 0.5)
_MODESTY = 0.03  # weight of a prompt on which a model was not measured: there nothing departs
_BIAS = np.float32(4)  # in place of a 1, so that the penalty hardly touches the bias
_LEAST_SLOPE = 0.02
# Closeness to the nearest domain below which a prompt is strange, and above which it is ordinary,
# as shares of the training prompts.
_STRANGE, _ORDINARY = 0.02, 0.2
# A cosine that is ordinary however alike the training prompts are, and how far off strangers begin.
_CLOSE, _APART = 0.95, 0.1


def fit_head(lessons: Lessons, rank: int, seed: int) -> tuple[DemandHead, Array]:
    """Return the prompt's half and the models' half of the predictor.

    Two steps, each in log-odds of every model: the mean scores of the domains that a prompt may be
    of, weighed by how likely each is; then a straight line from the prompt's features to what
    these means leave, learned where the guess had not seen the prompt.

    Args:
        lessons: What to learn from.
        rank: Most particular strengths that are kept.
        seed: The same seed gives the same head.

    Returns:
        The head, and abilities, float32 (2 + at most `rank`, n_models).
    """
    x, features = lessons.features.values, lessons.features
    domains = _domain_log_odds(lessons)
    fold = np.random.default_rng(seed).permutation(len(x)) % min(_FOLDS, len(x))
    guess = learn_guess(x, lessons.domains, lessons.n_domains, seed)
    unseen = guess_unseen(x, lessons.domains, lessons.n_domains, fold, seed) @ domains
    line = _learn_line(x, lessons.scores, unseen, fold)
    guessed = softmax(x @ guess[0] + guess[1]) @ domains
    odds = guessed + _along(x, line)
    abilities, to_demands = _cut(odds, lessons.ability, rank)

    usual = sigmoid(odds.copy()).mean(axis=0)
    guess_weights, guess_bias = features.raw(*guess)
    linear, bias = features.raw(line[:-1] @ to_demands, (line[-1] * _BIAS) @ to_demands)
    centres, closeness = _centres(lessons)
    strange, ordinary = np.quantile(closeness, [_STRANGE, _ORDINARY])
    ordinary = min(ordinary, _CLOSE)
    strange = min(strange, ordinary - _APART)
    n_form = len(features.low)
    head = DemandHead(
        form_low=features.low,
        form_high=features.high,
        reading=np.concatenate(
            [linear, guess_weights, np.pad(centres.T, ((0, n_form), (0, 0)))], axis=1
        ),
        bias=bias.astype(np.float32),
        guess_bias=guess_bias.astype(np.float32),
        domains=domains @ to_demands,
        usual=(np.log(usual) - np.log1p(-usual)) @ to_demands,
        closeness=np.array([strange, ordinary], dtype=np.float32),
    )
    return head, abilities


@dataclass(frozen=True, eq=False)
class _Normal:
    """The normal equations of one model's line: one step of Newton's from a given place.

    Attributes:
        gram: (n_features + 1, n_features + 1).
        towards: (n_features + 1,).
    """

    gram: Array
    towards: Array

    def solve(self, penalty: float) -> Array:
        """Return the line under a penalty, (n_features + 1,)."""
        gram = self.gram.copy()
        gram[np.diag_indices(len(gram))] += np.float32(penalty)
        line: Array = np.linalg.solve(gram, self.towards)
        return line


def _learn_line(x: Array, scores: Array, start: Array, fold: Ints) -> Array:
    """Return each model's line from features to log-odds beyond `start`, and last its bias.

    Logistic ridge regression; the penalty is the one under which a third of the prompts, left out,
    are foretold best, the same for all models.
    """
    rest, left_out = fold != 0, fold == 0
    if rest.any():
        equations = _equations(x[rest], scores[rest], start[rest])
        losses = [
            _loss(start[left_out] + _along(x[left_out], _solve(equations, p)), scores[left_out])
            for p in _PENALTIES.tolist()
        ]
        penalty = float(_PENALTIES[int(np.argmin(losses))])
    else:
        penalty = float(_PENALTIES[-1])
    return _solve(_equations(x, scores, start), penalty)


def _solve(equations: list[_Normal], penalty: float) -> Array:
    return np.stack([normal.solve(penalty) for normal in equations], axis=1)


def _along(x: Array, line: Array) -> Array:
    values: Array = x @ line[:-1] + line[-1] * _BIAS
    return values


def _equations(x: Array, scores: Array, start: Array) -> list[_Normal]:
    x = np.concatenate([x, np.full((len(x), 1), _BIAS)], axis=1)
    found = []
    for column in range(scores.shape[1]):
        seen = ~np.isnan(scores[:, column])
        p = sigmoid(start[:, column].copy())
        weights = np.maximum(p * (1 - p), _LEAST_SLOPE) * np.where(seen, 1, _MODESTY)
        error = np.where(seen, scores[:, column] - p, 0).astype(np.float32)
        gram = (x * weights[:, None].astype(np.float32)).T @ x
        found.append(_Normal(gram, x.T @ error))
    return found


def _loss(odds: Array, scores: Array) -> float:
    """Return the mean cross-entropy of measured cells."""
    seen = ~np.isnan(scores)
    losses = np.logaddexp(0, odds) - np.where(seen, scores, 0) * odds
    return float(losses[seen].mean()) if seen.any() else 0.0


def _centres(lessons: Lessons) -> tuple[Array, Array]:
    """Return the domains' centres as unit vectors, and each prompt's closeness to the nearest."""
    n = lessons.features.values.shape[1] - len(lessons.features.low)
    vectors = lessons.features.values[:, :n]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    centres = np.zeros((lessons.n_domains, n), dtype=np.float32)
    np.add.at(centres, lessons.domains, vectors)
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
    return centres, (vectors @ centres.T).max(axis=1)


def _cut(odds: Array, general: Array, rank: int) -> tuple[Array, Array]:
    """Return the abilities (2 + rank, n_models) and the map (n_models, 2 + rank) to demands.

    Ease and discrimination are the least-squares line of the log-odds (n_prompts, n_models) in
    general ability (n_models,); the particular strengths are the principal components of what the
    line leaves.
    """
    general = general.astype(np.float64)
    centred = general - general.mean()
    slope = centred / (centred @ centred + 0.1)
    line = np.stack([1 / len(general) - slope * general.mean(), slope], axis=1)
    both = np.stack([np.ones_like(general), general])
    rest = np.eye(len(general)) - line @ both
    left = odds @ rest
    _, axes = np.linalg.eigh(left.T @ left / len(left))
    strengths = axes[:, ::-1][:, :rank]
    to_demands = np.concatenate([line, rest @ strengths], axis=1)
    abilities = np.concatenate([both, strengths.T])
    return abilities.astype(np.float32), to_demands.astype(np.float32)


def _domain_log_odds(lessons: Lessons) -> Array:
    """Return the log-odds of each model in each domain, float32 (n_domains, n_models).

    A measured cell is the domain's mean score, shrunk to the model's mean over prompts of the same
    table; an empty one lies on the domain's line in ability.
    """
    table = np.empty((lessons.n_domains, len(lessons.ability)), dtype=np.float32)
    seen = ~np.isnan(lessons.scores)
    scores = np.where(seen, lessons.scores, 0)
    for domain in range(lessons.n_domains):
        rows = lessons.domains == domain
        count = seen[rows].sum(axis=0)
        total = scores[rows].sum(axis=0)
        measured = np.flatnonzero(count)
        means = lessons.scores[:, measured]
        alike = ~np.isnan(means).any(axis=1)
        overall = np.nanmean(means[alike] if alike.any() else means, axis=0)
        shrunk = (total[measured] + _SHRINKAGE * overall) / (count[measured] + _SHRINKAGE)
        odds = np.array([log_odds(min(max(float(p), 0.02), 0.98)) for p in shrunk])
        ability = lessons.ability[measured]
        centred = ability - ability.mean()
        slope = max((centred @ odds + 0.5) / (centred @ centred + 0.5), 0.05)
        table[domain] = odds.mean() + slope * (lessons.ability - ability.mean())
        table[domain, measured] = odds
    return table
