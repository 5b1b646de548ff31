"""A vector of a picture, and of a clip, without any weights: where light, colour and edges lie. Room: curation; numpy and OpenCV only.

In: stills, (h, w, 3) uint8 BGR without black bars. Out: one vector of length 1 with :data:`WIDTH` numbers; the cosine of two says how
alike they look: near 1 for copies that were encoded again or resized. It knows nothing of what is shown.

A picture is reduced to 64 × 64 pixels, whatever its shape, and becomes Y, Cb, Cr (JPEG's). Four blocks:

- luma: the 10 × 10 lowest coefficients of the 2-D DCT-II of Y but the constant one, each times √(u² + v²): natural pictures have
  amplitudes that fall as 1/frequency (Field 1987), so that all count about alike;
- Cb and Cr: their 6 × 6 lowest coefficients, less 128, weighted the same way with the constant one at 1;
- edges: in each of 4 × 4 cells a histogram of the gradient's direction, in 8 bins over 180° with linear interpolation, weighted by its
  length over that of noise (as in HOG, Dalal and Triggs 2005, without their normalisation of neighbouring cells), roots taken.

A block v counts as ``weight · v / √(|v|² + soft²)``: strong ones have the length of their weight, and one that is hardly more than
noise fades away instead of being blown up. A clip's vector is the direction of the mean of its stills' vectors.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np

NAME = "perceptual"
VERSION = 1
"""Raised when the same pictures would give another vector."""

SIDE = 64
"""px of the reduced picture."""
LUMA = 10
CHROMA = 6
CELLS = 4
BINS = 8
WIDTH = LUMA * LUMA - 1 + 2 * CHROMA * CHROMA + CELLS * CELLS * BINS

_LUMA = (0.65, 60.0)
"""(weight, soft): soft in units of the weighted orthonormal DCT of 0..255 over SIDE, see :func:`_low`."""
_CHROMA = (0.5, 60.0)
_EDGES = (0.35, 8.0)
_NOISE = 1.0
"""Levels a pixel: a gradient that is no steeper is noise."""
_FLAT = 0.05
"""A picture whose vector is shorter than this shows nothing: no light, colour or edge stands out."""


def clip_vector(pictures: Sequence[np.ndarray]) -> np.ndarray | None:
    """The vector of a clip from its stills: (WIDTH,) float32 of length 1; None where no still shows anything."""
    vectors = [vector for picture in pictures if (vector := picture_vector(picture)) is not None]
    if not vectors:
        return None
    mean = np.stack(vectors).mean(0)
    length = float(np.linalg.norm(mean))
    return (mean / length).astype(np.float32) if length > _FLAT else None


def picture_vector(picture: np.ndarray) -> np.ndarray | None:
    """The vector of one picture: (WIDTH,) float64 of length 1; None for a grey, black or white one in which nothing stands out."""
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    luma, red, blue = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb).astype(np.float32))
    parts = [
        _settled(_low(luma, LUMA)[1:], _LUMA),
        _settled(np.concatenate([_low(blue - 128, CHROMA), _low(red - 128, CHROMA)]), _CHROMA),
        _settled(_edges(luma), _EDGES),
    ]
    vector = np.concatenate(parts)
    length = float(np.linalg.norm(vector))
    return vector / length if length > _FLAT else None


def _low(channel: np.ndarray, count: int) -> np.ndarray:
    """(SIDE, SIDE) float32 → (count²,) float64: its lowest DCT coefficients, weighted; the constant one first."""
    found = cv2.dct(channel)[:count, :count].astype(np.float64) / SIDE
    return (found * _weights(count)).ravel()


@functools.cache
def _weights(count: int) -> np.ndarray:
    """(count, count): √(u² + v²), 1 for the constant coefficient."""
    u, v = np.mgrid[:count, :count]
    weights = np.sqrt(u * u + v * v)
    weights[0, 0] = 1.0
    return weights


def _edges(luma: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) float32 → (CELLS² · BINS,) float64: root of the mean gradient by cell and direction."""
    across = cv2.Sobel(luma, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Sobel(luma, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    length = np.maximum(np.hypot(across, down).ravel().astype(np.float64) - _NOISE, 0.0)
    turn = np.mod(np.arctan2(down, across).ravel() / np.pi, 1.0) * BINS
    lower = np.floor(turn)
    share = turn - lower
    first = lower.astype(np.int64) % BINS
    cells = _cells() * BINS
    size = CELLS * CELLS * BINS
    found = np.bincount(cells + first, length * (1 - share), size)
    found += np.bincount(cells + (first + 1) % BINS, length * share, size)
    return np.sqrt(found / (SIDE // CELLS) ** 2)


@functools.cache
def _cells() -> np.ndarray:
    """(SIDE²,): the cell of each pixel, row by row."""
    place = np.arange(SIDE) * CELLS // SIDE
    return (place[:, None] * CELLS + place).ravel()


def _settled(block: np.ndarray, how: tuple[float, float]) -> np.ndarray:
    weight, soft = how
    return weight * block / np.sqrt(float(block @ block) + soft * soft)
