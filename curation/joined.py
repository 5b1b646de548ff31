"""One wide row per clip: the columns that rules, queries and the report speak of.

Clip columns are bare; columns of other tables carry a prefix (``source_``, ``text_``, ``caption_``, ``selection_``, ``shard_``) unless
their name begins with it already. `stiv query` shows the same names as the view ``clips_all``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from curation.corpus import MEASURED_TABLES, Corpus
from schemas.tables import CAPTIONS, CHECKS, CLIPS, DECISIONS, SELECTIONS, SHARDS, SOURCES, TABLES, Table

MEASURED = tuple(TABLES[name] for name in MEASURED_TABLES)

PREFIX = {
    "sources": "source",
    "text": "text",
    "captions": "caption",
    "selections": "selection",
    "shards": "shard",
    "decisions": "",
}


def joined_name(table: str, column: str) -> str:
    """Name of a table's column in the wide row."""
    prefix = PREFIX.get(table, "")
    return column if not prefix or column.startswith(prefix) else f"{prefix}_{column}"


VECTORS = ("embedding", "still_vectors")
"""Columns that no rule can use and that are large: never part of the wide row."""


def joined_columns(table: Table, keys: Iterable[str] = ("clip_id", "source_id", *VECTORS)) -> list[tuple[str, str]]:
    """(column, name in the wide row) of a joined table, without the keys it is joined by. `clips` and joins keep their order."""
    return [(c, joined_name(table.name, c)) for c in table.names if c not in set(keys)]


CLIPS_ALL: list[tuple[str, str, str]] = [("clips", c, c) for c in CLIPS.names] + [
    (t.name, c, n)
    for t in (SOURCES, *MEASURED, SELECTIONS, CAPTIONS, CHECKS, DECISIONS, SHARDS)
    for c, n in joined_columns(t)
]
"""(table, column, name in the wide row) for every column of `clips_all`."""


def scan_schema() -> pa.Schema:
    """Columns that are known of every clip after the scan: clips and their sources."""
    return pa.schema([*CLIPS.arrow, *_fields(SOURCES)])


def measured_schema(tables: Iterable[str]) -> pa.Schema:
    """Columns that are known when the scan and these tables are there."""
    wanted = set(tables)
    return pa.schema([*scan_schema(), *(field for t in MEASURED if t.name in wanted for field in _fields(t))])


def select_schema() -> pa.Schema:
    """Columns that rules of `select` may use: those of the scan, the features, and the duplicates."""
    return measured_schema(MEASURED_TABLES)


def caption_schema() -> pa.Schema:
    """Columns that rules of `judge` may use: those of `select`, the captions, and what was found out about them."""
    return pa.schema([*select_schema(), *_fields(CAPTIONS), *_fields(CHECKS)])


def wide_schema() -> pa.Schema:
    """Columns of `clips_all`: what `--select` may use."""
    return pa.schema([TABLES[table].arrow.field(column).with_name(name) for table, column, name in CLIPS_ALL])


def read_scanned(corpus: Corpus, part: int) -> pa.Table:
    """A part's clips with their sources' columns, in the order of the clips."""
    clips = corpus.read("clips", part)
    sources = corpus.read("sources", part)
    place = {s: i for i, s in enumerate(sources.column("source_id").to_pylist())}
    rows = pa.array([place[s] for s in clips.column("source_id").to_pylist()], pa.int64())
    return _beside(clips, sources.take(rows), joined_columns(SOURCES))


def read_measured(corpus: Corpus, part: int, folders: Mapping[str, str]) -> pa.Table:
    """A part's clips with the columns of their sources and of all that was measured of them, in the order of the clips.

    Args:
        folders: table → folder of the variant to read. The columns of the others, and of clips without a row, are NULL.
    """
    wide = read_scanned(corpus, part)
    for table in MEASURED:
        folder = folders.get(table.name)
        columns = ["clip_id", *(c for c, _ in joined_columns(table))]
        wide = _add(wide, None if folder is None else corpus.read(table.name, part, folder, columns), table)
    return wide


def add_captions(wide: pa.Table, captions: pa.Table) -> pa.Table:
    """The rows of ``wide`` that have a caption row, with the captions' columns, in the order of ``wide``."""
    place = {c: i for i, c in enumerate(captions.column("clip_id").to_pylist())}
    ids = wide.column("clip_id").to_pylist()
    kept = wide.take(pa.array([i for i, c in enumerate(ids) if c in place], pa.int64()))
    rows = pa.array([place[c] for c in ids if c in place], pa.int64())
    return _beside(kept, captions.take(rows), joined_columns(CAPTIONS))


def add_checks(wide: pa.Table, checks: pa.Table | None) -> pa.Table:
    """The rows of ``wide`` with what was found out about their captions; NULL where nothing was."""
    return _add(wide, checks, CHECKS)


def _add(wide: pa.Table, found: pa.Table | None, table: Table) -> pa.Table:
    """``wide`` with a table's columns beside it, NULL where it has no row."""
    found = table.arrow.empty_table() if found is None else found
    place = {c: i for i, c in enumerate(found.column("clip_id").to_pylist())}
    rows = pa.array([place.get(c) for c in wide.column("clip_id").to_pylist()], pa.int64())
    return _beside(wide, found.take(rows), joined_columns(table))


def _beside(left: pa.Table, right: pa.Table, columns: list[tuple[str, str]]) -> pa.Table:
    for column, name in columns:
        left = left.append_column(_field(right.schema.field(column), name), right.column(column))
    return left


def _fields(table: Table) -> list[pa.Field]:
    return [_field(table.arrow.field(column), name) for column, name in joined_columns(table)]


def _field(field: pa.Field, name: str) -> pa.Field:
    """A column of a joined table: NULL where there is nothing to join."""
    return field.with_name(name).with_nullable(True)
