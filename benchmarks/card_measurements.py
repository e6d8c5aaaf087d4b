"""Measure those facts of the bundled cards that come from performance tables.

    python benchmarks/card_measurements.py --tables ../shared/data/tables

Prints, per card, in the form of TOML:

* `verbosity`: the geometric mean length of a model's responses over the prompts that every model
  of the table answered, divided by the median model's, averaged in log over the tables. Models
  that think before they answer are left out, since their tables hold only the answer; so are
  those whose run gave bare answers or ran on past them, which says nothing of their chat.
* `readability`: the mean Flesch reading ease of the responses without code, LaTeX and JSON, clipped
  to 0..100 and divided by 100; averaged over the tables that hold text.
* `mmlu_pro`, `gsm8k`: mean scores in `mmlu_pro` and in the domain `gsm` of `zeroeval`.
"""

from __future__ import annotations

import argparse
import functools
import re
from pathlib import Path

import numpy as np
import pandas as pd

from tryage.library import Library

LENGTH_TABLES = ("mmlu_pro", "zeroeval", "reasoning_gym_easy")
TEXT_TABLES = ("mmlu_pro_responses", "zeroeval")
THINKS_UNSEEN = frozenset({"deepseek-r1", "o1-mini", "o3-mini", "qwq-32b"})
SHAPED_BY_THE_RUN = frozenset(
    {"gemini-1.5-pro-002", "gemma-3-27b-it", "jamba-1.5-large", "llama-3-70b", "llama-3-8b"}
)
LEAST_WORDS = 10

REASONING = re.compile(r'"reasoning"\s*:\s*"(.*?)"\s*,?\s*"answer"', re.DOTALL)
NOT_PROSE = re.compile(
    r"```.*?(?:```|$)"  # code blocks
    r"|`[^`\n]*`"
    r"|\$\$.*?\$\$|\$[^$\n]*\$"  # LaTeX
    r"|\\\[.*?\\\]|\\\(.*?\\\)"
    r"|\\[A-Za-z]+"
    r"|https?://\S+",
    re.DOTALL,
)
WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?")
SENTENCE_END = re.compile(r"[.!?:]+(?=\s|$)|\n+")
VOWELS = re.compile(r"[aeiouy]+")


def read(tables: Path, name: str) -> pd.DataFrame:
    """Return one table with the names of cards in its column `model`."""
    table = pd.read_parquet(tables / f"{name}.parquet")
    library = Library.bundled()
    cards = {model: library.find(model).name for model in table["model"].unique()}
    return table.assign(model=table["model"].map(cards))


def log_verbosity(table: pd.DataFrame) -> pd.Series:
    """Return each model's mean log length over the common prompts, less the median model's."""
    table = table[~table["model"].isin(THINKS_UNSEEN) & (table["response_chars"] > 0)]
    lengths = np.log(table["response_chars"]).groupby([table["prompt_id"], table["model"]]).mean()
    means = lengths.unstack("model").dropna().mean()
    return (means - means.median()).drop(list(SHAPED_BY_THE_RUN), errors="ignore")


def prose(response: str) -> str:
    """Return the prose of a response: without code, LaTeX and the JSON around it."""
    found = REASONING.search(response)
    text = found.group(1) if found else response
    return NOT_PROSE.sub(" ", text.replace("\\n", "\n").replace("\\\\", "\\"))


@functools.cache
def syllables(word: str) -> int:
    """Return about how many syllables an English word in lower case has."""
    count = len(VOWELS.findall(word))
    silent = word.endswith("e") and not word.endswith(("le", "ee"))
    return max(1, count - silent)


def reading_ease(text: str) -> float:
    """Return the Flesch reading ease in [0, 1], or NaN where there is too little prose."""
    words = WORD.findall(text.lower())
    if len(words) < LEAST_WORDS:
        return float("nan")
    sentences = sum(bool(WORD.search(part)) for part in SENTENCE_END.split(text))
    per_word = sum(map(syllables, words)) / len(words)
    score = 206.835 - 1.015 * len(words) / sentences - 84.6 * per_word
    return min(max(score, 0.0), 100.0) / 100


def readability(table: pd.DataFrame) -> pd.Series:
    """Return the mean reading ease of each model's responses."""
    ease = table["response"].fillna("").map(prose).map(reading_ease)
    return ease.groupby(table["model"]).mean()


def measure(tables: Path) -> pd.DataFrame:
    """Return one row per card, one column per measured fact; NaN where nothing was measured."""
    mmlu_pro, zeroeval = read(tables, "mmlu_pro"), read(tables, "zeroeval")
    gsm8k = zeroeval[zeroeval["domain"] == "gsm"]
    lengths = [log_verbosity(read(tables, name)) for name in LENGTH_TABLES]
    ease = [readability(read(tables, name)) for name in TEXT_TABLES]
    return pd.DataFrame(
        {
            "verbosity": np.exp(pd.concat(lengths, axis=1).mean(axis=1)).round(2),
            "readability": pd.concat(ease, axis=1).mean(axis=1).round(2),
            "mmlu_pro": mmlu_pro.groupby("model")["score"].mean().round(3),
            "gsm8k": gsm8k.groupby("model")["score"].mean().round(3),
        }
    ).sort_index()


def main() -> None:
    """Print the measured facts of each card."""
    parser = argparse.ArgumentParser(description="Measure facts of model cards from tables.")
    parser.add_argument("--tables", type=Path, required=True, help="folder of parquet tables")
    for card, facts in measure(parser.parse_args().tables).iterrows():
        print(f'["{card}"]')
        for fact, value in facts.dropna().items():
            print(f"{fact} = {value:g}")
        print()


if __name__ == "__main__":
    main()
