"""Packing exported clips into plain WebDataset tars, the same bytes each time, with the place of every clip in them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from curation.clip_form import fitted_size
from curation.storage import storage_errors
from schemas.errors import StorageError
from schemas.recipe import Export

_KEY = re.compile(r"[A-Za-z0-9_-]{1,90}")
"""WebDataset ends a key at its first dot; a plain tar header holds names of up to 100 bytes."""
_CHUNK = 1 << 20
_MEGABYTE = 10**6  # as the recipe counts


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a shard."""

    key: str
    """Letters, digits, ``_`` and ``-``; unique within the shard."""
    clip_id: str
    mp4: Path
    text: str | None
    """Without one there is no .txt member."""
    meta: dict[str, Any]
    """JSON-serialisable, without NaN."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where the .mp4 member's data of a sample lies in its tar."""

    key: str
    clip_id: str
    byte_offset: int
    byte_size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """A clip that is to be exported."""

    clip_id: str
    part: int
    est_bytes: int


def write_tar(samples: Iterable[Sample], out: Path) -> list[Member]:
    """Write members KEY.mp4, KEY.txt, KEY.json of each sample to a durable tar; a failure leaves no file.

    Raises:
        StorageError: a clip cannot be read or the tar not written.
        ValueError: a key that WebDataset would misread or that comes twice, or NaN in the metadata.
    """
    members: list[Member] = []
    seen: set[str] = set()
    try:
        with storage_errors(f"Writing `{out}`"), out.open("wb") as handle:
            with tarfile.open(fileobj=handle, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for sample in samples:
                    if not _KEY.fullmatch(sample.key) or sample.key in seen:
                        raise ValueError(f"`{sample.key}` cannot be the key of a sample here")
                    seen.add(sample.key)
                    meta = json.dumps(sample.meta, sort_keys=True, allow_nan=False, ensure_ascii=False)
                    offset = handle.tell() + tarfile.BLOCKSIZE
                    with sample.mp4.open("rb") as clip:
                        size = os.fstat(clip.fileno()).st_size
                        digest = _add(tar, f"{sample.key}.mp4", clip, size)
                    members.append(Member(sample.key, sample.clip_id, offset, size, digest))
                    if sample.text is not None:
                        _add_bytes(tar, f"{sample.key}.txt", sample.text.encode())
                    _add_bytes(tar, f"{sample.key}.json", meta.encode())
            handle.flush()
            os.fsync(handle.fileno())
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return members


class _Hashing:
    """Reads a file and hashes what it reads."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._handle.read(size)
        self.digest.update(data)
        return data


def _add(tar: tarfile.TarFile, name: str, handle: IO[bytes], size: int) -> str:
    """Append a member without time, owner or rights of its own; returns the sha256 of its data."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname = size, 0o644, 0, 0, 0, "", ""
    reader = _Hashing(handle)
    tar.addfile(info, reader)
    return reader.digest.hexdigest()


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    _add(tar, name, BytesIO(data), len(data))


def verify_tar(tar: Path, members: Iterable[Member]) -> None:
    """Read every member's byte range again.

    Raises:
        StorageError: a range does not hold what was written, or the tar cannot be read.
    """
    with storage_errors(f"Reading `{tar}`"), tar.open("rb") as handle:
        for member in members:
            digest = hashlib.sha256()
            handle.seek(member.byte_offset)
            left = member.byte_size
            while left and (data := handle.read(min(_CHUNK, left))):
                digest.update(data)
                left -= len(data)
            if left or digest.hexdigest() != member.sha256:
                raise StorageError(
                    f"Shard `{tar.name}` does not hold what was written for sample `{member.key}`.",
                    fix="The disk may be failing: check it, delete the shard and export again.",
                )


def plan_shards(
    clips: Sequence[PlannedClip], *, shard_mb: float, shard_samples: int, first_shard: int = 0
) -> list[tuple[str, list[str]]]:
    """Divide clips into shards of about equal size; returns (name, clip ids) of each, all ids of a shard in order.

    Shards follow the parts: each takes the next parts, or the next share of a part. None has more than ``shard_samples`` clips, nor
    more than ``shard_mb`` and its largest clip. A function of the set of clips alone, not of their order.

    The clips in order of (part, id) are laid end to end, each as long as the larger of its shares of the two limits; that line
    is cut into the fewest equal lengths of at most 1, and a clip goes where its middle lies. So a length of 1 holds at most
    ``shard_samples`` middles, and the bytes of a shard reach over its ends by half a clip at most on each side.
    """
    limit = max(1, int(shard_mb * _MEGABYTE))
    capacity = limit * shard_samples  # in units of which a clip's two shares are whole numbers
    line = sorted(clips, key=lambda clip: (clip.part, clip.clip_id))
    lengths = [max(clip.est_bytes * shard_samples, limit) for clip in line]
    total = sum(lengths)
    count = -(-total // capacity)
    shards: list[list[str]] = [[] for _ in range(count)]
    at = 0
    for clip, length in zip(line, lengths, strict=True):
        shards[(2 * at + length) * count // (2 * total)].append(clip.clip_id)
        at += length
    filled = [sorted(ids) for ids in shards if ids]  # one clip may be longer than several shards
    return [(f"{number:06d}", ids) for number, ids in enumerate(filled, start=first_shard)]


def estimate_bytes(width: int, height: int, fps: float, duration_s: float, settings: Export) -> int:
    """Rough size of an exported clip, from its size as displayed in pixels, its rate and its length.

    x264 at crf 20 and preset veryfast makes about 0.07 bits per pixel of 720p at 25 frames per second; smaller pictures and
    lower rates need more bits per pixel; six steps of crf halve or double the size. Fitted to 48 encodes of 16 real videos
    (180p to 720p, 10 to 30 frames per second, crf 20 and 26): no bias, seven in eight within a factor of 2. A copied clip is
    taken to be as large as an encoded one.
    """
    shown_w, shown_h = fitted_size(width, height, settings.short_side)
    pixels = shown_w * shown_h
    bits_per_pixel = 0.07 * (pixels / (1280 * 720)) ** -0.3 * (fps / 25) ** -0.5 * 2 ** ((20 - settings.crf) / 6)
    audio = 128_000 / 8 * duration_s if settings.audio == "keep" else 0.0
    members = 3 * 2 * tarfile.BLOCKSIZE  # headers, caption and metadata
    return round(bits_per_pixel * pixels * fps * duration_s / 8 + audio) + members
