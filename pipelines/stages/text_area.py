"""How much of a clip's stills is under text: what a child process does for the stage `features`.

In: where JPEGs lie in a part's stills tar. Out: rows of the table `text`. The picture counts without its black bars.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from curation.signals.crop import Crop
from curation.storage import Store
from models.text_detector.detector import TextDetector


@dataclass(frozen=True)
class Look:
    """One clip to look at."""

    clip_id: str
    stills: tuple[tuple[int, int], ...]
    """(offset, size) in bytes of each JPEG in the tar."""
    crop: Crop


@dataclass(frozen=True)
class Found:
    """What came of some clips."""

    rows: list[dict[str, Any]]
    stills: int
    cpu_s: float


def look(uri: str, tar: str, clips: Sequence[Look], long_side: int, min_score: float) -> Found:
    """Look at clips whose stills lie in one tar of the corpus at ``uri``."""
    detector, store = _detector(long_side, min_score), Store(uri)
    began = time.process_time()
    rows = []
    for clip in clips:
        pictures = [_picture(store.read_range(tar, offset, size), clip.crop) for offset, size in clip.stills]
        rows.append(text_row(clip.clip_id, [detector.area(p) for p in pictures if p is not None]))
    return Found(rows, sum(row["text_stills"] for row in rows), time.process_time() - began)


def text_row(clip_id: str, areas: Sequence[float]) -> dict[str, Any]:
    """A row of `text`, from the share of each still that was looked at."""
    return {
        "clip_id": clip_id,
        "text_area": sum(areas) / len(areas) if areas else None,
        "text_area_max": max(areas, default=None),
        "text_stills": len(areas),
    }


def to_look(row: dict[str, Any], most: int) -> Look:
    """What to look at of a clip: at most so many of its stills, spread evenly. ``row`` is the clip's of `clips`."""
    placed = list(zip(row["stills_offset"] or [], row["stills_size"] or [], strict=True))
    wanted = min(most, len(placed))
    chosen = tuple(placed[(2 * i + 1) * len(placed) // (2 * wanted)] for i in range(wanted))
    return Look(row["clip_id"], chosen, _crop(row))


def _crop(row: dict[str, Any]) -> Crop:
    def share(side: str, length: str) -> float:
        return float((row[side] or 0) / row[length])

    return Crop(
        share("bar_left", "width"),
        share("bar_top", "height"),
        share("bar_right", "width"),
        share("bar_bottom", "height"),
    )


def _picture(jpeg: bytes, crop: Crop) -> np.ndarray | None:
    """(h, w, 3) uint8 BGR, None where the JPEG is damaged."""
    try:
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes at all, or a header that asks for a picture beyond all measure
        return None
    if picture is None:
        return None
    left, top, right, bottom = crop.box(picture.shape[1], picture.shape[0])
    return np.ascontiguousarray(picture[top:bottom, left:right])


@functools.cache
def _detector(long_side: int, min_score: float) -> TextDetector:
    """Loaded once in a process."""
    return TextDetector(long_side, min_score)
