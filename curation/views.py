"""The tables of a corpus as SQL views, for queries and for the report.

Every view reads committed parts only, through pyarrow datasets rather than DuckDB's own parquet reader: so DuckDB's access to files
and networks can be switched off altogether (a user's SQL can neither change the corpus nor reach anything else), object stores need
no extension of DuckDB, and still only the columns and rows that a query asks for are read. Joins that outgrow memory spill to a
temporary folder.
"""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from curation import variants
from curation.corpus import VARIANT_TABLES, Corpus
from curation.joined import CLIPS_ALL
from schemas.errors import UsageError, VariantError
from schemas.tables import TABLES

NAMED = (*VARIANT_TABLES, "shards")
"""Tables that exist once per name, in the order in which they are made."""

VIEWS = (*TABLES, "clips_all")
"""Every view that :func:`connect` makes."""

PART = pa.field("part", pa.int32())

OF_SHARDS = ("shards", "shard_plan", "shard_failures")
"""Tables whose files lie in the folder of a shards variant and do not follow the parts."""

_SHARD_INDEX = re.compile(r"(\d+)\.parquet")

_SETTINGS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    # As where the rules run: x / 0 is NULL, not infinity.
    "ieee_floating_point_ops": "false",
    "error_on_division_by_zero": "false",
}


@dataclass(frozen=True)
class Chosen:
    """Which variant of each named table is looked at; None where the table has none yet."""

    names: dict[str, str | None]

    def __getitem__(self, table: str) -> str | None:
        return self.names.get("shards" if table in OF_SHARDS else table)


def choose(corpus: Corpus, use: Mapping[str, str] | None = None) -> Chosen:
    """Decide which variants to look at.

    A table named in ``use`` shows that variant. The others show what that variant was made from, so that one story is told;
    failing that `default`, or the only variant there is.

    Raises:
        UsageError: ``use`` names a table that has no variants, or a table has several and none is `default`.
        VariantError: ``use`` names a variant that does not exist.
    """
    wanted = dict(use or {})
    for table in wanted:
        if table not in NAMED:
            raise UsageError(f"`{table}` has no variants.", fix=f"--use takes {', '.join(f'{t}=NAME' for t in NAMED)}.")
    picked: dict[str, str | None] = {}
    implied: dict[str, str] = {}
    for table in reversed(NAMED):
        there = corpus.variants(table)
        if table in wanted:
            variant = variants.need(corpus, table, wanted[table])
        elif implied.get(table) in there:
            variant = variants.need(corpus, table, implied[table])
        elif not there:
            picked[table] = None
            continue
        elif "default" in there or len(there) == 1:
            picked[table] = "default" if "default" in there else there[0]
            continue
        else:
            raise VariantError(
                f"There are several `{table}` variants and none is named `default`: {', '.join(there)}.",
                fix=f"Say which with `--use {table}={there[0]}`.",
            )
        picked[table] = variant.name
        for key, given in variant.inputs.items():
            implied.setdefault(key, given["name"])
    return Chosen({table: picked[table] for table in NAMED})


NONE = Chosen(dict.fromkeys(NAMED))
"""No variant at all: for a look at what was scanned."""


def connect(
    corpus: Corpus, use: Mapping[str, str] | Chosen | None = None, parts: Collection[int] | None = None
) -> duckdb.DuckDBPyConnection:
    """An in-memory database with one view per table and ``clips_all``. It can read nothing else and change nothing.

    Args:
        parts: show clips and what hangs on them of these parts only (plan, sources and shards stay whole): quick where it is
            known in which parts a clip lies.

    Raises:
        UsageError: see :func:`choose`.
    """
    chosen = use if isinstance(use, Chosen) else choose(corpus, use)
    # Spilled data goes beside other temporary files, never into the corpus or the working folder; DuckDB makes the folder when it
    # needs it and removes it when the connection closes.
    spill = os.path.join(tempfile.gettempdir(), f"stiv-query-{uuid.uuid4().hex[:12]}")
    db = duckdb.connect(":memory:", config={**_SETTINGS, "temp_directory": spill})
    for table in TABLES:
        absent = chosen[table] is None and (table in NAMED or table in OF_SHARDS)
        only = None if table in ("plan", "sources") else parts
        db.register(
            f"_{table}", _dataset(corpus, table, {}) if absent else table_dataset(corpus, table, chosen[table], only)
        )
        db.execute(f"CREATE VIEW {table} AS {_view(table)}")
    db.execute(f"CREATE VIEW clips_all AS {_wide()}")
    db.execute("SET GLOBAL TimeZone = 'UTC'")
    db.execute("SET GLOBAL enable_external_access = false")
    db.execute("SET GLOBAL lock_configuration = true")
    return db


