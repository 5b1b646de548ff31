"""What models answer for DSG-Video, read with mistrust: lists of questions, and a yes or no for each. Room: curation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from curation.captioning.json_answers import json_values, without_thought
from curation.captioning.mentions import Sentence, sentences_of, stems
from curation.captioning.text import clean_text, cut_at_word

MAX_OBJECTS = 48
"""More than this no caption names; the rest of a runaway list is dropped."""
_OBJECT_CHARS, _QUESTION_CHARS = 120, 300

_WORD = re.compile(r"[^\W_]+")
_YES = frozenset("yes y true 1".split())
_NO = frozenset("no n false 0".split())
_LINE = re.compile(r"^\W*(\d{1,3})\W+(\w+)\b", re.MULTILINE)
_BARE = re.compile(r"^\W*(\w+)\b[^\n]{0,200}\s*$")


@dataclass(frozen=True, slots=True)
class Question:
    """One object of a caption."""

    object: str
    sentences: tuple[int, ...]
    """Numbers, from 1, of the sentences that speak of it."""
    question: str


@dataclass(frozen=True, slots=True)
class Questions:
    """What a list gave."""

    questions: list[Question]
    invented: list[str]
    """Objects of which no word stands in the caption."""
    listed: int
    """Entries of the list, usable or not."""


def read_questions(text: str, sentences: Sequence[str]) -> Questions | None:
    """The questions in an answer; None where there is no list in it.

    Each object is asked for once, and the list has one sentence for it; but it belongs to every sentence that speaks of it, as
    :mod:`curation.captioning.mentions` finds them. Only where that is none, the list's own counts, if a word of the object stands there,
    else the sentence with most of them. An object that is listed twice is one. A missing question is written. An object without a word
    of the caption's is the language model's own invention, and not the caption's: it is left out.
    """
    items = _items(text)
    if items is None:
        return None
    spoken = [Sentence.of(sentence) for sentence in sentences]
    found: dict[frozenset[str], tuple[str, set[int], str]] = {}
    invented: list[str] = []
    for item in items[:MAX_OBJECTS]:
        name, number, question = _fields(item)
        if not stems(name):
            continue
        shared = [sentence.shared(name) for sentence in spoken]
        if not any(shared):
            invented.append(name)
            continue
        told = number if number is not None and 1 <= number <= len(sentences) and shared[number - 1] else None
        best = 1 + shared.index(max(shared))
        _, places, _ = found.setdefault(stems(name), (name, set(), question or f"Does the picture show {name}?"))
        places.add(told or best)
    names = [name for name, _, _ in found.values()]
    questions = [
        Question(name, tuple(sorted(speaking or places)), question)
        for (name, places, question), speaking in zip(found.values(), sentences_of(names, spoken), strict=True)
    ]
    return Questions(questions, invented, len(items))


def read_answers(text: str, count: int) -> list[bool | None]:
    """``count`` answers of a still, in order; None where there is none that can be read.

    Read are an object with numbers as keys, an object that holds one, a list of yes and no (only if it has the right length), lines that
    begin with a number, and, where one thing was asked, a bare yes or no.
    """
    for value in json_values(text):
        answers = _from_json(value, count)
        if answers is not None:
            return answers
    said = without_thought(text)
    lines = {int(number): _truth(word) for number, word in reversed(_LINE.findall(said))}
    if any(lines.get(n) is not None for n in range(1, count + 1)):
        return [lines.get(n) for n in range(1, count + 1)]
    bare = _BARE.match(said.strip())
    return [_truth(bare[1])] if count == 1 and bare else [None] * count


def _items(text: str) -> list[Any] | None:
    """The list of objects, also where it is the whole answer, stands under another key, or was cut short."""
    values = list(json_values(text))
    for value in values:
        if isinstance(value, dict) and isinstance(value.get("objects"), list):
            return list(value["objects"])
        if isinstance(value, list) and (not value or any(_fields(item)[0] for item in value)):
            return value
    for value in values:
        held = [v for v in value.values() if isinstance(v, list)] if isinstance(value, dict) else []
        if len(held) == 1:
            return list(held[0])
    loose = [value for value in values if isinstance(value, dict) and _fields(value)[0]]
    return loose or None


def _fields(item: Any) -> tuple[str, int | None, str]:
    """Object, number of the sentence and question of one entry; an empty object where it is none."""
    if not isinstance(item, dict):
        return "", None, ""
    name, number, question = item.get("object"), item.get("sentence"), item.get("question")
    if isinstance(number, str) and number.strip().isdecimal():
        number = int(number)
    return (
        cut_at_word(clean_text(name), _OBJECT_CHARS) if isinstance(name, str) else "",
        number if isinstance(number, int) and not isinstance(number, bool) else None,
        cut_at_word(clean_text(question), _QUESTION_CHARS) if isinstance(question, str) else "",
    )


def _from_json(value: Any, count: int) -> list[bool | None] | None:
    if isinstance(value, list):
        answers = [_truth(_inner(v)) for v in value]
        return answers if len(answers) == count and any(a is not None for a in answers) else None
    if not isinstance(value, dict):
        return None
    numbered = {int(m[0]): _truth(_inner(v)) for k, v in value.items() if (m := re.search(r"\d{1,3}", str(k)))}
    if any(numbered.get(n) is not None for n in range(1, count + 1)):
        return [numbered.get(n) for n in range(1, count + 1)]
    inner: Iterable[Any] = (v for v in value.values() if isinstance(v, (dict, list)))
    return next((found for v in inner if (found := _from_json(v, count)) is not None), None)


def _inner(value: Any) -> Any:
    """`{"question": 1, "answer": "yes"}` stands for its answer."""
    return value.get("answer") if isinstance(value, dict) else value


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    word = _WORD.search(str(value).casefold())
    return True if word and word[0] in _YES else False if word and word[0] in _NO else None
