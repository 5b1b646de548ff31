"""What a text says that the caption it was made from does not: things, colours, numbers and directions. Room: curation.

By words alone, without a model. A thing is a word that :mod:`curation.captioning.objects` takes for one; words that it leaves out
because they mostly are something else ("face", "fly", "orange", "mine", "camera"; ``words/either.txt``) are things where they stand
like one, and so are those that only an ending makes a deed or an idea of ("clearing", "partition"). A synonym or a wider term ("dog" for "poodle") is an addition, too, for it cannot be told from a made-up thing. Limits, by
intent:

- the words of both texts are compared, not what they belong to: who has which colour, who does what to whom and which of two goes
  left may be swapped;
- adjectives other than colours, verbs, places ("behind", "on top"), "in" and "out", ordinals and one thing for many are not looked at;
- a thing of such an ending is missed where the caption has its verb, and after a bare preposition where it ends in -ing or -ed;
- a thing whose word the caption has as a verb is known ("The crowd waves" – "a wave"), save for the words of ``words/either.txt``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

from curation.captioning.objects import describes, names_thing, plain_text, seems_deed, singular
from curation.captioning.wordlists import word_lines, word_set

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|[.,;:!?()\n]")

_OWNERS = frozenset("my your his her its our their".split())
_INDEFINITE = frozenset("a an another each every any some".split()) | _OWNERS
_ARTICLES = _INDEFINITE | frozenset("the this these those no".split())
_PREPOSITIONS = frozenset(
    "of in on at by for from with without into onto off over under above below beneath underneath beside between among around across "
    "along against near behind through toward towards inside outside past like".split()
)
"""Without `to`, which stands before verbs as well."""
_BEFORE_VERBS = frozenset(
    "i you he she it we they who which that to can could will would shall should may might must do does did not never always often "
    "usually am is are was were be been being don't doesn't didn't can't couldn't won't isn't aren't".split()
)
_BE = frozenset("is are was were be".split())
_JOINING = frozenset(["and", "or", "then", "while", "but", ",", ";"])


def added_words(caption: str, text: str) -> list[str]:
    """Words of ``text`` that name a thing, a colour, a number or a direction of which the caption does not speak.

    Each once, in order, in the singular.

    >>> added_words("A red circle and a dog move left.", "A blue circle and two dogs slide right, with a camera.")
    ['blue', 'two', 'right', 'camera']
    """
    before, after = _tokens(caption), _tokens(text)
    checks = (_things(before), _colours(before), _numbers(before), _directions(before))
    return list(
        dict.fromkeys(singular(word) for i, word in enumerate(after) if any(is_new(after, i) for is_new in checks))
    )


IsNew = Callable[[Sequence[str], int], bool]
"""Words and a place among them → whether the word there is new in its kind."""


def _tokens(text: str) -> list[str]:
    """Words, numbers and the marks between parts of a sentence, plain and in order."""
    return [token.removesuffix("'s") for token in _TOKEN.findall(plain_text(text))]


def _things(caption: Sequence[str]) -> IsNew:
    known = {singular(word) for word in caption if names_thing(word)}
    known |= {singular(word) for i, word in enumerate(caption) if _may_name(caption, i)}
    said = {form for word in caption for form in _base_forms(word)}

    def is_new(words: Sequence[str], i: int) -> bool:
        base = singular(words[i])
        if base in known:
            return False
        if names_thing(words[i]):
            return True
        if seems_deed(words[i]):
            return _stands_as_thing(words, i) and not _base_forms(base) & said
        # "Slides" for "is sliding" is the caption's own verb, unless it can only be a thing where it stands.
        return _may_name(words, i) and (base not in said or _plainly_names(words, i))

    return is_new


def _colours(caption: Sequence[str]) -> IsNew:
    known = {_line("colours").get(word) for word in caption}
    return lambda words, i: words[i] in _line("colours") and _line("colours")[words[i]] not in known


def _directions(caption: Sequence[str]) -> IsNew:
    known = {_line("directions").get(word) for word in caption}
    return lambda words, i: words[i] in _line("directions") and _line("directions")[words[i]] not in known


def _numbers(caption: Sequence[str]) -> IsNew:
    """A number that is not among the caption's; "many" and the like where it has no number and nothing in the plural."""
    known = {_number(word) for word in caption} - {None}
    many = known or any(names_thing(word) and singular(word) != word for word in caption)

    def is_new(words: Sequence[str], i: int) -> bool:
        number = _number(words[i])
        return number is not None and (not many if number == _MANY else number not in known)

    return is_new


