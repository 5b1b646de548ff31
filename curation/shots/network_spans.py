"""Reading a shot network's answers as transitions with their extent. Pure functions of a stretch of frames.

The network has two answers for a frame: that a transition is centred on it, and that it is part of one. A run of frames where
either is likely is a cut when it is short, else a fade or a dissolve, whose span reaches out to where the second fades away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.frames import Transition
from curation.shots.blends import FADE_CONTRAST
from curation.shots.finder import FLAT_S
from curation.shots.sketch import Sketch, distance

DETECTOR = "transnetv2"
CUT_FRAMES = 3
"""A run of at most so many likely frames is a cut: one is usual, more where a conversion of rates mixed frames."""
TAIL = 0.1
"""Spans reach out to where frames are less likely than this to be part of a transition."""

_REACH = 4  # frames that a span reaches out at most, and a third of its length besides
_PAD = 1  # frame at each end, for weights too small for the network to see

_Run = tuple[int, int]  # positions in a stretch, half open


@dataclass(slots=True)
class Reading:
    """One frame: its sketch and the network's two probabilities."""

    sketch: Sketch
    centre: float
    part: float

    def likely(self, threshold: float) -> bool:
        """The network sees a transition here."""
        return max(self.centre, self.part) >= threshold

    def quiet(self, threshold: float) -> bool:
        """No transition reaches this frame or over it, so that what lies on both sides can be read apart."""
        return self.part < TAIL and self.centre < threshold and not self.sketch.flat


def read_transitions(stretch: Sequence[Reading], threshold: float) -> list[Transition]:
    """Transitions within consecutive frames.

    Args:
        stretch: frames none of which is quiet, and a quiet one at each end unless the stream begins or ends there.
        threshold: least probability.
    """
    runs = _join(stretch, [run for run in _likely_runs(stretch, threshold) if _counts(stretch, run, threshold)])
    origin = stretch[0].sketch.index
    found: list[Transition] = []
    for number, (start, end) in enumerate(runs):
        score = max(r.centre for r in stretch[start:end])
        if end - start <= CUT_FRAMES:
            at = origin + _largest_step(stretch, start, end)
            found.append(Transition(at, at, "cut", score, DETECTOR))
            continue
        floor = runs[number - 1][1] if number else 0
        ceiling = runs[number + 1][0] if number + 1 < len(runs) else len(stretch)
        low, high = _widen(stretch, start, end, floor, ceiling)
        kind = "fade" if _meets_flat(stretch[low:high]) else "dissolve"
        score = max(score, *(r.part for r in stretch[start:end]))
        found.append(Transition(origin + low, origin + high, kind, score, DETECTOR))  # type: ignore[arg-type]
    return found


def _likely_runs(stretch: Sequence[Reading], threshold: float) -> list[_Run]:
    likely = np.array([False, *(r.likely(threshold) for r in stretch), False])
    edges = np.flatnonzero(likely[1:] != likely[:-1])
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _counts(stretch: Sequence[Reading], run: _Run, threshold: float) -> bool:
    """A centre is likely, or so many frames are part of something that it is no mere disturbance."""
    frames = stretch[run[0] : run[1]]
    return len(frames) > CUT_FRAMES or any(r.centre >= threshold for r in frames)


def _join(stretch: Sequence[Reading], runs: list[_Run]) -> list[_Run]:
    """A ramp and its other half, or the cut at its other side, are one transition where nothing but flat frames lies between."""
    joined: list[_Run] = []
    for start, end in runs:
        if joined:
            before = joined[-1]
            ramp = max(end - start, before[1] - before[0]) > CUT_FRAMES
            gap = stretch[before[1] : start]
            if ramp and all(r.sketch.flat for r in gap) and _seconds(gap) <= FLAT_S:
                joined[-1] = (before[0], end)
                continue
        joined.append((start, end))
    return joined


def _seconds(frames: Sequence[Reading]) -> float:
    return frames[-1].sketch.time - frames[0].sketch.time if frames else 0.0


def _largest_step(stretch: Sequence[Reading], start: int, end: int) -> int:
    """The first frame of the new shot: the network points at the last one of the old."""
    at = range(max(1, start), min(len(stretch), end + 2))
    return max(at, key=lambda i: distance(stretch[i - 1].sketch, stretch[i].sketch), default=start)


def _widen(stretch: Sequence[Reading], start: int, end: int, floor: int, ceiling: int) -> _Run:
    reach = _REACH + (end - start) // 3
    low, high = start, end
    while low > max(floor, start - reach) and stretch[low - 1].part >= TAIL:
        low -= 1
    while high < min(ceiling, end + reach) and stretch[high].part >= TAIL:
        high += 1
    while low > floor and stretch[low - 1].sketch.flat and _seconds(stretch[low - 1 : start]) <= FLAT_S:
        low -= 1
    while high < ceiling and stretch[high].sketch.flat and _seconds(stretch[end - 1 : high + 1]) <= FLAT_S:
        high += 1
    return max(floor, low - _PAD), min(ceiling, high + _PAD)


def _meets_flat(frames: Sequence[Reading]) -> bool:
    contrast = [r.sketch.contrast for r in frames]
    return min(contrast) < FADE_CONTRAST * max(contrast) or any(r.sketch.flat for r in frames)
