"""Tars and tables without some of their samples: the scan's tables of a part, and the shards of a variant. Room: curation.

Every step is safe to cut off and to begin again. What must not be seen half done is taken out of sight first, by its committing
file, and put back last. That file waits beside its place under a name that no reader looks for.
"""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.corpus import Corpus
from curation.shard_numbers import next_number, note_number
from curation.shards import Member, verify_tar
from curation.storage import Store, storage_errors
from schemas.tables import SHARDS, TABLES

ASIDE = ".forget"
"""Ending of a committing file that waits until the rest is done."""


def without(table: pa.Table, column: str, values: Collection[str]) -> pa.Table:
    """The rows whose ``column`` is none of the values."""
    return table.filter(pc.invert(pc.is_in(table[column], pa.array(sorted(values), pa.string()))))


def commit_rows(store: Store, path: str, name: str, table: pa.Table) -> None:
    """Write rows of a documented table again, with the bytes that they would have if they had been written first.

    What was read back, cut and set is another table to Arrow: only rows made anew give the same bytes.
    """
    documented = TABLES[name].arrow
    same = documented.names == table.schema.names  # else: made by an older version of the engine
    schema = documented.with_metadata(table.schema.metadata) if same else table.schema
    store.commit_table(path, pa.Table.from_pylist(table.to_pylist(), schema=schema))


def drop_rows(store: Store, path: str, name: str, column: str, values: Collection[str]) -> None:
    """Take rows out of a file of the documented table ``name``; it stays as it is where it has none of them."""
    if store.exists(path):
        table = store.read_table(path)
        kept = without(table, column, values)
        if kept.num_rows < table.num_rows:
            commit_rows(store, path, name, kept)


# Tars ------------------------------------------------------------------------------------------------------------------


def repack(store: Store, path: str, out: Path, keys: Collection[str]) -> bool:
    """Write the tar at ``path`` to the local file ``out``, without the samples of these keys. Says whether there were any.

    The other members come out byte for byte, as if the tar had been written without those samples.
    """
    dropped = False
    with (
        storage_errors(f"Reading `{store.uri}/{path}`"),
        store.fs.open_input_file(store.full(path)) as handle,
        tarfile.open(fileobj=handle, mode="r:") as old,
        tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as new,
    ):
        for member in old:
            if member.name.partition(".")[0] in keys:
                dropped = True
            else:
                new.addfile(member, old.extractfile(member))
    return dropped


def places(store: Store, path: str) -> dict[str, tuple[int, int]]:
    """Member's name → where its data starts in the tar and how long it is, in bytes."""
    with (
        storage_errors(f"Reading `{store.uri}/{path}`"),
        store.fs.open_input_file(store.full(path)) as handle,
        tarfile.open(fileobj=handle, mode="r:") as tar,
    ):
        return {member.name: (member.offset_data, member.size) for member in tar}


# The scan's tables -----------------------------------------------------------------------------------------------------


def forget_scanned(corpus: Corpus, part: int, sources: Collection[str], clips: Collection[str]) -> None:
    """Take sources and their clips out of what the scan of a part wrote. While it is at work, the part is not to be seen."""
    store, final = corpus.store, corpus.path("sources", part)
    aside = final + ASIDE
    if store.exists(final):
        table = store.read_table(final)
        kept = without(table, "source_id", sources)
        if kept.num_rows == table.num_rows:
            store.remove(aside)
            return
        commit_rows(store, aside, "sources", kept)
        store.remove(final)
    elif not store.exists(aside):
        for left in ("transitions", "stills", "clips"):  # by a killed scan; nothing has committed them
            store.remove(corpus.path(left, part))
        return
    drop_rows(store, corpus.path("transitions", part), "transitions", "source_id", sources)
    tar = corpus.path("stills", part)
    if store.exists(tar):
        scratch = store.scratch("forget") / "stills.tar"
        if repack(store, tar, scratch, clips):
            store.commit_file(tar, scratch)
        _place_stills(corpus, part, clips, places(store, tar))
    else:
        drop_rows(store, corpus.path("clips", part), "clips", "clip_id", clips)
    store.move(aside, final)


