"""Kinds of passage within a domain: dialogues and notes, prose and formulas, classes and scripts.

Knowing the domain should not be knowing the expert. So each domain's passages are told apart by
their words (spherical k-means over tf-idf in its principal directions), and specialists learn
kinds, of several domains. Nothing but the text says which kind a passage is: a router can see it,
and is never told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]

_DIRECTIONS = 20
_SHOWN = 5


class Kinds:
    """What tells the kinds of one domain apart; kind 1 is the largest.

    Attributes:
        words: The words that are most typical of each kind.
    """

    words: tuple[str, ...]

    def __init__(self, texts: Sequence[str], number: int, seed: int) -> None:
        """Learn from the passages of a domain."""
        from sklearn.cluster import KMeans
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import Normalizer

        least = min(5, max(1, len(texts) // 20))
        counts = TfidfVectorizer(
            token_pattern=r"[A-Za-z]+|\d|[^\sA-Za-z\d]", min_df=least, sublinear_tf=True
        )
        matrix = counts.fit_transform(texts)
        directions = min(_DIRECTIONS, matrix.shape[1] - 1)
        self._vectors = make_pipeline(
            counts, TruncatedSVD(directions, random_state=seed), Normalizer()
        )
        vectors = self._vectors.fit_transform(texts)
        self._means = KMeans(number, n_init=5, random_state=seed).fit(vectors)
        labels = self._means.labels_
        order = np.argsort(-np.bincount(labels, minlength=number), kind="stable")
        self._rank = np.argsort(order)
        names = counts.get_feature_names_out()
        shares = np.stack([_share(matrix[labels == kind]) for kind in order])
        rest = np.stack([_share(matrix[labels != kind]) for kind in order])
        self.words = tuple(_typical(names, shares[at] - rest[at]) for at in range(number))

    def of(self, texts: Sequence[str]) -> Ints:
        """Return the kind of each passage, from 1."""
        if not texts:
            return np.zeros(0, dtype=np.intp)
        kinds: Ints = self._rank[self._means.predict(self._vectors.transform(texts))] + 1
        return kinds


def tell_kinds(
    domains: Sequence[str], texts: Sequence[str], number: int, seed: int
) -> Mapping[str, Kinds]:
    """Return what tells the kinds of each domain apart, learned from these passages.

    Args:
        domains: The domain of each passage.
        texts: The passages.
        number: Kinds of each domain.
        seed: Decides on where the search for them begins.
    """
    by_domain: defaultdict[str, list[str]] = defaultdict(list)
    for domain, text in zip(domains, texts, strict=True):
        by_domain[domain].append(text)
    return {domain: Kinds(some, number, seed) for domain, some in sorted(by_domain.items())}


def balanced(kinds: Sequence[str], number: int) -> list[int]:
    """Return the places of up to a number of passages, of each kind as many as of the others.

    Where a kind has fewer than its share, the others fill up. The order is that of the passages.
    """
    seen: Counter[str] = Counter()
    turn = []
    for kind in kinds:
        turn.append(seen[kind])
        seen[kind] += 1
    return sorted(sorted(range(len(kinds)), key=turn.__getitem__)[:number])


def _share(matrix: Any) -> NDArray[np.float64]:
    """Return the share of rows that hold each word."""
    return np.asarray((matrix > 0).mean(axis=0)).ravel()


def _typical(names: NDArray[np.object_], lead: NDArray[np.float64]) -> str:
    ranked = (str(names[at]) for at in np.argsort(-lead, kind="stable"))
    words = (name for name in ranked if name.isalpha() and len(name) > 2)
    return " ".join(word for word, _ in zip(words, range(_SHOWN), strict=False))
