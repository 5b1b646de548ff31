"""What all signals share: when to take a sample, and a ring of small values that a span reads later."""

from __future__ import annotations

import math
from collections import deque
from typing import Generic, TypeVar

from curation.frames import Span

T = TypeVar("T")

_SLACK = 1e-6
"""Ticks. A time stamp that is a multiple of the period but for rounding belongs to the tick it stands for."""


class Clock:
    """Says which frames are sampled: the first one at or after each multiple of ``1 / rate`` seconds.

    It looks at time stamps only, so variable frame rates need no care, and what the frames show changes nothing. The
    very first frame is a sample too.
    """

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ValueError(f"the sampling rate must be above 0, not {rate}")
        self.rate = rate
        self._tick: int | None = None

    def due(self, time: float) -> bool:
        """True where the frame at ``time`` (s) is a sample. Ask once for each frame, in order."""
        tick = math.floor(time * self.rate + _SLACK)
        if tick == self._tick:
            return False
        self._tick = tick
        return True


class Samples(Generic[T]):
    """Values in the order of their frames. A value belongs to a span only if all frames it was made from lie in the
    span."""

    def __init__(self) -> None:
        self._ring: deque[tuple[int, int, T]] = deque()

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, value: T, last: int, first: int | None = None) -> None:
        """Keep ``value``, made from the frames ``first`` (default: ``last``) to ``last``."""
        self._ring.append((last if first is None else first, last, value))

    def within(self, span: Span) -> list[T]:
        """The values whose frames all lie in ``[start_frame, end_frame)``, in order."""
        return [v for first, last, v in self._ring if first >= span.start_frame and last < span.end_frame]

    def forget(self, before: int) -> None:
        """Drop what ended before frame ``before``."""
        while self._ring and self._ring[0][1] < before:
            self._ring.popleft()
