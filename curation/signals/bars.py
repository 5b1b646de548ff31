"""Black bars at the sides of the picture, found on the native luma plane and given in displayed pixels.

A bar is what is black in *every* lit sample of the span (the smallest margin), and only if its edge persists: in at
least a third of the lit samples the margin ends within 2 px of that place and the picture is lit there along at least
a quarter of the side. So a dark scene gives no bars. Bars with a logo or subtitles in them are not found in the rows
or columns that those cover; a bar that moves counts with its smallest size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curation.frames import Frame, Span
from curation.signals.crop import NO_BARS, Crop
from curation.signals.margins import LEAST_PX, Margins, black_margins
from curation.signals.samples import Samples

Side = Literal["top", "bottom", "left", "right"]
SIDES: tuple[Side, ...] = ("top", "bottom", "left", "right")

SQUARE = 1.05
"""Longer side over shorter side up to which a picture is square."""
_TOLERANCE_PX = 2
_PERSISTENT = 1 / 3
_LIT_EDGE = 0.25

_SOURCE_OF: dict[int, dict[Side, Side]] = {
    0: {"top": "top", "right": "right", "bottom": "bottom", "left": "left"},
    90: {"top": "left", "right": "top", "bottom": "right", "left": "bottom"},
    180: {"top": "bottom", "right": "left", "bottom": "top", "left": "right"},
    270: {"top": "right", "right": "bottom", "bottom": "left", "left": "top"},
}
"""By clockwise degrees: which stored side shows at a displayed side."""


def black_level(frame: Frame) -> int:
    """Luma of black: 0 in full range, 16 in limited range (Rec. ITU-R BT.709-6, item 4.6)."""
    return 0 if frame.full_range else 16


def common_margin(margins: Sequence[Margins], side: Side) -> int:
    """Width in pixels of the bar that all ``margins`` (of lit samples) share on one side; 0 where they show none."""
    widths = [int(getattr(m, side)) for m in margins]
    width = min(widths, default=0)
    if width < LEAST_PX:
        return 0
    edges = [float(getattr(m, f"edge_{side}")) for m in margins]
    here = sum(w <= width + _TOLERANCE_PX and e >= _LIT_EDGE for w, e in zip(widths, edges, strict=True))
    return width if here >= _PERSISTENT * len(margins) else 0


def lit_part(plane: np.ndarray, black: int, inset: int = 0, grid: int = 1) -> np.ndarray | None:
    """A view of ``plane`` ((h, w) uint8, black at level ``black``) without the bars that it alone shows; None where it is black.

    Args:
        inset: pixels left out besides next to each bar, whose edge is sharper than any picture.
        grid: the view begins at a multiple of this many pixels.
    """
    margins = black_margins(plane, black)
    if margins is None:
        return None
    cut = {side: w + inset if (w := common_margin([margins], side)) else 0 for side in SIDES}
    top, left = (-(-cut[side] // grid) * grid for side in ("top", "left"))
    inside = plane[top : plane.shape[0] - cut["bottom"], left : plane.shape[1] - cut["right"]]
    return inside if inside.size else None


@dataclass(frozen=True, slots=True)
class _Look:
    """A sampled plane: its size as stored and as displayed, (width, height) in pixels, and its margins; None where it is black."""

    stored: tuple[int, int]
    rotation: int
    shown: tuple[int, int]
    margins: Margins | None


class Bars:
    """bar_top, bar_bottom, bar_left, bar_right (displayed px), bar_share (0..1 of the displayed area) and orientation.

    The bars are None where the span has no sampled luma plane with anything lit. Orientation is `landscape`, `portrait`, or
    `square` where the sides of what the bars leave differ by at most 5 %.
    """

    def __init__(self) -> None:
        self._samples: Samples[_Look] = Samples()

    def push(self, frame: Frame) -> None:
        if frame.luma is None:
            return
        height, width = frame.luma.shape
        upright = (width, height) if frame.rotation in (0, 180) else (height, width)
        shown = frame.display_size if min(frame.display_size) > 0 else upright
        margins = black_margins(frame.luma, black_level(frame))
        self._samples.add(_Look((width, height), frame.rotation, shown, margins), frame.index)

    def crop(self, span: Span) -> Crop:
        """The bars of the span as shares of the displayed picture; none where they are unknown."""
        looks = self._lit(span)
        if not looks:
            return NO_BARS
        found = {side: common_margin([look.margins for look in looks if look.margins], side) for side in SIDES}
        turned = _SOURCE_OF[looks[0].rotation]
        width, height = looks[0].stored
        length = {"left": width, "right": width, "top": height, "bottom": height}
        share = {side: found[turned[side]] / length[turned[side]] for side in SIDES}
        return Crop(share["left"], share["top"], share["right"], share["bottom"])

    def close(self, span: Span) -> dict[str, float | int | str | None]:
        looks = self._samples.within(span)
        if not looks:
            return dict.fromkeys([*(f"bar_{side}" for side in SIDES), "bar_share", "orientation"])
        crop, (width, height) = self.crop(span), (self._lit(span) or looks)[0].shown
        left, right = round(crop.left * width), round(crop.right * width)
        top, bottom = round(crop.top * height), round(crop.bottom * height)
        inside = (width - left - right, height - top - bottom)
        shape: dict[str, float | int | str | None] = {"orientation": orientation(*inside)}
        if not self._lit(span):
            return dict.fromkeys([*(f"bar_{side}" for side in SIDES), "bar_share"]) | shape
        share = 1.0 - inside[0] * inside[1] / (width * height)
        return {"bar_top": top, "bar_bottom": bottom, "bar_left": left, "bar_right": right, "bar_share": share} | shape

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)

    def _lit(self, span: Span) -> list[_Look]:
        """Samples that are not black, of the geometry that the first of them has."""
        # A stream that changes its geometry inside a shot is measured as it was at the shot's start.
        lit = [look for look in self._samples.within(span) if look.margins is not None]
        return [
            look
            for look in lit
            if (look.stored, look.rotation, look.shown) == (lit[0].stored, lit[0].rotation, lit[0].shown)
        ]


def orientation(width: int, height: int) -> str:
    """`landscape`, `portrait` or `square` of a picture of that size in pixels."""
    if max(width, height) <= SQUARE * min(width, height):
        return "square"
    return "landscape" if width > height else "portrait"
