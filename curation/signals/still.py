"""Pictures in which nothing is to be seen, and pictures in which nothing happens."""

from __future__ import annotations

import math

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.crop import NO_BARS, Crop
from curation.signals.samples import Clock, Samples

RATE = 5.0
"""Samples per second."""

BLACK_LEVEL = 26
"""Levels of 255: a pixel up to 10 % is black (the default ``pixel_black_th`` of FFmpeg's ``blackdetect``)."""
BLACK_PIXELS = 0.98
"""A picture is black when this share of its pixels is (the default ``picture_black_ratio_th`` of ``blackdetect``)."""

STATIC_MEAN = 0.1
"""Levels of 255. Mean absolute difference to the sample before, over the small picture, up to which nothing changed."""
STATIC_BLOCK = 1.5
"""Levels of 255. The same over any one block of 8 × 8 pixels: a small thing that moves is a change.
x264 still refines a frozen picture by up to 0.07 in the mean and 1.3 in a block; real cameras at rest change by 0.2
and 2.5 or more."""
_BLOCK = 8


class Still:
    """black_share and static_share (both 0..1).

    Both are taken from the small gray picture at 5 samples per second; a sample is compared with the one before it.
    Noise of a sensor is a change (its mean difference is above 0.1 unless a codec has removed it), a repeat of the
    same coded picture is none. static_share is None for a span with fewer than two samples. Black bars are left out.
    """

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._dark: Samples[float] = Samples()
        self._change: Samples[tuple[float, float]] = Samples()
        self._last: tuple[int, np.ndarray] | None = None

    def push(self, frame: Frame) -> None:
        if not self._clock.due(frame.time):
            return
        self._dark.add(dark_share(frame.gray), frame.index)
        if self._last is not None:
            index, gray = self._last
            self._change.add(change(gray, frame.gray), frame.index, index)
        self._last = (frame.index, frame.gray)

    def close(self, span: Span, crop: Crop = NO_BARS) -> dict[str, float | int | None]:
        bars, lit = 1.0 - crop.area, crop.area
        black = [dark - bars >= BLACK_PIXELS * lit for dark in self._dark.within(span)]
        static = [mean <= STATIC_MEAN * lit and most <= STATIC_BLOCK for mean, most in self._change.within(span)]
        return {"black_share": _share(black), "static_share": _share(static)}

    def forget(self, before_frame: int) -> None:
        self._dark.forget(before_frame)
        self._change.forget(before_frame)


def dark_share(gray: np.ndarray) -> float:
    """0..1: share of the pixels of ``gray`` ((h, w) uint8, full range) that are at most 10 % bright."""
    return 1.0 - int(np.count_nonzero(gray > BLACK_LEVEL)) / gray.size


def change(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """(mean over the picture, largest mean over a block) of the absolute difference of two pictures ((h, w) uint8), in levels.

    The second is infinite where the first alone says that something changed, and for pictures of two sizes.
    """
    if before.shape != after.shape:
        return math.inf, math.inf
    difference = cv2.absdiff(before, after)
    mean = cv2.mean(difference)[0]
    if mean > STATIC_MEAN:
        return mean, math.inf
    height, width = difference.shape
    blocks = cv2.resize(
        difference.astype(np.float32),
        (max(1, width // _BLOCK), max(1, height // _BLOCK)),
        interpolation=cv2.INTER_AREA,
    )
    return mean, float(blocks.max())


def _share(flags: list[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
