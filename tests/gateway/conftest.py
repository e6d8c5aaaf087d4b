"""What the tests of the gateway share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.serving import ScriptedUpstream, Served, upstreams


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """A server that does what the test says."""
    with ScriptedUpstream() as scripted:
        yield scripted


@pytest.fixture
def served(upstream: ScriptedUpstream) -> Iterator[Served]:
    """A gateway before three models of that server: `first` is the best, `third` the last."""
    with Served({"upstreams": upstreams(upstream.base_url)}) as gateway:
        yield gateway
