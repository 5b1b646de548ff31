"""Walking along a ramp: how far do values go on rising?

A fade is followed by the distance from its flat end, which is proportional to the weight of the picture and, unlike the mixture
with a picture of some time ago, hardly disturbed by motion. All is counted in seconds, not frames, and looks a moment ahead: video that was converted to a higher frame rate
shows every picture two or three times, so a ramp stands still for some frames and yet goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.shots.sketch import Sketch, distance

LOOK_S = 0.17
"""Look at least so far ahead: two pictures of 12.5 a second, four frames at 25;"""
LOOK = 0.15
"""or this share of the time that the ramp has taken up to here: what moves in the picture is a bump in a slow ramp."""
SLOPE = 0.25
"""Share of the mean slope up to here at which a ramp still goes on: eased ramps slow down towards their ends."""
LEAST = 0.012
"""Share of a distance that it must rise besides: less is motion and noise."""


def goes_on(
    values: Sequence[float], times: Sequence[float], foot: int, at: int, step: int, slope: float, least: float = 0.0
) -> bool:
    """Whether a moment ahead a value lies above ``values[at]`` by what is asked; at least two frames are looked at.

    Args:
        values: one per frame.
        times: start of each frame in seconds.
        foot: position of the foot of the ramp.
        at: position to start from.
        step: +1 or −1, the direction to look in.
        slope: least rise per second.
        least: least rise.
    """
    look_s = max(LOOK_S, LOOK * abs(times[at] - times[foot])) + 1e-6
    here = at + step
    while 0 <= here < len(values):
        away = abs(times[here] - times[at])
        if abs(here - at) > 2 and away > look_s:
            return False
        if values[here] - values[at] >= max(slope * away, least):
            return True
        here += step
    return False


def ramp_top(frames: Sequence[Sketch], foot: int, at: int, step: int) -> int:
    """Position of the first frame that shows the whole picture, in a ramp up from the flat ``frames[foot]``.

    Args:
        frames: consecutive ones.
        foot: position of the flat end of the ramp.
        at: position from which to go on; between it and ``foot`` the picture is known to gain.
        step: +1 or −1, the direction that leads away from ``foot``.
    """
    flat, times = frames[foot], [s.time for s in frames]
    away = [distance(flat, s) for s in frames]
    while 0 <= at + step < len(frames):
        slope = SLOPE * (away[at] - away[foot]) / max(abs(times[at] - times[foot]), 1e-6)
        if not goes_on(away, times, foot, at, step, slope, LEAST * away[at]):
            break
        at += step
    return at
