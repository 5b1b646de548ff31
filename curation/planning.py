"""The plan: the listing, once, as parts. A part is the unit of work, of commit and of everything that follows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from curation.child import sha256_of
from curation.corpus import Corpus
from curation.listing import Entry, uri_to_path
from schemas.ids import digest, segment_id
from schemas.recipe import Plan

BYTES_PER_CPU_SECOND = 2_000_000
"""Size of video scanned per CPU-second, for cutting the listing into parts. Real files lie between 0.6 and 6 MB; only the
balance of parts depends on it."""

SECONDS_PER_SOURCE = 0.3
"""Start-up of a source: open, probe, first frame."""

UNKNOWN_SIZE = 20_000_000
"""Taken for a source whose size the listing does not tell."""


@dataclass(frozen=True)
class Planned:
    """What planning did: parts made now, and how many listed sources were new, known or changed."""

    parts: list[int]
    new: int
    known: int
    changed: int


def group(entries: Sequence[Entry], settings: Plan) -> Iterator[list[Entry]]:
    """Split a listing into parts: a fixed function of the listing and the recipe, never of the machine.

    Entries are ordered by a hash of their relative path, so that neighbours (one camera, one uploader) mix.
    """
    budget = settings.part_minutes * 60
    part: list[Entry] = []
    cost = 0.0
    for entry in sorted(entries, key=lambda e: digest("order", e.rel_path)):
        own = SECONDS_PER_SOURCE + (UNKNOWN_SIZE if entry.size is None else entry.size) / BYTES_PER_CPU_SECOND
        if part and (cost + own > budget or len(part) >= settings.part_sources):
            yield part
            part, cost = [], 0.0
        part.append(entry)
        cost += own
    if part:
        yield part


def extend_plan(corpus: Corpus, entries: Iterable[Entry], limit: int | None = None) -> Planned:
    """Append parts for sources that the plan does not hold yet. Old parts stay as they are.

    A known file with another size or modification time counts as a new source only if its content differs.
    """
    known = {row["uri"]: row for row in _planned_rows(corpus)}
    taken = {row["rel_path"] for row in known.values()}
    hashes: dict[str, str] | None = None
    fresh: list[Entry] = []
    seen = changed = 0
    for entry in entries:
        if limit is not None and seen + len(fresh) >= limit:
            break
        old = known.get(entry.uri)
        if old is not None:
            same = old["bytes"] == entry.size and old["mtime_ns"] == entry.mtime_ns
            if not same and entry.size is not None:
                hashes = _scanned_hashes(corpus) if hashes is None else hashes
                # Not scanned yet: the scan will read what is there now, no second row is needed.
                same = entry.uri not in hashes or hashes[entry.uri] == sha256_of(uri_to_path(entry.uri))
            if same or entry.size is None:
                seen += 1
                continue
            changed += 1
        elif entry.rel_path in taken:
            entry = _renamed(entry, taken)
        taken.add(entry.rel_path)
        fresh.append(entry)
    first = len(corpus.parts())
    made = []
    for number, members in enumerate(group(fresh, corpus.recipe.plan), first):
        corpus.write("plan", number, [_row(entry) for entry in members])
        made.append(number)
    if made:
        # One small file commits all new parts at once: a kill between two of them would otherwise leave another grouping.
        corpus.store.commit_bytes("plan/parts.json", json.dumps({"parts": first + len(made)}).encode() + b"\n")
    return Planned(made, new=len(fresh) - changed, known=seen, changed=changed)


def _renamed(entry: Entry, taken: set[str]) -> Entry:
    """Another file already has this relative path: use the whole path."""
    from dataclasses import replace

    path = str(uri_to_path(entry.uri)).lstrip("/")
    name = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    number = 1
    while name in taken:
        number += 1
        name = f"{path}#{number}"
    return replace(entry, rel_path=name)


def _planned_rows(corpus: Corpus) -> Iterator[dict[str, Any]]:
    for part in corpus.parts():
        yield from corpus.read("plan", part, columns=["uri", "rel_path", "bytes", "mtime_ns"]).to_pylist()


def _scanned_hashes(corpus: Corpus) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in sorted(corpus.scanned()):
        for row in corpus.read("sources", part, columns=["uri", "sha256"]).to_pylist():
            if row["sha256"] is not None:
                found[row["uri"]] = row["sha256"]
    return found


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "segment_id": segment_id(entry.rel_path, entry.size, entry.mtime_ns, 0, 1),
        "uri": entry.uri,
        "rel_path": entry.rel_path,
        "bytes": entry.size,
        "mtime_ns": entry.mtime_ns,
        "segment": 0,
        "segments": 1,
        "from_s": None,
        "to_s": None,
        "caption": entry.caption,
        "license": entry.license,
        "tags": list(entry.tags) if entry.tags is not None else None,
        "extra": sorted(entry.extra.items()) if entry.extra else None,
    }
