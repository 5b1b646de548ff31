"""Which caption's condition lies where: sorted keys of fixed width in a file that is mapped into memory. Room: stiv_train.

FOLDER/index-000012.npy    (3, N) uint64: first and second half of each key, ascending by the first, and its place; 24 bytes a caption.
                           Holds the captions of the first 12 chunks. A newer file takes the place of the older.

A key is the first 128 bits of a SHA-256. A place is `chunk << 32 | row`.

Legend: N captions of the index, B captions looked up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from curation.storage import Store, storage_errors
from schemas.errors import StorageError

_PREFIX, _SUFFIX = "index-", ".npy"
_BLOCK = 1 << 20
"""Captions of the old file that are moved to the new one at once."""


class Index:
    """Keys and places, mapped; looking up touches a few pages."""

    def __init__(self, table: np.ndarray, chunks: int) -> None:
        """``table`` (3, N) uint64 as in the file; ``chunks``: how many chunks it covers."""
        self.first, self.second, self.place = table
        self.chunks = chunks

    def __len__(self) -> int:
        return len(self.place)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """(B, 2) uint64 keys → (B,) int64 places, -1 for those that are not there."""
        found = np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self.first, keys[:, 0])
        left = np.flatnonzero(at < len(self))
        while len(left):
            here = at[left]
            near = self.first[here] == keys[left, 0]
            hit = near & (self.second[here] == keys[left, 1])
            found[left[hit]] = self.place[here[hit]].astype(np.int64)
            # Of a billion captions a few share their first half: the next one may be it.
            left = left[near & ~hit]
            at[left] += 1
            left = left[at[left] < len(self)]
        return found


def open_index(store: Store) -> Index:
    """The newest index of a folder; an empty one where there is none.

    Raises:
        StorageError: it is damaged.
    """
    there = _chunks_covered(store)
    if not there:
        return Index(np.empty((3, 0), np.uint64), 0)
    name = _name(there[-1])
    with storage_errors(f"Reading `{store.uri}/{name}`"):
        try:
            table = np.load(f"{store.local}/{name}", mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise StorageError(f"`{store.uri}/{name}` is damaged ({error}).", fix=_AGAIN) from None
    if table.dtype != np.uint64 or table.ndim != 2 or len(table) != 3:
        raise StorageError(f"`{store.uri}/{name}` is damaged (it is no table of keys).", fix=_AGAIN)
    return Index(table, there[-1])


_AGAIN = "Delete it and run the same `stiv embed-text` again: it is made anew from the chunks."


def add_to_index(store: Store, old: Index, added: Mapping[bytes, int], chunks: int) -> Index:
    """Write the index of the first ``chunks`` chunks: what is in ``old``, and keys (16 bytes) → places that are not."""
    new = np.empty((3, len(added)), np.uint64)
    new[:2] = np.frombuffer(b"".join(added), "<u8").reshape(-1, 2).T
    new[2] = np.fromiter(added.values(), np.uint64, len(added))
    new = new[:, np.lexsort((new[1], new[0]))]
    before = np.searchsorted(old.first, new[0])  # of how many old ones each goes in front
    name = _name(chunks)
    aside = store.scratch("commit") / f"{os.getpid()}-{name}"
    with storage_errors(f"Writing `{store.uri}/{name}`"):
        try:
            out = np.lib.format.open_memmap(aside, "w+", np.uint64, (3, len(old) + len(added)))
            out[:, before + np.arange(len(added))] = new
            for start in range(0, len(old), _BLOCK):
                some = np.arange(start, min(start + _BLOCK, len(old)))
                to = some + np.searchsorted(before, some, side="right")
                for row, values in enumerate((old.first, old.second, old.place)):
                    out[row, to] = values[some[0] : some[-1] + 1]
            out.flush()
            del out
            store.commit_file(name, aside)
        finally:
            aside.unlink(missing_ok=True)
        for older in _chunks_covered(store):
            if older < chunks:
                store.remove(_name(older))
    return open_index(store)


def _name(chunks: int) -> str:
    return f"{_PREFIX}{chunks:06d}{_SUFFIX}"


def _chunks_covered(store: Store) -> list[int]:
    """How many chunks each index there covers, ascending."""
    middles = (n.removeprefix(_PREFIX).removesuffix(_SUFFIX) for n in store.names("") if n.startswith(_PREFIX))
    return sorted(int(middle) for middle in middles if middle.isdigit())
