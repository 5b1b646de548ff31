"""Where to look for the dissolve or fade that a frame may lie in: close by first, further off where that is called for."""

from __future__ import annotations

from bisect import bisect_left

from curation.shots.blends import Blend, find_blend, looks_mixed
from curation.shots.sketch import Sketch
from curation.shots.valleys import find_valley

BLEND_S = 2.0
"""A ramp is sought this far on both sides of a frame that looks like a mixture,"""
LONG_SCALE_S = 1.6
"""or, where that frame also looks like a mixture of those this far from it, in all frames given."""

_TINY_S = 1e-6


def find_mixture(window: list[Sketch], centre: int) -> Blend | None:
    """The dissolve or fade that ``window[centre]`` lies in, or None. What is found close by is followed further off."""
    near, whole = _within(window, centre, BLEND_S), (0, len(window))
    found = find_blend(window, centre, near)
    if found is None and near != whole:
        first, end = _within(window, centre, LONG_SCALE_S)
        if looks_mixed(window[first], window[centre], window[end - 1]):
            found = find_blend(window, centre, whole)
    if found is not None:
        return found
    found = find_valley(window, centre, near)
    if found is not None and near != whole and (found.start <= near[0] or found.end >= near[1]):
        found = find_valley(window, centre, whole) or found
    return found


def _within(window: list[Sketch], centre: int, seconds: float) -> tuple[int, int]:
    """Half-open span of the positions up to so far from the centre."""
    here = window[centre].time
    first = bisect_left(window, here - seconds - _TINY_S, key=lambda s: s.time)
    return first, bisect_left(window, here + seconds + _TINY_S, key=lambda s: s.time)