_MANY = "many"


def _number(word: str) -> str | None:
    return word if word[0].isdigit() else _line("numbers").get(word)


@functools.cache
def _line(name: str) -> dict[str, str]:
    """Word of a list → the first word of its line, which stands for all."""
    return {word: line[0] for line in word_lines(name) for word in line}


# Where a word stands -----------------------------------------------------------------------------------------------------


@functools.cache
def _either() -> dict[str, str]:
    return {word: kind for kind, *words in word_lines("either") for word in words}


def _may_name(words: Sequence[str], i: int) -> bool:
    """Whether a word that is mostly something else may name a thing where it stands."""
    kind = _either().get(singular(words[i]))
    if kind is None:
        return False
    if kind == "verb" or singular(words[i]) != words[i]:
        return not _is_verb(words, i)
    return _plainly_names(words, i)


def _stands_as_thing(words: Sequence[str], i: int) -> bool:
    """Whether a word with the ending of a deed may name a thing: where a word plainly does, but "by walking" and "a walking pace" do not."""
    following = words[i + 1] if i + 1 < len(words) else ""
    if following in word_set("abstract") or singular(following) in _either() or not _plainly_names(words, i):
        return False
    return not words[i].endswith(("ing", "ed")) or words[i - 1] not in _PREPOSITIONS


def _plainly_names(words: Sequence[str], i: int) -> bool:
    """Whether a word must name a thing: after an article, a number or a preposition, and before nothing that it could describe.

    Colours stand after prepositions as colours ("in orange"); the camera that has `the` before it is the one that films.
    """
    following = words[i + 1] if i + 1 < len(words) else ""
    if names_thing(following) or describes(following):
        return False
    leading = i - 1
    while leading >= 0 and (describes(words[leading]) or words[leading].endswith(("ing", "ed"))):
        leading -= 1
    word = words[leading] if leading >= 0 else ""
    if _either().get(singular(words[i])) == "film":
        return word in _INDEFINITE or word in word_set("numbers")
    preposition = word in _PREPOSITIONS and words[i] not in word_set("colours")
    return word in _ARTICLES or word in word_set("numbers") or preposition


def _is_verb(words: Sequence[str], i: int) -> bool:
    """Whether a word in the form of a verb is likely one: after what it could be said of, in the number that agrees.

    In doubt it is none: a rewrite that is refused costs little, an object that is not there costs more.
    """
    before = words[i - 1] if i else ""
    if before in _BE and i > 1 and words[i - 2] == "there":
        return False
    if before in _BEFORE_VERBS or before.endswith("ly"):
        return True
    if names_thing(before) or before in word_set("abstract"):
        return (singular(before) != before) == (singular(words[i]) == words[i])
    if before in _JOINING:
        following = words[i + 1] if i + 1 < len(words) else ""
        return following in _ARTICLES or (i > 1 and not names_thing(words[i - 2]) and not describes(words[i - 2]))
    return False


def _base_forms(word: str) -> set[str]:
    """What a word may be a form of: of "sliding" `slid` and `slide`, of "tying" `ty` and `tie`."""
    found = {singular(word)}
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            stem = word.removesuffix(ending)
            found |= {stem, stem + "e"}
            found |= {stem[:-1]} if stem[-1:] == stem[-2:-1] else set()
            found |= {stem[:-1] + "ie", stem[:-1] + "y"} if stem[-1:] in "yi" else set()
    return found
