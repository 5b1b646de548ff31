"""Perceptual hashes at three fixed places of a span: what a search for near duplicates compares.

The hash is the one of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section
3.2: a gray picture of 32 × 32, its discrete cosine transform, the 8 × 8 lowest frequencies, each bit says whether a
coefficient is above their median. The constant term is left out of the median, and its bit is always 0.
"""

from __future__ import annotations

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.bars import SIDES, common_margin
from curation.signals.margins import black_margins
from curation.signals.samples import Clock, Samples

RATE = 5.0
"""Samples per second."""
PLACES = {"phash_a": 1 / 6, "phash_b": 1 / 2, "phash_c": 5 / 6}
"""Where in the span, as a share of its duration."""

FLAT = 3.0
"""Levels of 255. A picture whose 32 × 32 version has a standard deviation below this has no structure to hash."""
_SIDE = 32
_LOW = 8


def _cosines() -> np.ndarray:
    """(8, 32) float64: the 8 lowest rows of the orthonormal DCT-II of length 32."""
    k, n = np.arange(_LOW)[:, None], np.arange(_SIDE)[None, :]
    basis = np.cos(np.pi * k * (2 * n + 1) / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    basis[0] /= np.sqrt(2)
    return basis


_DCT = _cosines()


class Phash:
    """phash_a, phash_b, phash_c: 64-bit integers (0 .. 2^64 − 1) of the samples nearest in time to 1/6, 1/2 and 5/6 of
    the span.

    None where the span has no sample or where the nearest sample is flat (a Hamming distance would say nothing).
    """

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._samples: Samples[tuple[float, int | None]] = Samples()

    def push(self, frame: Frame) -> None:
        if self._clock.due(frame.time):
            self._samples.add((frame.time, phash(without_bars(frame.gray))), frame.index)

    def close(self, span: Span) -> dict[str, float | int | None]:
        samples = self._samples.within(span)
        if not samples:
            return dict.fromkeys(PLACES)
        duration = span.end_s - span.start_s

        def nearest(place: float) -> int | None:
            at = span.start_s + place * duration
            return min(samples, key=lambda s: abs(s[0] - at))[1]

        return {name: nearest(place) for name, place in PLACES.items()}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def without_bars(gray: np.ndarray) -> np.ndarray:
    """``gray`` ((h, w) uint8, full range) without black bars, and without the row or column in which bar and picture
    blend."""
    margins = black_margins(gray, 0)
    if margins is None:
        return gray
    width = {side: common_margin([margins], side) for side in SIDES}
    cut = {side: w + 1 if w else 0 for side, w in width.items()}
    inside = gray[cut["top"] : gray.shape[0] - cut["bottom"], cut["left"] : gray.shape[1] - cut["right"]]
    return inside if inside.size else gray


def phash(gray: np.ndarray) -> int | None:
    """The hash of a picture ((h, w) uint8, any size); None where it is flat. Bit 63 is the lowest frequency."""
    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    if small.std() < FLAT:
        return None
    low = (_DCT @ (small - small.mean()) @ _DCT.T).ravel()
    bits = low > np.median(low[1:])
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