def table_dataset(
    corpus: Corpus, table: str, name: str | None = None, only: Collection[int] | None = None
) -> ds.Dataset:
    """The committed parts of a table (of its variant ``name``) as one dataset: the documented columns and ``part``.

    Nothing is read but listings. Files of shards do not follow the parts: there ``part`` is the plan's own column, or NULL.
    """
    if table in OF_SHARDS:
        return _dataset(corpus, table, dict.fromkeys(_shard_files(corpus, table, f"shards/{name}")))
    if table == "plan":
        return _dataset(corpus, table, {corpus.path(table, p): p for p in corpus.parts()})
    parts = corpus.done(table, name) if name is not None else corpus.scanned()
    return _dataset(corpus, table, {corpus.path(table, p, name): p for p in sorted(parts) if only is None or p in only})


def _shard_files(corpus: Corpus, table: str, folder: str) -> list[str]:
    names = corpus.store.names(folder)
    if table == "shard_plan":
        return [f"{folder}/plan.parquet"] if "plan.parquet" in names else []
    committed = [n for n in names if _SHARD_INDEX.fullmatch(n)]
    if table == "shard_failures":
        # Written before the index, so it counts only beside one.
        committed = [n for n in (c.replace(".parquet", ".failed.parquet") for c in committed) if n in set(names)]
    return [f"{folder}/{n}" for n in committed]


def _dataset(corpus: Corpus, table: str, files: dict[str, int | None]) -> ds.Dataset:
    schema = TABLES[table].arrow
    if PART.name not in schema.names:
        schema = schema.append(PART)
    form = ds.ParquetFileFormat()
    fragments = []
    for path, part in files.items():
        known = None if part is None else ds.field(PART.name) == pa.scalar(part, PART.type)
        fragments.append(
            form.make_fragment(corpus.store.full(path), filesystem=corpus.store.fs, partition_expression=known)
        )
    return ds.FileSystemDataset(fragments, schema, form, corpus.store.fs)


def _view(table: str) -> str:
    columns = ", ".join(TABLES[table].names)
    if table != "sources":
        return f"SELECT {columns} FROM _{table}"
    # The newest row of a source wins. A source that could not even be hashed got its id from its path alone, so a later row of the
    # same address replaces it too.
    return (
        f"SELECT {columns} FROM _sources QUALIFY row_number() OVER (PARTITION BY source_id ORDER BY part DESC) = 1 "
        "AND (sha256 IS NOT NULL OR part = max(part) OVER (PARTITION BY uri))"
    )


def _wide() -> str:
    """Everything joined, under the names that rules use. Joins only ever add columns: one row per clip.

    A part of one table joins only with the same part of another; shards hold each clip once, whatever its part.
    """
    names = {name for *_, name in CLIPS_ALL}
    return f"SELECT {_listed(names)} FROM _clips {_joins(names)} LEFT JOIN shards ON shards.clip_id = _clips.clip_id"


def samples_sql(names: Collection[str]) -> str:
    """A query for the samples of the chosen shards, in no order: one row each, with these columns of ``clips_all`` only.

    Tables of which no column is asked for are not read. A clip that lies in two parts (a source that was tried again) is taken
    from the part that it was exported from.
    """
    return (
        f"SELECT {_listed(names)} FROM _shards AS shards JOIN _shard_plan ON _shard_plan.clip_id = shards.clip_id "
        "JOIN _clips ON _clips.clip_id = shards.clip_id AND _clips.part = _shard_plan.part " + _joins(names)
    )


def _listed(names: Collection[str]) -> str:
    return ", ".join(
        f"{'_' if table in VARIANT_TABLES or table == 'clips' else ''}{table}.{column} AS {name}"
        for table, column, name in CLIPS_ALL
        if name in names
    )


def _joins(names: Collection[str]) -> str:
    used = {table for table, _, name in CLIPS_ALL if name in names}
    joins = ["LEFT JOIN sources ON sources.source_id = _clips.source_id"] if "sources" in used else []
    joins += [
        f"LEFT JOIN _{t} ON _{t}.clip_id = _clips.clip_id AND _{t}.part = _clips.part"
        for t in VARIANT_TABLES
        if t in used
    ]
    return " ".join(joins)
