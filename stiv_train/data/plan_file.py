"""The data plan as a file: an uncompressed Arrow file that is mapped into memory, never read whole, and its hash.

In: record batches in their final order. Out: a file, the table mapped from it, and a hash that does not depend on how the rows are
cut into batches.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.ids import canonical

BATCH_ROWS = 65536
"""Rows of a record batch."""

SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in {
            "clip_id": pa.string(),
            "source_id": pa.string(),
            "uri": pa.string(),
            "shard": pa.string(),
            "shard_key": pa.string(),
            "byte_offset": pa.int64(),
            "byte_size": pa.int64(),
            "num_frames": pa.int32(),
            "width": pa.int32(),
            "height": pa.int32(),
            "fps": pa.float64(),
            "bucket": pa.int16(),
            "weight": pa.float64(),
            "validation": pa.bool_(),
            "caption": pa.string(),
        }.items()
    ]
)
"""``uri`` is the source's; ``byte_offset`` and ``byte_size`` (bytes) place the .mp4 member's data in the tar; sizes are of the
clip as exported; ``weight`` is visits per epoch, above 0."""


class TableHash:
    """SHA-256 over the values of the columns of :data:`SCHEMA`, fed batch by batch."""

    def __init__(self) -> None:
        self._columns = {name: (hashlib.sha256(), hashlib.sha256()) for name in SCHEMA.names}
        """Column → over its values; for texts over their lengths and their letters."""

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch; the order of rows counts, the lengths of batches do not."""
        for name, (first, second) in self._columns.items():
            column = batch.column(name)
            if pa.types.is_string(column.type):
                _, where, letters = column.buffers()
                ends = memoryview(where).cast("i")[column.offset : column.offset + len(column) + 1]
                first.update(pa.compute.binary_length(column).to_numpy().tobytes())
                if letters is not None and len(column):
                    second.update(memoryview(letters)[ends[0] : ends[-1]])
            elif pa.types.is_boolean(column.type):
                first.update(column.to_numpy(zero_copy_only=False).tobytes())
            else:
                first.update(memoryview(column.to_numpy()))

    def digest(self, order: Any) -> str:
        """The hash of a plan: of the rows, and of ``order`` (JSON-like), the settings on which their order depends."""
        whole = hashlib.sha256(canonical(order).encode())
        for name, hashes in self._columns.items():
            whole.update(name.encode())
            for part in hashes:
                whole.update(part.digest())
        return whole.hexdigest()


def hash_table(table: pa.Table, order: Any) -> str:
    """The hash of a whole plan; reads it once."""
    found = TableHash()
    for batch in table.to_batches():
        found.update(batch)
    return found.digest(order)


def write_file(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write record batches of :data:`SCHEMA`, durably."""
    with path.open("wb") as handle:
        with pa.ipc.new_file(handle, SCHEMA) as writer:
            for batch in batches:
                writer.write_batch(batch)
        handle.flush()
        os.fsync(handle.fileno())


def map_file(path: Path) -> pa.Table:
    """The table in a file; its pages come into memory when they are looked at.

    Raises:
        pyarrow.ArrowInvalid: it is no Arrow file, or was cut short.
        OSError: it cannot be read.
    """
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
