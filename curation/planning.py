"""The plan: the listing, once, as parts. A part is the unit of work, of commit and of everything that follows.

All segments of a source lie in one part, one after the other: so frames can be counted on from one to the next and a source has one
row, without waiting for another part. A part with one very long file may therefore take longer than ``plan.part_minutes``; its segments
are still separate pieces of work for all processors of a machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curation.child import sha256_of
from curation.corpus import Corpus
from curation.forgotten import Forgotten, listing_hash, place_hash, refuse_unfinished
from curation.listing import Entry, uri_to_path
from curation.segments import Piece, divide
from schemas.errors import ERROR_CODES, ErrorCode
from schemas.ids import digest, segment_id
from schemas.recipe import Plan

BYTES_PER_CPU_SECOND = 2_000_000
"""Size of video scanned per CPU-second, for cutting the listing into parts. Real files lie between 0.6 and 6 MB; only the
balance of parts depends on it."""

SECONDS_PER_SOURCE = 0.3
"""Start-up of a source: open, probe, first frame."""

UNKNOWN_SIZE = 20_000_000
"""Taken for a source whose size the listing does not tell."""


Divider = Callable[[Path, int | None, Plan], list[Piece]]
"""Says in which pieces a file of some size is to be scanned; see :func:`curation.segments.divide`."""


@dataclass(frozen=True)
class Planned:
    """What planning did: parts made now, and how many listed sources were new, known or changed."""

    parts: list[int]
    new: int
    known: int
    changed: int
    forgotten: int = 0
    """Sources that this corpus was told to forget; they stay out."""


def group(entries: Sequence[Entry], settings: Plan) -> Iterator[list[Entry]]:
    """Split a listing into parts: a fixed function of the listing and the recipe, never of the machine.

    Entries are ordered by a hash of their relative path, so that neighbours (one camera, one uploader) mix. A long file counts with all
    its segments.
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


def extend_plan(
    corpus: Corpus, entries: Iterable[Entry], limit: int | None = None, divider: Divider = divide
) -> Planned:
    """Append parts for sources that the plan does not hold yet. Old parts stay as they are.

    A known file with another size or modification time counts as a new source only if its content differs. A file that was
    forgotten is not planned again, whether or not it was touched since; the scan refuses its content under other names.

    Args:
        divider: looks into large files and says in which pieces they are to be scanned.

    Raises:
        UsageError: a forgetting was begun and not finished.
    """
    refuse_unfinished(corpus.store)
    forgotten = Forgotten.read(corpus.store)
    known = {row["uri"]: row for row in _planned_rows(corpus)}
    taken = {row["rel_path"] for row in known.values()}
    hashes: dict[str, set[str]] | None = None
    fresh: list[Entry] = []
    seen = changed = left_out = 0
    for entry in entries:
        if limit is not None and seen + len(fresh) >= limit:
            break
        old = known.get(entry.uri)
        if old is None and is_forgotten(entry, forgotten):
            left_out += 1
            continue
        if old is not None:
            same = old["bytes"] == entry.size and old["mtime_ns"] == entry.mtime_ns
            if not same and entry.size is not None:
                hashes = _scanned_hashes(corpus) if hashes is None else hashes
                # Not scanned yet: the scan will read what is there now, no second row is needed.
                same = entry.uri not in hashes or _content_of(entry.uri) in hashes[entry.uri]
            if same or entry.size is None:
                seen += 1
                continue
            changed += 1
        elif entry.rel_path in taken:
            entry = _renamed(entry, taken)
        taken.add(entry.rel_path)
        fresh.append(entry)
    made = _append(corpus, fresh, divider)
    return Planned(made, new=len(fresh) - changed, known=seen, changed=changed, forgotten=left_out)


def is_forgotten(entry: Entry, forgotten: Forgotten) -> bool:
    """Whether this is a forgotten file in its old place. Only there is it worth reading one that looks different now."""
    if place_hash(entry.uri) not in forgotten.places:
        return False
    untouched = listing_hash(entry.uri, entry.size, entry.mtime_ns) in forgotten.listings
    return untouched or _content_of(entry.uri) in forgotten.contents


