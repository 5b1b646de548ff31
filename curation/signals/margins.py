"""Black margins of a single picture: the rows and columns at its sides on which nothing is lit.

A margin of one picture is not yet a bar: a dark ceiling makes one too, and so does the ground of a title. So each
comes with the share of the side's length along which the picture gets brighter at once: a bar has a straight, lit
edge, a dark scene an irregular one, and a line of text a short one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MEAN_OVER_BLACK = 6
"""Levels of 255. The mean of a bar's row may be this far over black: what 8-bit codecs leave of black at low rates."""
_PEAK_OVER_BLACK = 28
"""Levels of 255. The brightest pixel of a bar's row may be this far over black: ringing of a codec next to a sharp
edge."""
_LIT_OVER_BLACK = 20
"""Levels of 255. A pixel behind the edge that is this far over black is lit."""
LEAST_PX = 2
"""Pixels. A single dark line at the rim is a codec's or scanner's, not a bar; its edge is not looked at."""
_STRIDE = 4
_EDGE_DEPTH = 3
"""Pixels. How far behind the edge a lit pixel is sought: a soft edge takes one or two pixels to get bright."""


@dataclass(frozen=True, slots=True)
class Margins:
    """Black margins of one picture, in its own pixels, and for each side the share (0..1) of its length along which
    the edge is lit; 0 for margins under 2 pixels."""

    top: int
    bottom: int
    left: int
    right: int
    edge_top: float
    edge_bottom: float
    edge_left: float
    edge_right: float


def black_margins(plane: np.ndarray, black: int) -> Margins | None:
    """Margins of ``plane`` ((h, w) uint8, black at level ``black``); None where the whole picture is black."""
    height, width = plane.shape
    top = _dark_lines(plane, black)
    if top == height:
        return None
    bottom = _dark_lines(plane[::-1], black)
    lit_rows = plane[top : height - bottom]
    left, right = _dark_lines(lit_rows.T, black), _dark_lines(lit_rows.T[::-1], black)
    if left == width:
        return None
    inside = lit_rows[:, left : width - right]
    return Margins(
        top=top,
        bottom=bottom,
        left=left,
        right=right,
        edge_top=_lit(inside[:_EDGE_DEPTH], 0, black) / width if top >= LEAST_PX else 0.0,
        edge_bottom=_lit(inside[-_EDGE_DEPTH:], 0, black) / width if bottom >= LEAST_PX else 0.0,
        edge_left=_lit(inside[:, :_EDGE_DEPTH], 1, black) / height if left >= LEAST_PX else 0.0,
        edge_right=_lit(inside[:, -_EDGE_DEPTH:], 1, black) / height if right >= LEAST_PX else 0.0,
    )


def _dark_lines(lines: np.ndarray, black: int) -> int:
    """How many of the first rows of ``lines`` ((n, m) uint8) are black from end to end."""
    # Most pictures have no margin, and show it in their first line.
    if int(lines[0].max()) > black + _PEAK_OVER_BLACK:
        return 0
    count, step = 0, 4
    while count < len(lines):
        chunk = lines[count : count + step]
        peaks = chunk.max(axis=1)
        # Sums cost more than maxima; every fourth pixel of a line says as much about its mean.
        means = chunk[:, ::_STRIDE].mean(axis=1, dtype=np.float32)
        dark = (peaks <= black + _PEAK_OVER_BLACK) & (means <= black + _MEAN_OVER_BLACK)
        if not dark.all():
            return count + int(np.argmin(dark))
        count, step = count + step, 32
    return len(lines)


def _lit(strip: np.ndarray, axis: int, black: int) -> int:
    """Number of places along the edge at which the strip behind it is lit within its depth."""
    return int(np.count_nonzero(strip.max(axis=axis) > black + _LIT_OVER_BLACK))
