"""What the loader hands to the loop: one process' share of one step. Plain arrays, no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Broken:
    """A sample that could not be read or decoded. It is left out of the batch and listed."""

    row: int
    clip_id: str
    shard: str
    error: str


@dataclass(frozen=True)
class Batch:
    """Samples of one bucket. B may be smaller than planned where samples were broken, down to 0."""

    step: int
    """Global step, from 0."""
    epoch: int
    bucket: int
    """Index into the recipe's buckets."""
    planned: int
    """Samples that the global batch of this step has, over all processes, broken ones included."""
    positions: np.ndarray
    """(B,) int64: each sample's place in its whole global batch; noise and dropout are drawn by step and place."""
    rows: np.ndarray
    """(B,) int64: rows of the data plan."""
    clip_ids: list[str]
    captions: list[str]
    pixels: np.ndarray
    """(B, T, H, W, 3) uint8 RGB."""
    micro: np.ndarray
    """(B, 6) float32: original height and width, top and left of the crop (all in pixels of the clip), stride in frames, frames."""
    broken: list[Broken] = field(default_factory=list)
