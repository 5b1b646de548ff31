"""One process' share of one step, from tars to pixels: what a worker does. Knows neither the plan nor the order.

LEGEND  B samples asked for, K samples that came, T frames, H W pixels.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from schemas.errors import StivError
from schemas.train_recipe import Bucket
from stiv_train.data.batch import Broken
from stiv_train.data.buckets import needed_frames
from stiv_train.data.decoding import BrokenClip, Cutout, read_sample
from stiv_train.data.order import SAMPLE, keyed
from stiv_train.data.reading import ShardReader

COLUMNS = ("clip_id", "shard", "byte_offset", "byte_size", "num_frames")
"""Of the data plan: what a worker must know of a sample."""


@dataclass(frozen=True)
class Work:
    """Samples to read. All lists are of length B."""

    bucket: Bucket
    stride: int
    seed: int | None
    """Draws start and crop by (seed, row, visit); None begins at the first frame and crops at the centre."""
    random_start: bool
    random_crop: bool
    rows: np.ndarray
    """(B,) int64."""
    visits: np.ndarray
    """(B,) int64."""
    clip_id: list[str]
    shard: list[str]
    byte_offset: list[int]
    byte_size: list[int]
    num_frames: list[int]


@dataclass(frozen=True)
class Assembled:
    """Samples that came, in the order asked for."""

    pixels: torch.Tensor
    """(K, T, H, W, 3) uint8 RGB; in shared memory where a worker made it."""
    micro: np.ndarray
    """(K, 6) float32: height, width, top, left in pixels of the clip, stride, frames."""
    kept: np.ndarray
    """(K,) int64: which of those asked for."""
    broken: list[Broken] = field(default_factory=list)


class Assembler(Dataset[Assembled | StivError]):
    """Makes samples of work. An error for a person comes back as a value: it would lose its kind on the way from a worker."""

    def __init__(self, reader: ShardReader) -> None:
        self._reader = reader

    def __getitem__(self, work: Work) -> Assembled | StivError:
        try:
            return assemble(work, self._reader)
        except StivError as error:
            return error


def assemble(work: Work, reader: ShardReader) -> Assembled:
    """Read and decode samples; those that do not decode are left out and listed.

    Raises:
        StorageError: a tar is missing, cut short or unreadable.
    """
    bucket, count = work.bucket, len(work.rows)
    pixels = _empty((count, bucket.frames, bucket.height, bucket.width, 3))
    out = pixels.numpy()
    micro = np.empty((count, 6), np.float32)
    kept: list[int] = []
    broken: list[Broken] = []
    for n in range(count):
        place = len(kept)
        try:
            cut = _sample(work, n, out[place], reader)
        except BrokenClip as error:
            broken.append(Broken(int(work.rows[n]), work.clip_id[n], work.shard[n], str(error)))
            continue
        micro[place] = (cut.height, cut.width, cut.top, cut.left, work.stride, bucket.frames)
        kept.append(n)
    return Assembled(pixels[: len(kept)], micro[: len(kept)], np.array(kept, np.int64), broken)


def _empty(shape: tuple[int, ...]) -> torch.Tensor:
    """Room for uint8 numbers; in a worker in shared memory, so that it is decoded straight to where the parent reads it."""
    if get_worker_info() is None or not math.prod(shape):
        return torch.empty(shape, dtype=torch.uint8)
    # As torch's own collation makes it; `share_memory_` would copy what is not there yet.
    shared = torch.UntypedStorage._new_shared(math.prod(shape))
    return torch.empty(0, dtype=torch.uint8).set_(shared).view(shape)


def _sample(work: Work, n: int, out: np.ndarray, reader: ShardReader) -> Cutout:
    spare = work.num_frames[n] - needed_frames(work.bucket.frames, work.stride)
    if spare < 0:
        raise BrokenClip(f"it has {work.num_frames[n]} frames; {work.num_frames[n] - spare} are needed")
    start, crop = draw(work, n, spare)
    blob = reader.read(work.shard[n], work.byte_offset[n], work.byte_size[n])
    try:
        return read_sample(blob, out, start=start, stride=work.stride, crop=crop)
    except BrokenClip as error:
        exported = reader.sha256(work.shard[n], work.clip_id[n])
        if exported is not None and hashlib.sha256(blob).hexdigest() != exported:
            raise BrokenClip(f"its bytes have changed on disk since the export: {error}") from None
    # The bytes are those whose every frame was decoded at export: what is amiss in them is nothing a decoder cannot pass over.
    return read_sample(blob, out, start=start, stride=work.stride, crop=crop, strict=False)


def draw(work: Work, n: int, spare: int) -> tuple[int, tuple[float, float]]:
    """(first frame, share of the overhang cut off at top and left) of a sample: the same in whatever process it is drawn."""
    if work.seed is None:
        return 0, (0.5, 0.5)
    start, top, left = (
        int(word) for word in keyed(work.seed, SAMPLE, int(work.rows[n]), int(work.visits[n])).random_raw(3)
    )
    return (
        start * (spare + 1) >> 64 if work.random_start else 0,
        (top / 2**64, left / 2**64) if work.random_crop else (0.5, 0.5),
    )
