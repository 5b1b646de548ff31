"""Cleaning a text and measuring it: words, repetition, script. Standard library only.

A *word* is a run of letters or digits, with the combining marks and inner apostrophes in it ("don't" is one); each Han,
Hiragana or Katakana character is a word of its own. Scripts written without spaces other than these (Thai, Lao, Khmer)
count one word per unbroken run.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from typing import NamedTuple

_CJK = re.compile(
    "[\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Han with its iteration marks, Hiragana and Katakana (half-width forms become these under NFKC)."""
_JOINERS = "\u200c\u200d"
# A full stop inside a number or an address ends no sentence.
_SENTENCE_END = re.compile(r"[!?。！？;；\n]+|\.(?=\s|$)")
_INVISIBLE = re.compile("[\ufeff\u200b\u2060]")

_SENTENCE_WORDS = 3
"""Shorter sentences ("Pan left.") may come back without being counted as repetition."""
_KANA_SHARE = 0.1
"""Han with at least this share of kana among both is Japanese; a single kana in a Chinese text is not enough."""
_SCRIPT_NAMES = {"cjk": "han", "ideographic": "han", "hiragana": "kana", "katakana": "kana"}


class TextMeasure(NamedTuple):
    """Columns ``caption_words``, ``caption_repetition``, ``caption_script`` and ``caption_script_share``."""

    words: int
    repetition: float
    script: str | None
    script_share: float | None


def clean_text(text: str) -> str:
    """One paragraph: runs of white space and control characters become a blank; the ends are stripped.

    Half surrogate pairs, which JSON can hold and UTF-8 cannot, become U+FFFD; byte order marks and zero-width blanks go.
    """
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    blanked = "".join(" " if unicodedata.category(c) == "Cc" else c for c in _INVISIBLE.sub("", whole))
    return " ".join(blanked.split())


def cut_at_word(text: str, max_chars: int) -> str:
    """``text`` itself, or as many whole words of it as fit ``max_chars``.

    Where that would leave less than half (a script without blanks), it is cut within a word, but not before a combining mark.
    """
    if len(text) <= max_chars:
        return text
    head = text[: max_chars + 1].rpartition(" ")[0].rstrip()
    if 2 * len(head) >= max_chars:
        return head
    end = max_chars
    while end > 1 and unicodedata.combining(text[end]):
        end -= 1
    return text[:end]


def measure_text(text: str | None) -> TextMeasure:
    """Length, repetition and script of a caption; no text measures (0, 0.0, None, None)."""
    if not text:
        return TextMeasure(0, 0.0, None, None)
    words = _words(text)
    script, share = _script(text)
    return TextMeasure(len(words), _repetition(text, words), script, share)


def _words(text: str) -> list[str]:
    words: list[str] = []
    run = ""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'") + " "
    for c, after in zip(plain, plain[1:] + " ", strict=True):
        single = _CJK.match(c) is not None
        inside = bool(run) and (
            unicodedata.category(c)[0] == "M"
            or c in _JOINERS
            or (c == "'" and after.isalnum() and not _CJK.match(after))
        )
        if not single and (c.isalnum() or inside):
            run += c
            continue
        words += [w for w in (run, c if single else "") if w]
        run = ""
    return words


def _repetition(text: str, words: list[str]) -> float:
    """The larger of two shares: trigrams of words that repeat an earlier one, and words in sentences that do. 0 below 4 words."""
    if len(words) < 4:
        return 0.0
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    trigram_share = 1 - len(set(trigrams)) / len(trigrams)
    seen: set[tuple[str, ...]] = set()
    repeated = 0
    for sentence in _SENTENCE_END.split(text):
        said = tuple(_words(sentence))
        if len(said) >= _SENTENCE_WORDS and said in seen:
            repeated += len(said)
        seen.add(said)
    return max(trigram_share, repeated / len(words))


def _script(text: str) -> tuple[str | None, float | None]:
    """Script of most letters and their share: ``latin``, ``cyrillic``, ``han``, ``japanese``, …; (None, None) without letters.

    ``japanese`` is kana together with Han, where kana is at least a tenth of both. Letters without a script of their own,
    such as mathematical ones, count as the plain letters they stand for (NFKC).
    """
    letters = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c)[0] == "L")
    counts = Counter(_letter_script(c) for c in letters)
    total = counts.total()
    if not total:
        return None, None
    kana, han = counts.pop("kana", 0), counts.pop("han", 0)
    if kana and kana >= _KANA_SHARE * (kana + han):
        counts["japanese"] = kana + han
    elif kana or han:
        counts["han"] = kana + han
    # Names break ties, so that the answer does not hang on which letter came first.
    script, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return script, count / total


@functools.lru_cache(maxsize=65536)
def _letter_script(letter: str) -> str:
    """The script is the first word of a letter's Unicode name: `LATIN SMALL LETTER A`, `CJK UNIFIED IDEOGRAPH-4E00`."""
    first = unicodedata.name(letter, "unknown").split()[0].split("-")[0].lower()
    return _SCRIPT_NAMES.get(first, first)
