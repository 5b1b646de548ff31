"""Backend `ensemble`: the cheap finder decides, and asks the network where it is in doubt.

In doubt it is about three things: a nominated cut that failed its test narrowly, a cut that passed with little to spare, and a
frame that looks like the middle of a dissolve between unlike pictures but fits no ramp, because of motion. The network then looks
at the windows around that frame only. It may add a transition or take away a doubtful cut; where nothing is doubtful it is never
asked.
"""

from __future__ import annotations

import numpy as np

from curation.frames import Frame, Transition
from curation.shots.cuts import MIN_JUMP, scene_returns
from curation.shots.finder import ShotFinder
from curation.shots.network import MARGIN, STEP, WINDOW, ShotNetwork, thumbnail
from curation.shots.network_spans import Reading, read_transitions
from curation.shots.sketch import Sketch, coverage, distance, likeness
from schemas.recipe import Shots

DOUBT_SCORE = 0.57
"""A cut with less confidence is put to the network,"""
DENIED = 0.05
"""and is none if no frame next to it is as likely as this to be part of a transition."""
DOUBT_COVERAGE = 0.42
"""A nominated cut is doubtful where at least this share of the picture changes,"""
DOUBT_LIKENESS = 0.88
"""and the pictures on both sides are less alike than this."""
SCALES_S = (0.2, 0.4, 0.8)
"""Distances at which a frame is compared with those before and after it:"""
THINNED = 0.8
"""in a dissolve it has at most this share of their edge energy (mixing thins edges out, motion does not),"""
UNLIKE = 0.85
"""they are less alike than this,"""
DIFFERING = 0.45
"""and at least this share of the picture differs between them;"""
LASTING_S = 0.3
"""and all that twice within this time."""

_AHEAD = MARGIN + 2 * STEP  # frames after a decided one: the block it lies in, the next one, and that one's margin
_BEHIND = MARGIN + 2 * STEP
_REACH = STEP  # frames on each side of a doubtful one that may be asked about


