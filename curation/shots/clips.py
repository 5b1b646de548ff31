"""Clips: what lies between transitions, trimmed, and split where it is long. Streaming, in bounded memory."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from curation.frames import Span, Transition
from schemas.recipe import Shots

_TINY_S = 1e-6
"""Seconds are sums of floats; a length this close to a limit counts as on it."""


@dataclass(frozen=True, slots=True)
class ClipSpan:
    """A clip to be: its span, which shot of the source it is from, and which piece of that shot; both counted from 0.

    Shots that are too short and pieces that are left out keep their numbers.
    """

    span: Span
    shot: int
    piece: int


def split_points(times: Sequence[float], end_s: float, max_s: float) -> list[int]:
    """Where to divide frames that begin at ``times`` so that no piece is longer than ``max_s``.

    Args:
        times: start of each frame in seconds, rising; at least one.
        end_s: end of the last frame.
        max_s: longest piece; only a single frame that is shown for longer can make a longer piece.

    Returns:
        positions in ``times`` at which a new piece begins, without the first; pieces are as equal as frames allow.
    """
    length = end_s - times[0]
    for count in range(max(1, ceil(length / max_s - _TINY_S)), len(times) + 1):
        points = sorted({_nearest(times, times[0] + length * k / count) for k in range(1, count)} - {0})
        bounds = [times[0], *(times[p] for p in points), end_s]
        if all(b - a <= max_s + _TINY_S for a, b in itertools.pairwise(bounds)):
            return points
    return list(range(1, len(times)))


def _nearest(times: Sequence[float], moment: float) -> int:
    after = min(bisect_right(times, moment), len(times) - 1)
    before = max(0, after - 1)
    return before if moment - times[before] <= times[after] - moment else after


class ClipMaker:
    """Transitions in, clips out, each as soon as it is final.

    ``trim_frames`` are taken off on both sides of every transition, but not at the very start and end of the source. A shot
    gives off pieces of ``max_s`` while twice that length is certain, and at its end the rest in equal parts; pieces under
    ``min_s`` give no clip. ``needed_from`` is the first frame that a future clip may include.
    """

    def __init__(self, settings: Shots) -> None:
        self.needed_from = 0
        self._settings = settings
        self._first: int | None = None  # index of the frame at position 0 of the two lists
        self._pts: list[int] = []
        self._times: list[float] = []
        self._shot = 0
        self._piece = 0
        self._shot_start = 0  # untrimmed
        self._start = 0  # first frame of the pending piece

    def push_time(self, index: int, pts: int, time: float) -> None:
        """Say when a frame is shown. Every frame, in order, before ``advance`` speaks of it.

        Raises:
            ValueError: a frame was left out.
        """
        if self._first is None:
            self._first = self._start = self._shot_start = self.needed_from = index
        if index != self._first + len(self._times):
            raise ValueError(f"frame {index} was pushed where frame {self._first + len(self._times)} is due")
        self._pts.append(pts)
        self._times.append(time)

    def advance(self, transitions: list[Transition], settled: int) -> list[ClipSpan]:
        """Take further transitions, in order; all that begin before frame ``settled`` have now been given.

        Returns:
            the clips that are final.
        """
        clips: list[ClipSpan] = []
        for transition in transitions:
            clips += self._close(transition.start_frame - self._settings.trim_frames)
            if transition.start_frame > self._shot_start:
                self._shot += 1
            self._piece = 0
            self._shot_start = transition.end_frame
            self._start = transition.end_frame + self._settings.trim_frames
        clips += self._give_off(settled - self._settings.trim_frames)
        self._forget()
        return clips

    def finish(self, end_pts: int, end_s: float) -> list[ClipSpan]:
        """The source has ended and all transitions have been given; ``end_pts`` and ``end_s`` are the end of its last frame."""
        if self._first is None:
            return []
        self._pts.append(end_pts)
        self._times.append(end_s)
        clips = self._close(self._first + len(self._times) - 1)
        self._start = self._first + len(self._times)
        self._forget()
        return clips

    def _give_off(self, certain: int) -> list[ClipSpan]:
        """Whole pieces of a shot that is known to go on up to frame ``certain``, while it is at least two pieces long."""
        clips: list[ClipSpan] = []
        if self._first is None:
            return clips
        last = min(certain - self._first, len(self._times) - 1)
        max_s = self._settings.max_s
        while (at := self._start - self._first) < last and self._times[last] - self._times[at] >= 2 * max_s - _TINY_S:
            stop = bisect_right(self._times, self._times[at] + max_s + _TINY_S, at, last + 1) - 1
            clips += self._clip(self._start, self._first + max(stop, at + 1))
        return clips

    def _close(self, end: int) -> list[ClipSpan]:
        """The shot ends before frame ``end``: what is left of it."""
        clips = self._give_off(end)
        if self._first is None or end <= self._start:
            return clips
        low, high = self._start - self._first, end - self._first
        points = split_points(self._times[low:high], self._times[high], self._settings.max_s)
        bounds = [self._start, *(self._start + point for point in points), end]
        for a, b in itertools.pairwise(bounds):
            clips += self._clip(a, b)
        return clips

    def _clip(self, start: int, end: int) -> list[ClipSpan]:
        """One piece, if it is long enough; the next one begins where it ends."""
        assert self._first is not None
        a, b = start - self._first, end - self._first
        span = Span(start, end, self._pts[a], self._pts[b], self._times[a], self._times[b])
        piece, self._piece, self._start = self._piece, self._piece + 1, end
        return (
            [ClipSpan(span, self._shot, piece)] if span.end_s - span.start_s >= self._settings.min_s - _TINY_S else []
        )

    def _forget(self) -> None:
        self.needed_from = self._start
        if self._first is not None:
            done = min(max(0, self._start - self._first), len(self._times))
            del self._pts[:done], self._times[:done]
            self._first += done
