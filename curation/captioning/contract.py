"""The captioner's contract: facts and stills of clips in, texts out, a batch at a time.

A captioner knows nothing of tables, storage or processes. One that asks a server or a model sends the whole batch at once
and may answer None for any clip: the next captioner of the recipe is then asked, for those clips only. Several batches of a
part are under way at once, so that a server is kept busy.
"""

from __future__ import annotations

import json
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

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        """One text per clip, in order; None where it has none. Raises only what should stop or repeat the part."""


class Restyler(Protocol):
    """Anything that puts captions in other words."""

    @property
    def warnings(self) -> Sequence[str]:
        """What went wrong so far without stopping anything, in words."""

    async def rewrite(self, captions: Sequence[str], clip_ids: Sequence[str]) -> list[str | None]:
        """One text per caption, in order, with the clip it is of; None where the caption should stay as it is."""

    def adds_nothing(self, caption: str, text: str) -> bool:
        """Whether another text about the same clip says nothing that its caption, as it was before, does not."""


async def caption_clips(
    clips: Sequence[ClipFacts], captioners: Sequence[Captioner], max_chars: int, restyler: Restyler | None = None
) -> list[dict[str, object]]:
    """Rows of ``schemas.tables.CAPTIONS``, one per clip, in order. The first captioner that has a text writes the row.

    Captions are made one paragraph of at most ``max_chars`` characters, cut at a word; then ``restyler`` may put them in other
    words. What it puts in their place is held to the caption; so are then the short and the structured text, which are left out
    where they add something. Raises ValueError where a captioner breaks the contract by answering for another number of clips.
    """
    found: list[tuple[Captioner, CaptionText] | None] = [None] * len(clips)
    for captioner in captioners:
        empty = [i for i, text in enumerate(found) if text is None]
        if not empty:
            break
        answers = await captioner.caption([clips[i] for i in empty])
        if len(answers) != len(empty):
            raise ValueError(f"captioner `{captioner.name}` gave {len(answers)} texts for {len(empty)} clips")
        for i, answer in zip(empty, answers, strict=True):
            if answer is not None and clean_text(answer.caption):
                found[i] = (captioner, answer)
    captions = [_cut(text[1].caption, max_chars) if text is not None else None for text in found]
    restyled: list[str | None] = [None] * len(clips)
    given = [i for i, caption in enumerate(captions) if caption is not None]
    if restyler is not None and given:
        texts = await restyler.rewrite([captions[i] or "" for i in given], [clips[i].clip_id for i in given])
        for i, other in zip(given, texts, strict=True):
            restyled[i] = _cut(other, max_chars) if other is not None else None
    return [
        _row(clip.clip_id, text, caption, other, max_chars, restyler)
        for clip, text, caption, other in zip(clips, found, captions, restyled, strict=True)
    ]


def _cut(text: str, max_chars: int) -> str:
    return cut_at_word(clean_text(text), max_chars)


def _row(
    clip_id: str,
    found: tuple[Captioner, CaptionText] | None,
    caption: str | None,
    restyled: str | None,
    max_chars: int,
    restyler: Restyler | None,
) -> dict[str, object]:
    captioner, text = found if found is not None else (None, None)
    original = caption if restyled and restyled != caption else None
    short = _cut(text.short, max_chars) if text is not None and text.short is not None else None
    structured = text.structured if text is not None else None
    if original is not None and restyler is not None:
        short = short if short and restyler.adds_nothing(original, short) else None
        structured = structured if structured and restyler.adds_nothing(original, _texts_in(structured)) else None
    said = restyled or caption
    measured = measure_text(said)
    return {
        "clip_id": clip_id,
        "caption": said,
        "caption_short": short or None,
        "caption_structured": structured,
        "caption_original": original,
        "captioner": captioner.name if captioner is not None else None,
        "captioner_fingerprint": captioner.fingerprint if captioner is not None else None,
        "caption_scope": text.scope if text is not None else None,
        "caption_words": measured.words,
        "caption_repetition": measured.repetition,
        "caption_script": measured.script,
        "caption_script_share": measured.script_share,
    }


def _texts_in(structured: str) -> str:
    """All texts among the values of a JSON object, one to a line; its keys say nothing of the clip. Broken JSON is its own text."""
    try:
        left = [json.loads(structured)]
    except ValueError:
        return structured
    texts: list[str] = []
    while left:
        value = left.pop(0)
        if isinstance(value, (dict, list)):
            left[:0] = list(value.values()) if isinstance(value, dict) else value
        elif value is not None and not isinstance(value, bool):
            texts.append(str(value))
    return "\n".join(texts)
