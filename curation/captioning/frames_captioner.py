"""Captions from pictures one by one: a vision model describes each still, a language model merges what it said. Room: curation.

STIV's baseline FCapLLM (arXiv 2412.07730, section on the data engine), for models that take one picture at a time. The paper found
it to hallucinate more than captions of the whole clip: 24.0 against 15.0 percent of sentences (DSG-Video_s).
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.captioning.chat_captioner import prompt_facts, read_or_count
from curation.captioning.contract import CaptionText, ClipFacts, StillRef
from curation.captioning.mishaps import Mishaps
from curation.captioning.prompts import fill
from curation.captioning.styles import wants_json, with_form
from curation.evenly import evenly
from schemas.chat import Ask, ChatModel
from schemas.ids import fingerprint

VERSION = 1
"""Raised when the same answers would give another caption, or the same prompts other questions."""

FRAMES = "{frames}"
"""Where the merger's prompt has the descriptions of the stills; without it they follow the prompt."""


class FramesCaptioner:
    """Asks about every still by itself, then for one caption of them all. Stills without an answer are left out."""

    name = "frames+llm"

    def __init__(
        self,
        vision: ChatModel,
        language: ChatModel,
        frame_prompt: str,
        merge_prompt: str,
        styles: Sequence[str],
        stills: int,
    ) -> None:
        """``stills``: most of a clip that are described. Prompts may have the places of :func:`prompt_facts`."""
        self.fingerprint = "frames-" + fingerprint(
            [VERSION, vision.fingerprint, language.fingerprint, frame_prompt, merge_prompt, list(styles), stills]
        )
        self._vision = vision
        self._language = language
        self._frame_prompt = frame_prompt
        self._merge_prompt = merge_prompt if FRAMES in merge_prompt else f"{merge_prompt.strip()}\n\n{FRAMES}"
        self._styles = tuple(styles)
        self._stills = stills
        self._mishaps = Mishaps(self.name)

    @property
    def warnings(self) -> Sequence[str]:
        return self._mishaps.texts()

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        """One text per clip; None where no still was described, or the descriptions were not merged."""
        shown = [(clip, still) for clip in clips for still in evenly(clip.stills, self._stills)]
        answers = await self._vision.ask([self._ask_still(clip, still) for clip, still in shown])
        said: dict[str, list[str]] = {}
        for (clip, still), answer in zip(shown, answers, strict=True):
            text = read_or_count(answer, ("long",), self._mishaps, clip)
            if text is not None:
                said.setdefault(clip.clip_id, []).append(f"{_when(clip, still)}: {text.caption}")
        described = [clip for clip in clips if clip.clip_id in said]
        merged = await self._language.ask([self._ask_merger(clip, said[clip.clip_id]) for clip in described])
        found = {
            clip.clip_id: read_or_count(answer, self._styles, self._mishaps, clip)
            for clip, answer in zip(described, merged, strict=True)
        }
        return [found.get(clip.clip_id) for clip in clips]

    def _ask_still(self, clip: ClipFacts, still: StillRef) -> Ask:
        prompt = with_form(fill(self._frame_prompt, prompt_facts(clip, 1)), ("long",))
        return Ask(prompt, f"{clip.clip_id}:{still.frame}", (still.read,))

    def _ask_merger(self, clip: ClipFacts, said: Sequence[str]) -> Ask:
        facts = {**prompt_facts(clip, len(said)), "frames": "\n".join(said)}
        prompt = with_form(fill(self._merge_prompt, facts), self._styles)
        return Ask(prompt, clip.clip_id, want_json=wants_json(self._styles))


def _when(clip: ClipFacts, still: StillRef) -> str:
    """When in the clip a still was taken, in seconds; its frame where the rate is not known."""
    start, fps = clip.row.get("start_frame"), clip.row.get("fps")
    if start is None or not fps:
        return f"Frame {still.frame}"
    return f"At {(still.frame - start) / fps:.1f} s"
