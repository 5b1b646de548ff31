"""The words of an English text that may name things, by rules and word lists alone. Room: curation.

Left out are words of grammar, verbs, colours and other adjectives, words of time, thought and film, and what an ending gives away
(``-ing``, ``-ed``, ``-ly``, ``-ness`` …), save for the exceptions in ``words/things.txt``. What no list knows counts as a thing: a
check that nothing was added must doubt a strange word. Limits, by intent:

- words are judged one by one: "waves" and "watches" are things, also where they are verbs; "a face" and "a fly" are none, for their
  verbs are in the list. Who must not miss those looks at where they stand, too (:mod:`curation.captioning.additions`);
- the colours orange and gold are never the fruit or the metal; "camera" and "picture" are words of film;
- compounds come out in parts: "t-shirt" is "shirt", "snow-covered" is "snow";
- words of other languages count as things, nearly all of them.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from curation.captioning.wordlists import word_lines, word_set

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")

_ENDINGS = (
    "ing ed ly ness ism ance ence ful less ous able ible ity tion sion ment wards wise".split(),
    "ship hood".split(),
)
"""What only verbs, adverbs, adjectives and abstract words end in, mostly; the second only after three letters or more."""
_DEEDS = tuple("ing ed ity tion sion ment ance ence ness ism ship hood".split())
"""Those of them that nouns have, too."""
_ES = ("ses", "xes", "zes", "ches", "shes")


def object_words(text: str) -> list[str]:
    """Words of ``text`` that may name things, lower-cased and in the singular, in order, with repeats.

    >>> object_words("Two young women are quickly walking three brown dogs past the old bakery's shelves.")
    ['woman', 'dog', 'bakery', 'shelf']
    """
    words = (word.group().removesuffix("'s") for word in _WORD.finditer(plain_text(text)))
    return [singular(word) for word in words if names_thing(word)]


def plain_text(text: str) -> str:
    """A text as the word lists are written: lower case, plain letters, straight apostrophes."""
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


@functools.lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """A lower-case English noun in the singular; anything else may come out odd, but always the same."""
    known = _singulars().get(word)
    if known is not None:
        return known
    if word in word_set("same") or not word.endswith("s") or len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(_ES) and word[:-1] not in word_set("e_nouns"):
        return word[:-2]
    if word.endswith("oes"):
        return word[:-2]
    return word[:-1]


@functools.lru_cache(maxsize=65536)
def names_thing(word: str) -> bool:
    """Whether a plain word, as of :func:`plain_text`, may name a thing."""
    base = singular(word)
    if len(word) < 2:
        return False
    if word in word_set("things") or base in word_set("things"):
        return True
    if word in _other_words() or base in _other_words():
        return False
    return not any(word.endswith(end) and len(word) > len(end) + 1 for end in _ENDINGS[0]) and not any(
        word.endswith(end) and len(word) > len(end) + 3 for end in _ENDINGS[1]
    )


def seems_deed(word: str) -> bool:
    """Whether a plain word is taken for a deed, a state or an idea by its ending alone: "clearing" and "partition" are things all the same."""
    if names_thing(word) or word in _other_words() or singular(word) in _other_words():
        return False
    return singular(word).endswith(_DEEDS)


def describes(word: str) -> bool:
    """Whether a plain word says how something is: an adjective or a colour."""
    return word in _describing_words()


@functools.cache
def _singulars() -> dict[str, str]:
    return {line[0]: line[1] for line in word_lines("singulars")}


@functools.cache
def _other_words() -> frozenset[str]:
    """All words of the lists that name no things, verbs and adjectives in all their forms."""
    grammar = word_set("function") | word_set("numbers") | word_set("abstract") | word_set("past")
    return grammar.union(_describing_words(), *(_verb_forms(verb) for verb in word_set("verbs")))


@functools.cache
def _describing_words() -> frozenset[str]:
    return frozenset().union(*(_adjective_forms(word) for word in word_set("adjectives") | word_set("colours")))


def _verb_forms(verb: str) -> set[str]:
    """Base and third person; the forms in ``-ed`` and ``-ing`` go by their ending."""
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return {verb, verb[:-1] + "ies"}
    return {verb, verb + "es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else verb + "s"}


def _adjective_forms(word: str) -> set[str]:
    """Positive, comparative and superlative, also where the language has none."""
    stem = word[:-1] + "i" if word.endswith("y") else word.removesuffix("e")
    return {word} | {stem + doubled + end for end in ("er", "est") for doubled in ("", stem[-1])}
