"""Captions without a model: plain English for what was measured, and nothing else. Never a word on what is to be seen.

The words for each measured column are in the tables below; a value belongs to the first row whose limit is above it. An
empty word says nothing. The limits are our choice, save those for colourfulness, which follow Hasler and Süsstrunk
("Measuring colourfulness in natural images", 2003, table 2: 15 slightly, 33 moderately, 59 quite, 82 highly colourful).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from curation.captioning.colours import colour_shares, dominant_colours
from curation.captioning.contract import CaptionText, ClipFacts
from curation.evenly import evenly

Words = tuple[tuple[float, str], ...]

MOTION: Words = (
    (0.2, "almost no movement"),
    (2.0, "little movement"),
    (10.0, "moderate movement"),
    (40.0, "much movement"),
    (math.inf, "very fast movement"),
)
"""``motion``,% of the diagonal per second. The first limit is that of the rule `still` in the default recipe."""
LIGHT: Words = (
    (0.08, "very dark"),
    (0.25, "dark"),
    (0.6, "moderately bright"),
    (0.8, "bright"),
    (math.inf, "very bright"),
)
"""``brightness``, 0..1."""
CONTRAST: Words = ((0.2, "low"), (0.6, "medium"), (math.inf, "high"))
"""``contrast``, 0..1; a picture with all grey levels equally often has 0.58."""
COLOUR: Words = (
    (5.0, "hardly any colour"),
    (15.0, "faint colours"),
    (33.0, "muted colours"),
    (59.0, "moderate colours"),
    (82.0, "strong colours"),
    (math.inf, "very strong colours"),
)
"""``colourfulness``, the M3 measure."""
SHARPNESS: Words = ((0.1, "blurred"), (0.3, "soft"), (0.6, ""), (math.inf, "sharp"))
"""``sharpness``, 0..1. The first limit is that of the rule `blurred` in the default recipe."""

CAMERA = {"static": "is still", "pan": "pans", "tilt": "tilts", "zoom": "zooms", "roll": "rolls", "shake": "shakes"}
"""``camera_motion``: what the camera does."""

_DOUBTFUL_RESIDUAL = 0.4
"""``motion_residual``. Where the camera's motion leaves more than this, things move, too: what it does is not said."""
_STATIC_FROM = 0.5
_BLACK_FROM = 0.05
_BARS_FROM = 0.01
_TEXT_FROM = 0.01
"""Smaller shares are not worth a sentence."""
_STILLS = 4
"""Stills looked at for colours, spread evenly over the clip."""


def _word(words: Words, value: float) -> str:
    return next(word for limit, word in words if value < limit or limit == math.inf)


def _measured(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    return None if value is None else float(value)


class DescribeCaptioner:
    """Says length, shape, movement, light and colours of any clip. Unmeasured facts are left out; there is always a text."""

    name = "describe"
    fingerprint = "describe-3"
    warnings: Sequence[str] = ()

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        """One text per clip, about the clip. OSError from reading a still is let through."""
        return [_describe(clip) for clip in clips]


def _describe(clip: ClipFacts) -> CaptionText:
    facts = describe_facts(clip.row)
    colours = _colours(clip)
    if colours:
        facts["colours"] = list(colours)
    return CaptionText(
        caption=" ".join(_sentences(facts)),
        short=_short(facts),
        structured=json.dumps(facts, ensure_ascii=False),
        scope="clip",
    )


def describe_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """The measured facts of a clip in words and rounded numbers, in a fixed order; only those that were measured."""
    facts: dict[str, Any] = {}
    width, height, seconds = (_measured(row, name) for name in ("width", "height", "duration_s"))
    if width is not None and height is not None:
        facts["shape"] = "square" if width == height else "landscape" if width > height else "portrait"
    if seconds is not None:
        facts["seconds"] = round(seconds) if seconds >= 1 else round(seconds, 1)
    residual = _measured(row, "motion_residual")
    doubtful = row.get("camera_motion") != "static" and residual is not None and residual > _DOUBTFUL_RESIDUAL
    if row.get("camera_motion") in CAMERA and not doubtful:
        facts["camera"] = row["camera_motion"]
    for name, column, words in (
        ("movement", "motion", MOTION),
        ("light", "brightness", LIGHT),
        ("contrast", "contrast", CONTRAST),
        ("colour", "colourfulness", COLOUR),
        ("sharpness", "sharpness", SHARPNESS),
    ):
        value = _measured(row, column)
        if value is not None and _word(words, value):
            facts[name] = _word(words, value)
    for name, column, least in (
        ("still_percent", "static_share", _STATIC_FROM),
        ("black_percent", "black_share", _BLACK_FROM),
        ("bars_percent", "bar_share", _BARS_FROM),
        ("text_percent", "text_area", _TEXT_FROM),
    ):
        share = _measured(row, column)
        if share is not None and share >= least:
            facts[name] = round(100 * share)
    if "bars_percent" in facts:
        facts["bars_at"] = [side for side in ("top", "bottom", "left", "right") if row.get(f"bar_{side}")]
    return facts


def _colours(clip: ClipFacts) -> tuple[str, ...]:
    chosen = evenly(clip.stills, _STILLS)
    return dominant_colours(colour_shares([still.read() for still in chosen], _bars(clip.row)))


def _bars(row: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Shares of height, height, width and width under bars; zero where they were not measured."""
    width, height = row.get("width") or 1, row.get("height") or 1
    top, bottom, left, right = (row.get(f"bar_{side}") or 0 for side in ("top", "bottom", "left", "right"))
    return top / height, bottom / height, left / width, right / width


def _sentences(facts: Mapping[str, Any]) -> list[str]:
    """Bars are a fact of the source's picture, but no sentence: an export may cut them off."""
    shape = f"{facts['shape']} " if "shape" in facts else ""
    length = f" of about {_seconds(facts['seconds'])}" if "seconds" in facts else ""
    movement = f" with {facts['movement']}" if "movement" in facts else ""
    said = [f"A {shape}video clip{length}{movement}."]
    if "camera" in facts:
        said.append(f"The camera {CAMERA[facts['camera']]}.")
    looks = [facts[name] for name in ("light", "sharpness") if name in facts]
    rest = [f"{facts['contrast']} contrast"] if "contrast" in facts else []
    rest += [facts["colour"]] if "colour" in facts else []
    if looks or rest:
        said.append(f"The picture {_is_and_has(looks, rest)}.")
    if "colours" in facts:
        said.append(f"Most of it is {_list(facts['colours'])}.")
    if "text_percent" in facts:
        said.append(f"Text covers about {facts['text_percent']}% of the picture.")
    if "still_percent" in facts:
        said.append(f"Nothing changes for about {facts['still_percent']}% of the time.")
    if "black_percent" in facts:
        said.append(f"It is black for about {facts['black_percent']}% of the time.")
    return said


def _is_and_has(looks: list[str], rest: list[str]) -> str:
    if not looks:
        return f"has {_list(rest)}"
    return f"is {_list(looks)}" + (f", with {_list(rest)}" if rest else "")


def _short(facts: Mapping[str, Any]) -> str:
    adjectives = [facts[name] for name in ("light", "shape") if name in facts]
    movement = f" with {facts['movement']}" if "movement" in facts else ""
    return f"{' '.join(['A', *adjectives, 'video clip'])}{movement}."


def _seconds(seconds: float) -> str:
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def _list(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
