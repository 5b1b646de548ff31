"""Finding the extent of a dissolve or a fade: frames that are mixtures of one frame before and one after.

In a dissolve from A to B frame f shows ``(1 − w) A + w B`` with ``w`` rising from 0 to 1; a fade is the same with a flat A or
B. So two least-squares questions decide: *which* pair of end frames explains all that lies between as an even ramp, and *how
well* do the mixtures fit when each ``w`` is free. Motion is no mixture, apart from small shifts, which the likeness of the ends
gives away.

Legend: N frames of a window, C colour cells × 3. All errors are shares of the squared distance of A and B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curation.shots.ramps import goes_on, ramp_top
from curation.shots.sketch import CHANGED, Sketch, coverage, likeness

MIN_DISTANCE = 8.0
"""Least distance of the end frames, 0..255."""
MIN_COVERAGE = 0.55
"""Share of colour cells that must change, of those that are not black on both sides: a title or a passer-by changes few."""
MAX_MIXTURE_ERROR = 0.2
"""A frame is nominated when its distance from the line through two outer ones is at most this share of their distance."""
MIN_INNER = 2
"""Fewest mixed frames: a single one belongs to a hard cut that was converted between frame rates."""
MAX_RESIDUAL = 0.26
"""Largest root mean square error of the mixtures; motion inside a dissolve gives about 0.1 to 0.2, plain motion 0.3 and more."""
MAX_RESIDUAL_SHORT = 0.12
"""The same where fewer than :data:`SHORT` frames are mixed, since a few frames of motion also look like a mixture."""
SHORT = 5
MAX_LIKENESS = 0.75
"""Ends of a dissolve that are more alike than this, after the best shift, are one scene under a moving camera."""
MAX_LIKENESS_THIN = 0.85
"""The same where edges thin out so strongly that it can hardly be one scene: see :data:`THIN_EDGES`."""
THIN_EDGES = 0.65
MAX_EDGES = 0.85
"""Edge energy within a dissolve relative to the even ramp between its ends. Mixing unrelated pictures thins out both pictures'
edges: (1 − w)² + w² of them are left, 0.5 to 0.7 over the middle, where motion leaves all of them."""
FADE_CONTRAST = 0.2
"""An end with less than this share of the other's contrast is a flat one: the change is a fade."""

_MAX_STEP_BACK = 0.12  # how far the weight may fall between two frames (noise, motion)
_MAX_STEP = 0.6  # how far it may rise: more is a hard cut
_LONGER = 1.25  # over 1 prefers the longer of two windows that fit about equally, as motion spoils the longer one's fit
_SLOPE = 0.3  # share of the mean change of weight per second at which a ramp still goes on
_DOUBT = 0.35  # share of the error by which a span is widened: where motion disturbs the fit, its ends are less certain
_GROWN = 0.15  # and share of what it has grown beyond the fit
_REPEAT = 0.01  # weights of a picture shown twice differ by less
_LEAN = 0.04  # a frame with a smaller weight of the other picture counts as whole


@dataclass(frozen=True, slots=True)
class Blend:
    """A run of mixed frames, half open, as positions in the window searched."""

    start: int
    end: int
    kind: Literal["fade", "dissolve"]
    score: float
    detector: str


def looks_mixed(before: Sketch, middle: Sketch, after: Sketch) -> bool:
    """Whether ``middle`` lies well between the outer frames and near the line through them. Cheap enough for every frame.

    Not where the outer frames are close, where only a small part of the picture changes, or at a hard cut, where the middle
    frame is one of the outer ones.
    """
    length = before.power + after.power - 2.0 * float(before.cells.dot(after.cells))
    if length < (MIN_DISTANCE / 2) ** 2 * before.cells.size:
        return False
    crossed = float(before.cells.dot(middle.cells))
    here = before.power + middle.power - 2.0 * crossed
    along = (float(after.cells.dot(middle.cells)) - crossed + (before.power - after.power + length) / 2.0) / length
    if not 0.2 <= along <= 0.8 or here / length - along * along > MAX_MIXTURE_ERROR**2:
        return False
    return coverage(before, after, CHANGED / 4) >= MIN_COVERAGE


