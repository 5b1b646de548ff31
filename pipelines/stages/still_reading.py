"""Stills of clips, found, read and decoded for whatever looks at them: text search, embedders.

In: rows of `clips`, and a part's stills tar. Out: pictures without their black bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from curation.evenly import evenly
from curation.signals.crop import Crop
from curation.storage import Store


@dataclass(frozen=True)
class Look:
    """One clip to look at."""

    clip_id: str
    stills: tuple[tuple[int, int], ...]
    """(offset, size) in bytes of each JPEG in the tar."""
    crop: Crop


@dataclass(frozen=True)
class Found:
    """What a child found in some clips."""

    rows: list[dict[str, Any]]
    stills: int
    cpu_s: float


def to_look(row: dict[str, Any], most: int) -> Look:
    """What to look at of a clip: at most so many of its stills, spread evenly. ``row`` is the clip's of `clips`."""
    placed = list(zip(row["stills_offset"] or [], row["stills_size"] or [], strict=True))
    return Look(row["clip_id"], tuple(evenly(placed, most)), crop_of(row))


def crop_of(row: dict[str, Any]) -> Crop:
    """The black bars of a clip, from its row of `clips`."""

    def share(side: str, length: str) -> float:
        return float((row[side] or 0) / row[length])

    return Crop(
        share("bar_left", "width"),
        share("bar_top", "height"),
        share("bar_right", "width"),
        share("bar_bottom", "height"),
    )


def read_still(store: Store, tar: str, place: tuple[int, int], crop: Crop) -> np.ndarray | None:
    """The still at (offset, size) of a tar, without its bars: (h, w, 3) uint8 BGR; None where the JPEG is damaged."""
    return picture(store.read_range(tar, *place), crop)


def picture(jpeg: bytes, crop: Crop) -> np.ndarray | None:
    """(h, w, 3) uint8 BGR, None where the JPEG is damaged."""
    try:
        found = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes at all, or a header that asks for a picture beyond all measure
        return None
    if found is None:
        return None
    left, top, right, bottom = crop.box(found.shape[1], found.shape[0])
    return np.ascontiguousarray(found[top:bottom, left:right])
