"""The captioner's contract: facts and stills of clips in, texts out, a batch at a time.

A captioner knows nothing of tables, storage or processes. One that asks a server or a model sends the whole batch at once
and may answer None for any clip: the next captioner of the recipe is then asked, for those clips only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from curation.captioning.text import clean_text, cut_at_word, measure_text


@dataclass(frozen=True, slots=True)
class StillRef:
    """A still that is read when it is needed. ``read`` gives its JPEG bytes, or raises OSError."""

    frame: int
    """Frame of the source, decoded frames counted from 0."""
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """All that a captioner may know of a clip."""

    clip_id: str
    source_uri: str
    rel_path: str
    manifest_caption: str | None
    """What the manifest says of the whole source."""
    row: Mapping[str, Any]
    """Columns of ``clips`` bare, those of ``sources`` with ``source_`` before them. A missing or None value is unmeasured."""
    stills: Sequence[StillRef]
    """In order of time; may be empty."""


@dataclass(frozen=True, slots=True)
class CaptionText:
    """What a captioner says of one clip."""

    caption: str
    short: str | None = None
    """One sentence or less."""
    structured: str | None = None
    """JSON object with named aspects."""
    scope: Literal["clip", "source"] = "clip"
    """Whether the text is about this clip, or about the whole source."""


class Captioner(Protocol):
    """Anything that writes captions."""

    @property
    def name(self) -> str:
        """Written into the column ``captioner``."""

    @property
    def fingerprint(self) -> str:
        """Name and version of the algorithm or model: equal fingerprints and equal facts mean reusable texts."""

    @property
    def warnings(self) -> Sequence[str]:
        """What went wrong so far without stopping anything, in words: a side-car file that is broken, an answer refused."""

    def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        """One text per clip, in order; None where it has none. Raises only what should stop or repeat the part."""


def caption_clips(
    clips: Sequence[ClipFacts], captioners: Sequence[Captioner], max_chars: int
) -> list[dict[str, object]]:
    """Rows of ``schemas.tables.CAPTIONS``, one per clip, in order. The first captioner that has a text writes the row.

    Captions are made one paragraph of at most ``max_chars`` characters, cut at a word. Raises ValueError where a captioner
    breaks the contract by answering for another number of clips.
    """
    found: list[tuple[str, CaptionText] | None] = [None] * len(clips)
    for captioner in captioners:
        empty = [i for i, text in enumerate(found) if text is None]
        if not empty:
            break
        answers = captioner.caption([clips[i] for i in empty])
        if len(answers) != len(empty):
            raise ValueError(f"captioner `{captioner.name}` gave {len(answers)} texts for {len(empty)} clips")
        for i, answer in zip(empty, answers, strict=True):
            if answer is not None and clean_text(answer.caption):
                found[i] = (captioner.name, answer)
    return [_row(clip.clip_id, text, max_chars) for clip, text in zip(clips, found, strict=True)]


def _row(clip_id: str, found: tuple[str, CaptionText] | None, max_chars: int) -> dict[str, object]:
    name, text = found if found is not None else (None, None)
    caption = cut_at_word(clean_text(text.caption), max_chars) if text is not None else None
    short = cut_at_word(clean_text(text.short), max_chars) if text is not None and text.short is not None else None
    measured = measure_text(caption)
    return {
        "clip_id": clip_id,
        "caption": caption,
        "caption_short": short or None,
        "caption_structured": text.structured if text is not None else None,
        "captioner": name,
        "caption_scope": text.scope if text is not None else None,
        "caption_words": measured.words,
        "caption_repetition": measured.repetition,
        "caption_script": measured.script,
        "caption_script_share": measured.script_share,
    }
