"""Scores and tags by plug-ins: clips in, rows of the table `scores` out. Room: curation.

A plug-in that fails on a clip, or gives what is no number or text, costs that clip this score, never the run.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from curation.captioning.contract import ClipFacts
from curation.captioning.mishaps import Mishaps
from curation.plugins import SCORERS, TAGGERS, Plugin

BATCH = 32
"""Clips that a plug-in with a method for many is given at once, where it has no ``batch`` of its own."""


class Scorer(Protocol):
    """Numbers for a clip. One of the methods is enough."""

    fingerprint: str
    """Changes when the numbers would."""

    def score(self, clip: ClipFacts) -> Mapping[str, float]:
        """Aspect → number; the aspect may be empty. Not a number, or infinity: left out."""

    def score_batch(self, clips: Sequence[ClipFacts]) -> Sequence[Mapping[str, float]]:
        """The same for several clips at once, in order."""


class Tagger(Protocol):
    """Words for a clip. One of the methods is enough."""

    fingerprint: str
    """Changes when the tags would."""

    def tag(self, clip: ClipFacts) -> Sequence[str]:
        """Tags, in an order of its own."""

    def tag_batch(self, clips: Sequence[ClipFacts]) -> Sequence[Sequence[str]]:
        """The same for several clips at once, in order."""


def score_clips(clips: Sequence[ClipFacts], plugins: Iterable[Plugin]) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of ``schemas.tables.SCORES``, one per clip, in order; and what went wrong, in words."""
    scores: list[dict[str, float]] = [{} for _ in clips]
    tags: list[dict[str, None]] = [{} for _ in clips]
    warnings: list[str] = []
    for plugin in plugins:
        mishaps = Mishaps(plugin.name)
        given = _given(plugin, clips, mishaps)
        for clip, answer, numbered, tagged in zip(clips, given, scores, tags, strict=True):
            try:
                if plugin.group == SCORERS:
                    numbered.update(_numbers(plugin.name, clip, answer, mishaps))
                else:
                    tagged.update(dict.fromkeys(_words(plugin.name, answer)))
            except (TypeError, ValueError, AttributeError) as error:
                mishaps.add("gave what cannot be used, the clip is without it", f"clip {clip.clip_id}: {error}")
        warnings += mishaps.texts()
    rows = [
        {"clip_id": clip.clip_id, "user_scores": sorted(numbered.items()), "user_tags": list(tagged)}
        for clip, numbered, tagged in zip(clips, scores, tags, strict=True)
    ]
    return rows, warnings


def _given(plugin: Plugin, clips: Sequence[ClipFacts], mishaps: Mishaps) -> list[Any]:
    """What a plug-in says of each clip, None where it failed."""
    verb = {SCORERS: "score", TAGGERS: "tag"}[plugin.group]
    many = getattr(plugin.made, f"{verb}_batch", None)
    if many is None:
        one = getattr(plugin.made, verb)
        return [_try(lambda clip=clip: one(clip), clip, mishaps) for clip in clips]
    size = max(1, int(getattr(plugin.made, "batch", BATCH)))
    given: list[Any] = []
    for start in range(0, len(clips), size):
        given += _many(many, clips[start : start + size], mishaps)
    return given


def _many(many: Any, clips: Sequence[ClipFacts], mishaps: Mishaps) -> list[Any]:
    """Answers for a batch; where it fails as a whole, each clip goes by itself, so that one bad clip costs no other its score."""
    try:
        return _as_many(many(clips), len(clips))
    except Exception as error:  # whatever somebody else's code may raise
        if len(clips) == 1:
            _failed(error, clips[0], mishaps)
            return [None]
    return [_try(lambda clip=clip: _as_many(many([clip]), 1)[0], clip, mishaps) for clip in clips]


def _as_many(answers: Iterable[Any], count: int) -> list[Any]:
    found = list(answers)
    if len(found) != count:
        raise ValueError(f"{len(found)} answers for {count} clips")
    return found


def _try(call: Any, clip: ClipFacts, mishaps: Mishaps) -> Any:
    try:
        return call()
    except Exception as error:  # whatever somebody else's code may raise
        _failed(error, clip, mishaps)
        return None


def _failed(error: Exception, clip: ClipFacts, mishaps: Mishaps) -> None:
    mishaps.add("failed, the clip is without it", f"clip {clip.clip_id}: {type(error).__name__}: {error}")


def _numbers(name: str, clip: ClipFacts, answer: Any, mishaps: Mishaps) -> dict[str, float]:
    found: dict[str, float] = {}
    for aspect, value in (answer or {}).items():
        if not isinstance(aspect, str) or not isinstance(value, numbers.Real):
            raise TypeError(f"{aspect!r}: {value!r} is no name with a number")
        number = float(value)
        if not math.isfinite(number):
            mishaps.add(
                "gave what is no finite number, it is left out", f"clip {clip.clip_id}: {aspect or name} = {number}"
            )
            continue
        found[f"{name}.{aspect}" if aspect else name] = number
    return found


def _words(name: str, answer: Any) -> list[str]:
    if isinstance(answer, str) or any(not isinstance(tag, str) for tag in answer or ()):
        raise TypeError(f"{answer!r} is no sequence of texts")
    return [f"{name}.{tag}" for tag in answer or () if tag]
