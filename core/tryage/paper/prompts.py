"""From documents to prompts: passages with words taken out, and the passages that experts learn on.

Passages are cut after the documents were split, and what stands in an earlier part already, word
for word, is left out: a licence's head stands in many files.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tryage.errors import CorruptArtifact, UsageError
from tryage.experts import MaskedPrompt, load_tokenizer, mask, maskable
from tryage.paper.kinds import Kinds, balanced, tell_kinds
from tryage.paper.settings import Text
from tryage.predictors.staging import staged
from tryage.training.expert_text import Document, cut_passages

SPLITS = ("router", "validation", "test")

_ENDS = 2  # [CLS] and [SEP]
_LEAST_WORDS = 8
"""Words worth guessing in a prompt at least: fewer, and it is a table or a list of numbers."""
_LENGTHS = 2
"""Documents are cut into passages that differ by so much of the whole range of lengths."""
_RUN = 12
_COPIED = 0.2
"""Share of a passage's runs of 12 tokens that may stand in an earlier part."""
_SCANNED = 4
"""Passages that are cut for each prompt that is wanted."""


@dataclass(frozen=True)
class Passage:
    """What experts learn on."""

    domain: str
    kind: str
    text: str


@dataclass(frozen=True)
class Prompt(MaskedPrompt):
    """A masked passage, with what is known of it.

    Attributes:
        prompt_id: Unique among all splits.
        kind: Which of its domain's kinds it is, such as `math/1`.
        tokens: Its length in tokens of the shared vocabulary.
    """

    prompt_id: str = ""
    kind: str = ""
    tokens: int = 0


@dataclass(frozen=True)
class Texts:
    """All that is read in a run.

    Attributes:
        passages: What experts learn on.
        prompts: The prompts of each split.
        kinds: The words typical of each kind, by its name.
    """

    passages: list[Passage]
    prompts: dict[str, list[Prompt]]
    kinds: dict[str, str]


def make_texts(
    parts: Mapping[str, Sequence[Document]], text: Text, progress: Callable[[str], None]
) -> Texts:
    """Return the passages and prompts of documents that were split.

    Args:
        parts: Documents for `experts` and for each of `SPLITS`.
        text: Says how long prompts are, how much is masked, and how many there are.
        progress: Called with what is being done.

    Raises:
        UsageError: A domain has no passage long enough, or none with a word to mask.
    """
    tokenizer = load_tokenizer()
    known = _Runs()
    progress("cutting passages for the experts")
    lessons = _cut(parts["experts"], tokenizer, text)
    known.add([ids for _, _, ids in lessons])
    domains = [document.domain for document, _, _ in lessons]
    progress("telling kinds of passage apart")
    told = tell_kinds(domains, [t for _, t, _ in lessons], text.kinds, text.seed)
    passages = [
        Passage(document.domain, kind, passage)
        for (document, passage, _), kind in zip(lessons, _kinds_of(lessons, told), strict=True)
    ]
    prompts = {}
    for split in SPLITS:
        progress(f"cutting and masking prompts for {split}")
        cut = known.without_copies(_cut(parts[split], tokenizer, text, getattr(text, split)))
        prompts[split] = _masked(cut, told, split, tokenizer, text)
    names = {f"{d}/{k}": words for d in told for k, words in enumerate(told[d].words, start=1)}
    return Texts(passages, prompts, names)


Cut = tuple[Document, str, NDArray[np.int32]]
"""A document, a passage of it, and its tokens."""


