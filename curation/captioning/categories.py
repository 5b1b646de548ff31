"""What a caption is about: categories from one closed list, by keywords or by a language model. Room: curation.

In: captions. Out: the columns ``category``, ``categories`` and ``category_source`` of the table `checks`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

from curation.captioning.denials import denied_words
from curation.captioning.json_answers import json_values, without_thought
from curation.captioning.language import detect_language
from curation.captioning.mishaps import Mishaps
from curation.captioning.objects import plain_text, singular
from curation.captioning.prompts import fill
from curation.captioning.wordlists import word_lines, word_set
from schemas.chat import Ask, ChatModel

CATEGORIES: dict[str, str] = {
    "people": "people and their faces, hands or crowds",
    "animals": "animals, wild or tame",
    "nature": "landscapes, plants, rocks, snow",
    "water": "sea, lakes, rivers, beaches, rain, swimming",
    "sky": "sky, weather, sun, moon and stars",
    "city": "streets, buildings, squares, sights",
    "indoors": "rooms and what furnishes them",
    "vehicles": "cars, trains, ships, aeroplanes, bicycles",
    "food": "food, drink and cooking",
    "sport": "sport, games of ball, exercise",
    "performance": "music, dance, theatre, festivals",
    "work": "crafts, farms, factories, building sites, offices at work",
    "technology": "computers, telephones, robots, screens",
    "science": "science, medicine, space travel",
    "art": "paintings, drawings, sculpture and those who make them",
    "animation": "cartoons, computer graphics, video games",
    "text": "writing, titles, slides, charts, signs",
    "shapes": "plain or abstract shapes and patterns",
}
"""Name → what belongs to it. Our own list."""

MOST = 4
"""Categories that a caption is given at most."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_FORMAT = re.compile(r"\b(landscape|portrait|square)(?=[ -](video|clip|format|orientation|mode)\b)")
"""The form of a picture is not what it shows."""
_SQUARE = "square"
_PICTURED = frozenset(["shapes", "animation", "art", "text"])
"""Categories in whose company a square is a shape."""
_DRAWN = frozenset("solid hollow outlined filled rotating geometric".split())

SURE = 0.9
"""Score from which on a caption is taken to be in the language that was found."""

CAPTION, LIST = "{caption}", "{categories}"
_FORM = 'Answer with one JSON object and nothing else: {"categories": ["...", ...]}'


def categories_by_rules(text: str | None, language: str | None = None, score: float | None = None) -> list[str]:
    """Categories of an English text, the strongest first; none where no keyword is in it.

    ``language`` and ``score`` are as :func:`curation.captioning.language.detect_language` gives them. A text that is surely not English
    has none: the German "Rock" is a skirt.

    A category's evidence is the number of its different keywords; of equals the one that is named first comes first. What the text
    denies (:mod:`curation.captioning.denials`) is no evidence.
    """
    if language not in (None, "en") and score is not None and score >= SURE:
        return []
    plain = _FORMAT.sub(" ", plain_text(text or ""))
    words = list(_WORD.finditer(plain))
    bases = [singular(word.group().removesuffix("'s")) for word in words]
    denied = denied_words(plain, words)
    terms: dict[str, int] = {}
    skip = False
    for i, base in enumerate(bases):
        phrase = f"{base}_{bases[i + 1]}" if i + 1 < len(bases) else ""
        term = phrase if phrase in _keywords() else base
        if not skip and i not in denied:
            terms.setdefault(term, i)
        skip = not skip and term == phrase
    found: dict[str, list[int]] = {}
    for term, i in terms.items():
        for category in () if term == _SQUARE else _keywords().get(term, ()):
            found.setdefault(category, []).append(i)
    if _SQUARE in terms:
        category = _kind_of_square(bases, found.keys())
        found.setdefault(category, []).append(terms[_SQUARE])
    order = sorted(found, key=lambda c: (-len(found[c]), min(found[c]), list(CATEGORIES).index(c)))
    return order[:MOST]


