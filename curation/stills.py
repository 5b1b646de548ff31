"""Stills of a clip: small pictures held while the pass runs; those chosen when the clip is known become JPEGs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from av.video.frame import VideoFrame

from curation.frames import Span
from schemas.recipe import Stills

CANDIDATES_PER_SECOND = 2.0
"""Rate at which candidates are taken: enough for four stills of a two-second clip."""


@dataclass(frozen=True, slots=True)
class Still:
    """One candidate."""

    frame: int
    time: float
    picture: VideoFrame
    """As :meth:`curation.pixels.FrameMaker.shrunk` makes it: under a megabyte."""


class StillPicker:
    """Holds the candidates of the last seconds and gives each closing clip its stills."""

    def __init__(self, settings: Stills) -> None:
        self._settings = settings
        self._candidates: deque[Still] = deque()

    def add(self, still: Still) -> None:
        self._candidates.append(still)

    def close(self, span: Span) -> list[Still]:
        """The stills of a clip, in order of time."""
        inside = [s for s in self._candidates if span.start_frame <= s.frame < span.end_frame]
        wanted = how_many(span.end_s - span.start_s, self._settings)
        return [inside[i] for i in spread([s.time for s in inside], span.start_s, span.end_s, wanted)]

    def forget(self, before_frame: int) -> None:
        while self._candidates and self._candidates[0].frame < before_frame:
            self._candidates.popleft()


def how_many(duration_s: float, settings: Stills) -> int:
    """Stills that a clip of this length should have."""
    return max(settings.least, min(settings.most, round(duration_s * settings.per_second)))


def spread(times: Sequence[float], start_s: float, end_s: float, wanted: int) -> list[int]:
    """Indices of at most ``wanted`` of the given times, evenly spread over the span: the nearest to the middle of each share."""
    if len(times) <= wanted:
        return list(range(len(times)))
    step = (end_s - start_s) / wanted
    chosen: list[int] = []
    first = 0
    for share in range(wanted):
        target = start_s + (share + 0.5) * step
        last = len(times) - (wanted - share - 1)  # leave one for each share that follows
        best = min(range(first, last), key=lambda i: (abs(times[i] - target), i))
        chosen.append(best)
        first = best + 1
    return chosen
