"""Text for the demo's experts: documents by domain, the splits, passages and the shared vocabulary.

Documents are split before anything is cut from them, so that no sentence of a module, an article
or a question stands on both sides: an expert is trained on the ``experts`` documents alone, and
the demo's prompts are cut from the other two parts.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import pydoc_data.topics
import re
import sysconfig
import textwrap
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer

from tryage.errors import UsageError

SHARES = {"experts": 0.80, "train": 0.12, "test": 0.08}
"""The parts of the demo's documents, and the share of each."""
PYTHON_LICENCE = "PSF-2.0"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# Tests are noise, tables hold no sentences, and bundled packages carry their own licences.
_SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "encodings", "ensurepip"}
_SKIPPED_FOLDERS |= {"lib2to3", "pydoc_data", "__pycache__", "turtledemo", "__phello__", "_vendor"}
_CALCULATOR = re.compile(r"<<[^>]*>>")
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+|\n+")
_LINE_END = re.compile(r"\n+")
_LETTERS = re.compile(r"[^a-z]+")
# The share of the vocabulary given to whole words; pieces that spell the others take the rest.
_WHOLE_WORDS = 0.8


@dataclass(frozen=True, kw_only=True)
class Document:
    """One whole text; all that is cut from it falls into the same part of the split."""

    domain: str
    source: str
    licence: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A stretch of a document, short enough to be one prompt."""

    document: Document
    text: str


def read_documents(directory: Path) -> list[Document]:
    """Returns every document of the Parquet files in `directory`, then the standard library's.

    Args:
        directory: Holds ``*.parquet`` with the columns ``domain, source, licence, text``.

    Raises:
        UsageError: If `directory` has no Parquet file.
    """
    import pyarrow.parquet

    files = sorted(directory.glob("*.parquet"))
    if not files:
        raise UsageError(f"no *.parquet file in {str(directory)!r}; give the folder of the texts")
    documents = []
    for file in files:
        for row in pyarrow.parquet.read_table(file).to_pylist():
            text = clean(row["text"], domain=row["domain"])
            if len(text) >= 100:
                documents.append(Document(**{**row, "text": text}))
    return documents + list(standard_library())


def clean(text: str, *, domain: str) -> str:
    """Returns `text` without the marks of its file format."""
    text = text.replace("\r", "")
    if domain == "math":
        return _CALCULATOR.sub("", text).replace("\n#### ", "\nAnswer: ")
    if domain == "patents":
        # Bibliographic fields come one to a line; prose comes in long lines.
        lines = (line.strip() for line in text.split("\n"))
        return "\n".join(line for line in lines if len(line) >= 120)
    if domain == "papers":
        # Section numbers stand alone on their lines.
        return "\n".join(line for line in text.split("\n") if len(line) >= 40)
    return text


def standard_library() -> Iterator[Document]:
    """Yields the code and the docstrings of each module, and the help topics of the language."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if _SKIPPED_FOLDERS.isdisjoint(name.parts):
            yield from _module_documents(name.as_posix(), path)
    for topic, text in sorted(pydoc_data.topics.topics.items()):
        if len(text) >= 400:
            yield Document(
                domain="docs",
                source=f"cpython/pydoc_data/topics.py#{topic}",
                licence=PYTHON_LICENCE,
                text=text,
            )


def _module_documents(name: str, path: Path) -> Iterator[Document]:
    try:
        code, docs = split_docstrings(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, SyntaxError):
        return
    for domain, text in (("code", code), ("docs", docs)):
        if len(text) >= 600:
            source = f"cpython/Lib/{name}"
            yield Document(domain=domain, source=source, licence=PYTHON_LICENCE, text=text)


def split_docstrings(source: str) -> tuple[str, str]:
    """Returns a module's code without docstrings and comment lines, and its docstrings."""
    lines = source.split("\n")
    dropped: set[int] = set()
    docstrings = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if text is None:
            continue
        first = node.body[0]
        dropped.update(range(first.lineno - 1, first.end_lineno or first.lineno))
        if len(text) >= 60:
            docstrings.append(text)
    code = (
        line
        for index, line in enumerate(lines)
        if index not in dropped and line.strip() and not line.lstrip().startswith("#")
    )
    return "\n".join(code), "\n\n".join(docstrings)


def split_documents(
    documents: Iterable[Document],
    shares: Mapping[str, float] = SHARES,
    learned: Container[int] = frozenset(),
) -> dict[str, list[Document]]:
    """Returns the documents of each part, with these shares of each domain's length.

    Documents that begin alike (one question under two licences, a module's code and its
    docstrings) fall into the same part. The order is that of a hash, so it is the same everywhere.

    Args:
        documents: The documents of all domains.
        shares: The parts by name, and the share of each; the first is what experts learn on.
        learned: Fingerprints (see `fingerprint`) of documents that experts have learned already:
            they can be in the first part only.
    """
    groups: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        groups[_group(document)].append(document)
    domains = sorted({document.domain for group in groups.values() for document in group})
    parts: dict[str, list[Document]] = {part: [] for part in shares}
    filled = {(part, domain): 0.0 for part in shares for domain in domains}
    keys = sorted(groups, key=_digest)
    for known in (True, False):
        for key in keys:
            group = groups[key]
            if (fingerprint(group[0]) in learned) is not known:
                continue
            domain = group[0].domain
            free = list(shares)[:1] if known else shares
            part = min(free, key=lambda part: filled[part, domain] / shares[part])
            parts[part].extend(group)
            filled[part, domain] += sum(len(document.text) for document in group)
    return parts


