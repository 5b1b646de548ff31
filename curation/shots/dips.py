"""Dips to black or white that touch a flat picture: quick ones, and fades with a cut on one side.

Their ramps are too short to be fitted as mixtures, or have nothing to be a mixture with, so contrast alone tells: it falls to
nothing, and comes back on something else.
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.shots.ramps import ramp_top
from curation.shots.sketch import FLAT_CONTRAST, Sketch

MIN_CONTRAST = 3 * FLAT_CONTRAST
"""Least contrast on both sides: a dark scene that darkens a little more is no dip."""


def find_dip(window: Sequence[Sketch], flat_start: int, longest_s: float) -> tuple[int, int] | None:
    """Half-open span, as positions, of the dip whose first flat frame is ``window[flat_start]``.

    Args:
        window: consecutive frames; ramps are followed up to their ends.
        flat_start: position of the first of some flat frames.
        longest_s: a longer flat part, in seconds, is a shot of its own.

    Returns:
        None where the flat part is too long or reaches an end of the window, where a side has little contrast, or where there is
        no ramp on either side (then it is a cut to a flat picture, and perhaps one out of it).
    """
    flat_end = flat_start
    while flat_end < len(window) and window[flat_end].flat:
        flat_end += 1
    if flat_start == 0 or flat_end == len(window):
        return None
    if window[flat_end - 1].time - window[flat_start].time > longest_s:
        return None
    before = ramp_top(window, flat_start, flat_start - 1, -1)
    after = ramp_top(window, flat_end - 1, flat_end, +1)
    if min(window[before].contrast, window[after].contrast) < MIN_CONTRAST:
        return None
    if before == flat_start - 1 and after == flat_end:
        return None
    return before + 1, after
