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


Shift = tuple[int, int]
"""Where the middle of one thumbnail comes to lie on another: row and column of its corner."""


@dataclass(slots=True)
class Sketch:
    """One frame, much reduced."""

    index: int
    time: float
    thumb: np.ndarray
    """(h, w) uint8 grey, long side at most 64."""
    cells: np.ndarray
    """(3 × cells,) colour, one after the other, long side 16 cells: whole numbers in float64, so that sums are exact in any
    order."""
    power: float
    """Sum of the squares of ``cells``."""
    level: float
    """Mean of the thumbnail in grey levels."""
    contrast: float
    """Standard deviation of the thumbnail in grey levels."""

    @property
    def flat(self) -> bool:
        """The picture is one even tone: black, white, a plain colour."""
        return self.contrast <= FLAT_CONTRAST

    def edge_energy(self) -> float:
        """Mean squared difference of neighbouring pixels of the thumbnail, (grey levels)²."""
        across = cv2.norm(self.thumb[:, 1:], self.thumb[:, :-1], cv2.NORM_L2SQR) / self.thumb[:, 1:].size
        return float(across + cv2.norm(self.thumb[1:], self.thumb[:-1], cv2.NORM_L2SQR) / self.thumb[1:].size)


class Sketcher:
    """Makes the sketches of one stream; sizes are worked out once."""

    def __init__(self) -> None:
        self._shape = (0, 0)
        self._thumb = self._cells = (0, 0)

    def make(self, frame: Frame) -> tuple[Sketch, np.ndarray]:
        """The sketch, and the (h, w, 3) uint8 BGR picture of the thumbnail's size that it was made of.

        The picture takes colours to be those of Rec. ITU-R BT.601: it is for comparing frames with each other.
        """
        if frame.gray.shape != self._shape:
            self._shape = (frame.gray.shape[0], frame.gray.shape[1])
            self._thumb, self._cells = (_fit(self._shape, side) for side in (THUMB_SIDE, CELL_SIDE))
        # By two halvings, which OpenCV does fastest.
        half = cv2.resize(frame.gray, frame.cb.shape[::-1], interpolation=cv2.INTER_AREA)
        thumb, cr, cb = (cv2.resize(p, self._thumb, interpolation=cv2.INTER_AREA) for p in (half, frame.cr, frame.cb))
        picture = cv2.cvtColor(cv2.merge([thumb, cr, cb]), cv2.COLOR_YCrCb2BGR)
        small = cv2.resize(picture, self._cells, interpolation=cv2.INTER_AREA)
        cells = small.reshape(-1, 3).T.astype(np.float64, order="C").ravel()
        mean, deviation = cv2.meanStdDev(thumb)
        power = float(cells.dot(cells))
        made = Sketch(frame.index, frame.time, thumb, cells, power, float(mean[0, 0]), float(deviation[0, 0]))
        return made, picture


def _fit(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) with the long side at most ``side`` and neither under 4."""
    scale = min(1.0, side / max(shape))
    return max(4, round(shape[1] * scale)), max(4, round(shape[0] * scale))


def distance(a: Sketch, b: Sketch) -> float:
    """Root mean square difference of the colour cells, 0..255."""
    return float(np.sqrt(max(0.0, a.power + b.power - 2.0 * float(a.cells.dot(b.cells))) / a.cells.size))


def coverage(a: Sketch, b: Sketch, change: float = CHANGED) -> float:
    """Share of the picture that differs by more than ``change``; what is black in both frames is left out."""
    lit = np.maximum(a.cells, b.cells).reshape(3, -1).max(axis=0) > _BLACK
    differs = np.abs(a.cells - b.cells).reshape(3, -1).max(axis=0) > change
    return int(np.count_nonzero(differs & lit)) / max(1, int(np.count_nonzero(lit)))


def likeness(a: Sketch, b: Sketch) -> float:
    """Largest normalised correlation (−1..1) of the middle of ``a`` with ``b``, over shifts up to a quarter of the picture.

    A camera or exposure change leaves it near 1, another shot makes it low. Two frames without structure have likeness 0.
    """
    return best_shift(a, b)[0]


def best_shift(a: Sketch, b: Sketch) -> tuple[float, Shift]:
    """(:func:`likeness`, the shift that gives it)."""
    middle, power = _middle(a)
    h, w = middle.shape
    other = b.thumb.astype(np.float32)
    # (rows of shifts, columns of shifts), as the next two
    covariance = cv2.matchTemplate(other, middle, cv2.TM_CCORR) / (h * w)
    level, squared = cv2.integral2(b.thumb, sdepth=cv2.CV_64F, sqdepth=cv2.CV_64F)
    variance = np.maximum(_box_mean(squared, h, w) - _box_mean(level, h, w) ** 2, 0)
    correlation = covariance / np.sqrt(power * (variance + _FLAT_VARIANCE))
    best = divmod(int(np.argmax(correlation)), correlation.shape[1])
    return float(correlation[best]), best


def likeness_at(a: Sketch, b: Sketch, shift: Shift) -> float:
    """The correlation at one shift, but for rounding: a fifteenth of the work."""
    middle, power = _middle(a)
    h, w = middle.shape
    other = b.thumb[shift[0] : shift[0] + h, shift[1] : shift[1] + w].astype(np.float32)
    variance = float(cv2.meanStdDev(other)[1][0, 0]) ** 2
    return float(np.vdot(other, middle)) / (h * w) / float(np.sqrt(power * (variance + _FLAT_VARIANCE)))


def _middle(sketch: Sketch) -> tuple[np.ndarray, float]:
    """The middle of the thumbnail without its mean, half as high and wide, and its mean square, eased."""
    height, width = sketch.thumb.shape
    h, w = max(2, height // 2), max(2, width // 2)
    top, left = (height - h) // 2, (width - w) // 2
    middle = sketch.thumb[top : top + h, left : left + w].astype(np.float32)
    middle -= middle.mean()
    return middle, float(np.mean(middle**2)) + _FLAT_VARIANCE


def _box_mean(total: np.ndarray, h: int, w: int) -> np.ndarray:
    """Mean of each (h, w) window, (H − h + 1, W − w + 1), from a picture's (H + 1, W + 1) running sums."""
    return (total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]) / (h * w)
