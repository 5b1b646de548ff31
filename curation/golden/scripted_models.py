"""Chat models that follow a script, for measuring the gate on captions: they know the truth of a golden clip, and err as often as told.

Whether one errs follows from the seed, the clip, the still and the question alone, never from the order of the questions.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Sequence

from curation.captioning.language import detect_language
from curation.captioning.objects import describes, object_words
from curation.golden.captions_set import ClipTruth
from schemas.chat import Answer, Ask, Usage
from schemas.ids import digest

_NUMBERED = re.compile(r"^(\d+)\. (.+)$", re.MULTILINE)
_QUESTION = re.compile(r"Is there (?:an? |the )?(.+) in the picture\?")
_WORD = re.compile(r"[^\W\d_]+")


def chance(*what: object) -> float:
    """A number in 0..1 that follows from ``what`` alone."""
    return int(digest("chance", *map(str, what))[:13], 16) / 16**13


class _Scripted:
    """What both share: a name, a count, and answers one by one."""

    def __init__(self, name: str) -> None:
        self.name = self.fingerprint = name
        self.usage = Usage()

    def _answer(self, ask: Ask) -> str:
        raise NotImplementedError

    async def ask(self, asks: Sequence[Ask], on_answer: Callable[[int, Answer], None] | None = None) -> list[Answer]:
        answers = [Answer(self._answer(ask)) for ask in asks]
        self.usage.asked += len(asks)
        for i, answer in enumerate(answers):
            if on_answer is not None:
                on_answer(i, answer)
        return answers

    async def close(self) -> None:
        """Nothing is open."""


class ScriptedLanguage(_Scripted):
    """Writes a question for each noun with the adjectives before it. It reads English only."""

    def __init__(self, miss: float = 0.0, seed: int = 0) -> None:
        """``miss``: share of objects that it overlooks."""
        super().__init__("scripted language model")
        self._miss, self._seed = miss, seed

    def _answer(self, ask: Ask) -> str:
        objects = []
        seen = set()
        for number, sentence in _NUMBERED.findall(ask.prompt):
            for phrase in noun_phrases(sentence):
                overlooked = chance(self._seed, "miss", ask.key, sentence, phrase) < self._miss
                if phrase not in seen and not overlooked:
                    question = f"Is there a {phrase} in the picture?"
                    objects.append({"object": phrase, "sentence": int(number), "question": question})
                seen.add(phrase)
        return "Here is the list.\n```json\n" + json.dumps({"objects": objects}) + "\n```"


@functools.cache
def noun_phrases(sentence: str) -> tuple[str, ...]:
    """Each noun of an English sentence with the adjectives right before it; none where it speaks of something else than a picture."""
    words = _WORD.findall(sentence.lower())
    if detect_language(sentence)[0] not in (None, "en") or _TALK & set(words):
        return ()
    found: list[str] = []
    adjectives: list[str] = []
    for word in words:
        if word == "background" or object_words(word):
            found.append(" ".join([*adjectives, word]))
        adjectives = [*adjectives, word] if describes(word) or word in _PARTICIPLES else []
    return tuple(found)


_PARTICIPLES = frozenset("smiling parked".split())
_TALK = frozenset("i please video clip image frames request subscribe channel link watch watching rights mp".split())


class ScriptedVision(_Scripted):
    """Says of each question whether the clip's truth has the object with all its adjectives."""

    def __init__(
        self,
        truths: Iterable[ClipTruth],
        wrong: float = 0.0,
        stubborn: float = 0.0,
        unreadable: float = 0.0,
        seed: int = 0,
    ) -> None:
        """
        Args:
            truths: of the clips; a question's key begins with the clip's ``video``.
            wrong: share of single answers (one object, one still) that are the opposite of the truth, each by itself.
            stubborn: share of objects of a clip that are answered wrongly on every still, as by a model that does not know a thing.
            unreadable: share of stills that are answered with talk.
        """
        super().__init__("scripted vision model")
        self._truths = {truth.video: truth for truth in truths}
        self._wrong, self._stubborn, self._unreadable, self._seed = wrong, stubborn, unreadable, seed

    def _answer(self, ask: Ask) -> str:
        video = ask.key.partition(":")[0]
        truth = self._truths[video]
        if chance(self._seed, "talk", ask.key, ask.prompt) < self._unreadable:
            return "It is hard to tell from this picture alone."
        answers = {}
        for number, question in _NUMBERED.findall(ask.prompt):
            phrase = _QUESTION.search(question)
            right = phrase is not None and is_shown(truth, phrase[1])
            flipped = chance(self._seed, "wrong", ask.key, question) < self._wrong
            blind = chance(self._seed, "stubborn", video, question) < self._stubborn
            answers[number] = "yes" if right != (flipped or blind) else "no"
        return json.dumps(answers)


_COLOURLESS = frozenset("single simple plain".split())


def is_shown(truth: ClipTruth, phrase: str) -> bool:
    """Whether a clip shows a thing: a noun with adjectives before it, all of which must hold."""
    *adjectives, noun = phrase.lower().split()
    *ground_adjectives, _ = truth.ground_words
    known = {
        truth.shape: {truth.colour},
        **{thing: set() for thing in truth.things},
        "animation": set(),
        "background": set(ground_adjectives),
        **({"wall": set(ground_adjectives)} if "wall" in truth.ground_words else {}),
    }
    return noun in known and set(adjectives) <= known[noun] | _COLOURLESS
