"""From the network's probability map to turned boxes, and from boxes to the area that they cover. Room: models.

In: for each pixel the probability that it belongs to the core of a line of text. Out: rectangles at any angle, and the share of the
picture under all of them together.

The network is of the kind of DBNet (Liao et al. 2020, arXiv:1911.08947): it is trained to show lines of text shrunk, by a distance that
follows from their area and girth, so that neighbouring lines stay apart. A box round such a core is therefore grown again.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

CORE = 0.3
"""Least probability of a pixel of a core."""

GROWTH = 1.6
"""Distance by which a core's rectangle grows on each side: this × area / girth, as rapidocr has it for these weights."""

_LEAST_SIDE = 3.0
"""px of the map: thinner cores are specks."""

_MOST_SIDE = 0.5
"""Of the picture's short side: a box that is thicker is no line of text. Now and then the network takes a whole sky for one."""

_FRACTION_BITS = 4
"""Corners are drawn to a sixteenth of a pixel."""


def find_boxes(probability: np.ndarray, min_score: float) -> list[np.ndarray]:
    """The boxes of a map.

    Args:
        probability: (h, w) float32, 0..1.
        min_score: least mean probability within a core's rectangle.

    Returns:
        For each box its corners, (4, 2) float32 (x, y) in pixels of the map, in the order of the outline. They may lie outside the map.
    """
    cores = (probability > CORE).astype(np.uint8)
    # All outlines, not only outer ones: text may stand within a ring of text. The outline of a hole has a low score.
    outlines, _ = cv2.findContours(cores, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for outline in outlines:
        rectangle = cv2.minAreaRect(outline)
        centre, (width, height), angle = rectangle
        width, height = width + 1.0, height + 1.0  # outlines run through the middles of pixels
        if min(width, height) < _LEAST_SIDE or _mean_within(probability, cv2.boxPoints(rectangle)) < min_score:
            continue
        grown = GROWTH * width * height / (width + height)  # by both sides: twice area / girth
        width, height = width + grown, height + grown
        if min(width, height) <= _MOST_SIDE * min(probability.shape):
            found.append(cv2.boxPoints((centre, (width, height), angle)))
    return found


def _mean_within(probability: np.ndarray, corners: np.ndarray) -> float:
    """Mean probability within a rectangle, which may reach out of the map."""
    height, width = probability.shape
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 1, (width, height))
    mask = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(probability[top:bottom, left:right], mask)[0])


def covered_share(boxes: Iterable[np.ndarray], width: int, height: int) -> float:
    """0..1: share of a ``width`` × ``height`` picture under the union of boxes (corners (4, 2) in its pixels), whatever their angle."""
    mask = np.zeros((height, width), np.uint8)
    for corners in boxes:
        cv2.fillPoly(mask, [np.rint(corners * (1 << _FRACTION_BITS)).astype(np.int32)], 1, shift=_FRACTION_BITS)
    return float(np.count_nonzero(mask)) / mask.size
