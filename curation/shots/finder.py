"""The shot finder: nominations in, transitions out, in one forward pass of bounded memory.

Every frame is sketched and shown to the nominators. A nominated frame is decided when the frames around it that a decision may
look at have arrived; decisions depend on nothing else, so pushing frame by frame gives what the whole video at once would.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from curation.frames import Frame, Transition, TransitionKind
from curation.shots.blends import Blend, looks_mixed
from curation.shots.cuts import (
    FLASH_S,
    MIN_JUMP,
    MOVING_JUMP,
    MOVING_PROMINENCE,
    STITCH_S,
    cut_score,
    is_pale,
    scene_returns,
)
from curation.shots.dips import find_dip
from curation.shots.mixtures import find_mixture
from curation.shots.nominate import Nominators
from curation.shots.ring import MAX_FRAMES, Ring
from curation.shots.sketch import Shift, Sketch, Sketcher, best_shift, distance, likeness_at
from curation.shots.valleys import looks_pale
from schemas.recipe import Shots

FAR_S = 3.0
"""Ramps are seen up to this far on both sides of a frame that looks like a mixture; longer ones from their middle only."""
FLAT_S = 1.5
"""Up to this much of the flat part beside a ramp belongs to the fade; a longer black stretch is a (black) shot of its own."""
SCALES_S = (0.1, 0.2, 0.4, 0.8)
"""Distances at which a frame is compared with its outer frames: short ones see short dissolves, long ones slow dissolves."""
FLASH_SPAN_S = 0.6
"""A shorter fade with the same scene before and after is a flash or, in the dark, a blink."""
BLOOM_S = 1.5
"""The same where the picture goes to near white: nobody fades to white and back to the same scene, explosions do."""
BLOOM_LEVEL = 180.0
"""Near white: mean grey level at its brightest."""
BESIDE_S = 0.3
"""The scene before and after a flash is taken from frames up to this far from it."""
DIP_SCORE = 0.5
"""Confidence of a quick dip, for want of a fit to measure."""

ONE_SCENE = 0.9
"""A frame looks like a mixture, but those before and after are more alike than this: motion."""

_SURE = 1e-3  # what one shift gives is so near to what the search gives for it

_NEAR_S = 0.4  # the two sides of a mixture this far from it still differ in the middle of the longest dissolve
_STRIDE_S = (
    0.1  # after a failed test, none before the next multiple: neighbours give the same answer, wherever one began
)
_CUT_FRAMES = 5  # a cut is tested on so many frames on both sides even where they are far apart in time
_RATE_FRAMES = 32  # the frame rate is taken over this many frames


class ShotFinder:
    """Push every frame of a stream in order; transitions come back as soon as they are final.

    ``settled`` is the first frame index at which a transition may still begin that has not been returned.
    """

    def __init__(self, settings: Shots) -> None:
        self.settled = 0
        self._disturbed_s = STITCH_S if settings.stitch else FLASH_S
        self._sketcher = Sketcher()
        self._nominators = Nominators(settings)
        self._ring = Ring()
        self._oldest = 0  # first index in the ring
        self._newest = -1
        self._next = 0  # first undecided frame
        self._jump = 0.0  # distance of the newest two frames
        self._nominated: dict[int, str] = {}  # as cuts, untested, and by what
        self._reach = 0  # first frame that a decision to come may look at
        self._tested = 0  # first frame whose nomination as a cut is untested
        self._cuts: dict[int, tuple[float, str]] = {}  # true ones: score, detector
        self._walls: set[int] = set()  # those of them that no blend reaches across
        self._mixed: set[int] = set()
        self._skip_until_s = float("-inf")
        self._way: Shift | None = None  # how the camera went when it was last looked for
        # Decided, not yet returned: (start, end, transition), in order and without overlap.
        self._found: list[tuple[int, int, Transition]] = []

    @property
    def change(self) -> float:
        """How much the newest frame differs from the one before, 0..255; 0 for the first."""
        return self._jump

    def push(self, frame: Frame) -> list[Transition]:
        """Take the next frame; return the transitions that are now final, in order."""
        if self._newest < 0:
            self._oldest = self._next = self._tested = self._reach = self.settled = frame.index
        self._newest = frame.index
        newest, picture = self._sketcher.make(frame)
        self._ring[frame.index] = newest
        cuts, changed = self._nominators.push(frame.index, picture)
        self._nominated.update(dict.fromkeys(cuts, "adaptive"))
        if changed:
            self._mixed.add(frame.index)
        self._nominate_jump()
        self._nominate_mixtures()
        while self._newest - self._tested >= _CUT_FRAMES and self._passed(self._tested, self._disturbed_s):
            self._test_cut(self._tested)
            self._tested += 1
        while self._next < self._tested and self._passed(self._next, FAR_S + FLAT_S):
            self._decide(self._next)
            self._next += 1
        return self._release()

    def flush(self) -> list[Transition]:
        """The stream has ended; return what is left, in order."""
        while self._tested <= self._newest:
            self._test_cut(self._tested)
            self._tested += 1
        while self._next <= self._newest:
            self._decide(self._next)
            self._next += 1
        return self._release(at_end=True)

    def _nominate_jump(self) -> None:
        """A jump where the adaptive detector's average is too high to see it: out of strong motion, or within a flash."""
        newest, before, last = self._ring[self._newest], self._ring.get(self._newest - 1), self._jump
        if before is None:
            self._jump = 0.0
            return
        self._jump = distance(before, newest)
        in_motion = self._jump >= max(MOVING_JUMP, MOVING_PROMINENCE * last)
        # A flash bleaches both shots; the jump between them shrinks no more than their contrast does.
        if in_motion or self._jump >= max(MIN_JUMP, min(before.contrast, newest.contrast)):
            self._nominated.setdefault(self._newest, "jump")

    def _nominate_mixtures(self) -> None:
        """Compare the newest frame, for each scale, with the one that lies two scales back and the one halfway."""
        newest = self._ring[self._newest]
        back = max(self._oldest, self._newest - _RATE_FRAMES)
        passed = newest.time - self._ring[back].time
        rate = (self._newest - back) / passed if passed > 0 else 0.0
        seen: set[int] = set()
        for scale in SCALES_S:
            step = min(max(1, round(scale * rate)), MAX_FRAMES // 2)
            middle, before = self._newest - step, self._newest - 2 * step
            if step in seen or before < self._oldest or middle in self._mixed or middle < self._next:
                continue
            seen.add(step)
            frames = (self._ring[before], self._ring[middle], newest)
            if looks_mixed(*frames) or looks_pale(*frames):
                self._mixed.add(middle)

    def _passed(self, index: int, seconds: float) -> bool:
        """The newest frame is that much later than this one, or very many frames."""
        ahead_s = self._ring[self._newest].time - self._ring[index].time
        return ahead_s > seconds or self._newest - index >= 2 * MAX_FRAMES

    def _test_cut(self, index: int) -> None:
        detector = self._nominated.pop(index, None)
        if detector is not None and index > self._oldest:
            time = self._ring[index].time
            before = self._ring.stretch(index - 1, time, self._disturbed_s, -1, least=_CUT_FRAMES)
            after = self._ring.stretch(index, time, self._disturbed_s, +1, least=_CUT_FRAMES)
            score = cut_score(before, after, self._disturbed_s)
            if score is not None:
                self._cuts[index] = (score, detector)
                # A step near the end of a quick fade is sometimes as strong as a cut, so a pale side is no wall.
                if not is_pale(before[::-1]) and not is_pale(after):
                    self._walls.add(index)

    def _decide(self, index: int) -> None:
        time = self._ring[index].time
        if index in self._cuts:
            self._add(index, index, "cut", *self._cuts[index])
        mixed = index in self._mixed and time >= self._skip_until_s and not self._inside_span(index)
        if mixed and not self._try_mixture(index):
            self._skip_until_s = (time // _STRIDE_S + 1) * _STRIDE_S
        self._mixed.discard(index)
        if self._ring[index].flat and index > self._oldest and not self._ring[index - 1].flat:
            self._try_dip(index)

    def _bounds(self, index: int, cuts: Iterable[int]) -> tuple[int, int]:
        """The first frame, and the first one after it that is beyond, of what no cut divides from a frame."""
        start = max((cut for cut in cuts if cut <= index), default=self._oldest)
        end = min((cut for cut in cuts if cut > index), default=self._newest + 1)
        return start, end

    def _try_mixture(self, index: int) -> bool:
        """Whether a frame that looks like a mixture lies in a blend, which is then added."""
        # Two halves of a fade share their darkest frame; spans are a frame too long on each side.
        floor = max((e - 2 for _, e, t in self._found if t.kind != "cut" and e <= index), default=self._oldest)
        tried = None
        # A fade may end or begin with a cut of its own: the walls know nothing of those.
        for cuts in (self._walls, self._cuts):
            start, end = bounds = self._bounds(index, cuts)
            if bounds == tried:
                break
            tried = bounds
            near, _ = self._ring.around(index, max(start, floor), end, _NEAR_S, _NEAR_S)
            if self._is_one_scene(near[0], near[-1]):  # spares dear tests
                continue
            window, centre = self._ring.around(index, max(start, floor), end, FAR_S, FAR_S)
            blend = find_mixture(window, centre)
            if blend is None:
                continue
            is_open = blend.end == len(window) and window[-1].index + 1 < end
            if is_open and window[blend.start].time - window[0].time > _STRIDE_S:
                return False  # a later frame sees more of its end, and its start as well
            if self._accept(blend, window):
                return True
        return False

    def _is_one_scene(self, before: Sketch, after: Sketch) -> bool:
        """Whether two frames show one scene under a moving camera, or none that moves."""
        # A camera mostly goes on as it went, so the way it went a moment ago is mostly enough to tell.
        if self._way is not None and likeness_at(before, after, self._way) > ONE_SCENE + _SURE:
            return True
        alike, self._way = best_shift(before, after)
        return alike > ONE_SCENE

    def _try_dip(self, index: int) -> None:
        """The picture has just become flat: is it a dip between two shots?"""
        start, end = self._bounds(index, self._walls)
        window, at = self._ring.around(index, start, end, FAR_S, FAR_S + FLAT_S)
        dip = find_dip(window, at, FLAT_S)
        if dip is None:
            return
        start, end = window[dip[0]].index, window[dip[1]].index
        # The first half may be known as a blend, and the second be no mixture, for motion.
        known = any(s <= start and end <= e for s, e, _ in self._found)
        if not known and not self._is_flash(start, end):
            self._add(start, end, "fade", DIP_SCORE, "luma_ramp")

    def _is_flash(self, start: int, end: int) -> bool:
        """Whether the span from frame ``start`` to ``end`` only interrupts a scene for a moment."""
        if start <= self._oldest or end > self._newest:
            return False
        first, last = self._ring[start].time, self._ring[end].time
        before = self._ring.stretch(start - 1, first, BESIDE_S, -1)
        after = self._ring.stretch(end, last, BESIDE_S, +1)
        inside = [self._ring[index] for index in range(start, end)]
        jump = max(distance(before[-1], s) for s in inside)
        longest = max(FLASH_SPAN_S, self._disturbed_s)
        if max(s.level for s in inside) >= BLOOM_LEVEL:
            longest = BLOOM_S
        return scene_returns(before, after, jump, longest)

    def _inside_span(self, index: int) -> bool:
        return any(start <= index < end for start, end, _ in self._found)

    def _accept(self, blend: Blend, window: list[Sketch]) -> bool:
        """Add a blend, with the flat part beside it where it is a fade; False where it turns out to be a flash."""
        start, end = window[blend.start].index, window[blend.end - 1].index + 1
        if blend.kind == "dissolve":
            self._add(start, end, "dissolve", blend.score, blend.detector)
            return True
        first, last = self._ring[start], self._ring[end - 1]
        while start - 1 in self._ring and self._flat_with(self._ring[start], start - 1, first):
            start -= 1
        while end in self._ring and self._flat_with(self._ring[end - 1], end, last):
            end += 1
        if self._is_flash(start, end):
            return False
        self._add(start, end, "fade", blend.score, blend.detector)
        return True

    def _flat_with(self, edge: Sketch, index: int, origin: Sketch) -> bool:
        near = self._ring[index]
        return (
            edge.flat
            and near.flat
            and abs(near.time - origin.time) <= FLAT_S
            and abs(index - origin.index) < MAX_FRAMES
        )

    def _add(self, start: int, end: int, kind: TransitionKind, score: float, detector: str) -> None:
        """Keep a decided transition; spans that touch or overlap become one, and swallow cuts within or at their ends."""
        touching = [t for s, e, t in self._found if s <= end and e >= start and (start < end or s < e)]
        spans = [t for t in touching if t.start_frame < t.end_frame]
        if start == end and spans:
            return
        if spans:
            start, end = min(start, *(t.start_frame for t in spans)), max(end, *(t.end_frame for t in spans))
            best = max(spans, key=lambda t: (t.kind == "fade", t.score))
            if (best.kind == "fade", best.score) > (kind == "fade", score):
                kind, score, detector = best.kind, best.score, best.detector
        self._found = [entry for entry in self._found if entry[2] not in touching]
        transition = Transition(start, end, kind, score, detector)
        insort(self._found, (start, end, transition), key=lambda entry: entry[:2])

    def _release(self, *, at_end: bool = False) -> list[Transition]:
        """Transitions that no later decision can reach any more; forget the frames that none will look at."""
        if self._newest < 0:
            return []
        reach = self._newest + 1 if at_end else self._next
        if not at_end:
            horizon = self._ring[self._next].time - FAR_S - FLAT_S
            reach = max(self._reach, self._next - 2 * MAX_FRAMES)
            while reach < self._next and self._ring[reach].time < horizon:
                reach += 1
            self._reach = reach
        done = [entry for entry in self._found if at_end or entry[1] < reach]
        self._found = self._found[len(done) :]
        self.settled = min([reach, *(entry[0] for entry in self._found)])
        # One frame more than any window reaches, as cuts look at the frame before.
        while self._oldest < min(self.settled, reach) - 1:
            del self._ring[self._oldest]
            self._cuts.pop(self._oldest, None)
            self._walls.discard(self._oldest)
            self._oldest += 1
        return [transition for _, _, transition in done]
