"""Sharpness: how much detail the finest scale of the native luma plane holds, compared with the next coarser ones.

A picture that was enlarged, blurred or encoded too hard has edges, but nothing in the finest band; a sharp one has
energy there in fixed proportion to its edges (natural pictures have about equal energy in each octave: Field 1987,
"Relations between the statistics of natural images and the response properties of cortical cells"). So, where the
picture has structure,

    rho       = (fine − fine of the flat part) / coarse × (coarse / max(coarse, wide / 5))²
    sharpness = rho² / (rho² + RHO²)

``fine`` is the mean square of the third difference [−1, 3, −3, 1] / 8 along x and y, which answers to the highest
frequencies only, ``coarse`` and ``wide`` that of the difference over 4 and 16 px after a Gaussian blur of 1.2 px. All grow
with contrast alike, so contrast cancels. The last factor is 1 but where a blur of some pixels has taken the coarse detail as
well: what is left in both bands is then rounding and the coder's errors, and their ratio is that of a sharper picture. Noise is
as strong in flat parts as elsewhere, so it is taken off. The form of comparing a picture with its own coarser version is that of
re-blurring (Crété et al. 2007, "The blur effect"); filters and constants are ours. Interlace combs are fine vertical detail and
read as sharp.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.bars import black_level, lit_part
from curation.signals.samples import Samples

RHO = 10**-1.8
"""Ratio with sharpness 0.5. Measured on frames of eleven videos and drawn textures: 10^-0.8 to 10^-1.5 as they are
(three soft ones 10^-1.8 to 10^-2.0), 10^-1.8 to 10^-2.4 enlarged twice, under 10^-2.4 three times; x264 at crf 20 to
30, noise of 4 levels and a third of the contrast move it by up to 10^±0.2."""

_THIRD = np.array([[-1, 3, -3, 1]], np.float32) / 8
_TILE = 96
_TILES_X, _TILES_Y = 4, 3
_LOT = 3
"""Tiles worked on at a time: their float planes stay below the 128 KB from which memory is fetched from, and given back to, the
system at each use, which can double the time."""
_INSET = 8
"""Pixels kept away from a bar's edge, which is sharper than any picture, in case it is soft."""
_CELL = 4
"""Pixels. Side of the square over which energy is averaged before structure is looked for."""
_RIM = 8
"""Pixels at a tile's border whose cells are left out."""
_LEAST_TILE = 32
_STRUCTURE, _FLAT = 0.15, 0.25
"""Shares of a tile's cells: those with most coarse energy are its structure, those with least its flat part."""
_LEAST_ENERGY = 4.0
"""Levels². Coarse energy of a cell with structure: an edge of 4 levels."""
_WIDE = 0.2
"""Share of the energy over 16 px that coarse energy has at least where a picture is not blurred: mostly 0.25 to 1; 0.13 after a blur
with a sigma of 3 px, 0.07 after 12 px."""
_NOISE_COARSE = 1 / 11
"""Coarse over fine energy of white noise: (2 × 1/4) / (4 pi 1.2²) over 20/64, per axis."""
_OVER_NOISE = 5.0
"""Structure has this many times the coarse energy that the noise alone would have."""
_LEAST_CELLS = 12
_SHARPEST = 75
"""Percentile over the tiles: a picture with a blurred background is as sharp as what is in focus."""


class Sharpness:
    """sharpness and sharpness_min (0..1) of the sampled luma planes of the span; None where none has structure to judge by.

    sharpness is the mean of the samples, two a second; sharpness_min the least mean of two neighbours, a second of the clip, so
    that one odd frame does not decide. A single sample is both.
    """

    def __init__(self) -> None:
        self._samples: Samples[float] = Samples()

    def push(self, frame: Frame) -> None:
        if frame.luma is None:
            return
        value = sharpness(frame.luma, black_level(frame))
        if value is not None:
            self._samples.add(value, frame.index)

    def close(self, span: Span) -> dict[str, float | int | None]:
        values = self._samples.within(span)
        if not values:
            return {"sharpness": None, "sharpness_min": None}
        seconds = [(a + b) / 2 for a, b in pairwise(values)] or values
        return {"sharpness": float(np.mean(values)), "sharpness_min": min(seconds)}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def sharpness(luma: np.ndarray, black: int) -> float | None:
    """0..1 of one plane ((h, w) uint8, black at level ``black``), bars left out; None without structure."""
    tiles = _tiles(luma, black)
    if tiles is None:
        return None
    lots = [_energies(tiles[i : i + _LOT]) for i in range(0, len(tiles), _LOT)]
    ratios = _ratios(*(np.concatenate(parts) for parts in zip(*lots, strict=True)))
    if not ratios.size:
        return None
    # The percentile with linear interpolation; numpy's own takes longer than all filters of a tile.
    rho = float(np.interp(_SHARPEST / 100 * (ratios.size - 1), np.arange(ratios.size), np.sort(ratios)))
    return rho**2 / (rho**2 + RHO**2)


