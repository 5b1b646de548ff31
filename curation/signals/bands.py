"""Parts of the native luma plane that stand for all of it: work on them costs the same at any resolution, nearly."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH = 16
"""Pixels of a band across."""


def columns(plane: np.ndarray, count: int, wide: int = 1) -> np.ndarray:
    """(h, 16 n) uint8: ``count`` bands of 16 columns of ``plane`` ((h, w) uint8) side by side, evenly spread, every row of them.

    Their starts are not multiples of 16 on purpose: nothing in a band lies at the same place of a coder's grid. Fewer where the
    plane is narrow; the plane itself where it is narrower than one band.

    Args:
        wide: how many of them lie together. Two cost little more than one, as rows are fetched 64 pixels at a time.
    """
    width, band = plane.shape[1], WIDTH * wide
    places = min(count // wide, width // band)
    if places < 1:
        return plane if wide == 1 else columns(plane, count)
    starts = [int((i + 0.5) * width / places - band / 2) for i in range(places)]
    return np.asarray(cv2.hconcat([plane[:, x : x + band] for x in starts]))
