"""Where to divide a long shot: into about equal parts, each division moved to the calmest moment close by."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import ceil

import numpy as np

TINY_S = 1e-6
"""Seconds are sums of floats; a length this close to a limit counts as on it."""
SLACK = 0.2
"""A division moves by at most this share of a piece."""

_CALM_S = 0.2  # a moment's change is the mean over so much before and after it
_LEAN = 0.5  # moving a division as far as it may go must save this share of the usual change


def split_points(
    times: Sequence[float], end_s: float, max_s: float, min_s: float = 0.0, changes: Sequence[float] | None = None
) -> list[int]:
    """Where to divide frames that begin at ``times`` so that no piece is longer than ``max_s``.

    The fewest pieces that suffice, as equal as frames allow; then, one after the other, each division moves to the calmest
    moment within :data:`SLACK` of a piece, as long as both its pieces keep within the limits.

    Args:
        times: start of each frame in seconds, rising; at least one.
        end_s: end of the last frame.
        max_s: longest piece; only a single frame that is shown for longer can make a longer piece.
        min_s: shortest piece, where equal pieces are not shorter.
        changes: for each frame how much it differs from the one before, on any scale; None means equally much.

    Returns:
        positions in ``times`` at which a new piece begins, without the first.
    """
    points = _equal_points(times, end_s, max_s)
    if changes is None or not points:
        return points
    bounds = [0, *points, len(times)]
    moments = [*times, end_s]
    reach = SLACK * (end_s - times[0]) / (len(points) + 1)
    shortest = max(min_s, 2 * TINY_S)  # never nothing
    for k in range(1, len(bounds) - 1):
        left, here, right = moments[bounds[k - 1]], moments[bounds[k]], moments[bounds[k + 1]]
        low = max(left + shortest, right - max_s, here - reach)
        high = min(right - shortest, left + max_s, here + reach)
        bounds[k] = calmest(times, changes, low, high, bounds[k])
    return bounds[1:-1]


def _equal_points(times: Sequence[float], end_s: float, max_s: float) -> list[int]:
    length = end_s - times[0]
    for count in range(max(1, ceil(length / max_s - TINY_S)), len(times) + 1):
        points = sorted({_nearest(times, times[0] + length * k / count) for k in range(1, count)} - {0})
        bounds = [times[0], *(times[p] for p in points), end_s]
        if all(b - a <= max_s + TINY_S for a, b in itertools.pairwise(bounds)):
            return points
    return list(range(1, len(times)))


def _nearest(times: Sequence[float], moment: float) -> int:
    after = min(bisect_right(times, moment), len(times) - 1)
    before = max(0, after - 1)
    return before if moment - times[before] <= times[after] - moment else after


def calmest(times: Sequence[float], changes: Sequence[float], low: float, high: float, wanted: int) -> int:
    """The position in ``times``, from ``low`` to ``high`` seconds, before which least changes.

    What a moment costs is the mean change around it, and more the farther it is from ``wanted``, so that without a calm moment
    the answer is ``wanted``. That is also the answer where no frame begins within the limits.
    """
    first = max(1, bisect_left(times, low - TINY_S))
    last = bisect_right(times, high + TINY_S) - 1
    if last < first:
        return wanted
    clock, change = np.asarray(times), np.asarray(changes)
    total = np.concatenate([[0.0], np.cumsum(change[1:])])  # total[k] = Σ changes[1..k]; nothing is known of position 0
    places = np.arange(first, last + 1)
    begin = np.maximum(np.searchsorted(clock, clock[places] - _CALM_S - TINY_S), 1)
    end = np.searchsorted(clock, clock[places] + _CALM_S + TINY_S)
    calm = (total[end - 1] - total[begin - 1]) / (end - begin)
    away = np.abs(clock[places] - clock[wanted])
    usual = float(calm.mean()) + 1e-9  # over 0, so that equal moments are told apart
    return int(places[np.argmin(calm + _LEAN * usual * away / max(float(away.max()), TINY_S))])
