"""A flash in a shot that moves on meanwhile.

Under a fast pan, a roll or a zoom the picture after a flash is not the picture before it. But it is as much like it as pictures
that far apart are elsewhere in the shot; of another shot it would not be.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from curation.shots.sketch import Sketch, distance, likeness

PALE = 0.75
"""A flash leaves at most this share of the contrast."""
SAME_CONTRAST = 0.6
"""The lower contrast beside a flash is at least this share of the higher one: what lies there is one scene in one light."""
LESS_ALIKE = 0.12
"""The pictures beside a flash may be so much less alike than the shot's pictures that far apart usually are,"""
FARTHER = 1.5
"""and this many times as far from each other in colour."""
TELLING = 0.72
"""Different shots are hardly ever more alike than this. Where a shot moves so fast that its own pictures are less alike than this,"""
FARTHER_UNLIKE = 1.25
"""colours must agree better."""

_PAIRS = 5  # on each side, nearest first


def flash_passes(before: Sequence[Sketch], after: Sequence[Sketch], within_s: float) -> bool:
    """Whether the change between ``before[-1]`` and ``after[0]`` is an edge of a flash, or lies within one, in a moving shot.

    Args:
        before: consecutive frames up to the last one before the change.
        after: those from the first one after it.
        within_s: longest time between the frames on both sides of the flash.
    """
    around = _around_flash(before[::-1], after, within_s)
    return around is not None and moves_on(before[: len(before) - around[0]], after[around[1] :])


def _around_flash(before: Sequence[Sketch], after: Sequence[Sketch], within_s: float) -> tuple[int, int] | None:
    """Positions of the two nearest frames, one on each side and nearest ones first, between which all others are pale."""
    faint = [[0.0, *itertools.accumulate((s.contrast for s in side), max)] for side in (before, after)]
    places = itertools.product(range(len(before)), range(len(after)))
    for early, late in sorted(places, key=sum):
        last, first = before[early], after[late]
        low, high = sorted((last.contrast, first.contrast))
        if early + late == 0 or first.time - last.time > within_s or low < SAME_CONTRAST * high:
            continue
        if max(faint[0][early], faint[1][late]) <= PALE * low:
            return early, late
    return None


def moves_on(before: Sequence[Sketch], after: Sequence[Sketch]) -> bool:
    """Whether ``before[-1]`` and ``after[0]`` are as alike, and as near in colour, as frames so far apart are on either side."""
    last, first = before[-1], after[0]
    gap = first.index - last.index
    sides = [_pairs(before[::-1], gap), _pairs(after, gap)]
    usual = [np.median([_compare(a, b) for a, b in pairs], axis=0) for pairs in sides if pairs]
    if not usual:
        return False
    alike, away = _compare(last, first)
    farther = FARTHER if alike >= TELLING else FARTHER_UNLIKE
    return bool(alike >= min(u[0] for u in usual) - LESS_ALIKE and away <= farther * max(u[1] for u in usual))


def _pairs(frames: Sequence[Sketch], gap: int) -> list[tuple[Sketch, Sketch]]:
    """Frames so far apart, nearest to ``frames[0]`` first, that are not pale beside it."""
    level = PALE * frames[0].contrast
    pairs = ((a, b) for a, b in zip(frames, frames[gap:], strict=False) if min(a.contrast, b.contrast) >= level)
    return list(itertools.islice(pairs, _PAIRS))


def _compare(a: Sketch, b: Sketch) -> tuple[float, float]:
    """Likeness and distance."""
    return max(likeness(a, b), likeness(b, a)), distance(a, b)
