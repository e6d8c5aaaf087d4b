"""Saving on a full disc: the predictor that was there before stays whole."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import pytest

from tryage import predictors


@contextmanager
def disc_of(size):
    """No file may grow beyond so many bytes, as if the disc ended there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(directory):
    return {p.relative_to(directory): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_a_predictor_that_cannot_be_saved_leaves_the_old_one_whole(table, tmp_path):
    old = predictors.get("knn")(k=3).fit(table.rows(range(5)))
    directory = old.save(tmp_path / "saved")
    before = files(directory)
    new = predictors.get("knn")().fit(table)
    with disc_of(9_000), pytest.raises(OSError, match="too large"):
        new.save(directory)
    assert files(directory) == before
    assert predictors.load(directory).k == 3


def test_so_does_the_default_predictor_with_its_encoder(table, tmp_path):
    default = predictors.get("default")
    directory = default(rank=2).fit(table.rows(range(5))).save(tmp_path / "saved")
    before = files(directory)
    weights = max(len(data) for path, data in before.items() if len(path.parts) == 1)
    new = default(rank=2).fit(table)
    # Room for the weights, but not for the encoder beside them.
    with disc_of(weights + 100_000), pytest.raises(OSError, match="too large"):
        new.save(directory)
    assert files(directory) == before
    assert not [path for path in directory.iterdir() if path.name.startswith(".")]
