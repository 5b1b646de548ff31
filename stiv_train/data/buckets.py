"""Which bucket (frames × height × width) a clip is trained in: pure functions of sizes.

In: frames, width and height of clips as exported (pixels as displayed). Out: the number of a bucket, or -1 where none fits.

LEGEND  N clips, K buckets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.train_recipe import Bucket

ASPECT_TOLERANCE = 0.05
"""Proportions this near to those of the best bucket count as equally near: sizes are rounded to whole tokens, so the 16:9 of two
buckets is seldom quite the same, and the difference should not decide."""

NONE = -1
"""No bucket fits."""


def needed_frames(frames: int, stride: int) -> int:
    """Frames that a clip must have, so that ``frames`` can be sampled from it, one of every ``stride``."""
    return (frames - 1) * stride + 1


def assign(
    num_frames: np.ndarray, width: np.ndarray, height: np.ndarray, buckets: Sequence[Bucket], stride: int
) -> np.ndarray:
    """The bucket of each clip: (N,), (N,), (N,) whole numbers → (N,) int16, -1 where every bucket needs more frames.

    Among the buckets for which a clip has frames enough, these decide in turn:

    1. proportions: the nearest, by the ratio of the two aspect ratios, and those within 5 % of it (less is cropped away);
    2. frames: the most;
    3. pixels: the largest size for which the picture need not be enlarged, else the smallest size;
    4. the order in the recipe.
    """
    frames = np.array([b.frames for b in buckets])
    rows, columns = np.array([b.height for b in buckets]), np.array([b.width for b in buckets])
    fits = num_frames[:, None] >= (frames - 1) * stride + 1  # (N, K)
    away = np.abs(np.log((width / height)[:, None] / (columns / rows)))
    away[~fits] = np.inf
    left = fits & (away <= away.min(axis=1, keepdims=True) + np.log1p(ASPECT_TOLERANCE))
    count = np.where(left, frames, 0)
    left &= count == count.max(axis=1, keepdims=True)
    # Scaled to cover the bucket, the picture is enlarged where either side is too short.
    enlarged = (columns > width[:, None]) | (rows > height[:, None])
    area = np.where(enlarged, -rows * columns, rows * columns)
    best = np.where(left, area, np.iinfo(np.int64).min).argmax(axis=1)
    return np.where(fits.any(axis=1), best, NONE).astype(np.int16)
