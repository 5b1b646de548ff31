"""The data plan: which samples of a corpus are trained on, in which bucket, how often, and which are held out.

In: a corpus with a shards variant, a training recipe. Out: a table of samples in the order of the tars, and facts about it.
Building it costs joins over tables, never a look at pixels; the result is a file that is mapped into memory.

FOLDER/data_plan.arrow    one row per sample (:data:`stiv_train.data.plan_file.SCHEMA`)
FOLDER/data_plan.json     the facts; written last
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from curation import variants
from curation.corpus import Corpus
from curation.environment import engine_version
from curation.shard_plan import tar_sizes
from curation.storage import storage_errors, sync_folder
from curation.variants import Variant, stale_reasons
from curation.views import connect
from schemas.errors import StorageError, UsageError, VariantError
from schemas.train_recipe import Bucket, TrainRecipe
from stiv_train.data import plan_facts
from stiv_train.data.holdout import hold_out
from stiv_train.data.plan_file import BATCH_ROWS, SCHEMA, TableHash, hash_table, map_file, write_file
from stiv_train.data.selection import plan_samples, read_wishes, settle_percentiles

ROWS, FACTS = "data_plan.arrow", "data_plan.json"

FORMAT = 1
"""Of the two files."""


@dataclass(frozen=True)
class DataPlan:
    """What is trained on. Rows are ordered by (shard, byte_offset); validation samples are flagged rows among them."""

    table: pa.Table
    """Columns of :data:`stiv_train.data.plan_file.SCHEMA`, mapped into memory."""
    facts: dict[str, Any]
    """JSON-able; see :mod:`stiv_train.data.plan_facts`."""

    @property
    def hash(self) -> str:
        """SHA-256 over all values of the table and the settings on which the order of training depends."""
        found: str = self.facts["hash"]
        return found

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The recipe's buckets, each with its batch (samples over all processes)."""
        return tuple(Bucket.model_validate(b) for b in self.facts["order"]["buckets"])

    @cached_property
    def _starts(self) -> np.ndarray:
        """First row of every record batch, and the number of rows."""
        return np.cumsum([0, *(len(chunk) for chunk in self.table.column(0).chunks)])

    def at(self, rows: np.ndarray, columns: list[str] | None = None) -> pa.Table:
        """The rows with these numbers, in this order. Looks at their record batches only, however long the plan is."""
        if not len(rows):
            return self.table.select(columns or SCHEMA.names).slice(0, 0)
        chunk = np.searchsorted(self._starts, rows, side="right") - 1
        picked: list[pa.Table] = []
        place = np.empty(len(rows), np.int64)
        for number in np.unique(chunk):
            mine = np.flatnonzero(chunk == number)
            place[mine] = sum(t.num_rows for t in picked) + np.arange(len(mine))
            start, stop = self._starts[number], self._starts[number + 1]
            part = self.table.slice(start, stop - start).select(columns or SCHEMA.names)
            picked.append(part.take(pa.array(rows[mine] - start)))
        return pa.concat_tables(picked).combine_chunks().take(pa.array(place))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write both files into a folder; each appears whole or not at all."""
        target = Path(folder)
        text = json.dumps(self.facts, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        with storage_errors(f"Writing `{target / ROWS}`"):
            target.mkdir(parents=True, exist_ok=True)
            aside = target / f".{ROWS}.part"
            try:
                write_file(aside, self.table.to_batches())
                aside.replace(target / ROWS)
                aside.write_text(text, encoding="utf-8")
                aside.replace(target / FACTS)
            finally:
                aside.unlink(missing_ok=True)
            sync_folder(target)


def load_plan(folder: str | os.PathLike[str], *, verify: bool = True) -> DataPlan:
    """The plan that :meth:`DataPlan.save` wrote, mapped into memory.

    Args:
        verify: read the table once and compare its hash (about a second per gigabyte).

    Raises:
        UsageError: there is none, or it is of another version.
        StorageError: it is damaged.
    """
    place = Path(folder)
    damaged = f"The data plan in `{place}` is damaged"
    again = "Restore it from a copy; `stiv data-plan` makes the same plan again from an unchanged corpus and recipe."
    with storage_errors(f"Reading `{place / FACTS}`"):
        if not (place / FACTS).exists() or not (place / ROWS).exists():
            raise UsageError(f"There is no data plan in `{place}`.", fix="Give the folder of a run of `stiv train`.")
        try:
            facts = json.loads((place / FACTS).read_bytes())
            table = map_file(place / ROWS)
        except (ValueError, pa.ArrowInvalid) as error:
            raise StorageError(f"{damaged} ({str(error).splitlines()[0]}).", fix=again) from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise UsageError(
            f"The data plan in `{place}` is of another version of this engine.", fix="Use the version that made it."
        )
    if table.schema != SCHEMA or (verify and hash_table(table, facts["order"]) != facts["hash"]):
        raise StorageError(f"{damaged}: its rows do not give the hash in {FACTS}.", fix=again)
    return DataPlan(table, facts)


def build_plan(corpus: Corpus, recipe: TrainRecipe, select: str | None = None) -> DataPlan:
    """Decide what is trained on. Changes nothing in the corpus.

    Args:
        select: stands in place of the recipe's ``data.select``.

    Raises:
        VariantError: there is no such shards or captions variant, or no finished tar.
        RecipeError: an expression is wrong, or fails on a value.
        UsageError: nothing is left to train on; says why.
        StorageError: a tar is missing or cut short, or a table cannot be read.
    """
    data = recipe.data
    wishes = read_wishes(data, select)
    shards = variants.need(corpus, "shards", data.shards)
    use = {"shards": shards.name}
    captions = variants.need(corpus, "captions", data.captions) if data.captions is not None else None
    if captions is not None:
        use["captions"] = captions.name
    with storage_errors(f"Reading the tables of `{corpus.store.uri}`"), connect(corpus, use) as db:
        exported = plan_facts.count_exported(db)
        if not exported["samples"]:
            raise VariantError(
                f"The shards `{shards.name}` of `{corpus.store.uri}` have no finished tar.",
                fix=f"Make them with `{_command(corpus, shards)}`.",
            )
        wishes, percentiles = settle_percentiles(db, wishes)
        plan_samples(db, data, wishes)
        left_out = plan_facts.count_left_out(db, exported["samples"])
        plan_facts.refuse_nothing(db, recipe, shards.name, exported["samples"], left_out, wishes)
        _check_tars(db, corpus, shards)
        sources = _hold_out_sources(db, data.validation_share)
        order: dict[str, Any] = {
            "stride": data.stride,
            "buckets": [
                b.model_copy(update={"batch": b.batch or recipe.train.batch}).model_dump() for b in data.buckets
            ],
        }
        table, digest = _write_rows(db, order)
    facts = {
        "format": FORMAT,
        "engine": engine_version(),
        "hash": digest,
        "order": order,
        "corpus": corpus.store.uri,
        "shards": shards.as_input(),
        "captions": captions.as_input() if captions is not None else None,
        "select": select if select is not None else data.select,
        "weight": data.weight,
        "percentiles": {f"{column}@{q!r}": value for (column, q), value in percentiles.items()},
        "validation_share": data.validation_share,
        **exported,
        "left_out": left_out,
        **plan_facts.measure(table, sources, order["buckets"]),
    }
    stale = [v for v in (shards, captions) if v is not None]
    facts["warnings"] = [w for v in stale for w in _stale(corpus, v)] + plan_facts.warnings(facts, shards.name)
    return DataPlan(table, facts)


def _command(corpus: Corpus, variant: Variant, *options: str) -> str:
    name = () if variant.name == "default" else (f"--name {variant.name}",)
    return " ".join(("stiv", variants.COMMAND[variant.table], corpus.store.uri, *name, *options))


def _stale(corpus: Corpus, variant: Variant) -> list[str]:
    reasons = "; ".join(stale_reasons(corpus, variant))
    again = _command(corpus, variant, "--replace")
    return [f"The {variant.table} `{variant.name}` are stale: {reasons}. `{again}` makes them anew."] if reasons else []


def _check_tars(db: duckdb.DuckDBPyConnection, corpus: Corpus, shards: Variant) -> None:
    """Compare the tars that are planned from with their indexes: one listing, however many there are, and no reading."""
    sizes = tar_sizes(corpus, shards)
    ends = db.execute(
        "SELECT shard, max(byte_offset + byte_size) FROM planned WHERE why IS NULL GROUP BY shard ORDER BY shard"
    ).fetchall()
    absent = [shard for shard, _ in ends if shard not in sizes]
    short = [(shard, end) for shard, end in ends if shard in sizes and sizes[shard] < end]
    if not absent and not short:
        return
    shard = absent[0] if absent else short[0][0]
    path = f"{corpus.store.uri}/{shards.path}/{shard}"
    what = (
        "is not there, but its index is"
        if absent
        else f"has {sizes[shard]:,} bytes, its index speaks of {short[0][1]:,}"
    )
    others = len(absent) + len(short) - 1
    raise StorageError(
        f"The tar `{path}.tar` {what}{f' (and {others:,} more are missing or cut short)' if others else ''}.",
        fix=f"Restore it from a copy; or delete its index `{path}.parquet` and run `{_command(corpus, shards)}`, which makes "
        f"that tar anew; or go on without it: --select \"shard <> '{shard}'\".",
    )


def _hold_out_sources(db: duckdb.DuckDBPyConnection, share: float) -> pa.Table:
    """Sources of planned samples with ``validation``; also the table ``sides`` of the database.

    Equal content is one group, whatever its name: validation must not hold what is trained on.
    """
    sources = db.sql(
        "SELECT DISTINCT source_id, coalesce(sha256, source_id) AS content FROM planned WHERE why IS NULL ORDER BY source_id"
    ).to_arrow_table()
    held = hold_out(sources.column("content").combine_chunks(), share)
    if held.all():
        raise UsageError(
            f"Nothing is left to train on: all {len(held):,} sources are held out for validation.",
            fix="Lower `data.validation_share`, or select more.",
        )
    sides = sources.append_column("validation", pa.array(held))
    db.register("sides", sides)
    return sides


def _write_rows(db: duckdb.DuckDBPyConnection, order: dict[str, Any]) -> tuple[pa.Table, str]:
    """The planned rows, sorted, in a file that vanishes with the table; and the hash."""
    columns = ", ".join(f"sides.{n}" if n in ("source_id", "validation") else f"planned.{n}" for n in SCHEMA.names)
    rows = db.sql(
        f"SELECT {columns} FROM planned JOIN sides ON sides.source_id = planned.source_id WHERE why IS NULL "
        "ORDER BY shard, byte_offset"
    ).to_arrow_reader(BATCH_ROWS)
    digest = TableHash()

    def batches() -> Any:
        for batch in rows:
            fitting = batch.cast(SCHEMA)
            digest.update(fitting)
            yield fitting

    handle, name = tempfile.mkstemp(prefix="stiv-data-plan-", suffix=".arrow")
    os.close(handle)
    try:
        write_file(Path(name), batches())
        # The mapping outlives the name, so nothing is left behind however the process ends.
        return map_file(Path(name)), digest.digest(order)
    finally:
        os.unlink(name)
