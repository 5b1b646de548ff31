"""Motion: the mean length of optical flow, in percent of the frame diagonal per second.

    motion = 100 × mean over pixels of |flow| / diagonal / seconds between the two frames

Lengths are averaged, so movements to the left and to the right add up. The flow is DIS (Kroeger et al., "Fast Optical
Flow using Dense Inverse Search", 2016) on the small gray frames, five times a second. Three things are done around it:

* **The interval fits the speed.** Slow motion is measured over up to 0.2 s, because flow of a tenth of a pixel is not
  accurate; fast motion from one frame to the next, because DIS reads displacements over about 20 px too small. The
  speed is first estimated at half size from the last two frames; where that is fast, or does not explain the change,
  phase correlation (Kuglin and Hines, 1975) gives the flow a shift to start from.
* **One step of Lucas and Kanade** (1981) per block of 8 × 8 pixels at full size takes out the bias that DIS has below
  one pixel.
* **Change that flow does not explain is noise**, unless it is strong: where moving the picture leaves as much
  difference as not moving it, the flow counts as 0.

A shift of over half the frame from one frame to the next cannot be told from a shorter one the other way. DIS gives
the same flow with any number of threads.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.samples import Clock, Samples

RATE = 5.0
"""Samples per second, and the inverse of the longest interval in seconds between the frames of a pair (if frames are
that close)."""
LEAST_SIDE = 32
"""Pixels. Smaller pictures give no flow, and no motion."""

_REACH = 10.0
"""Pixels. Displacement that a pair should not exceed: half of what DIS can do."""
_FAST = 6.0
"""Half-size pixels from one frame to the next over which phase correlation is asked for a start."""
_NOISE = 1.0
"""Levels. Mean difference between two half-size pictures below which nothing can have moved fast."""
_ROUGHLY_EXPLAINED = 0.6
"""Share of the local difference at half size that flow may leave to count as fast: noise leaves about 0.8."""
_NEIGHBOURHOOD = np.ones((5, 5), np.uint8)
_REPEAT = 0.01
"""Levels. Mean difference up to which a frame repeats the one before it."""
_BLOCK = 8
_DAMPING = 0.5
"""(Levels per pixel)². Added to a block's gradient energy, so that the noise of a flat block is not read as a shift."""
_EXPLAINED, _UNEXPLAINED = 0.50, 0.62
"""Share of the difference left after moving the picture: up to the first the flow counts, from the second on it does
not. On pure noise of 1 to 6 levels, flat or over a texture, 98 % of blocks keep over 0.61; a real shift of 1/4 px with
noise of 2 levels keeps 0.3."""
_STRONG = 100.0
"""Levels². Difference left after moving the picture that cannot be noise, but only motion which the flow has lost."""


class Motion:
    """motion and motion_p95 (% of the diagonal per second): mean and 95th percentile of the samples of a span.

    Only pairs of frames that both lie in the span count. None without a pair, and for pictures under 32 px.
    """

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._recent: deque[tuple[int, float, np.ndarray]] = deque()
        self._samples: Samples[float] = Samples()

    def push(self, frame: Frame) -> None:
        recent = self._recent
        if recent and recent[-1][2].shape != frame.gray.shape:
            recent.clear()
        # One frame older than the interval is of no use, but the last one is always needed (few frames per second).
        while len(recent) > 1 and frame.time - recent[0][1] > 1 / RATE + 1e-3:
            recent.popleft()
        if self._clock.due(frame.time) and recent and min(frame.gray.shape) >= LEAST_SIDE:
            first, speed = self._measure(frame)
            self._samples.add(speed, frame.index, first)
        recent.append((frame.index, frame.time, frame.gray))

    def close(self, span: Span) -> dict[str, float | int | None]:
        values = self._samples.within(span)
        if not values:
            return {"motion": None, "motion_p95": None}
        return {"motion": float(np.mean(values)), "motion_p95": float(np.percentile(values, 95))}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)

    def _measure(self, frame: Frame) -> tuple[int, float]:
        """Index of the pair's first frame, and the mean speed in % of the diagonal per second."""
        pictures = distinct([*self._recent, (frame.index, frame.time, frame.gray)])
        if len(pictures) == 1:
            return pictures[0][0], 0.0
        _, now, gray = pictures[-1]
        before = pictures[:-1]
        rough, per_frame = rough_flow(before[-1][2], gray)
        steps = _steps(per_frame, len(before))
        length = mean_length(before[-steps][2], gray, rough if steps == 1 else None)
        index, time, _ = before[-steps]
        return index, 100 * length / float(np.hypot(*gray.shape)) / (now - time)


def distinct(pictures: list[tuple[int, float, np.ndarray]]) -> list[tuple[int, float, np.ndarray]]:
    """(index, time, gray) of the pictures that differ from the one before, in order.

    Sources converted from a lower frame rate repeat frames. A repeat counts from when its picture was first shown, else
    the step after it would seem to take one frame where it takes two.
    """
    kept = pictures[:1]
    for picture in pictures[1:]:
        if cv2.norm(picture[2], kept[-1][2], cv2.NORM_L1) > _REPEAT * picture[2].size:
            kept.append(picture)
    return kept


def _steps(per_frame: float, most: int) -> int:
    """How many frames a pair may lie apart when the picture moves ``per_frame`` pixels from one to the next."""
    return max(1, min(most, int(_REACH / max(per_frame, 1e-3))))