def _place_stills(corpus: Corpus, part: int, gone: Collection[str], where: Mapping[str, tuple[int, int]]) -> None:
    """Write the part's clips with the offsets that their stills have in the tar as it is now."""
    path = corpus.path("clips", part)
    table = without(corpus.store.read_table(path), "clip_id", gone)
    offsets = [
        None if frames is None else [where[f"{clip}.{number:02d}.jpg"][0] for number in range(len(frames))]
        for clip, frames in zip(table["clip_id"].to_pylist(), table["stills_frame"].to_pylist(), strict=True)
    ]
    number = table.schema.get_field_index("stills_offset")
    field = table.schema.field(number)
    commit_rows(corpus.store, path, "clips", table.set_column(number, field, pa.array(offsets, field.type)))


# Shards ----------------------------------------------------------------------------------------------------------------


def forget_shard(store: Store, folder: str, old: str, new: str | None, clips: Collection[str]) -> None:
    """Write a finished shard again without some clips, under another number; ``new`` None: nothing would be left of it.

    A tar never changes under its name: a training run that reads byte ranges of the old one stops with a clear error, and
    never reads wrong bytes.
    """
    index, fresh = f"{folder}/{old}.parquet", f"{folder}/{new}.parquet"
    if new is not None and store.exists(index) and store.exists(f"{folder}/{old}.tar"):
        table = without(store.read_table(index), "clip_id", clips)
        written = _repack_shard(store, folder, old, new, store.read_table(index), table, clips)
        lost = f"{folder}/{old}.failed.parquet"
        if store.exists(lost):
            left = without(store.read_table(lost), "clip_id", clips)
            if left.num_rows:
                commit_rows(store, f"{folder}/{new}.failed.parquet", "shard_failures", _renamed(left, new))
        store.commit_table(fresh + ASIDE, written)
    store.remove(index)
    if new is not None and store.exists(fresh + ASIDE):
        store.move(fresh + ASIDE, fresh)
    store.remove(f"{folder}/{old}.tar")
    store.remove(f"{folder}/{old}.failed.parquet")


def _repack_shard(
    store: Store, folder: str, old: str, new: str, before: pa.Table, kept: pa.Table, clips: Collection[str]
) -> pa.Table:
    """Commit the new tar, checked against the checksums of the index; gives its own index."""
    scratch = store.scratch("forget") / f"{new}.tar"
    gone = {
        k for k, c in zip(before["shard_key"].to_pylist(), before["clip_id"].to_pylist(), strict=True) if c in clips
    }
    repack(store, f"{folder}/{old}.tar", scratch, gone)
    local = Store(scratch.parent)
    where = places(local, scratch.name)
    rows: list[dict[str, Any]] = []
    for row in kept.to_pylist():
        offset, size = where[f"{row['shard_key']}.mp4"]
        rows.append({**row, "shard": new, "byte_offset": offset, "byte_size": size})
    verify_tar(
        scratch, [Member(r["shard_key"], r["clip_id"], r["byte_offset"], r["byte_size"], r["sha256"]) for r in rows]
    )
    store.commit_file(f"{folder}/{new}.tar", scratch)
    return pa.Table.from_pylist(rows, schema=SHARDS.arrow)


def forget_planned(
    store: Store, folder: str, names: Mapping[str, str | None], clips: Collection[str], again_from: int | None
) -> None:
    """Take clips out of a shard plan and give rewritten shards their new numbers.

    Args:
        again_from: parts from this one on have clips that became free; the next export looks at their decisions again and adds
            those that the plan does not hold.
    """
    path = f"{folder}/plan.parquet"
    if not store.exists(path):
        return
    table = store.read_table(path)
    facts = dict(table.schema.metadata or {})
    if again_from is not None:
        facts[b"stiv_parts"] = str(min(again_from, int(facts[b"stiv_parts"]))).encode()
    left = without(table, "clip_id", clips)
    renamed = pa.array([names.get(s) or s for s in left["shard"].to_pylist()], pa.string())
    made = left.set_column(left.schema.get_field_index("shard"), left.schema.field("shard"), renamed)
    made = made.sort_by([("shard", "ascending"), ("clip_id", "ascending")]).replace_schema_metadata(facts)
    made = note_number(made, next_number(table))
    if not made.equals(table, check_metadata=True):
        commit_rows(store, path, "shard_plan", made)


def _renamed(table: pa.Table, shard: str) -> pa.Table:
    number = table.schema.get_field_index("shard")
    return table.set_column(number, table.schema.field(number), pa.array([shard] * table.num_rows, pa.string()))
