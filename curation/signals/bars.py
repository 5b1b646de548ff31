"""Black bars at the sides of the picture, found on the native luma plane and given in displayed pixels.

A bar is what is black in *every* lit sample of the span (the smallest margin), and only if its edge persists: in at
least a third of the lit samples the margin ends within 2 px of that place and the picture is lit there along at least
a quarter of the side. So a dark scene gives no bars. Bars with a logo or subtitles in them are not found in the rows
or columns that those cover; a bar that moves counts with its smallest size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from curation.frames import Frame, Span
from curation.signals.margins import Margins, black_margins
from curation.signals.samples import Samples

Side = Literal["top", "bottom", "left", "right"]
SIDES: tuple[Side, ...] = ("top", "bottom", "left", "right")

LEAST_PX = 2
"""Stored pixels. A single dark line at the rim is a codec's or scanner's, not a bar."""
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


class Bars:
    """bar_top, bar_bottom, bar_left, bar_right (displayed px) and bar_share (0..1 of the displayed area).

    All None where the span has no sampled luma plane with anything lit.
    """

    def __init__(self) -> None:
        self._samples: Samples[tuple[Margins, tuple[int, int], int, tuple[int, int]]] = Samples()

    def push(self, frame: Frame) -> None:
        if frame.luma is None:
            return
        margins = black_margins(frame.luma, black_level(frame))
        if margins is not None:
            height, width = frame.luma.shape
            self._samples.add((margins, (width, height), frame.rotation, frame.display_size), frame.index)

    def close(self, span: Span) -> dict[str, float | int | None]:
        samples = self._samples.within(span)
        if not samples:
            return dict.fromkeys(["bar_top", "bar_bottom", "bar_left", "bar_right", "bar_share"])
        _, stored, rotation, display = samples[0]
        # A stream that changes its geometry inside a shot is measured as it was at the shot's start.
        margins = [m for m, *geometry in samples if geometry == [stored, rotation, display]]
        found = {side: common_margin(margins, side) for side in SIDES}
        upright = stored if rotation in (0, 180) else stored[::-1]
        width, height = display if min(display) > 0 else upright
        scale = {"left": width / upright[0], "right": width / upright[0]}
        scale |= {"top": height / upright[1], "bottom": height / upright[1]}
        shown = {side: round(found[_SOURCE_OF[rotation][side]] * scale[side]) for side in SIDES}
        lit = (width - shown["left"] - shown["right"]) * (height - shown["top"] - shown["bottom"])
        return {f"bar_{side}": shown[side] for side in SIDES} | {"bar_share": 1.0 - lit / (width * height)}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)
