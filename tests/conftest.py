"""What tests of several parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.servers.weights_server import WeightsServer
from tryage import Library, ModelCard, PerformanceTable, Request

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason="the project's tables (../shared/data) are not here")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def shared_data() -> Path:
    """The folder of the project's tables, for tests marked `shared`."""
    return SHARED


@pytest.fixture(scope="session")
def weights_server() -> Iterator[WeightsServer]:
    """Real weights behind a real server, for tests that leave it alive."""
    with WeightsServer() as running:
        yield running


@pytest.fixture
def library() -> Library:
    """Three models: a small local one, a mid one, and a large hosted one."""
    return Library(
        [
            ModelCard(
                name="small",
                aliases=("org/small",),
                parameters=1e9,
                input_usd_per_mtok=0.1,
                output_usd_per_mtok=0.1,
                context_tokens=4_000,
                released="2024-01-01",
                security="local",
                capabilities={"tools"},
                first_token_s=0.1,
                output_tokens_per_s=200,
                verbosity=0.5,
                readability=0.9,
            ),
            ModelCard(
                name="middle",
                parameters=30e9,
                input_usd_per_mtok=1,
                output_usd_per_mtok=2,
                context_tokens=32_000,
                released="2024-06-01",
                security="private",
                capabilities={"tools", "json_schema"},
                first_token_s=0.3,
                output_tokens_per_s=80,
                verbosity=1.0,
                readability=0.7,
            ),
            ModelCard(
                name="large",
                parameters=400e9,
                input_usd_per_mtok=5,
                output_usd_per_mtok=15,
                context_tokens=200_000,
                released="2025-01-01",
                security="hosted",
                capabilities={"tools", "json_schema", "vision"},
                first_token_s=0.8,
                output_tokens_per_s=40,
                verbosity=1.5,
                readability=0.6,
            ),
        ]
    )


@pytest.fixture
def ask() -> Callable[..., Request]:
    """Makes a request from a prompt and fields of `Request.from_prompt`."""
    return lambda text="Why is the sky blue?", **fields: Request.from_prompt(text, **fields)


@pytest.fixture(scope="session")
def table() -> PerformanceTable:
    """Sixty prompts of three kinds × four models, each good at something, with costs."""
    rng = np.random.default_rng(0)
    kinds = {
        "code": "Write a Python function that sorts a list of {} numbers in place",
        "math": "What is the sum of the first {} odd integers? Prove it by induction",
        "chat": "Tell me a cheerful story about {} friends who go to the sea",
    }
    prompts = [text.format(n) for n in range(20) for text in kinds.values()]
    domains = [kind for _ in range(20) for kind in kinds]
    skill = {
        "code": (0.2, 0.9, 0.5, 0.7),
        "math": (0.1, 0.4, 0.9, 0.7),
        "chat": (0.8, 0.6, 0.6, 0.9),
    }
    means = np.array([skill[domain] for domain in domains])
    scores = np.clip(means + rng.normal(0, 0.1, means.shape), 0, 1)
    plain = PerformanceTable.from_scores(
        prompts, ("tiny", "coder", "thinker", "giant"), scores, domains
    )
    costs = np.tile([0.001, 0.01, 0.02, 0.1], (len(prompts), 1))
    return PerformanceTable(
        prompt_ids=plain.prompt_ids,
        prompts=plain.prompts,
        models=plain.models,
        scores=plain.scores,
        domains=plain.domains,
        measures={"cost_usd": costs},
    )


@pytest.fixture(scope="session")
def paper_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run of the paper's experiment, experts of two sizes; to be read."""
    from tests.paper.paper_folders import tiny_settings, write_corpora
    from tryage.paper import experiment

    folder = tmp_path_factory.mktemp("paper")
    settings = tiny_settings(write_corpora(folder / "corpora", sentences=40))
    larger, *rest = settings.experts
    experts = (larger.model_copy(update={"base": "medium"}), *rest)
    out = folder / "run"
    experiment.run(settings.model_copy(update={"experts": experts}), out, lambda step: None)
    return out