def fingerprint(document: Document) -> int:
    """Returns 32 bits that documents which begin alike have in common."""
    return int(_digest(_group(document))[:8], 16)


def _group(document: Document) -> str:
    if document.licence == PYTHON_LICENCE:
        return document.source
    return _LETTERS.sub("", document.text.lower())[:60]


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def cut_passages(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    *,
    tokens: tuple[int, int] = (60, 110),
    per_document: int = 1_000_000,
) -> list[Passage]:
    """Returns stretches of whole sentences (of whole lines, in code) of so many `tokens`."""
    passages = []
    for document in documents:
        found = []
        for text in _stretches(document, tokenizer, *tokens):
            found.append(Passage(document=document, text=text))
        # Spread over the document: its first pages are not like the rest.
        step = max(1, len(found) // per_document)
        passages.extend(found[::step][:per_document])
    return passages


def _stretches(document: Document, tokenizer: Tokenizer, low: int, high: int) -> Iterator[str]:
    text = document.text
    is_code = document.domain == "code"
    ends = [match.end() for match in (_LINE_END if is_code else _SENTENCE_END).finditer(text)]
    bounds = [0, *ends, len(text)]
    units = [text[start:end] for start, end in itertools.pairwise(bounds)]
    encodings = tokenizer.encode_batch_fast(units, add_special_tokens=False)
    first = total = 0
    for index, encoding in enumerate(encodings):
        total += len(encoding.ids)
        if total > high:
            first, total = index + 1, 0
        elif total >= low:
            stretch = "".join(units[first : index + 1])
            first, total = index + 1, 0
            if not is_code:
                yield stretch.strip()
            elif _begins_a_block(stretch):
                yield textwrap.dedent(stretch).strip("\n")


def _begins_a_block(code: str) -> bool:
    """Says whether no line of `code` stands left of the first: such code reads as a whole."""
    indents = [len(line) - len(line.lstrip()) for line in code.split("\n") if line.strip()]
    return indents[0] == min(indents)


def build_tokenizer(texts: Mapping[str, Sequence[str]], base: Tokenizer, size: int) -> Tokenizer:
    """Returns `base` with a vocabulary of `size` tokens: the most useful ones for `texts`.

    Whole words are counted first, each domain with the same weight, and the frequent ones get a
    token of their own even where `base` would split them; pieces then spell the rest.

    Args:
        texts: The texts of each domain.
        base: A WordPiece tokenizer whose normaliser and pre-tokeniser are kept.
        size: Number of tokens, special ones included.
    """
    weights: defaultdict[str, float] = defaultdict(float)
    common: set[str] = set()
    for domain_texts in texts.values():
        counts = _word_counts(domain_texts, base)
        total = sum(counts.values())
        for word, count in counts.items():
            weights[word] += count / total
            # A word of one document would be a token of no use elsewhere.
            if count >= 5 and word.isascii():
                common.add(word)
    letters = sorted({letter for word in common for letter in word})
    vocabulary = dict.fromkeys([*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters)])
    ranked = sorted(common, key=lambda word: (-weights[word], word))[: round(_WHOLE_WORDS * size)]
    others = {word: weight for word, weight in weights.items() if word.isascii()}
    for word in ranked:
        del others[word]
    for token in [*ranked, *_pieces(others, base, size)]:
        if len(vocabulary) < size:
            vocabulary.setdefault(token)
    return _with_vocabulary(base, {token: index for index, token in enumerate(vocabulary)})


def _pieces(weights: Mapping[str, float], base: Tokenizer, size: int) -> list[str]:
    """Returns up to `size` pieces that spell these words, in the order in which they were found."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = base.pre_tokenizer
    trainer = WordPieceTrainer(vocab_size=size, show_progress=False, min_frequency=4)
    # The trainer counts; the rarest word that is worth a piece must still count for one.
    tokenizer.train_from_iterator(
        (" ".join([word] * max(1, round(1e6 * weights[word]))) for word in sorted(weights)), trainer
    )
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def _word_counts(texts: Sequence[str], base: Tokenizer) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        normal = base.normalizer.normalize_str(text)
        counts.update(word for word, _ in base.pre_tokenizer.pre_tokenize_str(normal))
    return counts


def _with_vocabulary(base: Tokenizer, vocabulary: dict[str, int]) -> Tokenizer:
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=60))
    tokenizer.normalizer = base.normalizer
    tokenizer.pre_tokenizer = base.pre_tokenizer
    tokenizer.decoder = base.decoder
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=ends
    )
    return tokenizer