def _append(corpus: Corpus, entries: Sequence[Entry], divider: Divider) -> list[int]:
    """Write new parts and commit them all at once."""
    first = len(corpus.parts())
    made = []
    for number, members in enumerate(group(entries, corpus.recipe.plan), first):
        corpus.write("plan", number, [row for entry in members for row in _rows(entry, corpus.recipe.plan, divider)])
        made.append(number)
    if made:
        # One small file commits all new parts at once: a kill between two of them would otherwise leave another grouping.
        corpus.store.commit_bytes("plan/parts.json", json.dumps({"parts": first + len(made)}).encode() + b"\n")
    return made


def _renamed(entry: Entry, taken: set[str]) -> Entry:
    """Another file already has this relative path: use the whole path."""
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


def _scanned_hashes(corpus: Corpus) -> dict[str, set[str]]:
    """For each scanned uri, all contents it ever had; none where it could not be read."""
    found: dict[str, set[str]] = {}
    for part in sorted(corpus.scanned()):
        for row in corpus.read("sources", part, columns=["uri", "sha256"]).to_pylist():
            found.setdefault(row["uri"], set()).update([row["sha256"]] if row["sha256"] is not None else [])
    return found


def _content_of(uri: str) -> str | None:
    try:
        return sha256_of(uri_to_path(uri))
    except OSError:
        return None  # cannot be read: a new row, and the scan says why


def retry_failed(corpus: Corpus, divider: Divider = divide) -> Planned:
    """Append parts with the sources that failed for a reason that may have passed. Their newest row will count.

    Raises:
        UsageError: a forgetting was begun and not finished.
    """
    refuse_unfinished(corpus.store)
    planned: dict[str, dict[str, Any]] = {}
    latest: dict[str, dict[str, Any]] = {}
    scanned = corpus.scanned()
    for part in corpus.parts():
        rows = corpus.read("plan", part).to_pylist()
        planned.update({row["uri"]: row for row in rows})
        if part in scanned:
            done = corpus.read("sources", part, columns=["uri", "status", "error_code"]).to_pylist()
            latest.update({row["uri"]: row for row in done})
        else:
            latest.update({row["uri"]: {"status": "waiting", "error_code": None} for row in rows})
    again = [u for u, r in latest.items() if r["status"] == "error" and ERROR_CODES[ErrorCode(r["error_code"])][0]]
    entries = [_entry(planned[uri]) for uri in again]
    made = _append(corpus, entries, divider)
    return Planned(made, new=len(entries), known=len(latest) - len(entries), changed=0)


def _entry(row: dict[str, Any]) -> Entry:
    """A plan row as it would be listed now."""
    try:
        info = uri_to_path(row["uri"]).stat()
        size, mtime = info.st_size, info.st_mtime_ns
    except OSError:
        size, mtime = None, None
    tags = tuple(row["tags"]) if row["tags"] is not None else None
    return Entry(
        row["uri"], row["rel_path"], size, mtime, row["caption"], row["license"], tags, dict(row["extra"] or ())
    )


def _rows(entry: Entry, settings: Plan, divider: Divider) -> list[dict[str, Any]]:
    """One row for each segment of a source."""
    pieces = divider(uri_to_path(entry.uri), entry.size, settings)
    return [
        {
            "segment_id": segment_id(entry.rel_path, entry.size, entry.mtime_ns, number, len(pieces)),
            "uri": entry.uri,
            "rel_path": entry.rel_path,
            "bytes": entry.size,
            "mtime_ns": entry.mtime_ns,
            "segment": number,
            "segments": len(pieces),
            "from_s": piece.from_s,
            "to_s": piece.to_s,
            "caption": entry.caption,
            "license": entry.license,
            "tags": list(entry.tags) if entry.tags is not None else None,
            "extra": sorted(entry.extra.items()) if entry.extra else None,
        }
        for number, piece in enumerate(pieces)
    ]
