"""Frames that carry their number as bright and dark blocks, so that one reads back which frames a video shows."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

COLUMNS, ROWS = 4, 2
"""Blocks: as many bits as a number has."""


def numbered(count: int, width: int, height: int) -> Iterator[np.ndarray]:
    """Frames with their number in binary, over a texture that moves (so that frames refer to each other)."""
    texture = cv2.GaussianBlur(np.random.default_rng(7).integers(0, 256, (height, width), np.uint8), (0, 0), 1.5)
    for n in range(count):
        gray = np.roll(texture, (n, 2 * n), (0, 1)) // 6
        for bit in range(COLUMNS * ROWS):
            y, x = divmod(bit, COLUMNS)
            block = gray[
                y * height // ROWS : (y + 1) * height // ROWS, x * width // COLUMNS : (x + 1) * width // COLUMNS
            ]
            block += 170 if n >> bit & 1 else 20
        yield np.repeat(gray[:, :, None], 3, axis=2)


def number_of(gray: np.ndarray) -> int:
    """The number in an upright picture."""
    height, width = gray.shape
    number = 0
    for bit in range(COLUMNS * ROWS):
        y, x = divmod(bit, COLUMNS)
        middle = gray[
            int((y + 0.25) * height / ROWS) : int((y + 0.75) * height / ROWS),
            int((x + 0.25) * width / COLUMNS) : int((x + 0.75) * width / COLUMNS),
        ]
        number |= int(middle.mean() > 115) << bit
    return number
