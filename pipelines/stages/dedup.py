"""Stage `dedup`: which clips show the same as others. The one stage that looks at all parts at once.

For each group of parts that belong together, in three steps: ``look`` notes of every part's clips what is needed to compare them;
``search`` finds pairs, each task in a share of all clips; ``finish``, on the driver, decides and writes the rows.

    while (group := prepare(corpus, made)) is not None:
        run LOOK over looks_missing(corpus, variant, group)
        run SEARCH over tasks_missing(corpus, made, group)
        finish(corpus, variant, group, emit)
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import joined
from curation.corpus import FEATURE_TABLES, Corpus
from curation.duplicates import cells, clusters, exact, groups, looks, near
from curation.duplicates.clusters import Evidence, Fate
from curation.duplicates.groups import Group
from curation.duplicates.looks import Looks
from curation.rules import apply_rules
from curation.variants import Variant
from pipelines.apps.words import plural
from pipelines.context import Emit, Worker
from pipelines.stages.choose import rules_of
from pipelines.stages.dedup_proof import Proof
from schemas.errors import UsageError
from schemas.recipe_learned import Dedup

NAME = "dedup"

_PAIRS = pa.schema([("worse", pa.int64()), ("better", pa.int64()), ("kind", pa.int8()), ("similarity", pa.float32())])


def run(worker: Worker, part: int) -> None:
    """The whole search in one process, all steps one after the other, unless the part has its rows already."""
    corpus, variant = worker.corpus, worker.variant("duplicates")
    while not corpus.store.exists(corpus.path("duplicates", part, variant.folder)):
        group = prepare(corpus, worker.context.variants)
        if group is None:
            return
        for missing in looks_missing(corpus, variant, group):
            look(worker, missing)
        for task in tasks_missing(corpus, variant, group):
            search(worker, task)
        finish(corpus, variant, group, worker.emit)


def settings_of(variant: Variant) -> Dedup:
    return Dedup.model_validate({k: v for k, v in variant.settings.items() if k != "rules"})


def prepare(corpus: Corpus, made: Mapping[str, Variant]) -> Group | None:
    """The next group of parts to search, written down; None when all parts have their rows.

    Raises:
        UsageError: semantic duplicates are wanted, but there are no vectors.
    """
    variant = made["duplicates"]
    settings = settings_of(variant)
    if settings.semantic.enabled and "embeddings" not in made:
        raise UsageError(
            "Semantic duplicates are sought by vectors, but features.embeddings.enabled is false.",
            fix="Turn it on, or run with --set dedup.semantic.enabled=false.",
        )
    group = groups.next_group(corpus, variant)
    if group is None:
        groups.clear_work(corpus, variant)  # of a run that was killed at the very end
    elif settings.semantic.enabled:
        _fit_cells(corpus, variant, made["embeddings"], group, settings)
    return group


def looks_missing(corpus: Corpus, variant: Variant, group: Group) -> list[int]:
    """Parts that :func:`look` must go through before the search: of the group, and of earlier ones if theirs were deleted."""
    there = set(corpus.store.names(f"{variant.path}/looks"))
    return [p for p in range(group.upto) if groups.looks_path(variant, p).rpartition("/")[2] not in there]


def look(worker: Worker, part: int) -> None:
    """Note what is needed to compare a part's clips; does nothing when it is there already."""
    corpus, variant = worker.corpus, worker.variant("duplicates")
    if corpus.store.exists(groups.looks_path(variant, part)):
        return
    settings = settings_of(variant)
    made = worker.context.variants
    wide = joined.read_measured(corpus, part, {t: made[t].folder for t in FEATURE_TABLES if t in made})
    dropped = apply_rules(wide, rules_of(variant)).dropped
    wide = wide.filter(pa.array([not out for out in dropped], pa.bool_()))
    place = np.full((wide.num_rows, 2), looks.NO_CELL, np.int32)
    row = np.full((wide.num_rows, 2), -1, np.int32)
    if settings.semantic.enabled:
        ids, vectors = _vectors(corpus, made["embeddings"], part)
        at = {clip: i for i, clip in enumerate(ids)}
        here = np.array([at.get(c, -1) for c in wide.column("clip_id").to_pylist()], np.int64)
        mine = np.flatnonzero(here >= 0)
        own = vectors[here[mine]]
        place[mine] = cells.nearest(own, _centres(corpus, variant))
        order = np.argsort(place[mine].ravel(), kind="stable")
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        row[mine] = rank.reshape(-1, 2)
        corpus.store.commit_bytes(groups.vectors_path(variant, part), own[order // 2].astype("<f2").tobytes())
    corpus.store.commit_table(groups.looks_path(variant, part), looks.make(wide, settings.keep, place, row))
    worker.emit({"kind": "part", "stage": "dedup_look", "part": part, "clips": wide.num_rows})


def tasks_missing(corpus: Corpus, variant: Variant, group: Group) -> list[int]:
    """Tasks that :func:`search` must do. The looks of all parts must be there."""
    plan = groups.read_plan(corpus, variant, group)
    if plan is None:
        clips = vectors = new = 0
        for part in range(group.upto):
            column = corpus.store.read_table(groups.looks_path(variant, part), ["cell"]).column("cell").to_numpy()
            clips += len(column)
            vectors += 2 * int((column != looks.NO_CELL).sum())
            new += len(column) if part in group.parts else 0
        if not new:
            clips = vectors = 0  # earlier parts were compared with each other before
        settings = settings_of(variant)
        width = _centres(corpus, variant).shape[1] if settings.semantic.enabled else 0
        plan = groups.make_plan(settings, clips, vectors, width)
        groups.write_plan(corpus, variant, group, plan)
    there = set(corpus.store.names(groups.work_path(variant, group)))
    tasks = range(len(plan.tasks()))
    return [t for t in tasks if groups.pairs_path(variant, group, t).rpartition("/")[2] not in there]


def search(worker: Worker, task: int) -> None:
    """Find the pairs of one task; does nothing when that is done already."""
    corpus, variant = worker.corpus, worker.variant("duplicates")
    group = _at_work(corpus, variant)
    path = groups.pairs_path(variant, group, task)
    plan = groups.read_plan(corpus, variant, group)
    if plan is None or corpus.store.exists(path):
        return
    kind, share = plan.tasks()[task]
    settings = settings_of(variant)
    if isinstance(share, near.Bucket):
        bucket = share
        found = looks.concatenate(
            [both.take(near.members(both, bucket)) for both in map(near.with_mirrored, _pieces(corpus, variant, group))]
        )
        pairs = near.candidates(found, bucket, settings.near.max_distance, settings.near.hashes)
        worse, better = found.index[pairs.worse], found.index[pairs.better]
        proven = Proof(corpus, variant).same(worse, better, pairs.mirrored)
        evidence = _evidence(worse[proven], better[proven], kind, pairs.similarity[proven])
    elif kind == "exact":
        found = looks.concatenate(
            [some.take(exact.members(some, share, plan.exact)) for some in _pieces(corpus, variant, group)]
        )
        rows = exact.pairs(found)
        evidence = _evidence(found.index[rows[0]], found.index[rows[1]], kind, np.ones(len(rows[0]), np.float32))
    else:
        evidence = _search_cells(corpus, variant, group, share, plan.cells, settings.semantic.min_cosine)
    table = pa.table([evidence.worse, evidence.better, evidence.kind, evidence.similarity], schema=_PAIRS)
    corpus.store.commit_table(path, table)
    worker.emit({"kind": "part", "stage": "dedup_search", "part": task, "clips": 0})


def finish(corpus: Corpus, variant: Variant, group: Group, emit: Emit) -> None:
    """Decide which clips of the group give way to which, and write its rows. All tasks must be done."""
    plan = groups.read_plan(corpus, variant, group)
    if plan is None:
        raise RuntimeError(f"group {group.number} of `{variant.name}` has not been searched")
    found = [corpus.store.read_table(groups.pairs_path(variant, group, task)) for task in range(len(plan.tasks()))] or [
        _PAIRS.empty_table()
    ]
    pairs = pa.concat_tables(found)
    evidence = Evidence(*(pairs.column(name).to_numpy() for name in _PAIRS.names))
    fates, names = _decide(corpus, variant, group, evidence)
    done = corpus.done("duplicates", variant.folder)
    counts: Counter[str] = Counter()
    for part in group.parts:
        ids = corpus.store.read_table(groups.looks_path(variant, part), ["clip_id"]).column("clip_id").to_pylist()
        rows = [_row(clip, (part << 32) + i, fates, names) for i, clip in enumerate(ids)]
        gone = [row["duplicate_kind"] for row in rows if row["duplicate_of"] is not None]
        counts.update({"clips": len(rows), "dropped": len(gone), **Counter(gone)})
        if part not in done:
            corpus.write("duplicates", part, rows, variant.folder)
            emit({"kind": "part", "stage": NAME, "part": part, "clips": len(rows), "kept": len(rows) - len(gone)})
    if counts["clips"]:
        kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in clusters.KINDS)
        among = plural(counts["clips"], "clip")
        text = f"Duplicates among {among}: {counts['dropped']:,} give way to better ones ({kinds})."
        emit({"kind": "found", "text": text})
    groups.clear_work(corpus, variant)


def _at_work(corpus: Corpus, variant: Variant) -> Group:
    """The group that is being searched: the first whose rows are not complete."""
    done = corpus.done("duplicates", variant.folder)
    return next(g for g in groups.written(corpus, variant) if not done.issuperset(g.parts))


def _pieces(corpus: Corpus, variant: Variant, group: Group) -> Iterator[Looks]:
    """Looks part by part."""
    for part in range(group.upto):
        path = groups.looks_path(variant, part)
        if part in group.parts:
            yield looks.load([(part, corpus.store.read_table(path, looks.COLUMNS), None)])
            continue
        table = corpus.store.read_table(path, ["clip_id", *looks.COLUMNS])
        rows = corpus.read("duplicates", part, variant.folder, ["clip_id", "duplicate_of"])
        kept = rows.filter(pc.is_null(rows.column("duplicate_of"))).column("clip_id")
        stays = pc.is_in(table.column("clip_id"), value_set=kept.combine_chunks()).to_numpy()
        yield looks.load([(part, table, stays)])


def _evidence(worse: np.ndarray, better: np.ndarray, kind: str, similarity: np.ndarray) -> Evidence:
    return Evidence(worse, better, np.full(len(worse), clusters.KINDS.index(kind), np.int8), similarity)


def _decide(
    corpus: Corpus, variant: Variant, group: Group, evidence: Evidence
) -> tuple[dict[int, Fate], dict[int, str]]:
    """Fates of the clips that have a duplicate, and the ids of the clips that are kept for others."""
    wanted = np.unique(np.concatenate([evidence.worse, evidence.better]))
    found = []
    for one in _pieces(corpus, variant, group):
        mine = one.take(np.isin(one.index, wanted))
        if len(mine):
            found.append(mine)
    involved = looks.concatenate(found)
    fates = clusters.decide(evidence, involved.index[involved.best_first()])
    kept = np.array(sorted({fate.kept for fate in fates.values()}), np.int64)
    names: dict[int, str] = {}
    for part in np.unique(kept >> 32).tolist():
        ids = corpus.store.read_table(groups.looks_path(variant, part), ["clip_id"]).column("clip_id")
        for clip in kept[kept >> 32 == part].tolist():
            names[clip] = ids[clip & 0xFFFFFFFF].as_py()
    return fates, names


def _row(clip_id: str, number: int, fates: Mapping[int, Fate], names: Mapping[int, str]) -> dict[str, Any]:
    fate = fates.get(number)
    return {
        "clip_id": clip_id,
        "duplicate_cluster": None if fate is None else names[fate.kept],
        "duplicate_of": None if fate is None or fate.kept == number else names[fate.kept],
        "duplicate_kind": None if fate is None else fate.kind,
        "duplicate_similarity": None if fate is None else fate.similarity,
    }


def _vectors(corpus: Corpus, embeddings: Variant, part: int) -> tuple[list[str], np.ndarray]:
    """Ids of the clips of a part that have a vector, and the vectors, (n, d) of length 1."""
    table = corpus.read("embeddings", part, embeddings.folder, ["clip_id", "embedding"])
    table = table.filter(pc.is_valid(table.column("embedding")))
    column = table.column("embedding").combine_chunks()
    ids = table.column("clip_id").to_pylist()
    flat = column.flatten().to_numpy()
    return ids, cells.unit(flat.reshape(len(ids), len(flat) // len(ids) if ids else 0))


def _fit_cells(corpus: Corpus, variant: Variant, embeddings: Variant, group: Group, settings: Dedup) -> None:
    """Find the centres of cells from vectors drawn evenly from all parts so far; later groups use the same until the corpus has outgrown them.

    Then everything that was noted with the old ones is deleted first and the new ones are written last, so that a run that takes up a
    killed one comes to the same end.
    """
    sizes = [corpus.read("embeddings", p, embeddings.folder, ["embedding_stills"]).num_rows for p in range(group.upto)]
    last = groups.fitted(corpus, variant)
    if last is None or cells.outgrown(sum(sizes[: last.upto]), sum(sizes), settings.semantic.cells):
        count = cells.cell_count(sum(sizes), settings.semantic.cells)
        step = max(1, sum(sizes) // max(1, cells.sample_size(count)))
        drawn: list[np.ndarray] = []
        seen = 0
        for part in range(group.upto):
            _, vectors = _vectors(corpus, embeddings, part)
            if len(vectors):
                drawn.append(vectors[-seen % step :: step])
            seen += len(vectors)
        some = [d for d in drawn if len(d)]
        if not some:
            return  # no clip has a vector yet
        out = io.BytesIO()
        np.save(out, cells.fit(np.concatenate(some), count), allow_pickle=False)
        corpus.store.remove(f"{variant.path}/looks")
        corpus.store.commit_bytes(groups.cells_path(variant, group), out.getvalue())
        last = group
    groups.clear_older_cells(corpus, variant, last)


def _centres(corpus: Corpus, variant: Variant) -> np.ndarray:
    """(k, d); (0, 0) where no clip has a vector."""
    last = groups.fitted(corpus, variant)
    if last is None:
        return np.zeros((0, 0), np.float32)
    path = groups.cells_path(variant, last)
    centres: np.ndarray = np.load(io.BytesIO(corpus.store.read_bytes(path)), allow_pickle=False)
    return centres


def _search_cells(
    corpus: Corpus, variant: Variant, group: Group, share: Any, shares: int, min_cosine: float
) -> Evidence:
    """Pairs within the cells of one share. Only their vectors are read, one range of bytes for each part."""
    centres = _centres(corpus, variant)
    low, high = share * len(centres) // shares, (share + 1) * len(centres) // shares
    pieces, vectors = [], []
    for one in _pieces(corpus, variant, group):
        both = looks.concatenate([one, replace(one, cell=one.next_cell, vector_row=one.next_row)])
        mine = both.take((both.cell >= low) & (both.cell < high))
        if len(mine):
            first, last = int(mine.vector_row.min()), int(mine.vector_row.max())
            width = centres.shape[1] * 2
            path = groups.vectors_path(variant, int(mine.index[0] >> 32))
            data = corpus.store.read_range(path, first * width, (last + 1 - first) * width)
            block = np.frombuffer(data, "<f2").reshape(-1, centres.shape[1])
            pieces.append(mine)
            vectors.append(block[mine.vector_row - first])
    found = looks.concatenate(pieces)
    if not len(found):
        nothing = np.zeros(0, np.int64)
        return _evidence(nothing, nothing, "semantic", np.zeros(0, np.float32))
    everything = np.concatenate(vectors)
    order = found.best_first()
    order = order[np.argsort(found.cell[order], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(found.cell[order]) != 0])
    parts = []
    for rows in np.split(order, starts[1:]):
        worse, better, cosine = cells.close_pairs(cells.unit(everything[rows]), ~found.old[rows], min_cosine)
        parts.append((found.index[rows[worse]], found.index[rows[better]], cosine))
    worse, better, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _evidence(worse, better, "semantic", cosine)