def find_blend(window: Sequence[Sketch], centre: int, near: tuple[int, int] | None = None) -> Blend | None:
    """The dissolve or fade that ``window[centre]`` lies in, or None.

    Args:
        window: consecutive frames; a ramp is followed up to their ends.
        centre: position of a frame that looks like a mixture.
        near: half-open span of the positions in which most of the ramp must lie, and ``centre``; None means all of them.
    """
    low, high = near or (0, len(window))
    gram = _gram(window[low:high])
    ends = _best_ends(gram, centre - low)
    if ends is None:
        return None
    first, last = ends
    weights, residual = _free_fit(gram, first, last)
    inner = last - first - 1
    limit = MAX_RESIDUAL if inner >= SHORT else MAX_RESIDUAL_SHORT
    if inner < MIN_INNER or residual > limit or not _rises_evenly(weights):
        return None
    first, last = first + low, last + low
    before, after = window[first], window[last]
    if coverage(before, after) < MIN_COVERAGE:
        return None
    darkest, brightest = sorted((before.contrast, after.contrast))
    kind: Literal["fade", "dissolve"] = "dissolve"
    if before.flat or after.flat or darkest < FADE_CONTRAST * brightest:
        kind = "fade"
    elif not _mixes_pictures(window, first, last, weights):
        return None
    start, end = _fade_span(window, first, last) if kind == "fade" else _mixed_span(window, first, last, residual)
    score = float(np.clip(1.0 - residual / (2 * limit), 0.0, 1.0))
    return Blend(start, end, kind, score, "luma_ramp" if kind == "fade" else "linear_blend")


def _gram(frames: Sequence[Sketch]) -> np.ndarray:
    """(N, N) products of the frames' colours; whole numbers before division, so exact whatever the order of summation."""
    cells = np.stack([s.cells for s in frames])  # (N, C)
    return np.asarray((cells @ cells.T) / cells.shape[1])


