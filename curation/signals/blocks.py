"""Blockiness: steps of the picture at the borders of a coder's blocks, against steps elsewhere.

For each column of pixels of the native luma plane, s is the mean absolute step to the next column, each step clipped
to 32 levels, and r = (s + E) / (mean s of the two columns on either side + E). A block border makes r large at every
8th (or 16th) column, a thing in the picture only where it is. So, with m(k) the median of r over the columns that lie
at offset k of a grid of 8,

    blockiness = largest m(k) − second largest m(k)        (mean of across and down)

0 is no grid, 0.3 a visible one, over 1 plain to see. All offsets are tried, so cropping hides nothing; a grid of 16
counts where it is clearer than that of 8. A picture that was scaled after coding mostly has no grid that could be
found, and reads 0. Measuring steps at borders against steps elsewhere follows Wang, Bovik and Evans, "Blind measurement
of blocking artifacts in images" (2000); medians in place of a power spectrum are ours.
"""

from __future__ import annotations

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.bands import WIDTH, columns
from curation.signals.bars import black_level, lit_part
from curation.signals.samples import Clock, Samples

RATE = 1.0
"""Samples per second."""
CLIP = 32
"""Levels of 255. Borders of blocks are lower than this; edges of things are not."""
_EASE = 0.25
"""Levels of 255: E. In a picture of flat blocks there are no other steps to compare with."""
_SIDE = 16
_INSET = 2
_LEAST_DOUBLE = 0.25
"""A grid of 16 has half as many columns at each offset as one of 8, and chance makes more of them: from here on it counts."""
_VALUES = 6000
"""Values of r that are enough along a direction: more bands are looked at where they are short."""
_LEAST_BANDS, _MOST_BANDS = 3, 8
_ROWS = 8
"""Rows of a band for steps across; a band for steps down has 16 columns. Bands are evenly spread."""
_MEAN_OF_BAND = np.full(WIDTH, 1 / WIDTH, np.float32)
_LEAST = 4 * _SIDE
"""Steps along a direction below which there are too few blocks."""


class Blocks:
    """blockiness (0..): mean over the span's samples of r at each offset, then the formula above. None without a
    sample that is lit, and for pictures under 65 pixels."""

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._samples: Samples[np.ndarray] = Samples()

    def push(self, frame: Frame) -> None:
        if frame.luma is not None and self._clock.due(frame.time):
            inside = lit_part(frame.luma, black_level(frame), _INSET, _SIDE)
            offsets = None if inside is None else grid_steps(inside)
            if offsets is not None:
                self._samples.add(offsets, frame.index)

    def close(self, span: Span) -> dict[str, float | None]:
        samples = self._samples.within(span)
        if not samples:
            return {"blockiness": None}
        return {"blockiness": blockiness(np.mean(samples, axis=0))}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def grid_steps(luma: np.ndarray) -> np.ndarray | None:
    """(2, 16) float64: m at each offset of a grid of 16, across and down, of one plane ((h, w) uint8); None if too small."""
    height, width = luma.shape
    if min(height, width) <= _LEAST:
        return None
    count = _bands(width)
    starts = [int((i + 0.5) * height / count - _ROWS / 2) for i in range(count)]
    rows = cv2.vconcat([luma[y : y + _ROWS] for y in starts])
    across = _clipped(rows[:, 1:], rows[:, :-1]).reshape(count, _ROWS, width - 1).sum(axis=1, dtype=np.uint16)
    bands = columns(luma, _bands(height))
    down = _clipped(bands[1:], bands[:-1]).reshape(height - 1, -1, WIDTH)
    return np.stack(
        [_medians(across.astype(np.float32) / _ROWS), _medians((down.astype(np.float32) @ _MEAN_OF_BAND).T)]
    )


def _bands(length: int) -> int:
    return max(_LEAST_BANDS, min(_MOST_BANDS, _VALUES // length))


def blockiness(offsets: np.ndarray) -> float:
    """The formula above from (2, 16) values m."""
    single, double = _lead(offsets.reshape(2, 2, 8).mean(axis=1)), _lead(offsets)
    return float(np.where(double >= _LEAST_DOUBLE, np.maximum(single, double), single).mean())


def _lead(m: np.ndarray) -> np.ndarray:
    """(2,): how far the largest of each row of ``m`` is above the second largest."""
    order = np.sort(m, axis=1)
    return np.asarray(order[:, -1] - order[:, -2])


def _clipped(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # numpy's own minimum of bytes takes eight times as long.
    return np.asarray(cv2.min(cv2.absdiff(first, second), CLIP))  # type: ignore[call-overload]  # a number will do


def _medians(steps: np.ndarray) -> np.ndarray:
    """(16,): the median of r at each offset, from the mean steps ((bands, n)) along a direction."""
    around = (steps[:, :-4] + steps[:, 1:-3] + steps[:, 3:-1] + steps[:, 4:]) / 4
    r = (steps[:, 2:-2] + _EASE) / (around + _EASE)
    whole = r[:, : r.shape[1] // _SIDE * _SIDE].reshape(-1, _SIDE)
    return np.roll(np.median(whole, axis=0), 2)
