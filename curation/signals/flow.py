"""Optical flow between two small gray pictures, fast and without bias, as a field over blocks of 8 × 8 pixels.

The flow is DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016). Three things are done around it:

* **A rough flow first.** The last two frames at half size tell how fast the picture is. Where that is fast, or does not
  explain the change, phase correlation (Kuglin and Hines, 1975) gives the flow a shift to start from, because DIS reads
  displacements over about 20 px too small.
* **One step of Lucas and Kanade** (1981) per block takes out the bias that DIS has below one pixel.
* **Change that flow does not explain is noise**, unless it is strong: where moving the picture leaves as much
  difference as not moving it, the flow counts as 0.

A shift of over half the frame from one frame to the next cannot be told from a shorter one the other way. DIS gives
the same flow with any number of threads.

Shapes: h, w of the pictures in pixels, both even; H = h // 8 and W = w // 8 blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

BLOCK = 8
"""Pixels. Side of a block."""

_STILL = 0.5
"""Levels. Mean difference over every 16 × 16 pixels below which nothing moves."""
_CALM = 1.25
"""Times the mean step from a pixel to the next: less change than that, at half size, is a displacement of under six
pixels of the full size, or noise."""
_LIVELY = 0.04
"""Share of the picture that may change by more, as where something small appears."""
_TEXTURED = 2.0
"""Levels. Mean step from a pixel to the next, at half size, from which one would see a place move."""
_FAST = 6.0
"""Half-size pixels from one frame to the next over which phase correlation is asked for a start."""
_ROUGHLY_EXPLAINED = 0.6
"""Share of the local difference at half size that flow may leave to count as fast: noise leaves about 0.8."""
_NEIGHBOURHOOD = np.ones((3, 3), np.uint8)
_DAMPING = 0.5
"""(Levels per pixel)². Added to a block's gradient energy, so that the noise of a flat block is not read as a shift."""
_EXPLAINED, _UNEXPLAINED = 0.50, 0.62
"""Share of the difference left after moving the picture: up to the first the flow counts, from the second on it does
not. On pure noise of 1 to 6 levels, flat or over a texture, 98 % of blocks keep over 0.61; a real shift of 1/4 px with
noise of 2 levels keeps 0.3."""
_UNCHANGED = 0.02
"""Levels². A difference this small says nothing either way: what is plain and does not change does not move."""
_BLACK = 6.0
"""Levels. Mean of a block in both pictures up to which there is nothing in it."""
_STRONG = 100.0
"""Levels². Difference left after moving the picture that cannot be noise, but only motion which the flow has lost."""
_AT_REST = 0.0625
"""Pixels². Where the change of a block is less than this many times its gradient energy, as much as a shift of 1/3 px
makes, a block without flow is at rest."""
_STRUCTURE = 4.0
"""(Levels per pixel)². Gradient energy at which a block's place is half known."""
_TAPS = cv2.getGaussianKernel(7, 1.0, cv2.CV_32F)


@dataclass(frozen=True, slots=True)
class Field:
    """Flow over blocks: (H, W) float32 arrays, lengths in pixels."""

    length: np.ndarray
    """Length of the flow, 0 where it explains nothing."""
    dx: np.ndarray
    """To the right; 0 where the block is at rest."""
    dy: np.ndarray
    """Down."""
    known: np.ndarray
    """0..1: how well (dx, dy) is known. 0 without structure, and where the flow is lost."""
    xx: np.ndarray
    """Structure tensor of the block, divided by its trace: along which directions (dx, dy) is known."""
    xy: np.ndarray
    yy: np.ndarray
    size: tuple[int, int]
    """(width, height) of the picture that the blocks cover, in pixels."""


class Glance(NamedTuple):
    """What two pictures tell at half size, before any flow."""

    still: bool
    """Nothing moves."""
    calm: bool
    """Nothing moves by more than a few pixels."""
    textured: float
    """0..1: share of the picture that one would see move."""


def half(picture: np.ndarray) -> np.ndarray:
    """(h / 2, w / 2) uint8: a picture ((h, w) uint8) at half its size."""
    return cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)