def _dis(before: np.ndarray, after: np.ndarray, start: np.ndarray | None = None, patch: int = 8) -> np.ndarray:
    """(h, w, 2) float32: flow in pixels between two pictures ((h, w) uint8); ``start``, of the same shape, is where to
    begin, ``patch`` the side in pixels of the squares it matches: smaller ones see smaller things, and more noise.

    A new engine for each call: one that has been given a start keeps using it afterwards, and crashes when the next
    pictures have another size (seen with OpenCV 5.0). Making one costs nothing against running it.
    """
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    engine.setPatchSize(patch)
    height, width = before.shape
    coarsest = min(int(np.log2(max(height, width) / (4 * patch)) + 0.5), int(np.log2(min(height, width) / patch)))
    engine.setFinestScale(max(0, min(engine.getFinestScale(), coarsest)))  # Small pictures have fewer scales.
    return np.asarray(engine.calc(before, after, start))  # type: ignore[arg-type]  # the stub does not know None


def rough_flow(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, float]:
    """Flow of half-size pictures: where to start from, and how fast the fastest parts are.

    Returns:
        (h/2, w/2, 2) float32 in half-size pixels, and the 98th percentile of its length in full-size pixels over what
        it explains.
    """
    size = (before.shape[1] // 2, before.shape[0] // 2)
    a, b = (cv2.resize(g, size, interpolation=cv2.INTER_AREA) for g in (before, after))
    flow = _dis(a, b, patch=4)
    unmoved, left = cv2.absdiff(a, b), cv2.absdiff(a, _moved(b, flow))
    slow = float(np.hypot(flow[..., 0], flow[..., 1]).mean()) < _FAST
    if cv2.mean(unmoved)[0] >= _NOISE and not (slow and cv2.mean(left)[0] < 0.5 * cv2.mean(unmoved)[0]):
        shift, _ = cv2.phaseCorrelate(a.astype(np.float32), b.astype(np.float32), _window(size))
        start = np.empty_like(flow)
        start[...] = shift
        shifted = _dis(a, b, start, patch=4)
        left_shifted = cv2.absdiff(a, _moved(b, shifted))
        if cv2.mean(left_shifted)[0] < cv2.mean(left)[0]:
            flow, left = shifted, left_shifted
    explained = cv2.blur(left, (_BLOCK, _BLOCK)) < _ROUGHLY_EXPLAINED * cv2.blur(unmoved, (_BLOCK, _BLOCK)).astype(
        np.float32
    )
    # Eroded, because noise is now and then explained by chance, but never over a whole neighbourhood.
    lengths = cv2.erode(np.hypot(flow[..., 0], flow[..., 1]) * explained, _NEIGHBOURHOOD)
    return flow, 2 * float(np.percentile(lengths[::2, ::2], 98))


def mean_length(before: np.ndarray, after: np.ndarray, rough: np.ndarray | None) -> float:
    """Mean length of the flow in pixels. ``rough``: where to begin, as :func:`rough_flow` gives it."""
    height, width = before.shape
    start = None if rough is None else cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR) * 2
    return float(_block_lengths(before, after, _dis(before, after, start)).mean())


def _block_lengths(before: np.ndarray, after: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(h/8, w/8) float32: length of the flow in each block, refined by one Lucas-Kanade step, 0 where it explains
    nothing."""
    height, width = before.shape
    size = (max(1, width // _BLOCK), max(1, height // _BLOCK))

    def block(plane: np.ndarray) -> np.ndarray:
        """Means over blocks and their eight neighbours."""
        return cv2.blur(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), (3, 3))

    a, b = (cv2.GaussianBlur(g.astype(np.float32), (0, 0), 1.0) for g in (before, after))
    moved = _moved(b, flow)
    middle = 0.5 * (a + moved)
    ix, iy = (0.5 * cv2.Sobel(middle, cv2.CV_32F, *order, ksize=1) for order in ((1, 0), (0, 1)))
    it, unmoved = moved - a, b - a
    xx, yy, xy, xt, yt = (block(p * q) for p, q in ((ix, ix), (iy, iy), (ix, iy), (ix, it), (iy, it)))
    det = (xx + _DAMPING) * (yy + _DAMPING) - xy * xy
    du = np.clip((xy * yt - (yy + _DAMPING) * xt) / det, -1, 1)
    dv = np.clip((xy * xt - (xx + _DAMPING) * yt) / det, -1, 1)
    left = block(it * it) + 2 * (du * xt + dv * yt) + du * du * xx + dv * dv * yy + 2 * du * dv * xy
    share = left / np.maximum(block(unmoved * unmoved), 1e-3)
    trust = np.clip((_UNEXPLAINED - share) / (_UNEXPLAINED - _EXPLAINED), 0, 1)
    trust[left > _STRONG] = 1
    mean_flow = cv2.resize(flow, size, interpolation=cv2.INTER_AREA)
    return trust * np.hypot(mean_flow[..., 0] + du, mean_flow[..., 1] + dv)


def _moved(after: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """``after`` taken back along ``flow``: equal to the picture before where the flow is right."""
    where = _grid(after.shape[0], after.shape[1]) + flow
    # x and y are both in the first map, so there is no second one; the type stub does not know of that.
    return cv2.remap(after, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> np.ndarray:
    """(h, w, 2) float32: x and y of each pixel."""
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.ascontiguousarray(np.stack([grid_x, grid_y], axis=-1))


@lru_cache(maxsize=4)
def _window(size: tuple[int, int]) -> np.ndarray:
    return cv2.createHanningWindow(size, cv2.CV_32F)
