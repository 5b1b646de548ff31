"""Backend `transnetv2`: the network looks at every frame, and its answers are read as transitions.

It takes many flashes for cuts, so what it sees must pass one test of ours: that the scene is not the same shortly after.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from curation.frames import Frame, Transition
from curation.shots.cuts import FLASH_S, STITCH_S, scene_returns
from curation.shots.network import Answers, ShotNetwork, Windower, thumbnail
from curation.shots.network_spans import Reading, read_transitions
from curation.shots.sketch import Sketch, Sketcher, distance
from schemas.recipe import Shots

_BESIDE = 60  # frames before a transition that are kept for comparing
_MAX_STRETCH = 600  # frames; bounds what is kept where the network sees change without end, or nothing but black


class NetworkFinder:
    """Push every frame of a stream in order; transitions come back as soon as they are final.

    ``settled`` is the first frame index at which a transition may still begin that has not been returned.
    """

    def __init__(self, settings: Shots, network: ShotNetwork) -> None:
        self.settled = 0
        self.change = 0.0
        """Distance of the newest frame from the one before, 0..255."""
        self._threshold = settings.network_threshold
        self._windower = Windower(network)
        self._sketcher = Sketcher()
        self._disturbed_s = STITCH_S if settings.stitch else FLASH_S
        self._newest: Sketch | None = None
        self._before: deque[Sketch] = deque(maxlen=_BESIDE)  # frames before the stretch
        self._waiting: deque[Sketch] = deque()  # without an answer
        self._stretch: list[Reading] = []  # a quiet frame, and those since then

    def push(self, frame: Frame) -> list[Transition]:
        """Take the next frame; return the transitions that are now final, in order."""
        newest, _ = self._sketcher.make(frame)
        if self._newest is None:
            self.settled = frame.index
        else:
            self.change = distance(self._newest, newest)
        self._newest = newest
        self._waiting.append(newest)
        return self._take(self._windower.push(thumbnail(frame)))

    def flush(self) -> list[Transition]:
        """The stream has ended; return what is left, in order."""
        return self._take(self._windower.flush()) + self._read()

    def _take(self, answers: Answers | None) -> list[Transition]:
        found: list[Transition] = []
        if answers is None:
            return found
        for centre, part in zip(answers.centre.tolist(), answers.part.tolist(), strict=True):
            reading = Reading(self._waiting.popleft(), centre, part)
            self._stretch.append(reading)
            if reading.quiet(self._threshold) or len(self._stretch) >= _MAX_STRETCH:
                found += self._read()
                self._before.extend(r.sketch for r in self._stretch[:-1])
                self._stretch = [reading]
        self.settled = self._stretch[0].sketch.index
        return found

    def _read(self) -> list[Transition]:
        if len(self._stretch) < 2:
            return []
        return [t for t in read_transitions(self._stretch, self._threshold) if not self._is_flash(t)]

    def _is_flash(self, transition: Transition) -> bool:
        """Whether what the network saw only interrupts a scene for a moment."""
        known = [*self._before, *(r.sketch for r in self._stretch), *self._waiting]
        start, end = (frame - known[0].index for frame in (transition.start_frame, transition.end_frame))
        if start == 0 or end >= len(known):
            return False
        before, inside = known[:start], known[start : max(end, start + 1)]
        after = list(takewhile(lambda s: s.time - before[-1].time <= self._disturbed_s, known[end:]))
        jump = max(distance(before[-1], s) for s in inside)
        return bool(after) and scene_returns(before, after, jump, self._disturbed_s)
