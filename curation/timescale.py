"""Time stamps of a source as whole ticks of an mp4 track."""

from __future__ import annotations

import math
from fractions import Fraction

_LEAST_TIMESCALE = 10_000
_MOST_TIMESCALE = 30_000_000
LONGEST = 2**31 - 1
"""Ticks that the mp4 writer takes for the length of a packet at most: 71 s at the largest timescale."""


def timescale_of(time_base: Fraction) -> int:
    """Ticks per second for an mp4 track, in which every pts of ``time_base`` (seconds) is a whole number where that is possible."""
    scale = time_base.denominator
    if scale > _MOST_TIMESCALE:
        return 90_000
    return scale * math.ceil(_LEAST_TIMESCALE / scale)


def ticks(pts: int, time_base: Fraction, timescale: int) -> int:
    """``pts`` in ticks of 1 / ``timescale`` seconds, rounded half to even."""
    whole, rest = divmod(pts * time_base.numerator * timescale, time_base.denominator)
    return whole if rest == 0 else round(Fraction(rest, time_base.denominator) + whole)
