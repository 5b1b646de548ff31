"""Is a nominated frame really the first of a new shot?

Thresholds were set on generated video and checked on real films: true cuts there jump by 44 or more grey levels with a likeness
of 0.73 or less; what else was nominated has a likeness over 0.93 or jumps by less than 9.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curation.shots.flashes import flash_passes
from curation.shots.sketch import Sketch, coverage, distance, likeness

MIN_JUMP = 10.0
"""Least distance of the frames on both sides, 0..255."""
MIN_COVERAGE = 0.5
"""Share of the picture that must change: a caption, a subtitle or an object appearing changes less, a new shot 0.9 and more."""
MAX_LIKENESS = 0.85
"""Two frames more alike than this, after the best shift, show the same scene: a jolt of the camera or a change of light."""
MIN_PROMINENCE = 3.0
"""The jump is at least this many times the usual change from frame to frame close by, or else:"""
MOVING_PROMINENCE = 1.4
MOVING_JUMP = 20.0
MOVING_LIKENESS = 0.8
MOVING_DROP = 0.2
"""within strong motion it stands out less, but frames close by are alike after a shift, and the two sides clearly less."""
FLASH_S = 0.4
"""A disturbance up to this long, with the same scene before and after, is a flash."""
STITCH_S = 0.9
"""The same where cuts are to be stitched: broken frames, something that passes close to the camera, a long flash."""

PALE_SIDE = 0.5
"""A frame beside a cut is pale with less than this share of the contrast that some frame near it has."""

_NEIGHBOURS = 4
_RETURN = 0.5  # the scene is back when its distance has fallen to this share of the jump


def cut_score(before: Sequence[Sketch], after: Sequence[Sketch], disturbed_s: float = FLASH_S) -> float | None:
    """Confidence 0..1 that ``after[0]`` begins a new shot, or None when it does not.

    Args:
        before: consecutive frames up to the last one before the supposed cut; at least one.
        after: consecutive frames from the first one after it; at least one.
        disturbed_s: longest disturbance, in seconds, after which the same scene is the same shot.
    """
    jump = distance(before[-1], after[0])
    if jump < MIN_JUMP or coverage(before[-1], after[0]) < MIN_COVERAGE:
        return None
    sides = (list(before[-1 - _NEIGHBOURS :]), list(after[: 1 + _NEIGHBOURS]))
    steps = [distance(side[i], side[i + 1]) for side in sides for i in range(len(side) - 1)]
    usual = float(np.median(steps)) if steps else 0.0
    if jump < MOVING_PROMINENCE * usual:
        return None
    alike = max(likeness(before[-1], after[0]), likeness(after[0], before[-1]))
    if jump < MIN_PROMINENCE * usual and not _stands_out_of_motion(sides, jump, alike):
        return None
    if alike > MAX_LIKENESS or scene_returns(before, after, jump, disturbed_s) or flash_passes(before, after, FLASH_S):
        return None
    return float(min(1.0, 0.5 + 0.5 * (MAX_LIKENESS - alike) / MAX_LIKENESS))


def is_pale(side: Sequence[Sketch]) -> bool:
    """Whether ``side[0]``, next to a cut, shows little of the picture that the frames further off show."""
    return side[0].flat or side[0].contrast < PALE_SIDE * max(s.contrast for s in side)


def _stands_out_of_motion(sides: tuple[list[Sketch], list[Sketch]], jump: float, alike: float) -> bool:
    if jump < MOVING_JUMP:
        return False
    near = [likeness(side[i], side[i + 1]) for side in sides for i in range(len(side) - 1)]
    usual = float(np.median(near)) if near else 0.0
    return usual >= MOVING_LIKENESS and alike <= usual - MOVING_DROP


def scene_returns(before: Sequence[Sketch], after: Sequence[Sketch], jump: float, within_s: float) -> bool:
    """A frame shortly after agrees with one shortly before: whatever came between was a disturbance.

    Both edges of a flash are caught: at the rise the later frames return, at the fall the earlier ones agree.

    Args:
        before: frames up to the last one before a change.
        after: frames from the first one after it.
        jump: distance that the change made.
        within_s: the two frames that agree lie at most this far apart.
    """
    early = [s for s in before if not s.flat and after[0].time - s.time <= within_s]
    late = [s for s in after if not s.flat and s.time - before[-1].time <= within_s]
    if not early or not late:
        return False
    crossed = np.stack([s.cells for s in early]) @ np.stack([s.cells for s in late]).T  # whole numbers: exact
    squared = np.array([s.power for s in early])[:, None] + np.array([s.power for s in late]) - 2 * crossed
    spans = np.array([s.time for s in late]) - np.array([s.time for s in early])[:, None]
    squared[spans > within_s] = np.inf
    i, j = np.unravel_index(int(np.argmin(squared)), squared.shape)
    apart = np.sqrt(squared[i, j] / before[-1].cells.size)
    return bool(apart <= _RETURN * jump) and likeness(early[i], late[j]) > MAX_LIKENESS
