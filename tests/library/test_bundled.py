"""The bundled library: every card is valid, names are unique, and the facts are what they were."""

from __future__ import annotations

import tomllib
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

import tryage.library
from tryage.cards import ModelCard
from tryage.errors import UnknownModel
from tryage.library import Library

FILES = sorted(Path(tryage.library.__file__).parent.glob("*.toml"))
TABLES = Path(__file__).parents[3] / "shared" / "data" / "tables"
BENCHMARKS = {
    "mmlu",
    "mmlu_pro",
    "gpqa_diamond",
    "gsm8k",
    "math",
    "humaneval",
    "ifeval",
    "bbh",
    "arc_challenge",
    "hellaswag",
    "aime_2024",
    "livecodebench",
    "swe_bench_verified",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_holds_valid_cards(path: Path) -> None:
    models = tomllib.loads(path.read_text(encoding="utf-8"))["models"]
    assert [ModelCard(**facts).name for facts in models]


def test_bundled_holds_at_least_75_cards() -> None:
    assert len(Library.bundled()) >= 75


def test_bundled_order_is_files_then_cards_as_written() -> None:
    written = [
        facts["name"]
        for path in FILES
        for facts in tomllib.loads(path.read_text(encoding="utf-8"))["models"]
    ]
    assert [card.name for card in Library.bundled()] == written


def test_names_and_aliases_are_unique_without_regard_to_case() -> None:
    spellings = Counter(
        spelling.lower() for card in Library.bundled() for spelling in (card.name, *card.aliases)
    )
    assert [spelling for spelling, count in spellings.items() if count > 1] == []


@pytest.mark.parametrize("card", Library.bundled(), ids=lambda card: card.name)
def test_card_is_consistent(card: ModelCard) -> None:
    assert set(card.benchmarks) <= BENCHMARKS
    assert (card.input_usd_per_mtok is None) == (card.output_usd_per_mtok is None)
    assert (card.first_token_s is None) == (card.output_tokens_per_s is None)
    if card.active_parameters is not None:
        assert card.parameters is not None
        assert card.active_parameters < card.parameters
    if card.open_weights:
        assert card.security == "local"
    if card.max_output_tokens is not None:
        assert card.context_tokens is not None
        assert card.max_output_tokens <= card.context_tokens


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("GPT-4O-2024-05-13", "gpt-4o-2024-05-13"),
        ("claude-3-5-sonnet-20241022", "claude-3.5-sonnet"),
        ("meta-llama/Meta-Llama-3.1-70B-Instruct", "llama-3.1-70b-instruct"),
        ("Meta-Llama-3_1-70B", "llama-3.1-70b"),
        ("Llama-3.1-405B-Inst@sambanova", "llama-3.1-405b-instruct"),
    ],
)
def test_find_resolves_spelling(spelling: str, name: str) -> None:
    assert Library.bundled().find(spelling).name == name


def test_find_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownModel):
        Library.bundled().find("gpt-4o-2024-05-14")


@pytest.mark.parametrize(
    ("model", "fact", "value"),
    [
        ("mixtral-8x7b-instruct-v0.1", "parameters", 46.7e9),
        ("mixtral-8x7b-instruct-v0.1", "active_parameters", 12.9e9),
        ("gpt-4o-mini", "input_usd_per_mtok", 0.15),
        ("gpt-4-1106-preview", "output_usd_per_mtok", 30.0),
        ("claude-3-opus", "output_usd_per_mtok", 75.0),
        ("gemini-1.5-pro", "context_tokens", 2_097_152),
        ("deepseek-r1", "released", date(2025, 1, 20)),
        ("llama-3.1-8b-instruct", "input_usd_per_mtok", 0.2),
        ("llama-2-7b", "capabilities", frozenset()),
        ("claude-sonnet-4", "security", "private"),
    ],
)
def test_card_states_fact(model: str, fact: str, value: object) -> None:
    assert getattr(Library.bundled().find(model), fact) == value


def test_card_states_benchmark() -> None:
    assert Library.bundled().find("llama-3.1-405b-instruct").benchmarks["mmlu"] == 0.873


@pytest.mark.shared
@pytest.mark.skipif(not TABLES.is_dir(), reason="needs the performance tables in ../shared/data")
def test_every_model_of_the_tables_has_a_card() -> None:
    pd = pytest.importorskip("pandas")
    library = Library.bundled()
    missing = {
        f"{path.stem}: {model}"
        for path in TABLES.glob("*.parquet")
        for model in pd.read_parquet(path, columns=["model"])["model"].unique()
        if model not in library
    }
    assert missing == set()
