"""What the shot finder remembers of a frame, and how alike two frames are.

A sketch is a few kilobytes whatever the size of the video: a grey thumbnail for comparing structure and a very small colour
picture for comparing mixtures. Grey levels and colours run over 0..255 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curation.frames import Frame

THUMB_SIDE = 64
"""Long side of the grey thumbnail in pixels."""
CELL_SIDE = 16
"""Long side of the colour picture in cells: so coarse that objects moving during a dissolve hardly disturb the mixture."""
FLAT_CONTRAST = 6.0
"""A frame whose grey levels deviate by no more than this is flat: one even tone, with room for a line of small text on black."""

CHANGED = 8.0
"""A colour cell has changed when any of its colours differs by more than this."""

_BLACK = 24.0  # darker cells in both frames are bars and borders
_FLAT_VARIANCE = 4.0  # (grey levels)²: keeps noise on a plain wall from looking like structure


@dataclass(slots=True)
class Sketch:
    """One frame, much reduced."""

    index: int
    time: float
    thumb: np.ndarray
    """(h, w) uint8 grey, long side 64."""
    cells: np.ndarray
    """(cells × 3,) colour, long side 16 cells: whole numbers in float64, so that sums are exact in any order."""
    contrast: float
    """Standard deviation of the thumbnail in grey levels."""

    @property
    def flat(self) -> bool:
        """The picture is one even tone: black, white, a plain colour."""
        return self.contrast <= FLAT_CONTRAST

    def edge_energy(self) -> float:
        """Mean squared difference of neighbouring pixels of the thumbnail, (grey levels)²."""
        level = self.thumb.astype(np.float64)  # whole numbers: exact sums
        across, down = level[:, 1:] - level[:, :-1], level[1:] - level[:-1]
        return float(np.vdot(across, across) / across.size + np.vdot(down, down) / down.size)


def sketch(frame: Frame) -> Sketch:
    """Reduce a frame to its sketch."""
    thumb_size = _fit(frame.small.shape[1], frame.small.shape[0], THUMB_SIDE)
    cell_size = _fit(frame.small.shape[1], frame.small.shape[0], CELL_SIDE)
    colour = cv2.resize(frame.small, thumb_size, interpolation=cv2.INTER_AREA)
    thumb = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    cells = cv2.resize(colour, cell_size, interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
    _, deviation = cv2.meanStdDev(thumb)
    return Sketch(frame.index, frame.time, thumb, cells, float(deviation[0, 0]))


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) with the long side at most ``side`` and neither under 4."""
    scale = min(1.0, side / max(width, height))
    return max(4, round(width * scale)), max(4, round(height * scale))


def distance(a: Sketch, b: Sketch) -> float:
    """Root mean square difference of the colour cells, 0..255."""
    difference = a.cells - b.cells
    return float(np.sqrt(np.vdot(difference, difference) / difference.size))


def coverage(a: Sketch, b: Sketch, change: float = CHANGED) -> float:
    """Share of the picture that differs by more than ``change``; what is black in both frames is left out."""
    lit = np.maximum(a.cells, b.cells).reshape(-1, 3).max(axis=1) > _BLACK
    differs = np.abs(a.cells - b.cells).reshape(-1, 3).max(axis=1) > change
    return int(np.count_nonzero(differs & lit)) / max(1, int(np.count_nonzero(lit)))


def likeness(a: Sketch, b: Sketch) -> float:
    """Largest normalised correlation (−1..1) of the middle of ``a`` with ``b``, over shifts up to a quarter of the picture.

    A camera or exposure change leaves it near 1, another shot makes it low. Two frames without structure have likeness 0.
    """
    height, width = a.thumb.shape
    h, w = max(2, height // 2), max(2, width // 2)
    top, left = (height - h) // 2, (width - w) // 2
    middle = a.thumb[top : top + h, left : left + w].astype(np.float32)
    middle -= middle.mean()
    other = b.thumb.astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(other, (h, w))  # (rows of shifts, columns of shifts, h, w)
    covariance = np.einsum("ijkl,kl->ij", windows, middle) / (h * w)
    variance = np.maximum(
        _box_mean(other.astype(np.float64) ** 2, h, w) - _box_mean(other.astype(np.float64), h, w) ** 2, 0
    )
    power = (float(np.mean(middle**2)) + _FLAT_VARIANCE) * (variance + _FLAT_VARIANCE)
    return float(np.max(covariance / np.sqrt(power)))


def _box_mean(picture: np.ndarray, h: int, w: int) -> np.ndarray:
    """Mean of each (h, w) window of a (H, W) picture: (H − h + 1, W − w + 1)."""
    total = np.zeros((picture.shape[0] + 1, picture.shape[1] + 1))
    total[1:, 1:] = picture.cumsum(0).cumsum(1)
    return (total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]) / (h * w)
