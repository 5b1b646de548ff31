"""What a corpus was told to forget: hashes only, enough to know the same content when it is given again. Room: curation.

`forgotten.json` is the list. `forget.json` is there only while a forgetting is under way; see :mod:`curation.forgetting`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

from curation.storage import Store
from schemas.errors import StorageError, UsageError
from schemas.ids import digest

LIST = "forgotten.json"
JOURNAL = "forget.json"

FORMAT = 1

EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Tombstone:
    """One forgotten source."""

    source_id: str | None
    """None where it was never read."""
    sha256: str | None
    """Of its content; None where it could not be read."""
    place: str
    """Hash of where it was."""
    name: str
    """Hash of its path relative to the input root."""
    listing: str
    """Hash of where it was, its size and its time of modification: tells an untouched file without reading it."""
    when: str
    """UTC, as ISO 8601."""


def place_hash(uri: str) -> str:
    return digest("forgotten place", uri)


def name_hash(rel_path: str) -> str:
    return digest("forgotten name", rel_path)


def listing_hash(uri: str, size: int | None, mtime_ns: int | None) -> str:
    return digest("forgotten listing", uri, -1 if size is None else size, -1 if mtime_ns is None else mtime_ns)


@dataclass(frozen=True)
class Forgotten:
    """All that a corpus was told to forget."""

    stones: Sequence[Tombstone]

    @staticmethod
    def read(store: Store) -> Forgotten:
        """
        Raises:
            StorageError: the list is damaged. To go on without it could bring a forgotten source back.
        """
        if not store.exists(LIST):
            return Forgotten(())
        try:
            data = json.loads(store.read_bytes(LIST))
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']}")
            return Forgotten(tuple(Tombstone(**stone) for stone in data["sources"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"`{store.uri}/{LIST}` cannot be read ({error}).",
                fix="It lists what this corpus was told to forget: restore it from a copy, or use the version of stiv that wrote it.",
            ) from None

    def adding(self, stones: Iterable[Tombstone]) -> Forgotten:
        """With more, each once; what stands already keeps its date."""
        found = {(s.source_id, s.sha256, s.place, s.listing): s for s in stones}
        found |= {(s.source_id, s.sha256, s.place, s.listing): s for s in self.stones}
        return Forgotten(sorted(found.values(), key=lambda s: (s.when, s.place, s.listing, s.source_id or "")))

    def write(self, store: Store) -> None:
        data = {"format": FORMAT, "sources": [asdict(stone) for stone in self.stones]}
        store.commit_bytes(LIST, (json.dumps(data, indent=2, sort_keys=True) + "\n").encode())

    @cached_property
    def contents(self) -> frozenset[str]:
        """SHA-256 of all forgotten contents. That of no content at all stands for nobody's video."""
        return frozenset(stone.sha256 for stone in self.stones if stone.sha256 not in (None, EMPTY))

    @cached_property
    def places(self) -> frozenset[str]:
        """Hashes of where forgotten sources were; see :func:`place_hash`."""
        return frozenset(stone.place for stone in self.stones)

    @cached_property
    def listings(self) -> frozenset[str]:
        """Hashes of forgotten files as they were listed; see :func:`listing_hash`."""
        return frozenset(stone.listing for stone in self.stones)

    def of(self, what: str) -> list[Tombstone]:
        """Those of a source by its id, by where it was, or by its relative path."""
        names = {what, place_hash(what), name_hash(what)}
        return [stone for stone in self.stones if names & {stone.source_id, stone.place, stone.name}]


def refuse_unfinished(store: Store) -> None:
    """
    Raises:
        UsageError: a forgetting was begun and not finished: tables may still name what is to be forgotten.
    """
    if store.exists(JOURNAL):
        raise UsageError(
            f"In `{store.uri}` a `stiv forget` was begun and not finished.",
            fix=f"Finish it first: stiv forget {store.uri}",
        )
