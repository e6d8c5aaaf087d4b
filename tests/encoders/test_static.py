from __future__ import annotations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tryage.encoders.static import (
    HEAD_CHARS,
    TABLE_FILE,
    TAIL_CHARS,
    TOKENIZER_FILE,
    StaticEncoder,
    clip,
    quantise,
)
from tryage.errors import CorruptArtifact
from tryage.predictors.default import bundled_encoder

TEXTS = [
    "What is the capital of France?",
    "def f(x):\n    return x ** 2  # squared",
    "Größe, naïve, 数学の問題を解いてください, ¿qué tal?",
    "antidisestablishmentarianism 123456789 o'clock_x",
    "",
    "\ud800 half a pair",
]


@pytest.fixture(scope="module")
def encoder() -> StaticEncoder:
    words = ["[UNK]", "hello", "world", "##s", "!", "3"]
    vocabulary = {word: row for row, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    vectors = np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32)
    vectors[0] = 0
    return StaticEncoder(*quantise(vectors), tokenizer)


def test_vectors_are_unit_float32_rows():
    vectors = bundled_encoder().encode(TEXTS[:4])
    assert vectors.shape == (4, bundled_encoder().dimensions)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_a_text_gives_the_same_bits_alone_and_in_a_batch_and_again():
    encoder = bundled_encoder()
    batch = encoder.encode([*TEXTS, *reversed(TEXTS)])
    alone = np.stack([encoder.encode_one(text) for text in [*TEXTS, *reversed(TEXTS)]])
    assert batch.tobytes() == alone.tobytes()
    assert batch[: len(TEXTS)].tobytes() == batch[len(TEXTS) :][::-1].tobytes()


@pytest.mark.parametrize("text", [*TEXTS[:4], "a_b-c(d)[e]{f}|g~h`i", "tabs\tand\r\nlines"])
def test_the_fast_path_finds_the_tokenisers_tokens(text):
    encoder = bundled_encoder()
    expected = encoder._tokenizer.encode(text, add_special_tokens=False).ids
    assert sorted(encoder.token_ids(text)) == sorted(expected)


def test_like_texts_are_nearer_than_unlike_ones():
    france, paris, code = bundled_encoder().encode(
        ["What is the capital of France?", "Which city is the French capital?", "Sort a C++ vector"]
    )
    assert france @ paris > france @ code + 0.2


def test_the_vector_is_the_scaled_mean_of_the_rows(encoder):
    rows = (encoder._table * encoder._scales[:, None])[[1, 2, 3]].sum(axis=0)
    expected = rows / np.linalg.norm(rows)
    np.testing.assert_allclose(encoder.encode_one("Hello  WORLDs"), expected, rtol=1e-5)


@pytest.mark.parametrize("text", ["", "  \n", "zzz qqq"])
def test_a_text_without_a_known_token_gives_zeros(encoder, text):
    assert not encoder.encode_one(text).any()


def test_quantising_errs_by_less_than_half_a_step():
    vectors = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    vectors[7] = 0
    table, scales = quantise(vectors)
    assert table.dtype == np.int8
    off = np.abs(table * scales[:, None] - vectors)
    assert (off <= 0.501 * scales[:, None]).all()
    assert not table[7].any()


def test_of_a_long_text_only_both_ends_are_read():
    middle = "x" * 10_000_000
    text = "a" * HEAD_CHARS + middle + "b" * TAIL_CHARS
    assert clip(text) == "a" * HEAD_CHARS + " " + "b" * TAIL_CHARS
    assert clip("short") == "short"
    words = "some words " * 1_000
    one, two = words + "y " * 10_000_000 + words, words + "z " * 100 + words
    encoder = bundled_encoder()
    assert encoder.encode_one(one).tobytes() == encoder.encode_one(two).tobytes()


def test_what_is_remembered_is_bounded(encoder, monkeypatch):
    bound = len(encoder._pieces) + 3
    monkeypatch.setattr("tryage.encoders.static._REMEMBERED", bound)
    for number in range(10):
        encoder.encode_one(f"rare{number}")
    assert len(encoder._pieces) == bound


def test_a_saved_encoder_comes_back_bit_for_bit(encoder, tmp_path):
    loaded = StaticEncoder.load(encoder.save(tmp_path))
    text = "Hello worlds! 3 unknowns"
    assert loaded.encode_one(text).tobytes() == encoder.encode_one(text).tobytes()


@pytest.mark.parametrize("name", [TABLE_FILE, TOKENIZER_FILE, "encoder.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_a_damaged_file_is_a_corrupt_artifact(encoder, tmp_path, name, damage):
    path = encoder.save(tmp_path) / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 0x15])
        path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
    with pytest.raises(CorruptArtifact, match="encoder"):
        StaticEncoder.load(tmp_path)
