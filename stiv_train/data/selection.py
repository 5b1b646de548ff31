"""What a training recipe asks of each sample, worked out in SQL over the tables of a corpus.

In: a database with the corpus' views (:func:`curation.views.connect`) and a recipe's data section. Out: the temporary table
``planned``: one row per sample of the shards variant, with the reason in ``why`` where it is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from curation.joined import wide_schema
from curation.percentiles import Wanted, find_percentiles, measure_percentiles, resolve_percentiles
from curation.rules import check_expression, check_number, columns_used
from curation.views import samples_sql
from schemas.errors import RecipeError, StorageError
from schemas.train_recipe import Data
from stiv_train.data.buckets import NONE, assign

REASONS = {
    "not_selected": "the selection is not true for it",
    "select_unknown": "the selection is unknown for it (NULL)",
    "no_weight": "its weight is unknown, negative or no number",
    "weight_zero": "its weight is 0",
    "no_caption": "it has no caption",
    "too_short": "it has too few frames for every bucket",
}
"""Why a sample is left out, in the order in which they are looked at: the first counts."""

_BASE = {
    "clip_id": "clip_id", "source_id": "source_id", "uri": "source_uri", "sha256": "source_sha256", "shard": "shard",
    "shard_key": "shard_key", "byte_offset": "shard_byte_offset", "byte_size": "shard_byte_size",
    "num_frames": "shard_num_frames", "width": "shard_width", "height": "shard_height", "fps": "shard_fps",
}  # fmt: skip
"""Column of the plan → column of ``clips_all``."""


@dataclass(frozen=True)
class Wish:
    """A user's expression."""

    where: str
    """How messages call it."""
    sql: str
    """With numbers in place of percentiles, once they are worked out."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns of ``clips_all`` that it names."""
        return _known(columns_used(self.sql, where=self.where))


@dataclass(frozen=True)
class Wishes:
    """What is asked of each sample. Checked when made by :func:`read_wishes`."""

    select: Wish | None
    weight: Wish | None


def _known(names: Iterable[str]) -> frozenset[str]:
    """Columns of ``clips_all`` as they are spelt there; SQL takes any case."""
    spelt = {name.lower(): name for name in wide_schema().names}
    return frozenset(spelt[name.lower()] for name in names)


def read_wishes(data: Data, select: str | None) -> Wishes:
    """The expressions of a recipe; ``select``, from the command line, stands in place of the recipe's.

    Raises:
        RecipeError: one is not an expression over the columns of ``clips_all``, or of another type; says what is near.
    """
    chosen, weight = None, None
    if select is not None or data.select is not None:
        chosen = Wish("--select", select) if select is not None else Wish("data.select", data.select or "")
        check_expression(chosen.sql, wide_schema(), where=chosen.where)
    if data.weight is not None:
        weight = Wish("data.weight", data.weight)
        check_number(weight.sql, wide_schema(), where=weight.where)
    return Wishes(chosen, weight)


def settle_percentiles(db: duckdb.DuckDBPyConnection, wishes: Wishes) -> tuple[Wishes, dict[Wanted, float | None]]:
    """The wishes with every ``percentile(column, q)`` as a number, over all samples of the shards; and those numbers."""
    both = [w for w in (wishes.select, wishes.weight) if w is not None]
    wanted = list(dict.fromkeys(p for w in both for p in find_percentiles(w.sql, where=w.where)))
    if not wanted:
        return wishes, {}
    reader = db.sql(samples_sql(_known(column for column, _ in wanted))).to_arrow_reader()
    values = measure_percentiles((pa.Table.from_batches([batch]) for batch in reader), wanted)

    def settled(wish: Wish | None) -> Wish | None:
        return wish and Wish(wish.where, resolve_percentiles(wish.sql, values, where=wish.where))

    return Wishes(settled(wishes.select), settled(wishes.weight)), values


MOST_VISITS = 1000
"""Of one clip in an epoch: more is a mistake in the expression, and every visit takes room in the order."""


