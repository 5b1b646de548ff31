"""Clips: what lies between transitions, trimmed, and split where it is long. Streaming, in bounded memory."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from curation.frames import Span, Transition
from curation.shots.splits import SLACK, TINY_S, calmest, split_points
from schemas.recipe import Shots

CLEAN, CLEAN_MOVING = 0.05, 0.15
"""Largest change in all over the frames after a clean cut, and of any one of them where the picture goes on moving as much, as shares
of the change at the cut. What is left of the old shot goes away again: it is change that does not go on."""
_TAIL, _BEYOND = 12, 24
_STEADY = 1.2


@dataclass(frozen=True, slots=True)
class ClipSpan:
    """A clip to be: its span, which shot of the source it is from, and which piece of that shot; both counted from 0.

    Shots that are too short and pieces that are left out keep their numbers.
    """

    span: Span
    shot: int
    piece: int


class ClipMaker:
    """Transitions in, clips out, each as soon as it is final.

    ``trim_frames`` are taken off on both sides of every transition, but not at the very start and end of the source, nor after
    a cut whose first frame is whole. A shot
    gives off pieces of up to ``max_s`` while twice that length is certain, and at its end the rest in about equal parts, each
    divided where the picture changes least close by; pieces under ``min_s`` give no clip. ``needed_from`` is the first frame
    that a future clip may include.

    A segment of a long source owns the frames whose pts are at least ``owned_from`` and less than ``owned_to``. Frames before and
    after are pushed too, so that transitions near the seams are seen, but are made into no clip. A seam divides a shot like
    any other division, at the first frame on or after it, and nothing is trimmed there. A transition is the segment's when its
    first frame is; one that begins outside only trims what it reaches.
    """

    def __init__(self, settings: Shots, owned_from: int | None = None, owned_to: int | None = None) -> None:
        self.needed_from = 0
        self.shots = 0
        """How many shots the segment's own transitions have begun. Clips of the shot that goes on from before the seam, or that
        opens the source, have ``shot`` 0; so a clip's number in the source is its ``shot`` plus the sum of ``shots`` of all
        segments before."""
        self._settings = settings
        self._owned_from = owned_from
        self._owned_to = owned_to
        self._begin: int | None = None  # index of the first owned frame, once pushed
        self._stop: int | None = None  # index of the first frame after them, once pushed
        self._first: int | None = None  # index of the frame at position 0 of the three lists
        self._pts: list[int] = []
        self._times: list[float] = []
        self._changes: list[float] = []
        self._piece = 0
        self._shot_start = 0  # untrimmed
        self._start = 0  # first frame of the pending piece

    @property
    def pieces(self) -> int:
        """How many pieces the newest shot has been divided into so far: where it goes on after the seam, its next piece has
        that number (plus the pieces from before, if all of the segment was this one shot)."""
        return self._piece

    def push_time(self, index: int, pts: int, time: float, change: float = 0.0) -> None:
        """Say when a frame is shown, and how much it differs from the one before, on any scale. Every frame, in order, before
        ``advance`` speaks of it.

        Raises:
            ValueError: a frame was left out.
        """
        if self._first is None:
            self._first = self._shot_start = self.needed_from = index
        if index != self._first + len(self._times):
            raise ValueError(f"frame {index} was pushed where frame {self._first + len(self._times)} is due")
        if self._begin is None and (self._owned_from is None or pts >= self._owned_from):
            self._begin = index
            self._start = max(self._start, index)
        if self._stop is None and self._owned_to is not None and pts >= self._owned_to:
            self._stop = index
        self._pts.append(pts)
        self._times.append(time)
        self._changes.append(change)

    def advance(self, transitions: list[Transition], settled: int) -> list[ClipSpan]:
        """Take further transitions, in order; all that begin before frame ``settled`` have now been given.

        Returns:
            the clips that are final.
        """
        clips: list[ClipSpan] = []
        for transition in transitions:
            clips += self._close(transition.start_frame - self._settings.trim_frames)
            if self.owns(transition.start_frame):
                self.shots += transition.start_frame > self._shot_start
                self._piece = 0
            self._shot_start = transition.end_frame
            trim = 0 if self._clean(transition) else self._settings.trim_frames
            self._start = max(self._begin or 0, transition.end_frame + trim)
        clips += self._give_off(settled - self._settings.trim_frames)
        self._forget(settled)
        return clips

    def _clean(self, transition: Transition) -> bool:
        """Whether a cut's first frame plainly shows the new shot alone, so that nothing need be trimmed after it.

        Encoders put a codec keyframe just there, from where packets can be copied.
        """
        assert self._first is not None
        at = transition.start_frame - self._first
        if transition.kind != "cut" or not 0 <= at < len(self._changes) - _BEYOND:
            return False
        jump, tail = self._changes[at], self._changes[at + 1 : at + 1 + _TAIL]
        if sum(tail) <= CLEAN * jump:
            return jump > 0
        usual = sum(self._changes[at + 1 + _TAIL : at + 1 + _BEYOND]) / (_BEYOND - _TAIL)
        return (
            max(tail) <= CLEAN_MOVING * jump
            and sum(tail[:3]) <= 3 * _STEADY * usual
            and sum(tail) <= _TAIL * _STEADY * usual
        )

    def owns(self, frame: int) -> bool:
        """Whether a frame, already pushed, is the segment's own; a transition is when its first frame is."""
        return self._begin is not None and frame >= self._begin and (self._stop is None or frame < self._stop)

    def finish(self, end_pts: int, end_s: float) -> list[ClipSpan]:
        """The source, or what of it is decoded for the segment, has ended and all transitions have been given.

        Args:
            end_pts: end of the last frame pushed; of no account where frames after the segment's own were pushed.
            end_s: the same in seconds.
        """
        if self._first is None:
            return []
        self._pts.append(end_pts)
        self._times.append(end_s)
        self._changes.append(0.0)
        end = self._first + len(self._times)
        clips = self._close(end - 1)
        self._start = end
        self._forget(end)
        return clips

    def _within(self, end: int) -> int:
        """``end``, or the seam where that comes first."""
        return end if self._stop is None else min(end, self._stop)

    def _give_off(self, certain: int) -> list[ClipSpan]:
        """Whole pieces of a shot that is known to go on up to frame ``certain``, while it is at least two pieces long."""
        clips: list[ClipSpan] = []
        if self._first is None or self._begin is None:
            return clips
        last = min(self._within(certain) - self._first, len(self._times) - 1)
        if self._settings.backend == "fixed":
            return self._multiples(last)
        max_s = self._settings.max_s
        while (at := self._start - self._first) < last and self._times[last] - self._times[at] >= 2 * max_s - TINY_S:
            # All that is looked at lies within two pieces, so the division does not depend on how much more is certain.
            seen = bisect_right(self._times, self._times[at] + 2 * max_s, at, last + 1)
            times, changes = self._times[at:seen], self._changes[at:seen]
            longest = max(1, bisect_right(times, times[0] + max_s + TINY_S) - 1)
            # It can only move forwards, so twice as far as a division that can move both ways.
            place = calmest(times, changes, times[0] + (1 - 2 * SLACK) * max_s, times[0] + max_s, longest)
            clips += self._clip(self._start, self._start + place)
        return clips

    def _multiples(self, last: int) -> list[ClipSpan]:
        """Backend `fixed`: a piece ends at the first frame on or after each multiple of ``fixed_s`` in the source's time."""
        assert self._first is not None
        clips: list[ClipSpan] = []
        every = self._settings.fixed_s
        while (at := self._start - self._first) < last:
            end_s = ((self._times[at] + TINY_S) // every + 1) * every
            stop = bisect_left(self._times, end_s - TINY_S, at + 1, last + 1)
            if stop > last:
                break
            clips += self._clip(self._start, self._first + stop)
        return clips

    def _close(self, end: int) -> list[ClipSpan]:
        """The shot, or what of it is the segment's, ends before frame ``end``: what is left of it."""
        end = self._within(end)
        clips = self._give_off(end)
        if self._first is None or self._begin is None or end <= self._start:
            return clips
        low, high = self._start - self._first, end - self._first
        points = (
            []
            if self._settings.backend == "fixed"
            else split_points(
                self._times[low:high],
                self._times[high],
                self._settings.max_s,
                self._settings.min_s,
                self._changes[low:high],
            )
        )
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
        return [ClipSpan(span, self.shots, piece)] if span.end_s - span.start_s >= self._settings.min_s - TINY_S else []

    def _forget(self, settled: int) -> None:
        if self._first is None:
            return
        end = self._first + len(self._times)
        self.needed_from = self._start if self._begin is not None else end
        # Of a cut to come, even one before the seam, the changes around it will be asked for.
        done = min(max(0, min(self.needed_from, settled) - self._first), len(self._times))
        del self._pts[:done], self._times[:done], self._changes[:done]
        self._first += done
