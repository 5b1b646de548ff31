"""Parts of the native luma plane that stand for all of it: work on them costs the same at any resolution, nearly."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH = 16
"""Pixels of a band across."""


def columns(plane: np.ndarray, count: int) -> np.ndarray:
    """(h, 16 n) uint8: ``count`` bands of 16 columns of ``plane`` ((h, w) uint8) side by side, evenly spread, every row of them.

    Their starts are not multiples of 16 on purpose: nothing in a band lies at the same place of a coder's grid. Fewer where the
    plane is narrow; the plane itself where it is narrower than one band.
    """
    width = plane.shape[1]
    count = min(count, width // WIDTH)
    if count < 1:
        return plane
    starts = [int((i + 0.5) * width / count - WIDTH / 2) for i in range(count)]
    return np.asarray(cv2.hconcat([plane[:, x : x + WIDTH] for x in starts]))
