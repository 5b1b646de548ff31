"""Finding a dissolve under strong motion: by the valley that mixing cuts into the edge energy.

Where the camera moves fast, no frame is near the mixture of two frames of long ago, so :mod:`curation.shots.blends` is blind. But
edges of unrelated pictures do not meet, so a frame ``(1 − w) A + w B`` has the edge energy ``(1 − w)² E(A) + w² E(B)``, however
much both move. On generated and on real films dissolves mostly follow that curve to 0.04 (up to 0.06 where a fast camera brings
other edges into view), and what else is not a whip of the camera misses it by 0.16 or more.

Legend: N frames of a window, E edge energies relative to their mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation.shots.blends import MAX_LIKENESS_THIN, MIN_COVERAGE, MIN_DISTANCE, SHORT, Blend
from curation.shots.sketch import Sketch, coverage, distance, likeness

MIN_FLOOR, MAX_FLOOR = 0.35, 0.75
"""Where the floor of the valley must lie, as a share of its lower rim. Mixing cannot go below 0.5; an object that hides all does."""
MAX_STEP = 15.0
"""Largest usual distance from frame to frame, 0..255: beyond, the camera whips, which thins out edges by itself."""
PALE = (0.5, 0.85)
"""A frame is nominated when its contrast is between these shares of the lower one of two outer frames; a dissolve reaches 0.7."""
MAX_ERROR = 0.08
"""Largest root mean square distance from the curve, as a share of the mean of E(A) and E(B)."""

_LONGER = 0.5  # over 0 prefers the longer of two spans that fit about equally
_MARGIN = 3  # frames beside the valley, or a quarter of its length, that must stay level


def looks_pale(before: Sketch, middle: Sketch, after: Sketch) -> bool:
    """Whether ``middle`` has somewhat less contrast than both outer frames, as mixtures have. Costs next to nothing."""
    low, high = PALE
    rim = min(before.contrast, after.contrast)
    return low * rim <= middle.contrast < high * rim


def find_valley(window: Sequence[Sketch], centre: int, near: tuple[int, int]) -> Blend | None:
    """The dissolve that ``window[centre]`` lies in, judged by edges alone, or None.

    Args:
        window: consecutive frames.
        centre: position of a frame that looks like a mixture.
        near: half-open span of the positions to look at.
    """
    low, high = near
    window, centre = window[low:high], centre - low
    energy = np.array([s.edge_energy() for s in window])
    if not 1 <= centre <= len(window) - 2:
        return None
    energy /= max(float(energy.mean()), 1e-9)
    if min(energy[:centre].max(), energy[centre + 1 :].max()) <= energy[centre]:
        return None
    ends = _best_ends(energy, centre)
    if ends is None:
        return None
    first, last, error = ends
    before, after = window[first], window[last]
    floor, rim = float(energy[first : last + 1].min()), float(min(energy[first], energy[last]))
    if rim <= 0 or not MIN_FLOOR * rim <= floor <= MAX_FLOOR * rim or distance(before, after) < MIN_DISTANCE:
        return None
    if float(np.median([distance(window[k], window[k + 1]) for k in range(first, last)])) > MAX_STEP:
        return None
    alike = max(likeness(before, after), likeness(after, before))
    if coverage(before, after) < MIN_COVERAGE or alike > MAX_LIKENESS_THIN:
        return None
    pad = round(error * (last - first)) + 1
    start, end = low + max(0, first + 1 - pad), low + min(len(window), last + pad)
    return Blend(start, end, "dissolve", float(np.clip(1.0 - error / (2 * MAX_ERROR), 0.0, 1.0)), "edge_valley")


def _best_ends(energy: np.ndarray, centre: int) -> tuple[int, int, float] | None:
    """Positions (a, b), a < centre < b, of the last whole frame before and the first after, and the error; None over the limit.

    The curve is compared with E from a to b and, level, with a margin on both sides. Running sums try all pairs at once.
    """
    n = len(energy)
    a = np.arange(0, centre)[:, None]
    b = np.arange(centre + 1, n)[None, :]
    length = (b - a).astype(np.float64)
    frames = np.arange(n)
    sums = [np.concatenate([[0.0], np.cumsum(v)]) for v in (energy, energy * frames, energy * frames**2, energy**2)]
    plain, rise, bend = (s[b] - s[a + 1] for s in sums[:3])  # within: Σ E, Σ f E, Σ f² E
    along = (rise - a * plain) / length  # Σ w E
    along_2 = (bend - 2 * a * rise + a * a * plain) / length**2  # Σ w² E
    quartic = (length - 1) * (2 * length - 1) * (3 * length**2 - 3 * length - 1) / (30 * length**3)  # Σ w⁴ = Σ (1 − w)⁴
    crossed = (length**4 - 1) / (30 * length**3)  # Σ w² (1 − w)²
    # The ends' own energies: medians of three, as single frames tremble.
    level = np.median(np.stack([np.roll(energy, 1), energy, np.roll(energy, -1)]), axis=0)
    level[0], level[-1] = energy[0], energy[-1]
    ea, eb = level[np.maximum(a - 1, 0)], level[np.minimum(b + 1, n - 1)]
    error = sums[3][b] - sums[3][a + 1] - 2 * ea * (plain - 2 * along + along_2) - 2 * eb * along_2
    error = error + (ea**2 + eb**2) * quartic + 2 * ea * eb * crossed
    margin = np.maximum(_MARGIN, (b - a) // 4)
    start, stop = np.maximum(a - margin, 0), np.minimum(b + 1 + margin, n)
    error = (
        error + (sums[3][a + 1] - sums[3][start]) - 2 * ea * (sums[0][a + 1] - sums[0][start]) + (a + 1 - start) * ea**2
    )
    error = error + (sums[3][stop] - sums[3][b]) - 2 * eb * (sums[0][stop] - sums[0][b]) + (stop - b) * eb**2
    error = np.sqrt(np.maximum(error, 0.0) / (stop - start)) / np.maximum(0.5 * (ea + eb), 1e-9)
    cost = np.where(length > SHORT, error / length**_LONGER, np.inf)
    i, j = np.unravel_index(int(np.argmin(cost)), cost.shape)
    if not np.isfinite(cost[i, j]) or error[i, j] > MAX_ERROR:
        return None
    return int(i), int(centre + 1 + j), float(error[i, j])
