"""Which words of an English text stand for what is said not to be there: "no cars or people", "devoid of people". Room: curation.

What is denied begins after a word such as `no` and goes on to the next word of grammar, verb or mark: through "a", "any", "of", "or"
and "nor", through "and" before another noun, and through the commas of a list that has "or" in it. Not told is what is denied
afterwards ("people are absent") or from afar ("nobody can see a car").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from curation.captioning.objects import names_thing, singular
from curation.captioning.wordlists import word_set

_CUES = frozenset("no without neither lack lacks lacking absence".split())
_PAIRS = frozenset(
    [("devoid", "of"), ("free", "of"), ("free", "from"), ("empty", "of"), ("clear", "of"), ("bare", "of")]
)
_NOT = frozenset(["a", "an", "any"])
"""After `not` and verbs with it; "not the dog but …" says that there is one."""
_PASSED = frozenset("a an any the other of or nor much many".split())
_JOINED = frozenset(["or", "nor"])


def denied_words(text: str, words: Sequence[re.Match[str]]) -> set[int]:
    """Places of the words that are denied.

    Args:
        text: as :func:`curation.captioning.objects.plain_text` gives it.
        words: of the text, in order.
    """
    said = [word.group() for word in words]
    gaps = [*(text[a.end() : b.start()].strip() for a, b in pairwise(words)), ""]
    denied: set[int] = set()
    for i, word in enumerate(said):
        following = said[i + 1] if i + 1 < len(said) else ""
        if word in _CUES:
            begin = i + 1
        elif (word, following) in _PAIRS or ((word == "not" or word.endswith("n't")) and following in _NOT):
            begin = i + 2
        else:
            continue
        denied |= _reach(said, gaps, begin)
    return denied


def _reach(said: Sequence[str], gaps: Sequence[str], begin: int) -> set[int]:
    """Places of the words that a denial reaches which ends just before ``begin``."""
    found: set[int] = set()
    for i in range(begin, len(said)):
        if not _goes_on(said, gaps, i):
            break
        if said[i] in _PASSED or said[i] == "and":
            continue
        if _ends(said[i]):
            break
        found.add(i)
    return found


def _goes_on(said: Sequence[str], gaps: Sequence[str], i: int) -> bool:
    """Whether a denial goes on from the word before place ``i`` to the one there."""
    gap = gaps[i - 1]
    if said[i] == "and":
        return not gap and i + 1 < len(said) and names_thing(said[i + 1])
    return gap in ("", "-") or (gap == "," and (said[i] in _JOINED or _lists(said, gaps, i)))


def _lists(said: Sequence[str], gaps: Sequence[str], begin: int) -> bool:
    """Whether a list with "or" goes on from a word after a comma: nouns with what describes them, then "or" or another comma."""
    for i in range(begin, len(said)):
        if said[i] in _JOINED:
            return True
        if said[i] not in _PASSED and _ends(said[i]):
            return False
        if gaps[i] not in ("", "-", ","):
            return False
    return False


def _ends(word: str) -> bool:
    """Whether a word is none of what a noun and its description are made of. "Faces" may be one."""
    base = singular(word)
    return word in word_set("function") or (base in word_set("verbs") and base not in word_set("either"))
