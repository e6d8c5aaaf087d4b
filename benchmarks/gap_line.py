"""A straight line from a prompt's form to the gap between a strong and a weak model.

What `routellm.py` carries over from one table to another, and learns of other models' answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from tryage import PerformanceTable
from tryage.data import question_of
from tryage.encoders.form import FORM_FEATURES, form
from tryage.predictors.default import bundled_encoder

PASSAGE = 200  # characters that questions on one passage share
PENALTIES = 10.0 ** np.arange(-1, 6, 0.5)

Array = np.ndarray


def passage_of(prompt: str) -> str:
    """Return what prompts have in common that stand in one fold."""
    return question_of(prompt)[:PASSAGE]


def carried_over(
    prompts: Sequence[str], sources: Iterable[PerformanceTable], vectors: bool
) -> Array:
    """Return the gap on prompts, by a line learned in other tables without their questions.

    Features and gaps are less their means in each domain, so that only what tells prompts of one
    domain apart is carried over. A gap is the mean score of the best quarter of a table's models
    less that of the worst: of two models, the one less the other. Tables count by the root of
    their size, in units of their gaps' spread.
    """
    tested = {passage_of(prompt) for prompt in prompts}
    blocks = []
    for table in sources:
        rows = [row for row, passage in enumerate(passages(table)) if passage not in tested]
        if len(rows) < 50:
            continue
        features, gaps = features_of(table.prompts, vectors)[rows], spread(table)[rows]
        labels = np.unique(np.array(table.domains)[rows], return_inverse=True)[1]
        blocks.append((features, demeaned(gaps[:, None], labels)[:, 0], labels))
    shift, scale = scaling(np.concatenate([features for features, _, _ in blocks]))
    inputs, outputs = [], []
    for features, gaps, labels in blocks:
        weight = len(gaps) ** -0.25
        inputs.append(weight * demeaned(scaled(features, shift, scale), labels))
        outputs.append(weight * gaps / gaps.std())
    slopes, _ = line(np.concatenate(inputs), np.concatenate(outputs))
    own = features_of(tuple(prompts), vectors)
    preference: Array = scaled(own, shift, scale) @ slopes
    return preference


def spread(table: PerformanceTable) -> Array:
    """Return the best quarter's mean score less the worst quarter's, (n_prompts,)."""
    means = np.nanmean(table.scores, axis=0)
    scores = np.where(np.isnan(table.scores), means, table.scores).astype(np.float64)
    order, quarter = np.argsort(means), max(1, len(means) // 4)
    gaps: Array = scores[:, order[-quarter:]].mean(axis=1) - scores[:, order[:quarter]].mean(axis=1)
    return gaps


def line(features: Array, gaps: Array) -> tuple[Array, float]:
    """Return slopes and start of the ridge regression of least generalised cross-validation."""
    centre, level = features.mean(axis=0), float(gaps.mean())
    x, y = features - centre, gaps - level
    variances, axes = np.linalg.eigh(x.T @ x)
    variances = np.maximum(variances, 0)
    along = axes.T @ (x.T @ y)

    def loss(penalty: float) -> float:
        shrunk = variances + penalty
        left = float(y @ y - (along**2 * (shrunk + penalty) / shrunk**2).sum())
        return left / float(1 - (1 + (variances / shrunk).sum()) / len(y)) ** 2

    slopes = axes @ (along / (variances + min(PENALTIES, key=loss)))
    return slopes, level - float(centre @ slopes)


@cache
def features_of(prompts: tuple[str, ...], vectors: bool) -> Array:
    """Return the form of prompts, and their vectors too, float64 (n_prompts, n_features)."""
    shape = form(prompts).astype(np.float64)
    if not vectors:
        return shape
    return np.concatenate([shape, 4 * bundled_encoder().encode(prompts)], axis=1)


@cache
def passages(table: PerformanceTable) -> tuple[str, ...]:
    """Return what each prompt of a table has in common with others."""
    return tuple(map(passage_of, table.prompts))


def scaling(features: Array) -> tuple[Array, Array]:
    """Return the form features' means and standard deviations."""
    shapes = features[:, : len(FORM_FEATURES)]
    return shapes.mean(axis=0), np.maximum(shapes.std(axis=0), 0.05)


def scaled(features: Array, shift: Array, scale: Array) -> Array:
    """Return features with the form standardised and cut off at three standard deviations."""
    n = len(FORM_FEATURES)
    shapes = np.clip((features[:, :n] - shift) / scale, -3, 3)
    return np.concatenate([shapes, features[:, n:]], axis=1)


def demeaned(values: Array, labels: Array) -> Array:
    """Return values (n, k) less the means of their domains."""
    counts = np.bincount(labels)[:, None]
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, labels, values)
    less: Array = values - (sums / counts)[labels]
    return less


def ranks(preference: Array) -> Array:
    """Return the rank of each prompt, equal ones in the middle of theirs."""
    _, place, counts = np.unique(preference, return_inverse=True, return_counts=True)
    middle: Array = (np.cumsum(counts) - counts / 2)[place]
    return middle
