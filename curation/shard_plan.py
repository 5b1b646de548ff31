"""Which kept clip goes to which tar of a shards variant; appended to when parts are added, never changed."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.fs as pafs

from curation.corpus import Corpus
from curation.shard_numbers import next_number, note_number
from curation.shards import PlannedClip, estimate_bytes, plan_shards
from curation.variants import Variant
from schemas.recipe import Export
from schemas.tables import SHARD_PLAN


def plan_path(variant: Variant) -> str:
    return f"{variant.path}/plan.parquet"


def tar_path(variant: Variant, shard: str) -> str:
    return f"{variant.path}/{shard}.tar"


def index_path(variant: Variant, shard: str) -> str:
    """The shard's index; its existence commits the tar."""
    return f"{variant.path}/{shard}.parquet"


def failed_path(variant: Variant, shard: str) -> str:
    """Clips that could not be cut; only there when there are any."""
    return f"{variant.path}/{shard}.failed.parquet"


def covered_parts(corpus: Corpus, variant: Variant) -> int:
    """How many parts, from the first, the plan speaks of."""
    if not corpus.store.exists(plan_path(variant)):
        return 0
    metadata = corpus.store.read_table(plan_path(variant), columns=["shard"]).schema.metadata or {}
    return int(metadata[b"stiv_parts"])


def read_plan(corpus: Corpus, variant: Variant, shard: str | None = None) -> dict[str, list[tuple[str, int]]]:
    """Shard name → (clip_id, part) of its samples, in order; of one shard, or of all."""
    if not corpus.store.exists(plan_path(variant)):
        return {}
    filters = None if shard is None else [("shard", "=", shard)]
    table = corpus.store.read_table(plan_path(variant), filters=filters)
    plan: dict[str, list[tuple[str, int]]] = {}
    for name, clip, part in zip(*(table.column(c).to_pylist() for c in ("shard", "clip_id", "part")), strict=True):
        plan.setdefault(name, []).append((clip, part))
    return plan


def extend_shard_plan(
    corpus: Corpus, variant: Variant, decisions: Variant, settings: Export
) -> dict[str, list[tuple[str, int]]]:
    """Plan shards for the parts that the plan does not cover yet, and give the whole plan.

    Old shards keep their clips, so the last of them may stay smaller than the rest.
    """
    parts = corpus.parts()
    first = covered_parts(corpus, variant)
    plan = read_plan(corpus, variant)
    if first == len(parts) and corpus.store.exists(plan_path(variant)):
        return plan
    clips: list[PlannedClip] = []
    part_of = {clip: part for members in plan.values() for clip, part in members}
    for part in parts[first:]:
        decided = corpus.read("decisions", part, decisions.folder, columns=["clip_id", "kept"])
        kept = {c for c, k in zip(*(decided.column(n).to_pylist() for n in ("clip_id", "kept")), strict=True) if k}
        facts = corpus.read("clips", part, columns=["clip_id", "width", "height", "fps", "duration_s"]).to_pylist()
        for row in facts:
            # The same content may come again under the same path; the first part that has a clip exports it.
            if row["clip_id"] in kept and row["clip_id"] not in part_of:
                part_of[row["clip_id"]] = part
                size = estimate_bytes(row["width"], row["height"], row["fps"], row["duration_s"], settings)
                clips.append(PlannedClip(row["clip_id"], part, size))
    there = corpus.store.exists(plan_path(variant))
    following = next_number(corpus.store.read_table(plan_path(variant))) if there else 0
    made = plan_shards(clips, shard_mb=settings.shard_mb, shard_samples=settings.shard_samples, first_shard=following)
    for shard, members in made:
        plan[shard] = [(clip, part_of[clip]) for clip in members]
    rows = [{"shard": s, "clip_id": c, "part": p} for s, members in plan.items() for c, p in members]
    schema = SHARD_PLAN.arrow
    schema = schema.with_metadata({**(schema.metadata or {}), b"stiv_parts": str(len(parts)).encode()})
    corpus.store.commit_table(plan_path(variant), note_number(pa.Table.from_pylist(rows, schema=schema), following))
    return plan


def tar_sizes(corpus: Corpus, variant: Variant) -> dict[str, int]:
    """Finished tars of a shards variant (those with an index) and their bytes, from one listing."""
    store = corpus.store
    listed = store.fs.get_file_info(pafs.FileSelector(store.full(variant.path), allow_not_found=True))
    size_of = {info.base_name: info.size or 0 for info in listed}
    tars = sorted(n for n in size_of if n.endswith(".tar"))
    return {n.removesuffix(".tar"): size_of[n] for n in tars if n.replace(".tar", ".parquet") in size_of}
