"""What is said of a data plan: counts, hours, sources, reasons, warnings; and the error when nothing is left.

Keys of the facts (``data_plan.json``):

samples, not_exported, failed   of the shards variant: finished samples, clips that are planned but not exported yet, clips that
                                could not be cut
left_out                        reason → samples (:data:`stiv_train.data.selection.REASONS`)
train, validation               {clips, seconds, sources, visits}; visits per epoch is the sum of weights
by_bucket                       for each bucket {train: …, validation: …} with the same four
rows, bytes_per_row, warnings
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import StorageError, UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train.data.buckets import needed_frames
from stiv_train.data.selection import REASONS, Wishes

Counts = dict[str, Any]


def _number(db: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return db.execute(sql).fetchall()[0][0]


def count_exported(db: duckdb.DuckDBPyConnection) -> Counts:
    """Finished and unfinished samples of the shards variant. Counting rows reads the files' footers only."""
    samples = int(_number(db, "SELECT count(*) FROM shards"))
    failed = int(_number(db, "SELECT count(*) FROM shard_failures"))
    planned = int(_number(db, "SELECT count(*) FROM shard_plan"))
    return {"samples": samples, "failed": failed, "not_exported": max(0, planned - samples - failed)}


def count_left_out(db: duckdb.DuckDBPyConnection, samples: int) -> dict[str, int]:
    """Reason → samples, in the order of :data:`REASONS`.

    Raises:
        StorageError: samples of the index are unknown to the corpus' tables.
    """
    found = dict(db.execute("SELECT why, count(*) FROM planned GROUP BY why").fetchall())
    if sum(found.values()) != samples:
        raise StorageError(
            f"The index of the shards has {samples:,} samples, of which the corpus' tables know {sum(found.values()):,}.",
            fix="Files of `clips` or of the shards were deleted or mixed with those of another corpus: restore them from a copy.",
        )
    return {reason: found[reason] for reason in REASONS if reason in found}


def refuse_nothing(
    db: duckdb.DuckDBPyConnection,
    recipe: TrainRecipe,
    shards: str,
    samples: int,
    left_out: dict[str, int],
    wishes: Wishes,
) -> None:
    """
    Raises:
        UsageError: every sample is left out; says why.
    """
    if sum(left_out.values()) < samples:
        return
    reasons = ", ".join(f"{REASONS[reason]}: {count:,}" for reason, count in left_out.items())
    main = max(left_out, key=lambda reason: left_out[reason])
    data = recipe.data
    if main == "too_short":
        longest = _number(db, "SELECT max(num_frames) FROM planned WHERE why = 'too_short'")
        least = min(needed_frames(b.frames, data.stride) for b in data.buckets)
        fix = f"The longest of these clips has {longest:,} frames, the least demanding bucket needs {least:,}: lower `data.stride`, or the frames of a bucket."
    elif main in ("no_weight", "weight_zero"):
        fix = f"Look at `data.weight`: `{wishes.weight.sql if wishes.weight else ''}`."
    elif main == "no_caption":
        fix = "Name a captions variant that has these clips in `data.captions`, or caption and export again."
    else:
        where, sql = (wishes.select.where, wishes.select.sql) if wishes.select else ("data.select", "")
        fix = f'Widen {where} `{sql}`; `stiv query CORPUS "SELECT … FROM clips_all WHERE shard IS NOT NULL"` shows what the samples have.'
    raise UsageError(
        f"Nothing is left to train on: of the {samples:,} samples of the shards `{shards}`, {reasons}.", fix=fix
    )


def measure(table: pa.Table, sources: pa.Table, buckets: list[Counts]) -> Counts:
    """Counts of a finished plan.

    Args:
        sources: source_id and validation of every source.
    """
    # Cell = 2 × bucket + validation. Sums go row by row, so they come out the same every time.
    cells = 2 * len(buckets)
    clips, seconds, visits = np.zeros(cells, np.int64), np.zeros(cells), np.zeros(cells)
    for batch in table.to_batches():
        cell = 2 * batch.column("bucket").to_numpy().astype(np.int64)
        cell += batch.column("validation").to_numpy(zero_copy_only=False)
        clips += np.bincount(cell, minlength=cells)
        length = batch.column("num_frames").to_numpy() / batch.column("fps").to_numpy()
        seconds += np.bincount(cell, length, cells)
        visits += np.bincount(cell, batch.column("weight").to_numpy(), cells)
    each = table.select(["bucket", "validation", "source_id"]).group_by(["bucket", "validation"])
    distinct = np.zeros(cells, np.int64)
    for row in each.aggregate([("source_id", "count_distinct")]).to_pylist():
        distinct[2 * row["bucket"] + row["validation"]] = row["source_id_count_distinct"]
    held = int(pc.sum(sources.column("validation")).as_py() or 0)

    def counts(which: slice | int, of_sources: int) -> Counts:
        return {
            "clips": int(clips[which].sum()),
            "sources": of_sources,
            "seconds": round(float(seconds[which].sum()), 3),
            "visits": round(float(visits[which].sum()), 6),
        }

    return {
        "rows": table.num_rows,
        "bytes_per_row": round(table.nbytes / table.num_rows),
        "train": counts(slice(0, None, 2), sources.num_rows - held),
        "validation": counts(slice(1, None, 2), held),
        "by_bucket": [
            {"train": counts(2 * b, int(distinct[2 * b])), "validation": counts(2 * b + 1, int(distinct[2 * b + 1]))}
            for b in range(len(buckets))
        ],
    }


def warnings(facts: Counts, shards: str) -> list[str]:
    """What a person should know before training."""
    found = []
    if facts["not_exported"]:
        found.append(
            f"{facts['not_exported']:,} clips of the shards `{shards}` are planned but not exported yet; they are not in this plan."
        )
    if facts["validation_share"] > 0 and not facts["validation"]["clips"]:
        found.append("Nothing is held out: all samples come from one source, so there is no validation.")
    for bucket, counts in zip(facts["order"]["buckets"], facts["by_bucket"], strict=True):
        name = f"{bucket['frames']}×{bucket['height']}×{bucket['width']}"
        visits = counts["train"]["visits"]
        if not counts["train"]["clips"]:
            found.append(f"Bucket {name} has no clip to train on.")
        elif visits < bucket["batch"]:
            found.append(
                f"Bucket {name} has {visits:,.6g} visits per epoch, fewer than its batch of {bucket['batch']:,}: one step sees the same clips again."
            )
    return found
