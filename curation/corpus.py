"""The corpus folder: what lies where, what is finished, who may write.

Tables are co-partitioned: part N of one table joins only with part N of another. A part of a stage is finished when its committing
file exists; readers see a part only through that file, so what a killed run left half-way is never seen.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curation.environment import engine_version, environment
from curation.forgotten import refuse_unfinished
from curation.lock import hold
from curation.run_records import write_record
from curation.storage import Store, storage_errors
from schemas.errors import UsageError
from schemas.ids import fingerprint
from schemas.recipe import CurateRecipe
from schemas.tables import FORMAT_VERSION, TABLES

SCAN_VERSION = 4
"""Raised when the scan's algorithm changes what it writes; part of the corpus fingerprint."""

FEATURE_TABLES = ("text", "embeddings", "scores")
"""Tables of what is measured from stills after the scan, one for each kind of feature. They lie below `features/`."""

MEASURED_TABLES = (*FEATURE_TABLES, "duplicates")
"""Tables whose columns rules of `select` may use beside those of the scan."""

VARIANT_TABLES = (*MEASURED_TABLES, "selections", "captions", "checks", "decisions")
"""Tables that exist once per name, in the order in which they are made; `shards` does too, but its parts are tars."""

LIMITS = frozenset({"stall_s", "source_limit_s", "error_rate_limit", "error_rate_after"})
"""Settings of the scan that are no part of what a corpus is."""


def part_name(part: int) -> str:
    return f"part-{part:06d}"


def table_folder(table: str) -> str:
    """Relative path of a table's folder."""
    return f"features/{table}" if table in FEATURE_TABLES else table


