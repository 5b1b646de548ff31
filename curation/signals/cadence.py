"""Pull-up as a pattern in time: which steps between pictures are small at regular places, and how surely.

A converter from f to F frames a second shows picture number floor(i f / F + φ) in frame i. For every rate f that films and
cameras have, and phases φ, the frames are divided into those that should show a new picture and those that should repeat
one. How well a division fits is Youden's J (W. J. Youden, 1950): the share of new ones with a large step, less the share
of repeats with a large step; large is over half of the median of the new ones. Coding makes single steps large or small,
but not at these places again and again: true rates reach 0.25 (slow pans at crf 32 0.6), pulled-up ones 0.8 to 1.
"""

from __future__ import annotations

import numpy as np

RATES = (8, 10, 12, 12.5, 15, 16, 18, 20, 24000 / 1001, 24, 25, 30000 / 1001, 30, 48, 50)
"""Pictures per second that are looked for."""
LARGE = 0.5
MOST_NEW = 0.9
"""Of new pictures among frames. Beyond, a pattern has so few repeats that chance makes one."""
WINDOW = 192
"""Frames that are looked at, at most: those in which most moves."""
LEAST = 4
"""New pictures and repeats that a pattern needs at least."""
REGULAR = 0.3
"""Largest departure of a gap from a multiple of the usual one, as a share of it, at a constant rate."""
_NONE = (0.0, 1.0, 1.0)
_PHASES = (np.arange(12)[:, None] + 0.5) / 12


def cadence(ratios: np.ndarray, moving: np.ndarray, gaps: np.ndarray) -> tuple[float, float, float]:
    """(J, share of frames that show a new picture, share of these with a large step) of the pattern that fits best; (0, 1, 1) where
    none can. Where the third is low, repeats are repeated in another pattern: a film at 24 in 30 in 60.

    Args:
        ratios: (n,) steps as parts of those around them.
        moving: (n,) bool, those that count.
        gaps: (n,) seconds from the frame before.
    """
    usual = float(np.median(gaps))
    apart = np.rint(gaps / usual)
    if not np.all(np.abs(gaps - apart * usual) <= REGULAR * usual):
        return _NONE
    rate = float(apart.sum() / gaps.sum())
    shares = np.array([wanted / rate for wanted in RATES if 1 / 6 - 1e-6 <= wanted / rate <= MOST_NEW])
    if not len(shares) or not moving.any():
        return _NONE
    window = _busiest(moving)
    counts = moving[window]
    place, large = np.cumsum(apart[window])[counts], (ratios[window] > LARGE)[counts]
    ends = np.floor(np.stack([place, place + 1]) * shares[:, None, None, None] + _PHASES[None, :, None])
    new = (ends[:, :, 1] > ends[:, :, 0]).reshape(-1, len(place)).astype(np.float32)
    fresh = new.sum(axis=1)
    fits = (fresh >= LEAST) & (fresh <= len(place) - LEAST)
    if not fits.any():
        return _NONE
    seen = new @ large.astype(np.float32)
    shown = seen / np.maximum(fresh, 1)
    youden = np.where(fits, shown - (np.count_nonzero(large) - seen) / np.maximum(len(place) - fresh, 1), -1.0)
    best = int(np.argmax(youden))
    return float(youden[best]), float(shares[best // len(_PHASES)]), float(shown[best])


def _busiest(moving: np.ndarray) -> slice:
    """The ``WINDOW`` frames in a row of which most move."""
    if len(moving) <= WINDOW:
        return slice(None)
    counts = np.cumsum(np.concatenate(([0], moving)))
    start = int(np.argmax(counts[WINDOW:] - counts[:-WINDOW]))
    return slice(start, start + WINDOW)
