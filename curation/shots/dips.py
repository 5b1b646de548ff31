"""Quick dips to black or white between two shots: a few flat frames, reached within a frame or two.

Their ramps are too short to be fitted as mixtures, so contrast alone tells: it falls to nothing and comes back on something
else.
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.shots.sketch import FLAT_CONTRAST, Sketch

RAMP_S = 0.4
"""Longest ramp on either side; longer ones are found as mixtures."""
MIN_CONTRAST = 3 * FLAT_CONTRAST
"""Least contrast on both sides: a dark scene that darkens a little more is no dip."""

_RISE = 1.15  # contrast of the next frame outwards, relative to this one, within a ramp


def find_dip(window: Sequence[Sketch], flat_start: int) -> tuple[int, int] | None:
    """Half-open span, as positions, of the dip whose first flat frame is ``window[flat_start]``.

    Returns:
        None where the flat part reaches an end of the window, where a side has little contrast, or where there is no ramp on
        either side (then it is a cut to a flat picture, and perhaps one out of it).
    """
    flat_end = flat_start
    while flat_end < len(window) and window[flat_end].flat:
        flat_end += 1
    if flat_start == 0 or flat_end == len(window):
        return None
    before = _outwards(window, flat_start - 1, -1)
    after = _outwards(window, flat_end, +1)
    if min(window[before].contrast, window[after].contrast) < MIN_CONTRAST:
        return None
    if before == flat_start - 1 and after == flat_end:
        return None
    return before + 1, after


def _outwards(window: Sequence[Sketch], at: int, step: int) -> int:
    """Position of the first frame, going away from the flat part, after which contrast hardly rises any more."""
    origin = window[at].time
    while 0 <= at + step < len(window) and abs(window[at + step].time - origin) <= RAMP_S:
        if window[at + step].contrast < _RISE * window[at].contrast:
            break
        at += step
    return at