class Corpus:
    """One corpus. Opening it reads one small file; nothing is listed until it is asked for."""

    def __init__(self, store: Store, facts: dict[str, Any]) -> None:
        self.store = store
        self.facts = facts
        self.recipe = CurateRecipe.model_validate({"plan": facts["recipe"]["plan"], "scan": facts["recipe"]["scan"]})

    # Opening ---------------------------------------------------------------------------------------------------------

    @staticmethod
    def open(uri: str | os.PathLike[str]) -> Corpus:
        """Open an existing corpus.

        Raises:
            UsageError: there is none, or it is of a format that this version does not read.
        """
        store = Store(uri)
        if not store.exists("corpus.json"):
            raise UsageError(
                f"`{store.uri}` is not a corpus (it has no corpus.json).",
                fix="Make one with `stiv curate VIDEOS --out FOLDER`.",
            )
        try:
            facts = json.loads(store.read_bytes("corpus.json"))
        except ValueError:
            raise UsageError(
                f"`{store.uri}/corpus.json` is damaged.",
                fix="Restore it from a copy, or curate again into another folder.",
            ) from None
        if facts.get("format") != FORMAT_VERSION:
            raise UsageError(
                f"`{store.uri}` has corpus format {facts.get('format')}, this version reads format {FORMAT_VERSION}.",
                fix="Use the version of stiv that made it, or curate again into another folder.",
            )
        return Corpus(store, facts)

    @staticmethod
    def open_or_create(uri: str | os.PathLike[str], recipe: CurateRecipe) -> Corpus:
        """Open a corpus, or make one. The scan recipe *is* the corpus: another one under the same folder is an error."""
        store = Store(uri)
        wanted = scan_facts(recipe)
        if store.exists("corpus.json"):
            corpus = Corpus.open(uri)
            if corpus.facts["fingerprint"] != wanted["fingerprint"]:
                changes = differences(corpus.facts["recipe"], wanted["recipe"])
                detail = "; ".join(changes) if changes else "the scan's algorithm is of another version"
                raise UsageError(
                    f"`{store.uri}` was made with another scan recipe: {detail}.",
                    fix="The scan recipe belongs to the corpus: choose another --out for the new one, or run with the old settings.",
                )
            return corpus
        check_target(store)
        facts = {"format": FORMAT_VERSION, "engine": engine_version(), **wanted, "environment": environment()}
        store.commit_bytes("corpus.json", _pretty(facts))
        return Corpus(store, facts)

    def environment_changes(self) -> list[str]:
        """How this machine differs from the one that made the corpus, in what equal bytes depend on."""
        return differences(self.facts.get("environment", {}), environment())

    # Where things are ------------------------------------------------------------------------------------------------

    @staticmethod
    def path(table: str, part: int, name: str | None = None) -> str:
        """Relative path of a part's file. ``name`` is the variant for tables that have variants."""
        folder = f"{table_folder(table)}/{name}" if name else table_folder(table)
        return f"{folder}/{part_name(part)}.{'tar' if table == 'stills' else 'parquet'}"

    def parts(self) -> list[int]:
        """Numbers of the planned parts. `plan/parts.json` commits them: a killed planning leaves files that do not count."""
        if not self.store.exists("plan/parts.json"):
            return []
        return list(range(json.loads(self.store.read_bytes("plan/parts.json"))["parts"]))

    def scanned(self) -> set[int]:
        """Parts whose scan is committed (`sources` is written last)."""
        return set(self._parts_in("sources"))

    def done(self, table: str, name: str) -> set[int]:
        """Parts that a variant of a table has."""
        return set(self._parts_in(f"{table_folder(table)}/{name}"))

    def variants(self, table: str) -> list[str]:
        """Names of a table's variants."""
        folder = table_folder(table)
        return [
            n
            for n in self.store.names(folder)
            if not n.startswith(".") and self.store.exists(f"{folder}/{n}/variant.json")
        ]

    def _parts_in(self, folder: str) -> list[int]:
        return [
            int(name[5:11])
            for name in self.store.names(folder)
            if name.startswith("part-") and name.endswith(".parquet") and name[5:11].isdigit()
        ]

    # Reading and writing ---------------------------------------------------------------------------------------------

    def read(self, table: str, part: int, name: str | None = None, columns: list[str] | None = None) -> pa.Table:
        return self.store.read_table(self.path(table, part, name), columns)

    def write(self, table: str, part: int, rows: list[dict[str, Any]], name: str | None = None) -> None:
        """Commit a part of a table; rows must have exactly the documented columns."""
        schema = TABLES[table].arrow
        for row in rows:
            if row.keys() != set(schema.names):
                odd = sorted(set(schema.names) ^ row.keys())
                raise ValueError(f"a row of `{table}` has missing or unknown columns: {odd}")
        self.store.commit_table(self.path(table, part, name), pa.Table.from_pylist(rows, schema=schema))

    def write_run(self, record: dict[str, Any]) -> str:
        """Keep what one run did; gives the record's path."""
        return write_record(self.store, record)

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Hold the corpus for writing. One writer at a time; the second refuses and names the first.

        The lock is the operating system's and dies with the process, so a killed run leaves nothing to clean up.
        """
        with hold(self.store, what):
            refuse_unfinished(self.store)
            yield


def check_target(store: Store) -> None:
    """Raise UsageError where a corpus can neither be opened nor made: the folder holds something else, or is a file."""
    if store.local is None or not store.local.exists() or store.exists("corpus.json"):
        return
    if not store.local.is_dir():
        raise UsageError(f"`{store.uri}` is a file, not a folder.", fix="Give an empty or new folder to --out.")
    with storage_errors(f"Listing `{store.uri}`"):
        others = [n for n in os.listdir(store.local) if n not in (".scratch", ".lock")]
    if others:
        raise UsageError(
            f"`{store.uri}` exists, is not empty and is not a corpus.", fix="Give an empty or new folder to --out."
        )


def scan_facts(recipe: CurateRecipe) -> dict[str, Any]:
    """The part of a recipe that makes a corpus what it is, with its fingerprint."""
    settings = recipe.model_dump(mode="json")
    kept: dict[str, Any] = {"plan": settings["plan"], "scan": settings["scan"]}
    # Limits decide when a run gives up, not what the rows of a scanned source say: they may change.
    scan = {k: v for k, v in kept["scan"].items() if k not in LIMITS}
    identity = {**kept, "scan": scan, "version": SCAN_VERSION}
    return {"recipe": kept, "fingerprint": fingerprint(identity)}


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """What differs between two JSON-like values, in words: ``scan.stills.quality: 90 → 80``."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[str] = []
        for key in sorted(old.keys() | new.keys()):
            found += differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        return found
    if isinstance(old, list) and isinstance(new, list) and _named(old) and _named(new):
        return differences({r["name"]: r for r in old}, {r["name"]: r for r in new}, path) or (
            [] if old == new else [f"{path}: another order"]
        )
    return [] if old == new else [f"{path}: {_short(old)} → {_short(new)}"]


def _named(values: list[Any]) -> bool:
    return all(isinstance(v, dict) and "name" in v for v in values)


def _short(value: Any) -> str:
    text = "(none)" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
