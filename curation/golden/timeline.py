"""Shots, what joins them, and the truth about both, known because this is what draws them.

A :class:`Shot` draws its pictures by their number within the shot. A :class:`Timeline` plays shots one after the other, with a
cut, dissolve or fade between neighbours, and says which frame belongs to what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from curation.golden.draw import BLACK, WHITE, Colour, mix

View = Callable[[int], np.ndarray]
"""Number of the picture within its shot → (h, w, 3) uint8 RGB."""


@dataclass(frozen=True, slots=True)
class Shot:
    """``length`` frames that show this shot and nothing else; more are drawn where a transition overlaps it."""

    length: int
    make: Callable[[int], View]
    """Given the number of pictures that will be asked for, prepares what drawing needs; called when the shot begins."""
    motion_px: float = 0.0
    """Mean length over the picture of its true displacement, in pixels a frame."""
    note: dict[str, Any] = field(default_factory=dict)
    """Further truth about the shot."""

    def through(self, change: Callable[[np.ndarray, int], np.ndarray], **note: Any) -> Shot:
        """The same shot with every picture changed; ``change`` gets the picture and its number within the shot."""

        def make(total: int) -> View:
            view = self.make(total)
            return lambda index: change(view(index), index)

        return replace(self, make=make, note=self.note | note)


@dataclass(frozen=True, slots=True)
class Cut:
    """The next frame is the new shot."""


@dataclass(frozen=True, slots=True)
class Dissolve:
    """``frames`` frames in which both shots show; the new one's weight rises in equal steps, never 0 or 1."""

    frames: int


@dataclass(frozen=True, slots=True)
class Fade:
    """To a plain colour in ``out`` frames, ``hold`` frames of it, and back in ``into`` frames; equal steps."""

    out: int
    hold: int
    into: int
    colour: Colour = BLACK


Join = Cut | Dissolve | Fade


@dataclass(frozen=True, slots=True)
class Flash:
    """``frames`` frames from ``start`` on are blended with white."""

    start: int
    frames: int
    weight: float = 0.85


def ramp(frames: int) -> list[float]:
    """``frames`` weights in equal steps strictly between 0 and 1, rising."""
    return [(step + 1) / (frames + 1) for step in range(frames)]


@dataclass(frozen=True)
class Timeline:
    """Shots and the joins between them (one fewer); optionally a fade from and to black at the very ends, and flashes."""

    shots: tuple[Shot, ...]
    joins: tuple[Join, ...] = ()
    opens: int = 0
    """Frames of a fade from black before the first shot is shown in full."""
    closes: int = 0
    """Frames of a fade to black after the last shot."""
    flashes: tuple[Flash, ...] = ()

    def __post_init__(self) -> None:
        if len(self.joins) != len(self.shots) - 1:
            raise ValueError(f"{len(self.shots)} shots need {len(self.shots) - 1} joins, not {len(self.joins)}")

    def frames(self) -> Iterator[np.ndarray]:
        """All pictures in order. At most two shots are held in memory."""
        white = {flash.start + k: flash.weight for flash in self.flashes for k in range(flash.frames)}
        for index, picture in enumerate(self._plain_frames()):
            yield mix(picture, WHITE, white[index]) if index in white else picture

    def _plain_frames(self) -> Iterator[np.ndarray]:
        view, at = self._begin(0), 0
        for weight in ramp(self.opens):
            yield mix(view(at), BLACK, 1 - weight)
            at += 1
        for number, shot in enumerate(self.shots):
            for _ in range(shot.length):
                yield view(at)
                at += 1
            if number == len(self.joins):
                break
            join, following, done = self.joins[number], self._begin(number + 1), 0
            if isinstance(join, Dissolve):
                for done, weight in enumerate(ramp(join.frames), 1):
                    yield mix(view(at), following(done - 1), weight)
                    at += 1
            elif isinstance(join, Fade):
                for weight in ramp(join.out):
                    yield mix(view(at), join.colour, weight)
                    at += 1
                for _ in range(join.hold):
                    yield mix(view(at - 1), join.colour, 1)
                for done, weight in enumerate(ramp(join.into), 1):
                    yield mix(following(done - 1), join.colour, 1 - weight)
            view, at = following, done
        for weight in ramp(self.closes):
            yield mix(view(at), BLACK, weight)
            at += 1

    def _begin(self, number: int) -> View:
        """Prepare a shot for all pictures that it and the joins on both sides show."""
        before: Join = self.joins[number - 1] if number else Fade(0, 0, self.opens)
        after: Join = self.joins[number] if number < len(self.joins) else Fade(self.closes, 0, 0)
        total = self.shots[number].length
        total += before.frames if isinstance(before, Dissolve) else before.into if isinstance(before, Fade) else 0
        total += after.frames if isinstance(after, Dissolve) else after.out if isinstance(after, Fade) else 0
        return self.shots[number].make(total)

    def truth(self, fps: float, width: int, height: int) -> dict[str, Any]:
        """What a perfect detector would say: ``frames``, ``shots``, ``cuts``, ``edges``, ``flashes``; spans half open.

        Each of ``shots`` is the span that shows it alone, with its mean motion in % of the diagonal per second. Each of
        ``cuts`` has ``start_frame``, ``end_frame`` and ``kind``; a cut's span is empty, at the first frame of the new shot.
        ``weights`` (dissolve: of the new shot; fade: of either picture against ``colour``) has one value per frame of the
        span. ``edges`` are fades at the ends of the file, which join nothing.
        """
        at = self.opens
        shots: list[dict[str, Any]] = []
        cuts: list[dict[str, Any]] = []
        for number, shot in enumerate(self.shots):
            motion = 100 * shot.motion_px / float(np.hypot(width, height)) * fps
            shots.append({"start_frame": at, "end_frame": at + shot.length, "motion": round(motion, 4), **shot.note})
            at += shot.length
            if number < len(self.joins):
                entry = _describe(self.joins[number], at)
                cuts.append(entry)
                at = entry["end_frame"]
        edges = [(0, self.opens)] if self.opens else []
        edges += [(at, at + self.closes)] if self.closes else []
        return {
            "frames": at + self.closes,
            "shots": shots,
            "cuts": cuts,
            "edges": [{"start_frame": start, "end_frame": end, "kind": "fade"} for start, end in edges],
            "flashes": [
                {"start_frame": f.start, "end_frame": f.start + f.frames, "weight": f.weight} for f in self.flashes
            ],
        }


def _describe(join: Join, at: int) -> dict[str, Any]:
    """The truth of a join whose first frame is ``at``."""
    if isinstance(join, Cut):
        return {"start_frame": at, "end_frame": at, "kind": "cut"}
    if isinstance(join, Dissolve):
        weights, kind = ramp(join.frames), "dissolve"
    else:
        weights, kind = [1 - w for w in ramp(join.out)] + [0.0] * join.hold + ramp(join.into), "fade"
    entry = {"start_frame": at, "end_frame": at + len(weights), "kind": kind, "weights": [round(w, 6) for w in weights]}
    return entry | ({"colour": list(join.colour)} if isinstance(join, Fade) else {})
