"""DSG-Video: whether what a caption names is to be seen in the clip. Room: curation.

As the STIV paper defines it (arXiv 2412.07730, its section on the data engine): a language model writes a question for each object of the
caption; a vision-language model answers it on N stills, spread evenly, each shown on its own; an object is *hallucinated* if no still
shows it. ``dsg_i`` = hallucinated objects / objects, ``dsg_s`` = sentences with a hallucinated object / sentences, both 0..1.

Our choices, where the paper is silent: an object is asked for with the colour, kind and material that the caption gives it, so that a
swapped colour is found, too (the numbers are then higher than with bare nouns); all questions of one still go in one call; an object
that was seen is not asked for again, which cannot change the result; one that was not seen is hallucinated only if more than half of
its stills were answered with no; which sentences have an object is told by its words (:mod:`curation.captioning.mentions`). What takes
more than one still to see, such as a direction, is never asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from curation.captioning.contract import ClipFacts, StillRef
from curation.captioning.dsg_reading import Question, read_answers, read_questions
from curation.captioning.mishaps import Mishaps
from curation.captioning.prompts import fill
from curation.captioning.sentences import split_sentences
from curation.evenly import evenly
from schemas.chat import Ask, ChatModel

SENTENCES = "{sentences}"
QUESTIONS = "{questions}"
"""Where the prompts have the sentences of the caption and the questions; without them they follow the prompt."""

_QUESTIONS_FORM = (
    "Answer with one JSON object and nothing else:\n"
    '{"objects": [{"object": "...", "sentence": 1, "question": "Is there ... in the picture?"}, ...]}\n'
    'If the caption names no object, answer {"objects": []}.'
)
_ANSWERS_FORM = (
    'Answer with one JSON object and nothing else, a yes or no for each number: {"1": "yes", "2": "no", ...}'
)

NOTHING: dict[str, Any] = dict.fromkeys(("dsg_i", "dsg_s", "dsg_objects", "dsg_hallucinated", "dsg"))
"""The columns of a clip that was not asked about."""


@dataclass(slots=True)
class _Case:
    """One clip under examination."""

    clip: ClipFacts
    sentences: list[str]
    stills: list[StillRef]
    questions: list[Question] = field(default_factory=list)
    answers: list[list[bool | None]] = field(default_factory=list)
    """Of each question, the answer on each still so far: None where it could not be read. It ends at the first yes."""

    def open(self) -> list[int]:
        """Places of the questions whose object no still has shown yet."""
        return [i for i, answers in enumerate(self.answers) if True not in answers]


class Dsg:
    """Asks about captions. One object serves all batches of a part, which may be under way at once."""

    def __init__(
        self, language: ChatModel, vision: ChatModel, questions_prompt: str, answers_prompt: str, stills: int
    ) -> None:
        """
        Args:
            language: writes the questions.
            vision: answers them.
            stills: that a clip is judged by, at most.
        """
        self._language, self._vision = language, vision
        self._questions_prompt = _with_place(questions_prompt, SENTENCES)
        self._answers_prompt = _with_place(answers_prompt, QUESTIONS)
        self._stills = stills
        self._mishaps = Mishaps("dsg")

    @property
    def warnings(self) -> Sequence[str]:
        """What went wrong without stopping anything, in words."""
        return self._mishaps.texts()

    async def examine(self, clips: Sequence[ClipFacts], captions: Sequence[str | None]) -> list[dict[str, Any]]:
        """The columns ``dsg…`` of the table `checks`, a dictionary for each clip, in order.

        All are NULL where there was nothing to ask about or no questions could be had: no caption, no still, a refusal, questions about
        nothing that the caption names. With an empty list of objects, ``dsg_objects`` is 0 and the shares are NULL.
        """
        cases = {
            i: _Case(clip, split_sentences(caption), evenly(clip.stills, self._stills))
            for i, (clip, caption) in enumerate(zip(clips, captions, strict=True))
            if caption and clip.stills
        }
        cases = {i: case for i, case in cases.items() if case.sentences}
        asked = await self._write_questions(cases)
        await self._look([cases[i] for i in sorted(asked)])
        for i in asked:
            self._note_unknown(cases[i])
        return [judged(cases[i]) if i in asked else dict(NOTHING) for i in range(len(clips))]

    async def _write_questions(self, cases: dict[int, _Case]) -> set[int]:
        """Fill in the questions. Gives the cases that have an answer, be it that there is no object. Equal captions are asked about once."""
        first: dict[tuple[str, ...], int] = {}
        for i, case in cases.items():
            first.setdefault(tuple(case.sentences), i)
        asks = [
            # The key names the clip, so that the answer is forgotten with it.
            Ask(self._question_text(sentences), cases[i].clip.clip_id, want_json=True)
            for sentences, i in first.items()
        ]
        answers = await self._language.ask(asks) if asks else []
        found = {
            sentences: self._read(answer.text, sentences)
            for sentences, answer in zip(first, answers, strict=True)
            if answer.text is not None  # else the chat model counts why
        }
        asked = set()
        for i, case in cases.items():
            questions = found.get(tuple(case.sentences))
            if questions is not None:
                case.questions = questions
                case.answers = [[] for _ in questions]
                asked.add(i)
        return asked

    def _question_text(self, sentences: Sequence[str]) -> str:
        listed = "\n".join(f"{n}. {sentence}" for n, sentence in enumerate(sentences, 1))
        return fill(self._questions_prompt, {"sentences": listed}).strip() + "\n\n" + _QUESTIONS_FORM

    def _read(self, text: str, sentences: Sequence[str]) -> list[Question] | None:
        found = read_questions(text, sentences)
        if found is None:
            self._mishaps.add("lists of questions could not be read", text)
            return None
        if found.listed and not found.questions:
            self._mishaps.add("lists had questions about nothing in the caption", text)
            return None
        for invented in found.invented:
            self._mishaps.add("questions were left out, for their object is not in the caption", invented)
        return found.questions

    async def _look(self, cases: Sequence[_Case]) -> None:
        """Still after still, all clips at once; of each only what was not seen yet."""
        for number in range(self._stills):
            left = [(case, case.open()) for case in cases if number < len(case.stills)]
            left = [(case, places) for case, places in left if places]
            if not left:
                break
            answers = await self._vision.ask([self._still_ask(case, places, number) for case, places in left])
            for (case, places), answer in zip(left, answers, strict=True):
                said = read_answers(answer.text or "", len(places))
                if answer.text is not None and None in said:
                    self._mishaps.add(
                        "answers on a still could not be read", f"clip {case.clip.clip_id}: {answer.text}"
                    )
                for place, yes in zip(places, said, strict=True):
                    case.answers[place].append(yes)

    def _still_ask(self, case: _Case, places: Sequence[int], number: int) -> Ask:
        still = case.stills[number]
        listed = "\n".join(f"{n}. {case.questions[i].question}" for n, i in enumerate(places, 1))
        prompt = fill(self._answers_prompt, {"questions": listed}).strip() + "\n\n" + _ANSWERS_FORM
        return Ask(prompt, f"{case.clip.clip_id}:{still.frame}", (still.read,), want_json=True)

    def _note_unknown(self, case: _Case) -> None:
        for question, answers in zip(case.questions, case.answers, strict=True):
            if _seen(answers) is None:
                self._mishaps.add("objects were left out, for too few answers on them could be read", question.object)


def judged(case: _Case) -> dict[str, Any]:
    """The columns ``dsg…`` of a clip whose questions were answered.

    An object of which :func:`_seen` knows nothing counts neither above nor below the line.
    """
    known = [(question, _seen(answers)) for question, answers in zip(case.questions, case.answers, strict=True)]
    counted = [(question, seen) for question, seen in known if seen is not None]
    missing = [question for question, seen in counted if not seen]
    bad_sentences = {n for question in missing for n in question.sentences}
    return {
        "dsg_i": len(missing) / len(counted) if counted else None,
        "dsg_s": len(bad_sentences) / len(case.sentences) if counted else None,
        "dsg_objects": len(case.questions),
        "dsg_hallucinated": [question.object for question in missing],
        "dsg": _kept(case),
    }


def _seen(answers: Sequence[bool | None]) -> bool | None:
    """Whether any still shows an object: True with one yes, False if more than half of the stills say no, else None, not known.

    One no among stills without a readable answer says little: the object may well be on those.
    """
    if True in answers:
        return True
    return False if 2 * list(answers).count(False) > len(answers) else None


_WORDS = {True: "yes", False: "no", None: "unknown"}


def _kept(case: _Case) -> str:
    """All questions and answers as JSON.

    ``answers`` goes by ``stills`` (frames of the source) and ends where the object was seen; ``seen`` is what they come to.
    """
    held = {
        "sentences": case.sentences,
        "stills": [still.frame for still in case.stills],
        "objects": [
            {
                "object": question.object,
                "sentences": list(question.sentences),
                "question": question.question,
                "answers": [_WORDS[answer] for answer in answers],
                "seen": _WORDS[_seen(answers)],
            }
            for question, answers in zip(case.questions, case.answers, strict=True)
        ],
    }
    return json.dumps(held, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _with_place(prompt: str, place: str) -> str:
    return prompt if place in prompt else f"{prompt.strip()}\n\n{place}"
