"""Semantic duplicates: vectors fall into k-means cells, and only clips of one cell are compared (SemDeDup, arXiv 2303.09540, section 3).

Other than there, a clip is in the two cells nearest to it: else pairs on either side of a border are lost, a fifth of them in the worst case.
Vectors have length 1, so that nearest by angle is nearest by distance. Shapes: n clips, k cells, d numbers of a vector.
"""

from __future__ import annotations

import numpy as np

CLIPS_PER_CELL = 1000
MOST_CELLS = 16_384
"""Finding a clip's cell costs k products of vectors and comparing it with the cell's clips n / 2k: for 90 million clips the sum is least near
7000 cells."""
GROWTH = 4
"""Cells are found anew when the corpus has grown by more: all clips are then sorted into them once more, a third of that work in the long run."""
SAMPLE_PER_CELL = 64
MOST_SAMPLED = 200_000
"""Vectors from which the cells' centres are found."""
_ROUNDS = 8
_SAME = 0.9
_BLOCK = 2048
_SLACK = 1e-4
"""Products of matrices round differently from machine to machine: what may reach the limit is worked out once more, number by number."""

BEST = 8
"""Most better partners of a clip that are noted: those that would be kept rather than the others."""


def cell_count(clips: int, wanted: int | None) -> int:
    """How many cells for so many clips."""
    return max(1, min(clips, wanted or min(MOST_CELLS, clips // CLIPS_PER_CELL)))


def outgrown(then: int, now: int, wanted: int | None) -> bool:
    """Whether cells found for ``then`` clips are too few for ``now``: what is compared grows with the square of a cell."""
    return now > GROWTH * then and cell_count(now, wanted) > cell_count(then, wanted)


def sample_size(cells: int) -> int:
    return min(MOST_SAMPLED, max(SAMPLE_PER_CELL * cells, cells))


def unit(vectors: np.ndarray) -> np.ndarray:
    """(n, d) float32, each row of length 1; rows of zeros stay."""
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), np.float32)


def fit(sample: np.ndarray, cells: int, seed: int = 0) -> np.ndarray:
    """Centres of at most so many cells, (k, d) float32 of length 1, from vectors (m, d) of length 1: Lloyd's rounds from vectors drawn by
    chance. Two that are nearly the same never begin as centres: they would part the clips around them, which are the duplicates sought."""
    centres = np.zeros((min(cells, len(sample)), sample.shape[1]), np.float32)
    count = 0
    for vector in sample[np.random.default_rng(seed).permutation(len(sample))[: 2 * cells]]:
        if count < len(centres) and not (centres[:count] @ vector > _SAME).any():
            centres[count] = vector
            count += 1
    centres = centres[:count]
    for _ in range(_ROUNDS if count > 1 else 0):
        own = nearest(sample, centres)[:, 0]
        sums = np.zeros(centres.shape, np.float64)
        np.add.at(sums, own, sample)
        filled = np.bincount(own, minlength=count) > 0
        centres[filled] = unit(sums[filled])
    return centres


def nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n, 2) int32: the nearest cell of each vector, and the next one (-1 where there is only one)."""
    out = np.full((len(vectors), 2), -1, np.int32)
    for start in range(0, len(vectors), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(vectors)))
        near = vectors[rows] @ centres.T
        out[rows, 0] = np.argmax(near, axis=1)
        if len(centres) > 1:
            near[np.arange(len(rows)), out[rows, 0]] = -2
            out[rows, 1] = np.argmax(near, axis=1)
    return out


def close_pairs(vectors: np.ndarray, new: np.ndarray, min_cosine: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs within one cell with at least that cosine: rows (worse, better) and (p,) float32 cosines.

    Args:
        vectors: (n, d) of length 1, best clip first.
        new: (n,) bool: clips that may be the worse of a pair.
    """
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in range(0, len(vectors), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(vectors)))
        rows = rows[new[rows]]
        taken = np.zeros(len(rows), np.int64)
        for left in range(0, start + _BLOCK, _BLOCK):
            others = vectors[left : left + _BLOCK]
            near = vectors[rows] @ others.T >= min_cosine - _SLACK
            near &= (left + np.arange(len(others)))[None, :] < rows[:, None]
            # The best come first: when a clip has partners enough, the others need not be looked at.
            near &= taken[:, None] + np.cumsum(near, axis=1) <= BEST
            worse, better = np.nonzero(near)
            taken += near.sum(axis=1)
            worse, better = rows[worse], better + left
            cosine = np.einsum("ij,ij->i", vectors[worse].astype(np.float64), vectors[better].astype(np.float64))
            good = cosine >= min_cosine
            found.append((worse[good], better[good], np.minimum(cosine[good], 1).astype(np.float32)))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    worse, better, cosine = (np.concatenate(column) for column in zip(*found, strict=True))
    return worse, better, cosine
