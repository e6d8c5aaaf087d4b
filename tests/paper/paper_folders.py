"""Small corpora and settings, made on any machine."""

from __future__ import annotations

import random
from pathlib import Path

from tryage.paper.settings import Corpus, ExpertPlan, JointPlan, RouterPlan, Settings, Text

WORDS = {
    "law": "the court held that a contract between seller and buyer was not binding because the "
    "plaintiff could not prove the defendant had signed it before the state passed this act",
    "sums": "each box holds twelve red apples and seven green ones so how many apples are there in "
    "total if john buys three boxes and gives half of them to his sister mary on monday",
    "code": "def self return import value class name list file path open read line print string "
    "length index error raise try except with open as handle for each item in items",
}


def write_corpora(folder: Path, documents: int = 8, sentences: int = 60) -> tuple[Corpus, ...]:
    """Write documents of shuffled words, no two alike; the numbers in them make two kinds."""
    for domain, words in WORDS.items():
        (folder / domain).mkdir(parents=True, exist_ok=True)
        for number in range(documents):
            rng = random.Random(f"{domain} {number}")
            text = "\n".join(_sentence(rng, words.split(), number % 2) for _ in range(sentences))
            (folder / domain / f"{number}.txt").write_text(text, encoding="utf-8")
    return tuple(Corpus(domain=domain, path=folder / domain) for domain in WORDS)


def _sentence(rng: random.Random, words: list[str], numbers: int) -> str:
    told = rng.sample(words, min(14, len(words)))
    if numbers:
        told += [str(rng.randrange(10)) for _ in range(6)]
    return " ".join(told) + "."


def tiny_settings(corpora: tuple[Corpus, ...]) -> Settings:
    """Settings of a run that takes seconds: three experts, a few steps."""
    return Settings(
        corpora=corpora,
        text=Text(tokens=(32, 96), router=8, validation=4, test=6),
        experts=(
            ExpertPlan(name="all", base="small", steps=2),
            ExpertPlan(name="lawyer", base="small", text={"law": 1}, steps=4, rate=5e-3),
            ExpertPlan(name="rest", base="small", text={"sums/1": 1, "code": 2}, steps=2),
        ),
        router=RouterPlan(epochs=1, batch_size=8),
        joint=JointPlan(rounds=1, steps=1),
        seeds=(0,),
        lambdas=(0.0, 1.0),
    )