def _cut(
    documents: Sequence[Document], tokenizer: Tokenizer, text: Text, wanted: int | None = None
) -> list[Cut]:
    """Return passages of all lengths, in an order that the seed decides on."""
    rng = random.Random(text.seed)
    low, high = (length - _ENDS for length in text.tokens)
    step = max(1, (high - low) // _LENGTHS)
    found: defaultdict[str, list[tuple[Document, str]]] = defaultdict(list)
    limit = None if wanted is None else _SCANNED * wanted
    for document in rng.sample(documents, len(documents)):
        # Of two lengths the greater: longer prompts tell more of which expert is best.
        least = max(rng.randrange(low, max(low + 1, high - step)) for _ in range(2))
        some = cut_passages([document], tokenizer, tokens=(least, least + step))
        found[document.domain] += [(document, passage.text) for passage in some]
    cut = []
    for domain, passages in sorted(found.items()):
        chosen = rng.sample(passages, min(len(passages), limit or len(passages)))
        encoded = tokenizer.encode_batch_fast([t for _, t in chosen], add_special_tokens=False)
        cut += [
            (document, passage, np.array(encoding.ids, dtype=np.int32))
            for (document, passage), encoding in zip(chosen, encoded, strict=True)
            if low <= len(encoding.ids) <= high
        ]
        if not cut or cut[-1][0].domain != domain:
            raise UsageError(
                f"corpus {domain!r}: no passage of {text.tokens[0]} to {text.tokens[1]} tokens; "
                "give longer documents, or other `tokens`."
            )
    return cut


class _Runs:
    """Which runs of tokens have been seen."""

    def __init__(self) -> None:
        self._seen = np.zeros(0, dtype=np.uint64)

    def add(self, passages: Sequence[NDArray[np.int32]]) -> None:
        runs = [_runs(ids) for ids in passages]
        self._seen = np.unique(np.concatenate([self._seen, *runs]))

    def without_copies(self, cut: Sequence[Cut]) -> list[Cut]:
        """Return the passages that are new, each once; from now on they are seen."""
        kept, texts = [], set()
        for row in cut:
            runs = _runs(row[2])
            copied = self._holds(runs).mean() if len(runs) else 0.0
            if copied <= _COPIED and row[1] not in texts:
                kept.append(row)
                texts.add(row[1])
        self.add([ids for _, _, ids in kept])
        return kept

    def _holds(self, runs: NDArray[np.uint64]) -> NDArray[np.bool_]:
        places = np.searchsorted(self._seen, runs)
        found: NDArray[np.bool_] = self._seen[np.minimum(places, len(self._seen) - 1)] == runs
        return found


def _runs(ids: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Return a hash of each run of tokens, (n_tokens - 11,)."""
    if len(ids) < _RUN:
        return np.zeros(0, dtype=np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(ids.astype(np.uint64), _RUN)
    factors = np.uint64(0x9E3779B97F4A7C15) ** np.arange(1, _RUN + 1, dtype=np.uint64)
    hashes: NDArray[np.uint64] = (windows * factors).sum(axis=1, dtype=np.uint64)
    return hashes


def _kinds_of(cut: Sequence[Cut], told: Mapping[str, Kinds]) -> list[str]:
    kinds = [""] * len(cut)
    for domain, teller in told.items():
        rows = [row for row, (document, _, _) in enumerate(cut) if document.domain == domain]
        for row, kind in zip(rows, teller.of([cut[row][1] for row in rows]), strict=True):
            kinds[row] = f"{domain}/{kind}"
    return kinds


def _masked(
    cut: Sequence[Cut], told: Mapping[str, Kinds], split: str, tokenizer: Tokenizer, text: Text
) -> list[Prompt]:
    """Return a split's prompts, of each domain as many as wanted where there are so many."""
    rng = random.Random(f"{text.seed} {split}")
    made: defaultdict[str, list[Prompt]] = defaultdict(list)
    for (document, passage, ids), kind in zip(cut, _kinds_of(cut, told), strict=True):
        domain = document.domain
        encoding = tokenizer.encode(passage, add_special_tokens=False)
        if len(maskable(passage, encoding)) < _LEAST_WORDS or "[MASK]" in passage:
            continue
        asked = mask(passage, rng, share=text.masked, tokenizer=tokenizer)
        made[domain].append(
            Prompt(
                asked.text, asked.answers, domain, document.source,
                kind=kind, tokens=len(ids) + _ENDS,
            )
        )  # fmt: skip
    for domain in sorted(set(told) - set(made)):
        raise UsageError(
            f"corpus {domain!r}: no passage for {split} has {_LEAST_WORDS} words that can be "
            "masked and is new; it may be tables, copies, or a script that the vocabulary lacks."
        )
    prompts = []
    for domain, some in sorted(made.items()):
        places = balanced([prompt.kind for prompt in some], getattr(text, split))
        prompts += [
            Prompt(**asdict(some[at]) | {"prompt_id": f"{split}-{domain}-{number:04d}"})
            for number, at in enumerate(places)
        ]
    return prompts


PASSAGES_FILE = "passages.parquet"
KINDS_FILE = "kinds.parquet"
_FILES = (PASSAGES_FILE, KINDS_FILE, *(f"{split}.parquet" for split in SPLITS))


def has_texts(folder: Path) -> bool:
    """Return whether the folder holds all texts of a run."""
    return all((folder / file).is_file() for file in _FILES)


def write_texts(texts: Texts, folder: Path) -> None:
    """Write all texts of a run at one stroke."""
    with staged(folder) as fresh:
        _write(fresh / PASSAGES_FILE, [asdict(passage) for passage in texts.passages])
        for split, prompts in texts.prompts.items():
            _write(fresh / f"{split}.parquet", [asdict(prompt) for prompt in prompts])
        named = [{"kind": kind, "words": words} for kind, words in texts.kinds.items()]
        _write(fresh / KINDS_FILE, named)


def read_texts(folder: Path) -> Texts:
    """Return the texts of a run.

    Raises:
        CorruptArtifact: A file is missing or damaged.
    """
    prompts = {split: _read(folder / f"{split}.parquet", Prompt) for split in SPLITS}
    kinds = {row["kind"]: row["words"] for row in _rows(folder / KINDS_FILE)}
    return Texts(_read(folder / PASSAGES_FILE, Passage), prompts, kinds)


T = TypeVar("T")


def _read(file: Path, of: Callable[..., T]) -> list[T]:
    names = [field.name for field in fields(of)]  # type: ignore[arg-type]
    rows = _rows(file)
    return [of(**{n: tuple(r[n]) if n == "answers" else r[n] for n in names}) for r in rows]


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)


def _rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise CorruptArtifact(f"cannot read {str(file)!r}: {error}; delete it.") from error
    return rows
