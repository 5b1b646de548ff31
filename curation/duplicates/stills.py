"""Near duplicates, second half: whether two clips show the same picture, seen in their stills.

Hashes of 64 bits agree by accident too often for a large corpus. So each pair that they propose is proven: the fine structure of a still of one
clip must be found in a still of the other, at about the same place. Slow parts of the picture, which hashes see, are taken away first; what
is left of two different pictures is as good as independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from curation.signals.crop import Crop

SIDE = 64
"""Pixels of a side of a sketch."""
MARGIN = 10
"""The middle of one sketch is looked for in the other within so many pixels, 16 % of the picture: a copy may be cropped, and its stills
are of other moments."""
FINE = 3.0
"""Standard deviation in pixels of the blur whose result is taken away."""
FAINT = 1.0
"""Levels. A sketch whose fine structure has a smaller standard deviation proves nothing."""
SAME = 0.67
"""Least correlation of two sketches of the same picture. Copies have 0.7 to 1, those cropped by 5 % 0.63 to 0.9. Different pictures have 0.16
± 0.05; cards with one line of other words, whose hashes agree in every seventh pair, 0.37 and up to 0.66; cards that share two of three words
may have more (`benchmarks/duplicates.py`)."""


def sketch(jpeg: bytes, crop: Crop) -> np.ndarray | None:
    """(64, 64) float32: fine structure of a still without its black bars; None where it is damaged or has none."""
    try:
        gray = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_2)
    except cv2.error:  # no bytes at all
        return None
    return None if gray is None else fine(gray, crop)


def fine(gray: np.ndarray, crop: Crop) -> np.ndarray | None:
    """As :func:`sketch`, of a picture ((h, w) uint8)."""
    left, top, right, bottom = crop.box(gray.shape[1], gray.shape[0])
    small = cv2.resize(gray[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), FINE)
    inner = small[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return small if float(inner.std()) >= FAINT else None


def likeness(first: Sequence[np.ndarray], second: Sequence[np.ndarray], enough: float = SAME) -> float:
    """Best correlation (-1..1) of any sketch of one clip with any of the other; stops at one that is ``enough``. -1 without sketches."""
    best = -1.0
    for a in first:
        middle = a[MARGIN:-MARGIN, MARGIN:-MARGIN]
        for b in second:
            best = max(best, float(cv2.matchTemplate(b, middle, cv2.TM_CCOEFF_NORMED).max()))
            if best >= enough:
                return best
    return best
