"""The sketches of the newest frames, by frame index, and stretches of them."""

from __future__ import annotations

from curation.shots.sketch import Sketch

MAX_FRAMES = 240
"""Bounds memory and work where the rate is very high: no stretch reaches further in one direction."""


class Ring(dict[int, Sketch]):
    """Consecutive frames; whoever adds them forgets the oldest."""

    def stretch(
        self, index: int, time: float, reach_s: float, step: int, *, least: int = 1, until: int | None = None
    ) -> list[Sketch]:
        """Frames from ``index`` on in one direction, in order of time: as long as they are within reach of ``time``, but at least so
        many; none from frame ``until`` on."""
        found: list[Sketch] = []
        while index != until and (frame := self.get(index)) is not None and len(found) <= MAX_FRAMES:
            if len(found) >= least and abs(frame.time - time) > reach_s:
                break
            found.append(frame)
            index += step
        return found if step > 0 else found[::-1]

    def around(self, index: int, start: int, end: int, before_s: float, after_s: float) -> tuple[list[Sketch], int]:
        """Frames up to so far before and after ``index``, from ``start`` on and before ``end``, and the position of ``index``."""
        time = self[index].time
        before = self.stretch(index, time, before_s, -1, until=start - 1)
        after = self.stretch(index, time, after_s, +1, until=end)
        return before + after[1:], len(before) - 1
