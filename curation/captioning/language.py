"""Which language a caption is written in, told by the statistics of its letters. Room: curation.

py3langid does the work: a naive Bayes model over byte sequences (Lui and Baldwin, "langid.py", ACL 2012), whose file lies in its wheel
and is read without pickle. We ask it about the languages of ``LANGUAGES`` only: over all 140 of its own, rare look-alikes (Venetian,
Occitan, Bikol) take so much from a sentence of Spanish or Italian that nothing is ever sure.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LANGUAGES = tuple(
    """
    af am ar as az ba be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gd gl gu ha he hi hr ht hu hy id ig is it ja jv ka kk km kn ko
    ku ky lg ln lo lt lv mg mk ml mn mr ms mt my ne nl no om or pa pl ps pt qu ro rw ru si sk sl sn so sq sr st sv sw ta te tg th tk tl
    tr tt ug uk ur uz vi xh yo zh zu
    """.split()
)
"""ISO 639-1 codes that can come out. Left out of py3langid's: dead and made-up languages, and small ones that are written like large ones."""

MIN_LETTERS = 8
"""Shorter texts ("A man.") could be anything. A letter of a script without an alphabet (Han, kana, hangul) says about as much as two."""

_WORDLIKE = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")


def detect_language(text: str | None) -> tuple[str | None, float | None]:
    """The likeliest language of a text, and how sure that is: ``("en", 0.98)``, or (None, None) where there is too little text.

    The score, 0..1, is the language's share of the posterior probability, as py3langid tempers it: the log-likelihoods are divided by
    the square root of the number of bytes, so that a short sentence is never surer than it should be. It is rounded to four digits,
    for the last bits of a sum differ from one processor to another. Two tongues that are written alike (Malay and Indonesian) share
    it. Measured on word salad of two to eight English words, one in 20,000 is called another language with more than 0.9.
    """
    if not text or _letters(text) < MIN_LETTERS:
        return None, None
    language, score = _identifier().classify(text)
    return language, round(float(score), 4)


def _letters(text: str) -> int:
    return sum(
        2 if unicodedata.name(c, "").startswith(_WORDLIKE) else 1 for c in text if unicodedata.category(c)[0] == "L"
    )


@functools.cache
def _identifier() -> LanguageIdentifier:
    """Loaded once in a process, in about half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
