"""Captioners from outside as the engine uses them: one batch at a time, and dear texts kept. Room: curation.

In: what a package made, and where answers are kept. Out: a captioner like any other.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from curation.captioning.contract import CaptionText, ClipFacts
from curation.plugins import Plugin
from schemas.chat import Unanswered
from schemas.errors import StivError
from schemas.ids import canonical


class Keeps(Protocol):
    """Where texts that were dear to make are kept; :class:`curation.answers.KeptAnswers` is one."""

    def get(self, key: str) -> dict[str, Any] | None: ...

    def put(self, key: str, answer: dict[str, Any], of: str) -> None: ...


class OutsideCaptioner:
    """A package's captioner. Where it is told to keep texts, no clip is captioned by it twice.

    That a clip has no text is not kept: a run that finds its part not committed asks about it again, for the reason may have passed.
    """

    def __init__(self, plugin: Plugin, keeps: Keeps | None = None) -> None:
        self.name = plugin.name
        self.fingerprint = plugin.fingerprint
        self._plugin = plugin
        self._keeps = keeps
        self._told = len(getattr(plugin.made, "warnings", ()))
        # A package need not be ready for several batches at once.
        self._turn = asyncio.Lock()

    @property
    def warnings(self) -> Sequence[str]:
        """What it said since this object was made: the package's own is used for many parts."""
        return [str(text) for text in getattr(self._plugin.made, "warnings", ())[self._told :]]

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        """One text per clip; None where it has none.

        Raises:
            StivError: the package's code failed, or did not answer with one text per clip.
            Unanswered: it said of some clips that they have no text for a reason that may pass; what it made for others is kept.
        """
        kept = [self._kept(clip) for clip in clips]
        asked = [clip for clip, text in zip(clips, kept, strict=True) if text is None]
        fresh = iter(await self._ask(asked) if asked else ())
        return [text if text is not None else next(fresh) for text in kept]

    async def _ask(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        try:
            async with self._turn:
                answers = list(await self._plugin.made.caption(clips))
        except (StivError, Unanswered):
            raise
        except Exception as error:  # whatever somebody else's code may raise
            raise self._failed(f"{type(error).__name__}: {error}") from error
        if len(answers) != len(clips):
            raise self._failed(f"it gave {len(answers)} texts for {len(clips)} clips")
        for clip, answer in zip(clips, answers, strict=True):
            if isinstance(answer, CaptionText):
                if self._keeps is not None:
                    self._keeps.put(clip.clip_id, dataclasses.asdict(answer), clip.clip_id)
            elif answer is not None and not isinstance(answer, Unanswered):
                raise self._failed(f"it gave a {type(answer).__name__} where a CaptionText or None belongs")
        if lacking := [answer for answer in answers if isinstance(answer, Unanswered)]:
            raise Unanswered.together(lacking)
        return answers

    def _kept(self, clip: ClipFacts) -> CaptionText | None:
        answer = self._keeps.get(clip.clip_id) if self._keeps is not None else None
        return CaptionText(**answer) if answer is not None else None

    def _failed(self, why: str) -> StivError:
        return StivError(
            f"The captioner `{self.name}` of {self._plugin.package} failed: {why}.",
            fix="Mend that package, or leave its name out of captions.captioners; then run the same command again.",
        )


def kept_as(plugin: Plugin) -> str | None:
    """What its texts are kept under: another prompt gives other texts. None for one that says ``dear = False``: they cost nothing."""
    if not getattr(plugin.made, "dear", True):
        return None
    return canonical(["captioner", plugin.name, plugin.fingerprint, plugin.settings])
