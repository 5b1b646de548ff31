"""Copies as they are found in the wild, made from the pictures of a video: what a search for duplicates must find.

Each is a function of all pictures ((h, w, 3) uint8 RGB) and their rate; :data:`COPIES` also says how the result is encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from curation.golden import draw

Pictures = list[np.ndarray]

SHIFT_S = 0.3
"""How much later than the original the copy `shifted` begins, in seconds; it ends with the original."""
CROP = 0.05
"""Share of the width and of the height that the copy `cropped` lacks, half of it on each side."""
LOGO = 0.03
"""Share of the picture under the logo of the copy `watermarked`."""


@dataclass(frozen=True)
class Copy:
    """One kind of copy."""

    make: Callable[[Sequence[np.ndarray], float], Pictures]
    """(pictures, frames per second) → pictures."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of :func:`curation.golden.encode.encode`."""


def same(pictures: Sequence[np.ndarray], _: float) -> Pictures:
    return list(pictures)


def resized(pictures: Sequence[np.ndarray], _: float) -> Pictures:
    """Half as wide and half as high."""
    height, width = pictures[0].shape[:2]
    return [cv2.resize(p, (_even(width / 2), _even(height / 2)), interpolation=cv2.INTER_AREA) for p in pictures]


def letterboxed(pictures: Sequence[np.ndarray], _: float) -> Pictures:
    """Black bars of an eighth of the height above and below, put around the whole picture."""
    bar = _even(pictures[0].shape[0] / 8)
    return [cv2.copyMakeBorder(p, bar, bar, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0)) for p in pictures]


def watermarked(pictures: Sequence[np.ndarray], _: float) -> Pictures:
    """A logo, mostly opaque, in the upper right corner: white letters on a dark box."""
    height, width = pictures[0].shape[:2]
    area = LOGO * width * height
    box_width = round(np.sqrt(2.5 * area))
    box_height = round(area / box_width)
    box = (width - box_width - width // 40, height // 40, box_width, box_height)
    return [draw.mix(p, draw.text_box(p, box, "LOGO TV", ground=(20, 30, 90)), 0.8) for p in pictures]


def shifted(pictures: Sequence[np.ndarray], fps: float) -> Pictures:
    """Begins 0.3 s later."""
    return list(pictures[round(SHIFT_S * fps) :])


def cropped(pictures: Sequence[np.ndarray], _: float) -> Pictures:
    """Without 2.5 % on each side, and brought back to the size it had."""
    height, width = pictures[0].shape[:2]
    x, y = round(width * CROP / 2), round(height * CROP / 2)
    return [
        cv2.resize(p[y : height - y, x : width - x], (width, height), interpolation=cv2.INTER_CUBIC) for p in pictures
    ]


def mirrored(pictures: Sequence[np.ndarray], _: float) -> Pictures:
    """Left is right."""
    return [np.ascontiguousarray(p[:, ::-1]) for p in pictures]


COPIES: dict[str, Copy] = {
    "re-encoded": Copy(same, {"crf": 32}),
    "resized": Copy(resized, {"crf": 26}),
    "letterboxed": Copy(letterboxed, {"crf": 26}),
    "watermarked": Copy(watermarked, {"crf": 26}),
    "shifted": Copy(shifted, {"crf": 26}),
    "cropped": Copy(cropped, {"crf": 26}),
    "mirrored": Copy(mirrored, {"crf": 26}),
}
"""Name of each kind, how its pictures are made, and how they are encoded."""


def _even(length: float) -> int:
    """4:2:0 needs even sides."""
    return max(2, round(length / 2) * 2)
