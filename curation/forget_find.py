"""Which sources a person means to forget: by address, path, id or pattern, and whatever has the same content. Room: curation."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from curation.child import sha256_of
from curation.corpus import Corpus
from curation.forgotten import Tombstone, listing_hash, name_hash, place_hash
from curation.listing import path_to_uri, uri_to_path
from curation.views import NONE, connect
from schemas.errors import UsageError


@dataclass(frozen=True, order=True)
class Item:
    """A source in one part. A source that was tried again, or whose file changed, is several."""

    part: int
    uri: str
    rel_path: str
    size: int | None
    """Bytes when listed."""
    mtime_ns: int | None
    source_id: str | None = None
    """None: not scanned yet."""
    sha256: str | None = None
    segment_ids: tuple[str, ...] = ()

    def stone(self, when: str) -> Tombstone:
        return Tombstone(
            self.source_id,
            self.sha256,
            place_hash(self.uri),
            name_hash(self.rel_path),
            listing_hash(self.uri, self.size, self.mtime_ns),
            when,
        )

    def meant_by(self, text: str) -> bool:
        """Whether a text names it, exactly or as a pattern; for what is in no table any more."""
        spelled = _spellings(text)
        if {self.uri, self.rel_path, self.source_id} & set(spelled):
            return True
        return any(fnmatch.fnmatchcase(name, pattern) for name in (self.uri, self.rel_path) for pattern in spelled)


@dataclass(frozen=True)
class Found:
    """What was found for a request."""

    items: Sequence[Item]
    same_content: Sequence[str]
    """Paths that were not named, but hold the same bytes as one that was: they go too."""
    unknown: Sequence[str]
    """What was asked for and is not in the corpus."""


def find(corpus: Corpus, wanted: Iterable[str]) -> Found:
    """The sources that are meant, with those of equal content under other names.

    Equal content goes with them because it is refused from then on, under whatever name it comes.

    Args:
        wanted: addresses, paths, relative paths, source ids, or patterns with ``*`` and ``?`` over paths.
    """
    with connect(corpus, NONE) as db:
        picked: set[tuple[int, str]] = set()
        unknown = []
        for text in dict.fromkeys(wanted):
            found = _places(db, text)
            picked |= found
            if not found:
                unknown.append(text)
        items = _items(db, picked)
        more = _equal_content(db, [i.sha256 for i in items if i.sha256 is not None]) - picked
        others = _items(db, more)
    return Found(sorted([*items, *others]), sorted({i.rel_path for i in others}), unknown)


def _places(db: duckdb.DuckDBPyConnection, text: str) -> set[tuple[int, str]]:
    """(part, uri) of the sources that one text names: exactly, else as a pattern."""
    path = text.removeprefix("file://")
    exact = _ask(
        db,
        "SELECT part, uri FROM _plan WHERE list_contains($names, uri) OR rel_path = $text "
        "UNION SELECT part, uri FROM _sources WHERE source_id = $text",
        names=_spellings(text),
        text=path,
    )
    if exact or not glob.has_magic(path):
        return exact
    return _ask(
        db,
        "SELECT part, uri FROM _plan WHERE rel_path GLOB $text OR uri GLOB $text OR uri GLOB $whole",
        text=path,
        whole=os.path.abspath(path),
    )


def _equal_content(db: duckdb.DuckDBPyConnection, contents: list[str]) -> set[tuple[int, str]]:
    """All files without a byte are equal: that is no sign of one source."""
    return _ask(
        db, "SELECT part, uri FROM _sources WHERE bytes > 0 AND list_contains($contents, sha256)", contents=contents
    )


def _items(db: duckdb.DuckDBPyConnection, places: set[tuple[int, str]]) -> list[Item]:
    parts, uris = [p for p, _ in places], [u for _, u in places]
    rows = db.execute(
        "SELECT p.part, p.uri, any_value(p.rel_path), any_value(p.bytes), any_value(p.mtime_ns), any_value(s.source_id), "
        "any_value(s.sha256), list(p.segment_id ORDER BY p.segment) FROM _plan p "
        "JOIN (SELECT unnest($parts) AS part, unnest($uris) AS uri) w ON w.part = p.part AND w.uri = p.uri "
        "LEFT JOIN _sources s ON s.part = p.part AND s.uri = p.uri GROUP BY p.part, p.uri",
        {"parts": parts, "uris": uris},
    ).fetchall()
    return [
        Item(part, uri, rel_path, size, mtime_ns, source_id, sha256, tuple(segments))
        for part, uri, rel_path, size, mtime_ns, source_id, sha256, segments in rows
    ]


def _ask(db: duckdb.DuckDBPyConnection, sql: str, **values: object) -> set[tuple[int, str]]:
    return {(int(part), str(uri)) for part, uri in db.execute(sql, values).fetchall()}


def _spellings(text: str) -> list[str]:
    """A path as it may stand in a table: as given, or whole; without what no table can hold."""
    path = text.removeprefix("file://")
    names = dict.fromkeys([text, path, os.path.abspath(path), path_to_uri(Path(os.path.abspath(path)))])
    return [n for n in names if n.encode("utf-8", "replace").decode() == n]


def not_found(corpus: Corpus, unknown: Sequence[str]) -> UsageError:
    """The error that says what was not found, and what may have been meant."""
    text = unknown[0]
    with connect(corpus, NONE) as db:
        inside = db.execute(
            "SELECT count(DISTINCT uri) FROM plan WHERE starts_with(rel_path, $inside) OR starts_with(uri, $inside)",
            {"inside": text.rstrip("/") + "/"},
        ).fetchall()[0][0]
        near = db.execute(
            "SELECT rel_path FROM (SELECT DISTINCT rel_path, greatest(jaro_winkler_similarity(lower(rel_path), $text), "
            "jaro_winkler_similarity(lower(parse_filename(rel_path)), $name)) AS likeness FROM plan) "
            "WHERE likeness > 0.8 ORDER BY likeness DESC, rel_path LIMIT 3",
            {"text": text.lower(), "name": text.lower().rpartition("/")[2]},
        ).fetchall()
    more = f" (and {len(unknown) - 1:,} more that were named)" if len(unknown) > 1 else ""
    if inside:
        fix = f"It is a folder with {inside:,} of them: --source '{text.rstrip('/')}/*'."
    elif near:
        fix = f"Did you mean {' or '.join(f'`{row[0]}`' for row in near)}?"
    else:
        fix = "Give a source's path, its path relative to the input, its id, or a pattern such as 'folder/*'."
    return UsageError(f"There is no source `{text}` in `{corpus.store.uri}`{more}.", fix=fix)


def with_content(items: Iterable[Item]) -> list[Item]:
    """The same, with the content's hash also of those that were not read yet, where they can be read now."""
    return [replace(i, sha256=_sha256(i.uri)) if i.sha256 is None else i for i in items]


def _sha256(uri: str) -> str | None:
    try:
        return sha256_of(uri_to_path(uri))
    except OSError:
        return None
