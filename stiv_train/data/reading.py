"""Bytes of clips out of plain WebDataset tars, by the byte ranges that the index gives.

In: a shards variant of a corpus, local or on object storage; byte ranges, as the data plan has them. Out: the bytes of .mp4 members.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

import pyarrow as pa

from curation.shard_plan import index_path, tar_path
from curation.storage import Store
from curation.variants import Variant
from schemas.errors import StorageError

MAX_OPEN = 128
"""Tars that a process keeps open: as many as a window of the order reads from. Opening one on object storage is a round trip."""


class ShardReader:
    """Reads byte ranges of a variant's tars; keeps the tars it used last open. Picklable: another process opens its own."""

    def __init__(self, store: Store, variant: Variant) -> None:
        self.store, self._variant = store, variant
        self._open: OrderedDict[str, int | pa.NativeFile] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "_variant": self._variant, "_open": OrderedDict()}

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """The bytes of one member.

        Raises:
            StorageError: the tar is not there, is shorter than its index says, or cannot be read.
        """
        path = tar_path(self._variant, shard)
        try:
            tar = self._file(path)
            data = os.pread(tar, size, offset) if isinstance(tar, int) else bytes(tar.read_at(size, offset))
        except FileNotFoundError:
            raise StorageError(f"The shard `{self.store.uri}/{path}` is not there.", fix=self._fix(path)) from None
        except OSError as error:
            raise StorageError(
                f"Reading the shard `{self.store.uri}/{path}` failed: {(error.strerror or str(error)).rstrip('.')}.",
                fix="Check the storage, then go on with --resume.",
            ) from error
        if len(data) != size:
            raise StorageError(
                f"The shard `{self.store.uri}/{path}` is shorter than its index says: it was cut short after the export.",
                fix=self._fix(path),
            )
        return data

    def sha256(self, shard: str, clip_id: str) -> str | None:
        """Checksum of a clip's member as it was exported; None where the index does not know."""
        try:
            rows = self.store.read_table(index_path(self._variant, shard), ["sha256"], [("clip_id", "=", clip_id)])
        except (StorageError, KeyError):
            return None
        return str(rows["sha256"][0]) if rows.num_rows else None

    def close(self) -> None:
        """Close all tars. Reading opens them again."""
        while self._open:
            _close(self._open.popitem()[1])

    def _file(self, path: str) -> int | pa.NativeFile:
        if path not in self._open:
            if self.store.local is not None:
                self._open[path] = os.open(self.store.local / path, os.O_RDONLY | os.O_CLOEXEC)
            else:
                self._open[path] = self.store.fs.open_input_file(self.store.full(path))
            if len(self._open) > MAX_OPEN:
                _close(self._open.popitem(last=False)[1])
        self._open.move_to_end(path)
        return self._open[path]

    def _fix(self, path: str) -> str:
        index = path.removesuffix(".tar") + ".parquet"
        return (
            f"Restore it from a copy; or delete its index `{index}` and run `stiv export {self.store.uri} --name "
            f"{self._variant.name}`, which makes the same bytes again. Then go on with --resume."
        )


def _close(tar: int | pa.NativeFile) -> None:
    if isinstance(tar, int):
        os.close(tar)
    else:
        tar.close()