def _kind_of_square(words: Sequence[str], others: Collection[str]) -> str:
    """A square is a shape after a colour or the like, or in no other company than shapes have; else people walk across it."""
    coloured = any(
        word == _SQUARE and (before in word_set("colours") or before in _DRAWN) for before, word in pairwise(words)
    )
    return "shapes" if coloured or _PICTURED.issuperset(others) else "city"


@functools.cache
def _keywords() -> dict[str, tuple[str, ...]]:
    """Keyword or phrase → its categories."""
    found: dict[str, tuple[str, ...]] = {}
    for category, *words in word_lines("categories"):
        for word in dict.fromkeys(words):
            found[word] = (*found.get(word, ()), category)
    return found


def category_columns(found: Sequence[str] | None, source: str) -> dict[str, Any]:
    """The columns of one clip; None where there is no caption."""
    if found is None:
        return {"category": None, "categories": None, "category_source": None}
    return {"category": found[0] if found else None, "categories": list(found), "category_source": source}


class ChatCategories:
    """Asks a language model. What it does not know how to say in our list, the rules say."""

    def __init__(self, chat: ChatModel, prompt: str) -> None:
        for place in (LIST, CAPTION):
            if place not in prompt:
                prompt = f"{prompt.strip()}\n\n{place}"
        self._chat, self._prompt = chat, prompt
        self._mishaps = Mishaps("categories")

    @property
    def warnings(self) -> Sequence[str]:
        """What went wrong without stopping anything, in words."""
        return self._mishaps.texts()

    async def categorise(self, clip_ids: Sequence[str], captions: Sequence[str | None]) -> list[dict[str, Any]]:
        """The columns of each clip, in order. Equal captions are asked about once."""
        first: dict[str, str] = {}
        for clip_id, caption in zip(clip_ids, captions, strict=True):
            if caption:
                first.setdefault(caption, clip_id)
        listed = "\n".join(f"- {name}: {meaning}" for name, meaning in CATEGORIES.items())
        asks = [
            # The key names the clip, so that the answer is forgotten with it.
            Ask(
                f"{fill(self._prompt, {'categories': listed, 'caption': caption}).strip()}\n\n{_FORM}",
                clip_id,
                want_json=True,
            )
            for caption, clip_id in first.items()
        ]
        answers = await self._chat.ask(asks) if asks else []
        columns: dict[str | None, dict[str, Any]] = {None: category_columns(None, ""), "": category_columns(None, "")}
        for caption, answer in zip(first, answers, strict=True):
            found = self._read(answer.text) if answer.text is not None else None
            by_rules = category_columns(categories_by_rules(caption, *detect_language(caption)), "rules")
            columns[caption] = by_rules if found is None else category_columns(found, self._chat.name)
        return [dict(columns[caption]) for caption in captions]

    def _read(self, text: str) -> list[str] | None:
        """The categories in an answer, those outside the list refused; None where none is left."""
        names = _names(text)
        known = [name for name in names if name in CATEGORIES]
        for name in names:
            if name not in CATEGORIES:
                self._mishaps.add("categories outside the list were refused", name)
        if not known:
            self._mishaps.add("answers named no category of the list, the rules took their place", text)
            return None
        return known[:MOST]


def _names(text: str) -> list[str]:
    """The names in an answer, each once, in order: those of a JSON list, else words between commas and line breaks."""
    for value in json_values(text):
        inner = (
            next((v for v in value.values() if isinstance(v, (list, str))), []) if isinstance(value, dict) else value
        )
        names = [inner] if isinstance(inner, str) else [name for name in inner if isinstance(name, str)]
        if names:
            return list(dict.fromkeys(name.strip().casefold() for name in names))
    names = [name.strip(" .-*\"'`\t").casefold() for name in re.split(r"[,;\n]", without_thought(text))]
    return list(dict.fromkeys(name for name in names if name))[:MOST]
