"""When the native luma plane goes along with a frame: at instants that follow from time stamps alone, and fall into step with nothing."""

from __future__ import annotations

from math import floor

_GOLDEN = 0.6180339887498949
_SPREAD = 0.34
"""How far an instant lies behind its even place, at most, as a share of the distance between two: at two a second, five frames of 29.97.
Evenly placed instants would be every 15th of them, and see only one or two of the five that 3:2 telecine repeats for ever."""


def newest_instant(seconds: float, rate: float) -> int:
    """Number of the newest instant at or before a time stamp; there are ``rate`` a second, the first at 0.

    Instant k lies at (k + :data:`_SPREAD` · frac(k φ)) / rate: multiples of the golden ratio fill every stretch evenly (H. Weyl, 1916).
    """
    place = seconds * rate
    number = floor(place)
    return number if place - number >= _SPREAD * (number * _GOLDEN % 1.0) else number - 1