def _tiles(luma: np.ndarray, black: int) -> np.ndarray | None:
    """(n, t, t) uint8: up to 4 × 3 square tiles spread evenly over the picture without its bars; None if too small or
    black."""
    inside = lit_part(luma, black, _INSET)
    if inside is None:
        return None
    height, width = inside.shape
    side = min(_TILE, height, width) // _CELL * _CELL
    if side < _LEAST_TILE:
        return None
    rows, columns = (_spread(n, side, most) for n, most in ((height, _TILES_Y), (width, _TILES_X)))
    return np.stack([inside[y : y + side, x : x + side] for y in rows for x in columns])


def _spread(length: int, side: int, most: int) -> list[int]:
    """Starts of up to ``most`` stretches of ``side`` pixels, each in the middle of its share of ``length``."""
    count = max(1, min(most, length // side))
    return [int((i + 0.5) * length / count - side / 2) for i in range(count)]


def _energies(tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each tile: fine and coarse energy in levels² of its cells without the rim, (n, cells, cells) float32 each, and the level at
    the middle of every cell, (n, cells + 4, cells + 4)."""
    count, side, _ = tiles.shape
    stack = tiles.reshape(count * side, side).astype(np.float32)
    soft = cv2.GaussianBlur(stack, (7, 7), 1.2)
    inner = slice(_RIM, -_RIM)
    cells = side // _CELL

    def energy(along_x: np.ndarray, along_y: np.ndarray) -> np.ndarray:
        square = cv2.accumulateSquare(along_y, cv2.multiply(along_x, along_x))
        means = cv2.resize(square, (square.shape[1] // _CELL, count * cells), interpolation=cv2.INTER_AREA)
        # Cells at the rim see the neighbouring tile of the stack, or the border's reflection.
        return means.reshape(count, cells, -1)[:, _RIM // _CELL : -_RIM // _CELL]

    fine_x, fine_y = (cv2.filter2D(stack, cv2.CV_32F, kernel)[:, inner] for kernel in (_THIRD, _THIRD.T))
    wide_x = cv2.subtract(soft[:, _RIM + 2 : 2 - _RIM], soft[:, _RIM - 2 : -2 - _RIM])
    wide_y = np.empty_like(wide_x)
    wide_y[:2] = wide_y[-2:] = 0
    cv2.subtract(soft[4:, inner], soft[:-4, inner], dst=wide_y[2:-2])
    middles = soft[_CELL // 2 :: _CELL, _CELL // 2 :: _CELL].reshape(count, cells, cells)
    return energy(fine_x, fine_y), energy(wide_x, wide_y) / 4, middles


def _ratios(fine: np.ndarray, coarse: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """rho of each tile that has structure, from :func:`_energies`."""
    across, down = middles[:, 2:-2, 4:] - middles[:, 2:-2, :-4], middles[:, 4:, 2:-2] - middles[:, :-4, 2:-2]
    wide = np.square(across) + np.square(down)
    fine, coarse, wide = (energy.reshape(len(energy), -1) for energy in (fine, coarse, wide))
    cells = coarse.shape[1]
    order = np.sort(coarse, axis=1)
    # As float32, masks and energies are multiplied and added up in one go.
    flat = (coarse <= order[:, [int(_FLAT * cells)]]).astype(np.float32)
    noise = np.vecdot(fine, flat) / flat.sum(axis=1)
    least = np.maximum(
        order[:, int((1 - _STRUCTURE) * cells)], np.maximum(_LEAST_ENERGY, _OVER_NOISE * _NOISE_COARSE * noise)
    )
    structure = (coarse >= least[:, None]).astype(np.float32)
    counts = structure.sum(axis=1)
    known = counts >= _LEAST_CELLS
    excess = np.maximum(0.0, np.vecdot(fine, structure) - noise * counts)
    detail = np.vecdot(coarse, structure)
    expected = np.maximum(detail, _WIDE / 4 * np.vecdot(wide, structure))
    return np.asarray((excess * detail)[known] / np.square(expected[known]))