def plan_samples(db: duckdb.DuckDBPyConnection, data: Data, wishes: Wishes) -> None:
    """Make the temporary table ``planned``: the columns of the plan but ``validation``, with ``sha256`` of the source and ``why``.

    Raises:
        RecipeError: an expression fails on a value.
        StorageError: a table cannot be read.
    """
    _register_shapes(db, data)
    caption = "shard_caption" if data.captions is None else "caption"
    both = [w for w in (wishes.select, wishes.weight) if w is not None]
    names = frozenset({*_BASE.values(), caption}).union(*(w.columns for w in both))
    columns = ", ".join(f"{source} AS {name}" for name, source in _BASE.items())
    # Line breaks end a comment at the end of an expression before it can swallow the bracket.
    chosen = f"(\n{wishes.select.sql}\n)" if wishes.select else "true"
    weight = f"CAST((\n{wishes.weight.sql}\n) AS DOUBLE)" if wishes.weight else "CAST(1 AS DOUBLE)"
    sql = f"""
        CREATE TEMP TABLE planned AS
        WITH judged AS (
            SELECT {chosen} AS judged_chosen, {weight} AS judged_weight, {caption} AS judged_caption, {columns}
            FROM ({samples_sql(names)})
        ), reasoned AS (
            SELECT judged.*, shapes.bucket, CASE
                WHEN judged_chosen IS NULL THEN 'select_unknown'
                WHEN NOT judged_chosen THEN 'not_selected'
                WHEN coalesce(NOT isfinite(judged_weight) OR judged_weight < 0, true) THEN 'no_weight'
                WHEN judged_weight = 0 THEN 'weight_zero'
                WHEN coalesce(trim(judged_caption), '') = '' THEN 'no_caption'
                WHEN shapes.bucket = {NONE} THEN 'too_short'
            END AS why
            FROM judged JOIN shapes
            ON shapes.num_frames = judged.num_frames AND shapes.width = judged.width AND shapes.height = judged.height
        )
        SELECT why, {", ".join(_where_planned(name) for name in _BASE)}, bucket,
            judged_weight AS weight, {_where_planned("judged_caption", "caption")}
        FROM reasoned
    """
    try:
        db.execute(sql)
    except duckdb.Error as error:
        raise _explained(db, names, both, error) from error
    heaviest = db.execute(
        "SELECT clip_id, weight FROM planned WHERE why IS NULL ORDER BY weight DESC, clip_id LIMIT 1"
    ).fetchone()
    if heaviest is not None and heaviest[1] > MOST_VISITS:
        raise RecipeError(
            f"`data.weight` gives clip {heaviest[0]} {heaviest[1]:,.0f} visits per epoch; at most {MOST_VISITS:,} make sense.",
            fix="Scale the expression, or bound it: least(…, 10).",
        )


def _where_planned(column: str, name: str | None = None) -> str:
    """Texts of samples that are left out need no room."""
    text = column in {"clip_id", "source_id", "uri", "sha256", "shard_key", "judged_caption"}
    return f"CASE WHEN why IS NULL THEN {column} END AS {name or column}" if text else column


def _register_shapes(db: duckdb.DuckDBPyConnection, data: Data) -> None:
    """Table ``shapes``: the bucket of every (frames, width, height) that occurs. Far fewer than samples."""
    shapes = db.sql("SELECT DISTINCT num_frames, width, height FROM shards").to_arrow_table()
    frames, width, height = (shapes.column(name).to_numpy() for name in ("num_frames", "width", "height"))
    bucket = assign(frames, width, height, data.buckets, data.stride)
    db.register("shapes", shapes.append_column("bucket", pa.array(bucket)))


def _explained(
    db: duckdb.DuckDBPyConnection, names: frozenset[str], wishes: list[Wish], error: duckdb.Error
) -> RecipeError | StorageError:
    """Which expression it was that failed, where everything can be read without it."""
    try:
        db.execute(f"SELECT {', '.join(f'count({name})' for name in sorted(names))} FROM ({samples_sql(names)})")
        for wish in wishes:
            try:
                db.execute(f"SELECT count((\n{wish.sql}\n)) FROM ({samples_sql(names)})")
            except duckdb.Error as failure:
                return RecipeError(
                    f"{wish.where}: `{wish.sql}` failed on a value: {_first_line(failure)}.",
                    fix="`try_cast(x AS type)` and `try(x)` give NULL where x has no value.",
                )
    except duckdb.Error as failure:
        error = failure
    return StorageError(
        f"The tables of the corpus could not be read and joined: {_first_line(error)}.",
        fix="Where memory or disk space ran out: free some, or set TMPDIR to a larger disk. Where a file is damaged: delete it and run the command that made it again.",
    )


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0].rstrip(".")
