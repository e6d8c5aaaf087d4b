"""What is public is what `__all__` says, and the tree of errors is as it is drawn."""

from __future__ import annotations

import importlib
import re

import pytest

import tryage
from tryage import errors


@pytest.mark.parametrize(
    "name", ["tryage", "tryage.data", "tryage.evaluation", "tryage.library", "tryage.predictors",
             "tryage.strategies", "langchain_tryage", "llamaindex_tryage"]
)  # fmt: skip
def test_all_is_sorted_and_importable(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for exported in module.__all__:
        assert getattr(module, exported) is not None


def test_every_error_is_exported_and_drawn():
    classes = {
        name: cls
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, errors.TryageError)
    }
    drawn = set(re.findall(r"[A-Z]\w+", errors.__doc__.split("Every message")[0]))
    assert set(classes) <= drawn
    assert set(classes) <= set(tryage.__all__)


def test_every_error_is_caught_by_its_branch():
    with pytest.raises(tryage.UsageError):
        tryage.Library([])
    with pytest.raises(ValueError, match="0 were given"):
        tryage.Library([])
    group = errors.AllModelsFailed("all failed", [TimeoutError(), ValueError()], ["m"])
    assert isinstance(group, tryage.TryageError)
    assert group.subgroup(TimeoutError).exceptions[0].__class__ is TimeoutError
    assert group.split(TimeoutError)[1].resting == ("m",)