def glance(a: np.ndarray, b: np.ndarray) -> Glance:
    """How much two pictures of half size differ, place by place, against how much one of them varies."""
    change, step = (
        cv2.boxFilter(plane, cv2.CV_32F, (BLOCK, BLOCK))[2::4, 2:-1:4]
        for plane in (cv2.absdiff(a, b)[:, 1:], cv2.absdiff(a[:, 1:], a[:, :-1]))
    )
    still = float(change.max()) < _STILL
    lively = int(np.count_nonzero(change > _CALM * step + _STILL))
    return Glance(still, lively <= _LIVELY * change.size, int(np.count_nonzero(step > _TEXTURED)) / change.size)


def rough_flow(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """Flow between two pictures of half size, however fast, and how fast the fastest parts are.

    Returns:
        (h/2, w/2, 2) float32 in pixels of the full size, and the 98th percentile of its length over what it explains.
    """
    flow = _dis(a, b, patch=4)
    unmoved, left = cv2.absdiff(a, b), cv2.absdiff(a, _moved(b, flow))
    change = cv2.mean(unmoved)[0]
    slow = float(np.hypot(flow[::2, ::2, 0], flow[::2, ::2, 1]).mean()) < _FAST
    if change >= _CALM * cv2.mean(cv2.absdiff(a[:, 1:], a[:, :-1]))[0] and not (
        slow and cv2.mean(left)[0] < 0.5 * change
    ):
        start = np.empty_like(flow)
        start[...] = _shift(a, b)
        shifted = _dis(a, b, start, patch=4)
        left_shifted = cv2.absdiff(a, _moved(b, shifted))
        if cv2.mean(left_shifted)[0] < cv2.mean(left)[0]:
            flow, left = shifted, left_shifted
    # At every other pixel. Eroded, because noise is now and then explained by chance, but never over a whole
    # neighbourhood.
    left, unmoved = (cv2.boxFilter(d, cv2.CV_32F, (BLOCK, BLOCK))[1::2, 1::2] for d in (left, unmoved))
    explained = (left < _ROUGHLY_EXPLAINED * unmoved).view(np.uint8)
    lengths = np.hypot(flow[1::2, 1::2, 0], flow[1::2, 1::2, 1]) * cv2.erode(explained, _NEIGHBOURHOOD)
    return 2 * flow, 2 * float(np.sort(lengths, axis=None)[int(0.98 * (lengths.size - 1))])


def fine_flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(h/2, w/2, 2) float32: flow between two pictures of half size in pixels of the full size, of up to about 20.

    It sees smaller things than :func:`rough_flow`.
    """
    return 2 * _dis(a, b, patch=8, stride=6, finest=1)


def refine(before: np.ndarray, after: np.ndarray, flow: np.ndarray) -> Field:
    """One step of Lucas and Kanade from ``flow`` ((h/2, w/2, 2) in pixels, at every other pixel), block by block."""
    rows, columns = flow.shape[0], flow.shape[1]
    size = (columns * 2 // BLOCK, rows * 2 // BLOCK)

    def block(plane: np.ndarray) -> np.ndarray:
        """Means over blocks and their eight neighbours."""
        return cv2.blur(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), (3, 3))

    a, b = (cv2.sepFilter2D(g, cv2.CV_32F, _TAPS, _TAPS) for g in (before, after))
    # Sampled at every other pixel after the blur, which loses nothing but time; gradients still span one pixel.
    here = np.ascontiguousarray(a[: 2 * rows : 2, : 2 * columns : 2])
    moved = _moved(b, flow, 2)
    ix, iy = np.zeros_like(here), np.zeros_like(here)
    np.subtract(a[: 2 * rows : 2, 3 : 2 * columns : 2], a[: 2 * rows : 2, 1 : 2 * columns - 2 : 2], out=ix[:, 1:])
    np.subtract(a[3 : 2 * rows : 2, : 2 * columns : 2], a[1 : 2 * rows - 2 : 2, : 2 * columns : 2], out=iy[1:])
    ix, iy = 0.5 * ix, 0.5 * iy
    there = b[: 2 * rows : 2, : 2 * columns : 2]
    it, unmoved = moved - here, there - here
    lit = cv2.resize(cv2.max(here, there), size, interpolation=cv2.INTER_AREA) > _BLACK
    xx, yy, xy, xt, yt, tt, uu = (
        block(p * q)
        for p, q in ((ix, ix), (iy, iy), (ix, iy), (ix, it), (iy, it), (it, it), (unmoved, unmoved))
    )  # fmt: skip
    px, py = xx + _DAMPING, yy + _DAMPING
    det = px * py - xy * xy
    du = np.clip((xy * yt - py * xt) / det, -1, 1)
    dv = np.clip((xy * xt - px * yt) / det, -1, 1)
    left = tt + du * (2 * xt + du * xx + 2 * dv * xy) + dv * (2 * yt + dv * yy)
    trust = np.clip((_UNEXPLAINED - (left + _UNCHANGED) / (uu + _UNCHANGED)) / (_UNEXPLAINED - _EXPLAINED), 0, 1) * lit
    mean_flow = cv2.resize(flow, size, interpolation=cv2.INTER_AREA)
    dx, dy = mean_flow[..., 0] + du, mean_flow[..., 1] + dv
    energy = xx + yy
    moves = trust > 0.5
    known = energy / (energy + _STRUCTURE) * np.maximum(trust, lit & (uu < _AT_REST * energy))
    scale = 1 / (energy + 1e-6)
    return Field(
        np.hypot(dx, dy) * np.where(left > _STRONG, lit, trust),
        dx * moves,
        dy * moves,
        known,
        xx * scale,
        xy * scale,
        yy * scale,
        (2 * columns, 2 * rows),
    )


def _shift(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Pixels to the right and down by which most of the picture moves, however far."""
    window = _window(before.shape[::-1])
    (x, y), _ = cv2.phaseCorrelate(before.astype(np.float32), after.astype(np.float32), window)
    return x, y


def _dis(
    before: np.ndarray,
    after: np.ndarray,
    start: np.ndarray | None = None,
    *,
    patch: int,
    stride: int = 4,
    finest: int = 2,
) -> np.ndarray:
    """(h, w, 2) float32: flow in pixels between two pictures ((h, w) uint8); ``start``, of the same shape, is where to
    begin, ``patch`` the side in pixels of the squares it matches, ``stride`` their distance, both on a picture that is
    2 ** ``finest`` times smaller.

    A new engine for each call: one that has been given a start keeps using it afterwards, and crashes when the next
    pictures have another size (seen with OpenCV 5.0). Making one costs nothing against running it.
    """
    engine = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    engine.setPatchSize(patch)
    engine.setPatchStride(stride)
    height, width = before.shape
    coarsest = min(int(np.log2(max(height, width) / (4 * patch)) + 0.5), int(np.log2(min(height, width) / patch)))
    engine.setFinestScale(max(0, min(finest, coarsest)))  # Small pictures have fewer scales.
    return np.asarray(engine.calc(before, after, start))  # type: ignore[arg-type]  # the stub does not know None


def _moved(after: np.ndarray, flow: np.ndarray, step: int = 1) -> np.ndarray:
    """``after`` taken back along ``flow``, which is given at every ``step``-th pixel: equal to the picture before where the flow
    is right."""
    where = cv2.add(_grid(flow.shape[0], flow.shape[1], step), flow)
    # x and y are both in the first map, so there is no second one; the type stub does not know of that.
    return cv2.remap(after, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]


@lru_cache(maxsize=8)
def _grid(rows: int, columns: int, step: int) -> np.ndarray:
    """(rows, columns, 2) float32: x and y of every ``step``-th pixel."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) * step
    return np.ascontiguousarray(np.stack([x, y], axis=-1))


@lru_cache(maxsize=4)
def _window(size: tuple[int, int]) -> np.ndarray:
    return cv2.createHanningWindow(size, cv2.CV_32F)
