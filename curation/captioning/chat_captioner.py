"""Captions from a vision-language model: stills and a prompt in, every wanted style out of one answer. Room: curation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curation.captioning.contract import CaptionText, ClipFacts
from curation.captioning.mishaps import Mishaps
from curation.captioning.prompts import fill
from curation.captioning.styles import UnusableAnswer, read_answer, wants_json, with_form
from curation.evenly import evenly
from schemas.chat import Answer, Ask, ChatModel
from schemas.ids import fingerprint

VERSION = 1
"""Raised when the same answer would give another caption, or the same prompt another question."""


class ChatCaptioner:
    """Shows a chat model a clip's stills. A clip without stills is not asked about: the model would make something up."""

    def __init__(self, name: str, chat: ChatModel, prompt: str, styles: Sequence[str], stills: int) -> None:
        """``stills``: most that the model is shown. ``prompt`` may have the places of :func:`prompt_facts`."""
        self.name = name
        self.fingerprint = "chat-" + fingerprint([VERSION, chat.fingerprint, prompt, list(styles), stills])
        self._chat = chat
        self._prompt = prompt
        self._styles = tuple(styles)
        self._stills = stills
        self._mishaps = Mishaps(name)

    @property
    def warnings(self) -> Sequence[str]:
        return self._mishaps.texts()

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        """One text per clip; None where the model refused, failed, or gave nothing that can be read."""
        shown = [clip for clip in clips if clip.stills]
        answers = await self._chat.ask([self._ask(clip) for clip in shown])
        found = {
            clip.clip_id: read_or_count(answer, self._styles, self._mishaps, clip)
            for clip, answer in zip(shown, answers, strict=True)
        }
        return [found.get(clip.clip_id) for clip in clips]

    def _ask(self, clip: ClipFacts) -> Ask:
        stills = evenly(clip.stills, self._stills)
        return Ask(
            prompt=with_form(fill(self._prompt, prompt_facts(clip, len(stills))), self._styles),
            key=f"{clip.clip_id}:{','.join(str(still.frame) for still in stills)}",
            stills=tuple(still.read for still in stills),
            want_json=wants_json(self._styles),
        )


def read_or_count(answer: Answer, styles: Sequence[str], mishaps: Mishaps, clip: ClipFacts) -> CaptionText | None:
    """The caption in an answer, or None; what cannot be read is counted. Why the model gave no answer, it counts itself."""
    if answer.text is None:
        return None
    try:
        return read_answer(answer.text, styles)
    except UnusableAnswer as error:
        mishaps.add(f"answers {error}", f"clip {clip.clip_id}: {answer.text}")
        return None


def prompt_facts(clip: ClipFacts, stills: int) -> dict[str, str]:
    """What a prompt may say of a clip, by the name that stands in braces; `unknown` where it was not measured.

    `duration` in seconds, `width` and `height` in pixels, `fps`, `camera` (what the camera does, by measurement), `stills` (how many
    are shown) and `source_caption` (what the manifest says of the whole video).
    """
    return {
        "duration": _number(clip.row, "duration_s", 1),
        "width": _number(clip.row, "width", 0),
        "height": _number(clip.row, "height", 0),
        "fps": _number(clip.row, "fps", 2),
        "camera": str(clip.row.get("camera_motion") or "unknown"),
        "stills": str(stills),
        "source_caption": (clip.manifest_caption or "").strip() or "unknown",
    }


def _number(row: Mapping[str, Any], name: str, digits: int) -> str:
    """Rounded, without zeros at its end."""
    value = row.get(name)
    return "unknown" if value is None else f"{round(float(value), digits):g}"
