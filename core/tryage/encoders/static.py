"""Text to vectors by a table of token vectors: no network, tens of microseconds.

The vectors are distilled from a sentence encoder as in Tulkens and van Dongen, *Model2Vec: Fast
State-of-the-art Static Embeddings* (2024): every token is put through the encoder once, the
outcomes are reduced by principal components and weighted by rarity. See `tryage.training.distil`.
"""

from __future__ import annotations

import json
import string
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tryage.errors import CorruptArtifact

if TYPE_CHECKING:
    from tokenizers import Tokenizer

HEAD_CHARS = 6_000
TAIL_CHARS = 2_000
"""What is read of a long prompt: its beginning, and its end, where the question often stands."""

TABLE_FILE = "encoder.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CHECKSUM_FILE = "encoder.json"

_MARKS = string.punctuation
_REMEMBERED = 20_000
_REMEMBERED_CHARS = 32


class StaticEncoder:
    """Turns texts into unit vectors: the scaled mean of their tokens' vectors.

    The table stays in memory as it is on disk, one byte a number. An encoder does not change after
    it is made and may be shared between threads.

    Args:
        table: int8 (n_tokens, dimensions), one row per token id.
        scales: float32 (n_tokens,), what a row is multiplied by; 0 silences a token.
        tokenizer: A `tokenizers.Tokenizer` over the same ids.

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "hi": 1}, unk_token="[UNK]"))
        >>> tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        >>> table = np.array([[0, 0], [3, 4]], dtype=np.int8)
        >>> encoder = StaticEncoder(table, np.ones(2, dtype=np.float32), tokenizer)
        >>> encoder.encode(["Hi!"]).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """

    def __init__(
        self, table: NDArray[np.int8], scales: NDArray[np.float32], tokenizer: Tokenizer
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._table = np.ascontiguousarray(table, dtype=np.int8)
        self._scales = np.ascontiguousarray(scales, dtype=np.float32)
        self._tokenizer = tokenizer
        self._pieces = _Pieces(tokenizer)

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return int(self._table.shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, float32 (n_texts, dimensions).

        A text without a known token gives zeros. A text gives the same bits alone or among others.

        Args:
            texts: Of any length; of a long one, the first `HEAD_CHARS` and the last `TAIL_CHARS`
                characters are read, so that time and memory are bounded.
        """
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = self.encode_one(text)
        return vectors

    def encode_one(self, text: str) -> NDArray[np.float32]:
        """Return the unit vector of one text, float32 (dimensions,)."""
        rows = self.token_ids(text)
        # `dot`, here and in the predictor: beside one short row, `@` is slow to start.
        pooled: NDArray[np.float32] = self._scales.take(rows).dot(self._table.take(rows, axis=0))
        square = float(pooled.dot(pooled))
        if square > 0:
            pooled /= square**0.5
        return pooled

    def token_ids(self, text: str) -> NDArray[np.intp]:
        """Return the ids of a text's tokens, (n_tokens,)."""
        text = clip(text)
        if not text.isascii():
            # Half a surrogate pair, as broken JSON leaves it, is not text to the tokeniser.
            text = text.encode("utf-8", "replace").decode("utf-8")
            return np.array(_ids(self._tokenizer, text), dtype=np.intp)
        # As BERT's pre-tokeniser cuts: at white space and around every mark.
        text = text.lower()
        for mark in _MARKS:
            if mark in text:
                text = text.replace(mark, f" {mark} ")
        return np.frombuffer(b"".join(map(self._pieces.__getitem__, text.split())), dtype=np.intp)

    def save(self, directory: str | Path) -> Path:
        """Write the table, the tokeniser and their checksums into the directory and return it."""
        from safetensors.numpy import save

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        contents = {
            TABLE_FILE: save({"table": self._table, "scales": self._scales}),
            TOKENIZER_FILE: self._tokenizer.to_str().encode(),
        }
        for name, content in contents.items():
            (directory / name).write_bytes(content)
        checksums = {name: zlib.crc32(content) for name, content in contents.items()}
        text = json.dumps({"crc32": checksums}, indent=1) + "\n"
        (directory / CHECKSUM_FILE).write_text(text, encoding="utf-8")
        return directory

    @classmethod
    def load(cls, directory: str | Path) -> StaticEncoder:
        """Return the encoder that `save` wrote into the directory.

        Raises:
            CorruptArtifact: A file is missing, truncated or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load
        from tokenizers import Tokenizer

        directory = Path(directory)
        try:
            checksums = json.loads((directory / CHECKSUM_FILE).read_text(encoding="utf-8"))["crc32"]
            contents = {n: (directory / n).read_bytes() for n in (TABLE_FILE, TOKENIZER_FILE)}
            for name, content in contents.items():
                if zlib.crc32(content) != checksums[name]:
                    raise ValueError(f"{name} differs from the one that was saved")
            arrays = load(contents[TABLE_FILE])
            tokenizer = Tokenizer.from_str(contents[TOKENIZER_FILE].decode())
            return cls(arrays["table"], arrays["scales"], tokenizer)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise CorruptArtifact(
                f"{directory}: not a complete static encoder ({type(error).__name__}: {error}). "
                "Install Tryage again, or copy the directory again."
            ) from error


class _Pieces(dict[str, bytes]):
    """The token ids of each word, as an array's bytes: to join them is to concatenate.

    A word is cut when it is first met, and remembered up to a bound; what is remembered changes no
    result. The few words that make up most texts lie close together so, as in a cache.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # A word that is a token of its own needs no tokeniser; most words are.
        self._whole = {word: row for word, row in tokenizer.get_vocab().items() if _is_word(word)}

    def __missing__(self, word: str) -> bytes:
        row = self._whole.get(word)
        ids = np.array(_ids(self._tokenizer, word) if row is None else row, dtype=np.intp)
        if len(self) < _REMEMBERED and len(word) <= _REMEMBERED_CHARS:
            self[word] = ids.tobytes()
        return ids.tobytes()


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def _is_word(token: str) -> bool:
    return token.isascii() and (token.isalnum() or (len(token) == 1 and token in _MARKS))


def clip(text: str) -> str:
    """Return the part of a text that is read: all of it, or its beginning and its end."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]} {text[-TAIL_CHARS:]}"


def quantise(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return vectors (n, d) as int8 with one float32 scale per row: `table * scales[:, None]`."""
    scales = (np.abs(vectors).max(axis=1) / 127).astype(np.float32)
    safe = np.where(scales > 0, scales, 1)[:, None]
    return np.rint(vectors / safe).astype(np.int8), scales
