"""Perceptual hashes at three fixed places of a span: what a search for near duplicates compares.

The hash is the one of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), section
3.2: a gray picture of 32 × 32, its discrete cosine transform, the 8 × 8 lowest frequencies, each bit says whether a
coefficient is above their median. The constant term is left out of the median, and its bit is always 0.
"""

from __future__ import annotations

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.crop import NO_BARS, Crop
from curation.signals.samples import Clock, Samples

RATE = 4.0
"""Samples per second: a place is missed by at most 0.25 s, mostly by half of that."""
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

    None where the span has no sample or where the nearest sample is flat (a Hamming distance would say nothing). Samples are kept
    as pictures, half the size of the small one, and hashed when a span is closed: three a clip, and by then the bars are known.
    """

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._samples: Samples[tuple[float, np.ndarray]] = Samples()

    def push(self, frame: Frame) -> None:
        if self._clock.due(frame.time):
            height, width = frame.gray.shape
            half = (max(1, width // 2), max(1, height // 2))
            self._samples.add((frame.time, cv2.resize(frame.gray, half, interpolation=cv2.INTER_AREA)), frame.index)

    def close(self, span: Span, crop: Crop = NO_BARS) -> dict[str, float | int | None]:
        samples = self._samples.within(span)
        if not samples:
            return dict.fromkeys(PLACES)
        duration = span.end_s - span.start_s

        def nearest(place: float) -> int | None:
            at = span.start_s + place * duration
            return phash(without_bars(min(samples, key=lambda s: abs(s[0] - at))[1], crop))

        return {name: nearest(place) for name, place in PLACES.items()}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def without_bars(gray: np.ndarray, crop: Crop) -> np.ndarray:
    """``gray`` ((h, w) uint8) without black bars."""
    left, top, right, bottom = crop.box(*gray.shape[::-1])
    return gray[top:bottom, left:right]


def phash(gray: np.ndarray) -> int | None:
    """The hash of a picture ((h, w) uint8, any size); None where it is flat. Bit 63 is the lowest frequency."""
    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    if small.std() < FLAT:
        return None
    low = (_DCT @ (small - small.mean()) @ _DCT.T).ravel()
    bits = low > np.median(low[1:])
    bits[0] = False
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