def _best_ends(gram: np.ndarray, centre: int) -> tuple[int, int] | None:
    """Positions (a, b), a < centre < b, of the last whole frame before and the first whole frame after.

    The model is A up to a, an even ramp, and B from b on; it is compared with the frames from a to b and a margin of a quarter
    of their number on both sides. The margin is what makes a pair inside a longer ramp worse than its true ends; a short one
    keeps motion in the shots around out of it. Sums over frames come from running sums, so all pairs are tried at once.
    """
    n = len(gram)
    if centre < 1 or centre > n - 2:
        return None
    power = np.diag(gram)
    a = np.arange(0, centre)[:, None]
    b = np.arange(centre + 1, n)[None, :]
    length = b - a
    way = power[a] + power[b] - 2 * gram[a, b]  # (a, b) squared distance of the ends
    run = np.concatenate([np.zeros((n, 1)), np.cumsum(gram, axis=1)], axis=1)  # run[i, k] = Σ_{f<k} gram[i, f]
    ramp = np.concatenate([np.zeros((n, 1)), np.cumsum(gram * np.arange(n), axis=1)], axis=1)
    total = np.concatenate([[0.0], np.cumsum(power)])
    # Within: Σ ‖f‖² + ‖A‖² Σ(1−w)² + ‖B‖² Σw² + 2 A·B Σw(1−w) − 2 Σ(1−w) f·A − 2 Σw f·B, with w = (f − a) / (b − a).
    lo, hi = a + 1, b
    squares = (length - 1) * (2 * length - 1) / (6.0 * length)  # Σ w² = Σ (1−w)²
    crossed = (length - 1) / 2.0 - squares
    sum_a, sum_b = run[a, hi] - run[a, lo], run[b, hi] - run[b, lo]
    rise_a = (ramp[a, hi] - ramp[a, lo] - a * sum_a) / length  # Σ w f·A
    rise_b = (ramp[b, hi] - ramp[b, lo] - a * sum_b) / length
    error = total[hi] - total[lo] + (power[a] + power[b]) * squares + 2 * gram[a, b] * crossed
    error = error - 2 * (sum_a - rise_a) - 2 * rise_b
    margin = np.maximum(2, length // 4)
    start, stop = np.maximum(a - margin, 0), np.minimum(b + 1 + margin, n)
    error = error + (total[a] - total[start]) + (a - start) * power[a] - 2 * (run[a, a] - run[a, start])
    error = error + (total[stop] - total[b + 1]) + (stop - b - 1) * power[b] - 2 * (run[b, stop] - run[b, b + 1])
    cost = np.where(way >= MIN_DISTANCE**2, error / np.maximum(way * (stop - start - 2) ** _LONGER, 1e-9), np.inf)
    i, j = np.unravel_index(int(np.argmin(cost)), cost.shape)
    return (int(i), int(centre + 1 + j)) if np.isfinite(cost[i, j]) else None


def _weights(gram: np.ndarray, first: int, last: int, low: int, high: int) -> np.ndarray:
    """Least-squares weight of ``window[last]`` in each frame of low..high−1."""
    way = gram[first, first] + gram[last, last] - 2 * gram[first, last]
    frames = np.arange(low, high)
    return np.asarray((gram[last, frames] - gram[first, frames] - gram[first, last] + gram[first, first]) / way)


def _free_fit(gram: np.ndarray, first: int, last: int) -> tuple[np.ndarray, float]:
    """Weights from first to last (0 and 1 at the ends) and the root mean square error of the frames between."""
    weights = _weights(gram, first, last, first, last + 1)
    way = gram[first, first] + gram[last, last] - 2 * gram[first, last]
    frames = np.arange(first, last + 1)
    off = np.diag(gram)[frames] - 2 * gram[first, frames] + gram[first, first]  # ‖f − A‖²
    errors = np.maximum(off / way - weights**2, 0)[1:-1]
    return weights, float(np.sqrt(errors.mean())) if errors.size else 0.0


def _rises_evenly(weights: np.ndarray) -> bool:
    steps = np.diff(weights)
    return bool(np.min(steps) >= -_MAX_STEP_BACK and np.max(steps) <= _MAX_STEP)


def _mixes_pictures(window: Sequence[Sketch], first: int, last: int, weights: np.ndarray) -> bool:
    """The ends are different scenes, and edges thin out between them."""
    alike = max(likeness(window[first], window[last]), likeness(window[last], window[first]))
    if alike > MAX_LIKENESS_THIN:
        return False
    middle = [(w, s.edge_energy()) for w, s in zip(weights, window[first : last + 1], strict=True) if 0.2 <= w <= 0.8]
    before, after = window[first].edge_energy(), window[last].edge_energy()
    expected = sum((1 - w) * before + w * after for w, _ in middle)
    limit = MAX_EDGES if alike <= MAX_LIKENESS else THIN_EDGES
    return bool(middle) and sum(edges for _, edges in middle) <= limit * expected


def _mixed_span(window: Sequence[Sketch], first: int, last: int, residual: float) -> tuple[int, int]:
    """Half-open span of the mixed frames of a dissolve, with a frame or two to spare.

    Motion may have made the fit too short: motion hardly changes the weights, so the span grows outwards as long as they go on
    changing about as fast. Or it made it too long: then frames that show only one end are given back.
    """
    gram = _gram(window)
    times = [s.time for s in window]
    start, end = first, last
    grows = True
    while grows:
        reach = max(2, (end - start) // 3)
        low, high = max(0, start - reach), min(len(gram) - 1, end + reach)
        lean = _weights(gram, low, high, low, high + 1).tolist()
        gone = [-weight for weight in lean]
        clock = times[low : high + 1]
        slope = _SLOPE * (lean[end - low] - lean[start - low]) / max(times[end] - times[start], 1e-6)
        s, e = start, end
        while s > low and lean[s - low] > _LEAN and goes_on(gone, clock, e - low, s - low, -1, slope):
            s -= 1
        while e < high and lean[e - low] < 1 - _LEAN and goes_on(lean, clock, s - low, e - low, +1, slope):
            e += 1
        # It may go on beyond the frames looked at; those may be but repeats of the one at which it seemed to end.
        grows = (s < start and lean[s - low] - lean[0] <= _REPEAT) or (e > end and lean[-1] - lean[e - low] <= _REPEAT)
        start, end = s, e
    inside = _weights(gram, start, end, start, end + 1)
    half = (end - start + 1) // 2
    if not np.isfinite(inside).all():
        return first, last + 1  # it has grown to where both ends show the same
    skipped = max(0, int(np.flatnonzero(inside[:half] <= _LEAN)[-1]) - 1) if start == first else 0
    end = min(end, start + half + int(np.flatnonzero(inside[half:] >= 1 - _LEAN)[0]) + 1) if end == last else end
    start += skipped
    pad = residual * (end - start) * _DOUBT
    early, late = (math.ceil(pad + _GROWN * max(0, grown)) for grown in (first - start, end - last))
    return max(0, start - early), min(len(gram), end + 1 + late)


def _fade_span(window: Sequence[Sketch], first: int, last: int) -> tuple[int, int]:
    """Half-open span of a fade: from its flat end outwards as long as the picture gains, with a frame to spare."""
    middle = (first + last) // 2
    if window[last].contrast < window[first].contrast:
        return max(0, ramp_top(window, last, middle, -1) - 1), last + 1
    return first, min(len(window), ramp_top(window, first, middle, +1) + 2)
