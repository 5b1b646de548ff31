"""Which sentences of a caption speak of an object. Room: curation.

A sentence does that holds all words of the object's name (as their singulars, small words left out), or that names its head noun alone:
"the dog" after "a brown dog". Alone means that nothing before it says which: "a white dog", "a toy dog" and "another dog" are others. Where
two objects of a caption have one head noun, it is nobody's. Not told are pronouns ("it barks"), wider terms ("the animal"), and what a
language without spaces between words calls by a part of its name.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curation.captioning.objects import describes, names_thing, object_words, singular
from curation.captioning.wordlists import word_set

_WORD = re.compile(r"[^\W_]+")
_SMALL = frozenset("a an the of in on at with and or to some two three four five several many".split())
_OTHERS = frozenset("another other others no second third next".split())
"""Words of grammar that say of a noun that it is not the one spoken of."""
_AFTER_HEAD = frozenset("of in on at with from for by under over near behind beside".split())
"""In a name, the head noun stands before these: in "glass of water" it is `glass`."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a caption, ready to be searched."""

    plain: str
    words: tuple[str, ...]
    """In the singular, in order."""

    @classmethod
    def of(cls, text: str) -> Sentence:
        return cls(plain(text), tuple(singular(word) for word in _WORD.findall(plain(text))))

    def shared(self, name: str) -> int:
        """How many of a name's words stand here; all of them where the name does that has no spaces to divide it by."""
        said = plain(name)
        # In ASCII, words have spaces between them, and "car" is not in "cardboard".
        if not said.isascii() and said in self.plain:
            return len(stems(name))
        return len(stems(name) & set(self.words))

    def names(self, head: str, own: Iterable[str]) -> bool:
        """Whether a noun stands here that nothing describes but an object's ``own`` words."""
        known = {*own, head}
        for place, word in enumerate(self.words):
            if word != head:
                continue
            before = place - 1
            while before >= 0 and self.words[before] in known:
                before -= 1
            if before < 0 or not _tells_apart(self.words[before]):
                return True
        return False


def _tells_apart(word: str) -> bool:
    """Whether a word before a noun says which one is meant: another noun, an adjective, a participle."""
    participle = word.endswith(("ing", "ed")) and word not in word_set("verbs")
    return word in _OTHERS or names_thing(word) or describes(word) or participle


def plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def stems(text: str) -> frozenset[str]:
    """The words of a text, in the singular, without small ones."""
    return frozenset(singular(word) for word in _WORD.findall(plain(text))) - _SMALL


def sentences_of(names: Sequence[str], sentences: Sequence[Sentence]) -> list[set[int]]:
    """Of each object of a caption, the numbers of its sentences, from 1."""
    heads = [_head(name) for name in names]
    count = Counter(heads)
    found = []
    for name, head in zip(names, heads, strict=True):
        own = stems(name)
        found.append(
            {
                number
                for number, sentence in enumerate(sentences, 1)
                if sentence.shared(name) == len(own) or (count[head] == 1 and sentence.names(head, own))
            }
        )
    return found


def _head(name: str) -> str:
    """The noun that a name is about, in the singular: of "a group of young people" `person`, for a group is no thing."""
    words = _WORD.findall(plain(name))
    parts: list[list[str]] = [[]]
    for word in words:
        if word in _AFTER_HEAD:
            parts.append([])
        else:
            parts[-1].append(word)
    things = next((found for part in parts if (found := object_words(" ".join(part)))), None)
    first = next((part for part in parts if part), words)
    return things[-1] if things else singular(first[-1]) if first else ""
