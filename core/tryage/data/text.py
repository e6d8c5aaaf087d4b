"""When two prompts are one: texts as compared for equality."""

from __future__ import annotations

import re
import unicodedata

_OPTIONS = re.compile(r"\n(?:Options:|\(?A[.):])\s")


def normalise(prompt: str) -> str:
    """Return the prompt as compared for equality: folded case and width, letters and digits only.

    Letters of every script are kept, with the vowel signs that stand beside them: folding to ASCII
    would merge all Chinese prompts into one. A prompt of nothing but signs keeps them.

    Example:
        >>> normalise("  What is Ｘ?!"), normalise("数学"), normalise("?!")
        ('what is x', '数学', '?!')
    """
    folded = unicodedata.normalize("NFKC", prompt).casefold()
    signs = {ord(c): " " for c in set(folded) if not (c.isalnum() or _is_vowel_sign(c))}
    return " ".join(folded.translate(signs).split()) or folded.strip()


def question_of(prompt: str) -> str:
    r"""Return the question as compared between tables: normalised, without its answer options.

    Example:
        >>> question_of("What is  2+2?\nA. 3\nB. 4\nAnswer:")
        'what is 2 2'
    """
    return normalise(_OPTIONS.split(prompt, maxsplit=1)[0])


def _is_vowel_sign(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
