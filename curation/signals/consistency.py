"""Likeness of samples a second apart: whether a clip shows one thing from beginning to end. No network.

    likeness = structure × colour                             still_consistency = the least likeness of the clip

Once a second a picture 64 pixels long is kept. *Structure* is the largest correlation (Pearson's, over pixels) of its
middle with the same shape anywhere within 12 % of the picture in the sample before, so a pan of that speed costs little.
*Colour* is the intersection (Swain and Ballard, "Color indexing", 1991) of the histograms of brightness (32 bins) and of
both colour differences together (16 × 16 bins), the mean of the two; histograms are smoothed so that a small change of light
does not move a picture out of its bins. Bars are left out. A steady shot reads near 1, a pan of a tenth of the picture a
second about 0.8, a cut that nobody noticed under 0.4, a slow fade or a scene that changes in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.crop import NO_BARS, Crop
from curation.signals.samples import Clock, Samples

RATE = 1.0
"""Samples per second."""
SHIFT = 0.12
"""Share of a side by which the picture may have moved for nothing."""
FLAT = 2.0
"""Levels of 255. A picture whose standard deviation is below this has no structure: two of them agree, one does not."""
_SIDE = 64
_LEAST = 8
"""Pixels. A crop of the kept picture smaller than this is not compared."""
_LUMA_BINS, _CHROMA_BINS = 32, 16
_CHROMA_RANGE = (64, 192)
"""Colour differences beyond this are rare, and are counted with it."""


@dataclass(frozen=True, slots=True)
class _Look:
    gray: np.ndarray
    """(h, w) uint8, 64 pixels long."""
    chroma: np.ndarray
    """(h, w, 2) uint8 colour differences of the same size."""


class Consistency:
    """still_consistency (0..1): likeness of neighbouring samples, the least of the span; None with fewer than two samples."""

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._samples: Samples[_Look] = Samples()

    def push(self, frame: Frame) -> None:
        if not self._clock.due(frame.time):
            return
        height, width = frame.gray.shape
        scale = min(1.0, _SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        gray, cb, cr = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (frame.gray, frame.cb, frame.cr))
        self._samples.add(_Look(gray, cv2.merge([cb, cr])), frame.index)

    def close(self, span: Span, crop: Crop = NO_BARS) -> dict[str, float | None]:
        looks = [_cropped(look, crop) for look in self._samples.within(span)]
        pairs = [likeness(*pair) for pair in pairwise(looks) if pair[0].gray.shape == pair[1].gray.shape]
        return {"still_consistency": min(pairs) if pairs else None}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def likeness(before: _Look, after: _Look) -> float:
    """0..1: structure × colour of two pictures of one size."""
    return structure(before.gray, after.gray) * colour(before, after)


def structure(before: np.ndarray, after: np.ndarray) -> float:
    """0..1: the best correlation of the middle of ``after`` with ``before`` ((h, w) uint8), over shifts up to 12 % of each side."""
    flat = [float(cv2.meanStdDev(picture)[1][0, 0]) < FLAT for picture in (before, after)]
    if any(flat):
        return float(all(flat))
    height, width = after.shape
    dy, dx = round(SHIFT * height), round(SHIFT * width)
    middle = after[dy : height - dy, dx : width - dx]
    if cv2.meanStdDev(middle)[1][0, 0] < FLAT:
        return 1.0
    found = cv2.matchTemplate(before, middle, cv2.TM_CCOEFF_NORMED)
    return min(1.0, max(0.0, float(found.max())))


def colour(before: _Look, after: _Look) -> float:
    """0..1: mean of the intersections of brightness and of colour."""
    shared = 0.0
    for first, second in zip(_histograms(before), _histograms(after), strict=True):
        shared += float(cv2.min(first, second).sum()) / 2
    return min(1.0, shared)


def _histograms(look: _Look) -> tuple[np.ndarray, np.ndarray]:
    """Brightness (32, 1) and colour (16, 16) float32, smoothed, each summing to 1."""
    luma = cv2.calcHist([look.gray], [0], None, [_LUMA_BINS], [0, 256])
    held = np.clip(look.chroma, _CHROMA_RANGE[0], _CHROMA_RANGE[1] - 1).astype(np.uint8)
    chroma = cv2.calcHist([held], [0, 1], None, [_CHROMA_BINS] * 2, [*_CHROMA_RANGE] * 2)
    smooth = (cv2.GaussianBlur(luma, (1, 5), 1.0), cv2.GaussianBlur(chroma, (3, 3), 0.8))
    return smooth[0] / smooth[0].sum(), smooth[1] / smooth[1].sum()


def _cropped(look: _Look, crop: Crop) -> _Look:
    height, width = look.gray.shape
    left, top, right, bottom = crop.box(width, height)
    if min(right - left, bottom - top) < _LEAST:
        return look
    inside = (slice(top, bottom), slice(left, right))
    return _Look(look.gray[inside], look.chroma[inside])
