"""Clips that were dropped as duplicates of a forgotten one: one of each cluster comes back in its place. Room: curation.

Nothing is compared again: the clusters stay, and the same rule that chose the forgotten clip chooses among those that are left.
So what was decided about all other clips stays decided.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import joined
from curation.corpus import FEATURE_TABLES, VARIANT_TABLES, Corpus, table_folder
from curation.duplicates.looks import numbers

Clusters = dict[str, dict[int, dict[str, str | None]]]
"""Folder of a `duplicates` variant → part → clip → clip that is kept in its place, itself or another; None: no duplicate is left."""


@dataclass
class Freed:
    """What follows for clips that are not forgotten themselves."""

    clusters: Clusters = field(default_factory=dict)
    again: list[str] = field(default_factory=list)
    """Files that are to be made again, because a clip of theirs is no duplicate any more."""
    shards_again: dict[str, int] = field(default_factory=dict)
    """Folder of a `shards` variant → first part with such a clip."""
    clips: list[str] = field(default_factory=list)
    """Clips that come back."""


def free(corpus: Corpus, gone: Mapping[int, Collection[str]]) -> Freed:
    """Decide about the clusters of forgotten clips. Changes nothing.

    Args:
        gone: part → its forgotten clips.
    """
    freed = Freed()
    everything = {clip for clips in gone.values() for clip in clips}
    for folder in folders(corpus, "duplicates"):
        touched = _clusters_of(corpus, folder, gone)
        if not touched:
            continue
        changes: dict[int, dict[str, str | None]] = {}
        back: set[int] = set()
        for cluster, members in _members(corpus, folder, touched, everything).items():
            kept: str | None = cluster
            if cluster in everything:
                kept = _best(corpus, folder, members)
                back |= {part for part, clip in members if clip == kept}
                freed.clips.append(kept)
            elif len(members) > 1:
                continue
            for part, clip in members:
                changes.setdefault(part, {})[clip] = kept if len(members) > 1 else None
        freed.clusters[folder] = changes
        if back:
            _follow(corpus, folder, back, freed)
    freed.clips = sorted(set(freed.clips))
    return freed


def rewrite_clusters(corpus: Corpus, clusters: Clusters) -> None:
    """Write the rows of clips whose cluster lost its kept clip or all others."""
    for folder, parts in clusters.items():
        for part, changes in parts.items():
            rows = corpus.read("duplicates", part, folder).to_pylist()
            made = [_row(row, changes[row["clip_id"]]) if row["clip_id"] in changes else row for row in rows]
            if made != rows:
                corpus.write("duplicates", part, made, folder)


def _row(row: dict[str, Any], kept: str | None) -> dict[str, Any]:
    """Evidence and likeness stay as they were found, even where they speak of a clip that is gone."""
    if kept is None:
        return {**dict.fromkeys(row), "clip_id": row["clip_id"]}
    return {**row, "duplicate_cluster": kept, "duplicate_of": None if kept == row["clip_id"] else kept}


def folders(corpus: Corpus, table: str) -> list[str]:
    """Folders of a table's variants, also of those that are being replaced."""
    base = table_folder(table)
    return [n for n in corpus.store.names(base) if corpus.store.exists(f"{base}/{n}/variant.json")]


def _clusters_of(corpus: Corpus, folder: str, gone: Mapping[int, Collection[str]]) -> set[str]:
    found: set[str] = set()
    for part, clips in gone.items():
        path = corpus.path("duplicates", part, folder)
        if clips and corpus.store.exists(path):
            rows = corpus.store.read_table(path, ["clip_id", "duplicate_cluster"], [("clip_id", "in", set(clips))])
            found |= set(rows["duplicate_cluster"].drop_null().to_pylist())
    return found


def _members(
    corpus: Corpus, folder: str, clusters: set[str], gone: Collection[str]
) -> dict[str, list[tuple[int, str]]]:
    """Cluster → (part, clip) of what is left of it; one column of every part is read."""
    found: dict[str, list[tuple[int, str]]] = {}
    for part in sorted(corpus.done("duplicates", folder)):
        path = corpus.path("duplicates", part, folder)
        rows = corpus.store.read_table(path, ["clip_id", "duplicate_cluster"], [("duplicate_cluster", "in", clusters)])
        for clip, cluster in zip(rows["clip_id"].to_pylist(), rows["duplicate_cluster"].to_pylist(), strict=True):
            if clip not in gone:
                found.setdefault(cluster, []).append((part, clip))
    return found


def _best(corpus: Corpus, folder: str, members: Iterable[tuple[int, str]]) -> str:
    """The clip with the largest value of the variant's `keep`, then the longest, then the first by clip_id."""
    facts = _facts(corpus, "duplicates", folder)
    measured = {t: given["name"] for t, given in facts["inputs"].items() if t in FEATURE_TABLES}
    by_part: dict[int, list[str]] = {}
    for part, clip in members:
        by_part.setdefault(part, []).append(clip)
    ranked: list[tuple[float, float, str]] = []
    for part, clips in by_part.items():
        there = {t: n for t, n in measured.items() if corpus.store.exists(corpus.path(t, part, n))}
        wide = joined.read_measured(corpus, part, there)
        wide = wide.filter(pc.is_in(wide["clip_id"], pa.array(clips, pa.string())))
        columns = (
            numbers(wide, facts["settings"]["keep"]),
            wide["duration_s"].to_pylist(),
            wide["clip_id"].to_pylist(),
        )
        ranked += [(math.inf if v is None else -v, -length, clip) for v, length, clip in zip(*columns, strict=True)]
    return min(ranked)[2]


def _follow(corpus: Corpus, folder: str, parts: Collection[int], freed: Freed) -> None:
    """Note what was decided on the ground of these parts' duplicates."""
    reached = {("duplicates", _name(folder))}
    later = VARIANT_TABLES[VARIANT_TABLES.index("duplicates") + 1 :]
    for table in (*later, "shards"):
        for other in folders(corpus, table):
            inputs = _facts(corpus, table, other)["inputs"]
            if not any((t, given["name"]) in reached for t, given in inputs.items()):
                continue
            reached.add((table, _name(other)))
            if table == "shards":
                freed.shards_again[other] = min(*parts, freed.shards_again.get(other, min(parts)))
            else:
                freed.again += [corpus.path(table, part, other) for part in sorted(parts)]


def _facts(corpus: Corpus, table: str, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(corpus.store.read_bytes(f"{table_folder(table)}/{folder}/variant.json"))
    return found


def _name(folder: str) -> str:
    return folder.removeprefix(".new-").removeprefix(".old-")
