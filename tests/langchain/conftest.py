from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.langchain.ways import Async, Sync, Way
from tests.servers.openai_server import OpenAIServer


@pytest.fixture(params=[Sync(), Async()], ids=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    """Both ways of making a call."""
    return request.param


@pytest.fixture(scope="session")
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def fresh_server() -> Iterator[OpenAIServer]:
    """A server that nobody else asks, for tests that count requests."""
    with OpenAIServer() as running:
        yield running