class EnsembleFinder(ShotFinder):
    """Push every frame of a stream in order; transitions come back as soon as they are final.

    The network's windows lie on a fixed grid, so that its answers do not depend on where doubts arise. Thumbnails of some
    hundred frames are kept, 3.9 kB each.
    """

    def __init__(self, settings: Shots, network: ShotNetwork) -> None:
        super().__init__(settings)
        self._network = network
        self._threshold = settings.network_threshold
        self._origin = -1  # index of the stream's first frame
        self._thumbnails: dict[int, np.ndarray] = {}
        self._blocks: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # the network's two answers for 50 frames
        self._rejected: set[int] = set()  # cuts that failed narrowly
        self._thin_s = float("-inf")  # when edges were last seen thinned

    def push(self, frame: Frame) -> list[Transition]:
        """Take the next frame; return the transitions that are now final, in order."""
        if self._origin < 0:
            self._origin = frame.index
        self._thumbnails[frame.index] = thumbnail(frame)
        found = super().push(frame)
        while (oldest := next(iter(self._thumbnails))) < self._next - _BEHIND:
            del self._thumbnails[oldest]
        return found

    def _passed(self, index: int, seconds: float) -> bool:
        """Nothing is decided before the frames are there that the network would look at."""
        return self._newest - index >= _AHEAD and super()._passed(index, seconds)

    def _test_cut(self, index: int) -> None:
        nominated = index in self._nominated
        super()._test_cut(index)
        if nominated and index > self._oldest and index not in self._cuts and self._nearly_cut(index):
            self._rejected.add(index)

    def _decide(self, index: int) -> None:
        mixed = index in self._mixed and self._ring[index].time >= self._skip_until_s
        super()._decide(index)
        if index in self._cuts:
            if self._cuts[index][0] < DOUBT_SCORE and self._denied(index):
                self._walls.discard(index)
                self._found = [entry for entry in self._found if entry[:2] != (index, index)]
        elif not self._inside_span(index):
            if index in self._rejected:
                self._add_seen(index, cuts=True)
            elif mixed and self._thins_out(index):
                if self._ring[index].time - self._thin_s <= LASTING_S:
                    self._add_seen(index, cuts=False)
                self._thin_s = self._ring[index].time
        self._rejected.discard(index)
        self._blocks = {block: answers for block, answers in self._blocks.items() if block >= self._block(index) - 1}

    def _nearly_cut(self, index: int) -> bool:
        before, after = self._ring[index - 1], self._ring[index]
        jump, time = distance(before, after), after.time
        if jump < MIN_JUMP or before.flat or after.flat or coverage(before, after) < DOUBT_COVERAGE:
            return False
        if max(likeness(before, after), likeness(after, before)) > DOUBT_LIKENESS:
            return False
        early = self._ring.stretch(index - 1, time, self._disturbed_s, -1)
        late = self._ring.stretch(index, time, self._disturbed_s, +1)
        return not scene_returns(early, late, jump, self._disturbed_s)

    def _thins_out(self, index: int) -> bool:
        """Whether the frame has fewer edges than the unlike pictures some time before and after it in the same shot."""
        here = self._ring[index]
        low = max((wall for wall in self._walls if wall <= index), default=self._oldest)
        high = min((wall for wall in self._walls if wall > index), default=self._newest + 1)

        def far(step: int, seconds: float) -> Sketch:
            if step < 0:
                return self._ring.stretch(index, here.time, seconds, step, until=low - 1)[0]
            return self._ring.stretch(index, here.time, seconds, step, until=high)[-1]

        for seconds in SCALES_S:
            before, after = far(-1, seconds), far(+1, seconds)
            if (
                here.edge_energy() <= THINNED * (before.edge_energy() + after.edge_energy()) / 2
                and coverage(before, after) >= DIFFERING
                and max(likeness(before, after), likeness(after, before)) <= UNLIKE
            ):
                return True
        return False

    def _denied(self, index: int) -> bool:
        near = [self._reading(at) for at in range(max(self._oldest, index - 2), min(self._newest, index + 1) + 1)]
        return max(max(r.centre, r.part) for r in near) < DENIED

    def _add_seen(self, index: int, *, cuts: bool) -> None:
        """Add what the network sees at a frame, unless a cut divides it or it is a flash."""
        first, last = max(self._oldest, index - 1), index  # the network points at the last frame before a cut
        while first > max(self._oldest, index - _REACH) and not self._reading(first).quiet(self._threshold):
            first -= 1
        while last < min(self._newest, index + _REACH) and not self._reading(last).quiet(self._threshold):
            last += 1
        for seen in read_transitions([self._reading(at) for at in range(first, last + 1)], self._threshold):
            start, end = max(seen.start_frame, self.settled), seen.end_frame
            if not start - 1 <= index <= end or any(start <= wall <= end for wall in self._walls):
                continue
            if cuts if start == end else not self._is_flash(start, end):
                self._add(start, end, seen.kind, seen.score, seen.detector)

    def _block(self, index: int) -> int:
        return (index - self._origin) // STEP

    def _reading(self, index: int) -> Reading:
        """The network's answers for a frame; asks it where it has not been asked about the 50 frames around."""
        block = self._block(index)
        if block not in self._blocks:
            start = self._origin + block * STEP - MARGIN
            last = self._newest
            window = [self._thumbnails[min(max(at, self._origin), last)] for at in range(start, start + WINDOW)]
            centre, part = self._network.probabilities(np.stack(window)[None])
            self._blocks[block] = (centre[0, MARGIN : MARGIN + STEP], part[0, MARGIN : MARGIN + STEP])
        centre, part = self._blocks[block]
        at = (index - self._origin) % STEP
        return Reading(self._ring[index], float(centre[at]), float(part[at]))
