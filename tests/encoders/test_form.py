from __future__ import annotations

import numpy as np
import pytest

from tryage.encoders.form import FORM_FEATURES, form, form_one


def feature(name: str, text: str) -> float:
    return form_one(text)[FORM_FEATURES.index(name)]


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("share_digits", "12345 and 678", "twelve thousand"),
        ("share_capitals", "WHY IS THIS", "why is this"),
        ("share_brackets", "f(x)[0]", "f of x"),
        ("share_quotes", '"quoted"', "plain"),
        ("share_stops", "One. Two. Three.", "one two three"),
        ("share_operators", "x = a + b * c", "x is a and b"),
        ("share_not_ascii", "数学の問題", "a mathematical problem"),
        ("log_latex", r"$\frac{a}{b}$", "a over b"),
        ("log_code", "{a; b;}", "a, b"),
        ("log_questions", "Why? How?", "Why. How."),
        ("log_words", "one two three four", "one two"),
        ("log_lines", "a\nb\nc", "a b c"),
        ("log_characters", "a long text", "short"),
        ("word_length", "incomprehensibilities", "a b c d"),
        ("log_options", "Which?\nA. one\nB. two\n(C) three", "Which? A or B"),
        ("log_indented_lines", "f:\n    x\n\ty", "f:\nx\ny"),
        ("code_words", "def f(): return 1", "define f"),
        ("ends_with_question", "Is it so? \n", "It is so."),
        ("begins_with_question", "What is it", "It is what"),
        ("begins_with_order", "Write a poem", "A poem I write"),
    ],
)
def test_each_feature_answers_to_its_mark(name, more, less):
    assert feature(name, more) > feature(name, less)


def test_there_is_one_column_per_name_and_all_are_tested():
    assert form(["a", "b"]).shape == (2, len(FORM_FEATURES))
    assert form([]).shape == (0, len(FORM_FEATURES))
    assert len(set(FORM_FEATURES)) == len(FORM_FEATURES)


@pytest.mark.parametrize("text", ["", " ", "\n", "x", "\x00\x01", "\ud800", "é" * 100, "?" * 9_000])
def test_every_text_has_finite_features(text):
    row = form([text])
    assert row.dtype == np.float32
    assert np.isfinite(row).all()


def test_a_text_gives_the_same_bits_alone_and_in_a_batch():
    texts = ["Hello", "def f():\n  return 1", "数学", "a" * 20_000]
    assert form(texts).tobytes() == b"".join(form([text]).tobytes() for text in texts)


def test_of_a_long_text_only_both_ends_are_read():
    assert form_one("a" * 10_000_000) == form_one("a" * 10_000)


def test_letters_count_towards_nothing():
    assert form_one("plain words")[:7] == [0.0] * 7
