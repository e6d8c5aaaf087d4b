"""The model card of the demo's experts, written from the run that made them."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tryage.experts import (
    Expert,
    MaskedPrompt,
    load_experts,
    load_passages,
    load_tokenizer,
)
from tryage.training.expert_text import Document

COMMAND = "python -m tryage.training.experts --text DIR --out DIR"

_HEAD = """\
# The demo's experts

Small masked language models (ELECTRA's architecture, as in `transformers`), each trained on one
kind of text, with a generalist and a tiny one trained on the mix. They exist so that `tryage demo`
can route between real models on any machine. They are toys: they guess missing words, know no
facts, and must not be asked about law, health or anything else that matters.

This file is written by `{command}`, and so are all numbers in it.
"""

_FORMAT = """\
## Format

`tokenizer.json` and `embeddings.safetensors`, the table of word embeddings, serve all experts; the
output layer is tied to the table. An expert's folder holds its `config.json` and the rest of its
weights. The table has 8 bits a weight and one scale a row; the layers have 4 bits a weight and one
scale for each 32; biases and norms are float16. `tryage.experts.load_experts` puts them
together as float32. All weights are {megabytes:.1f} MB. Rounding changed the mean loss on the test
passages by {rounding:+.3f} nats on average over the experts, and by {worst:+.3f} at most.
"""

_TRAINING = """\
## Training

A trunk starts from the first three layers and the word embeddings of
[all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) (Apache-2.0),
whose vocabulary was cut and completed to the {vocabulary:,} most useful tokens of the texts below,
and learned on the mix of all texts. Cut down in layers and in the width of the feed-forward part
it became the generalist, which learned on; cut down further, and trained on its own text, each of
the others. From the trunk on the word embeddings were frozen. All of it: {minutes:.0f} minutes on
2 CPU cores that were shared with other work, Python {python}, by `{command}{options}`. A step is
16 windows of 128 tokens with a quarter of the words masked.
"""

_LICENCES = {
    "PSF-2.0": "Python's standard library: source code without docstrings and comments (code), "
    "docstrings and help topics (docs); © Python Software Foundation, PSF License 2.0.",
    "MIT (GSM8K)": "GSM8K, grade-school problems with solutions, calculator marks removed; "
    "© OpenAI, MIT.",
    "MIT (MMLU)": "MMLU, questions on law; © Dan Hendrycks and others, MIT.",
    "Apache-2.0 (MMLU-Pro)": "MMLU-Pro, questions on law and mathematics; TIGER-Lab, Apache-2.0.",
    "CC-BY-4.0": "MTS-Dialog, doctor and patient dialogues and notes; Asma Ben Abacha, Wen-wai "
    "Yim, Yadan Fan and Thomas Lin, *An Empirical Study of Clinical Note Generation from "
    "Doctor-Patient Encounters* (EACL 2023), CC BY 4.0.",
    "CC-BY (articles)": "OA-STM corpus, open-access articles published by Elsevier, CC BY; "
    "identifiers of the articles below.",
    "CC0/US public domain": "United States patents, as published by the USPTO; public domain.",
}


@dataclass(frozen=True)
class Trained:
    """What the training says of one expert."""

    name: str
    steps: int
    bytes: int
    exact_loss: float
    """Mean loss on the test passages before the weights were rounded."""


@dataclass(frozen=True)
class Scores:
    """Every expert's result on every test passage."""

    experts: tuple[Expert, ...]
    prompts: list[MaskedPrompt]
    losses: np.ndarray
    """float32 (n_experts, n_prompts), in nats."""
    accuracies: np.ndarray
    """float32 (n_experts, n_prompts), in [0, 1]."""

    @property
    def domains(self) -> list[str]:
        """The domains of the passages, in alphabetical order."""
        return sorted({prompt.domain for prompt in self.prompts})

    def by_domain(self, values: np.ndarray) -> np.ndarray:
        """Returns the mean of `values` (..., n_prompts) for each domain, (..., n_domains)."""
        labels = np.array([prompt.domain for prompt in self.prompts])
        means = [values[..., labels == domain].mean(axis=-1) for domain in self.domains]
        return np.stack(means, axis=-1)


def score(directory: Path) -> Scores:
    """Returns the results of the experts of `directory` on its test passages."""
    experts = load_experts(directory)
    prompts = load_passages("test", directory)
    losses, accuracies = np.stack([expert.judge(prompts) for expert in experts], axis=1)
    return Scores(experts=experts, prompts=prompts, losses=losses, accuracies=accuracies)


def write_card(
    directory: Path,
    trained: Sequence[Trained],
    documents: Sequence[Document],
    frequencies: Mapping[str, np.ndarray],
    *,
    minutes: float,
    options: str = "",
) -> None:
    """Writes ``README.md`` beside the experts of `directory`.

    Args:
        directory: Holds the experts and the passages.
        trained: What the training says of each expert.
        documents: All the documents that were read, those of the passages included.
        frequencies: How often each token occurs in each domain, (n_tokens,): the baseline that
            looks at no context.
        minutes: What the run took.
        options: What stood behind the command, with a space before it.
    """
    scores = score(directory)
    rounding = _rounding(scores, trained)
    weights = sum(path.stat().st_size for path in directory.rglob("*.safetensors"))
    sections = [
        _HEAD.format(command=COMMAND),
        _experts_section(scores, trained, documents),
        _results_section(scores, frequencies, load_tokenizer(directory)),
        _TRAINING.format(
            vocabulary=load_tokenizer(directory).get_vocab_size(),
            minutes=minutes,
            python=platform.python_version(),
            command=COMMAND,
            options=options,
        ),
        _FORMAT.format(megabytes=weights / 1e6, rounding=np.mean(rounding), worst=np.max(rounding)),
        _text_section(documents),
    ]
    (directory / "README.md").write_text("\n".join(sections), encoding="utf-8")


def _rounding(scores: Scores, trained: Sequence[Trained]) -> list[float]:
    exact = {result.name: result.exact_loss for result in trained}
    means = zip(scores.experts, scores.losses.mean(axis=1), strict=True)
    return [float(mean) - exact[expert.name] for expert, mean in means]


def _experts_section(
    scores: Scores, trained: Sequence[Trained], documents: Sequence[Document]
) -> str:
    results = {result.name: result for result in trained}
    characters: defaultdict[str, int] = defaultdict(int)
    for document in documents:
        characters[document.domain] += len(document.text)
        characters["all"] += len(document.text)
    rows = []
    for expert in scores.experts:
        config = expert.model.config
        rows.append(
            [
                expert.name,
                expert.domain,
                f"{characters[expert.domain] / 1e6:.1f}",
                f"{expert.parameters / 1e6:.2f}",
                f"{config.num_hidden_layers} × {config.intermediate_size}",
                f"{results[expert.name].bytes / 1e6:.2f}",
                f"{results[expert.name].steps:,}",
            ]
        )
    head = ["expert", "text", "M characters", "M parameters", "layers × width", "MB", "steps"]
    return (
        f"## The experts\n\n{_table(head, rows)}\n"
        "Parameters include the shared table (2.75 M), MB do not (2.77). The characters are those "
        "of all parts of\nthe split; about 80 % of them were trained on.\n"
    )


def _results_section(
    scores: Scores, frequencies: Mapping[str, np.ndarray], tokenizer: Tokenizer
) -> str:
    parts = [
        "## Results\n",
        f"On the {len(scores.prompts)} test passages, masked words only. No text of a document "
        "that a passage comes from was\ntrained on. Best of each column in bold; `unigram` "
        "guesses by how often words occur in the domain.\n",
    ]
    unigram_losses, unigram_accuracies = _unigram(scores, frequencies, tokenizer)
    for title, values, unigram, best in (
        ("Mean cross-entropy in nats (lower is better)", scores.losses, unigram_losses, np.min),
        ("Top-1 accuracy (higher is better)", scores.accuracies, unigram_accuracies, np.max),
    ):
        means = scores.by_domain(values)
        table = np.concatenate([means, means.mean(axis=1, keepdims=True)], axis=1)
        rows = [
            [expert.name, *(_bold(f"{x:.3f}", x == top) for x, top in zip(row, tops, strict=True))]
            for expert, row in zip(scores.experts, table, strict=True)
            for tops in [best(table, axis=0)]
        ]
        unigram_means = scores.by_domain(unigram)
        rows.append(["unigram", *(f"{x:.3f}" for x in [*unigram_means, unigram_means.mean()])])
        parts.append(f"{title}:\n\n{_table(['expert', *scores.domains, 'mean'], rows)}")
    parts.append(_choices(scores))
    return "\n".join(parts)


def _choices(scores: Scores) -> str:
    """Returns what one would get by choosing an expert in each of three ways."""
    everywhere = np.arange(len(scores.prompts))
    single = int(scores.losses.mean(axis=1).argmin())
    best = scores.by_domain(scores.losses).argmin(axis=0)
    place = {domain: index for domain, index in zip(scores.domains, best, strict=True)}
    choices = {
        f"best single expert (`{scores.experts[single].name}`)": np.full_like(everywhere, single),
        "best expert of each domain, the domain known": np.array(
            [place[prompt.domain] for prompt in scores.prompts]
        ),
        "best expert of each passage, the answers known": scores.losses.argmin(axis=0),
    }
    rows = [
        [
            name,
            f"{scores.losses[chosen, everywhere].mean():.3f}",
            f"{scores.accuracies[chosen, everywhere].mean():.3f}",
        ]
        for name, chosen in choices.items()
    ]
    return f"What choosing well is worth:\n\n{_table(['choice', 'loss', 'top-1'], rows)}"


def _unigram(
    scores: Scores, frequencies: Mapping[str, np.ndarray], tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
    losses, accuracies = [], []
    for prompt in scores.prompts:
        frequency = frequencies[prompt.domain]
        ids = [tokenizer.encode(a, add_special_tokens=False).ids[0] for a in prompt.answers]
        losses.append(-np.log(frequency[ids] / frequency.sum()).mean())
        accuracies.append(np.mean(np.array(ids) == frequency.argmax()))
    return np.array(losses), np.array(accuracies)


def _text_section(documents: Sequence[Document]) -> str:
    found = {document.licence for document in documents}
    lines = [f"- {text}" for licence, text in _LICENCES.items() if licence in found]
    articles = sorted(
        Path(document.source).stem for document in documents if document.domain == "papers"
    )
    return (
        "## Texts and their licences\n\n"
        + "\n".join(lines)
        + "\n\nEach passage in `passages.jsonl.gz` names its source and licence. Changed: texts "
        "were cut to passages, and words\nreplaced by `[MASK]`.\n\nArticles: "
        + ", ".join(articles)
        + ".\n"
    )


def _bold(text: str, yes: bool) -> str:
    return f"**{text}**" if yes else text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
