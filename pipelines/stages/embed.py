"""Stage `embed`, of the command `features`: a vector of each clip, from its stills; with OpenCLIP also aesthetics, tags and consistency.

Like the search for text it looks only at clips that the cheap rules leave, and takes over what another variant measured in the same way.
Perceptual vectors are made in child processes. OpenCLIP runs in this process; stills are read and decoded in threads ahead of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from pebble import ProcessFuture

from curation import perceptual
from curation.corpus import part_name
from curation.storage import Store
from pipelines.children import DEATHS
from pipelines.context import Worker
from pipelines.stages.measuring import clips_to_measure, measured_before
from pipelines.stages.still_reading import Look, read_still, to_look

if TYPE_CHECKING:
    from models.vision.embedder import ClipView, Embedder

NAME = "embed"

BATCH = 64
"""Clips that a child looks at in one task, and clips between two reports of progress."""

STILL_LIMIT_S = 10.0
"""A child may take so long for a still."""


def run(worker: Worker, part: int) -> None:
    """Make the vectors of the clips of one part; does nothing when it is committed already."""
    corpus, variant = worker.corpus, worker.variant("embeddings")
    if corpus.store.exists(corpus.path("embeddings", part, variant.folder)):
        return
    clips, total = clips_to_measure(worker, part, "embeddings")
    rows = measured_before(corpus, variant, part, lambda row: bool(row["embedding_stills"]))
    wanted = [clip for clip in clips if clip["clip_id"] not in rows]
    looks = [to_look(clip, variant.settings["stills"]) for clip in wanted]
    made = _openclip if variant.settings["backend"] == "openclip" else _perceptual
    for row in made(worker, part, looks) if looks else ():
        rows[row["clip_id"]] = row
    corpus.write("embeddings", part, [rows[clip["clip_id"]] for clip in clips], variant.folder)
    worker.emit(
        {
            "kind": "part",
            "stage": NAME,
            "part": part,
            "clips": len(clips),
            "reused": len(clips) - len(wanted),
            "skipped": total - len(clips),
        }
    )


# Without weights ------------------------------------------------------------------------------------------------------


def look(uri: str, tar: str, clips: Sequence[Look]) -> tuple[list[dict[str, Any]], float]:
    """What a child does: rows of clips whose stills lie in one tar of the corpus at ``uri``, and the CPU seconds that it took."""
    store, began = Store(uri), time.process_time()
    rows = []
    for clip in clips:
        pictures = [read_still(store, tar, place, clip.crop) for place in clip.stills]
        there = [picture for picture in pictures if picture is not None]
        rows.append(_row(clip, perceptual.NAME, len(there), perceptual.clip_vector(there)))
    return rows, time.process_time() - began


def _perceptual(worker: Worker, part: int, looks: Sequence[Look]) -> Iterator[dict[str, Any]]:
    tar = worker.corpus.path("stills", part)
    failed: list[Look] = []

    def start(batch: tuple[Look, ...], alone: bool) -> ProcessFuture:
        limit_s = STILL_LIMIT_S * (1 + sum(len(clip.stills) for clip in batch))
        return worker.children.submit(look, worker.context.uri, tar, batch, limit_s=limit_s)

    def rows(found: tuple[list[dict[str, Any]], float]) -> list[dict[str, Any]]:
        _report(worker, part, *found)
        return found[0]

    batches = [tuple(looks[i : i + BATCH]) for i in range(0, len(looks), BATCH)]
    for batch, future in worker.children.settle(batches, start, hopeless=lambda batch: True):
        try:
            yield from rows(future.result())
        except (FutureTimeout, *DEATHS):
            failed += batch
    # Mostly one clip is to blame: each goes once more, by itself, so that the others keep their vectors.
    for (clip,), future in worker.children.settle((), start, suspects=[(clip,) for clip in failed]):
        try:
            yield from rows(future.result())
        except (FutureTimeout, *DEATHS):
            text = f"{part_name(part)}: looking at clip {clip.clip_id} failed: the process died or hung, twice"
            worker.emit({"kind": "note", "text": text})
            yield _row(clip, perceptual.NAME, 0, None)


# With OpenCLIP --------------------------------------------------------------------------------------------------------


def _openclip(worker: Worker, part: int, looks: Sequence[Look]) -> Iterator[dict[str, Any]]:
    from models.vision.make import make_embedder

    embedder = make_embedder(worker.variant("embeddings").settings, worker.context.jobs)
    rows = openclip_rows(embedder, worker.corpus.store, worker.corpus.path("stills", part), looks)
    began = time.process_time()
    while some := list(islice(rows, BATCH)):
        now = time.process_time()
        _report(worker, part, some, now - began)
        yield from some
        began = now


def openclip_rows(embedder: Embedder, store: Store, tar: str, looks: Sequence[Look]) -> Iterator[dict[str, Any]]:
    """Rows of clips whose stills lie in one tar, in order. One stream of stills over all of them, so that batches are full."""
    vectors = embedder.stills(
        partial(read_still, store, tar, place, clip.crop) for clip in looks for place in clip.stills
    )
    for clip in looks:
        seen = [vector for vector in islice(vectors, len(clip.stills)) if vector is not None]
        yield _openclip_row(clip, embedder.name, len(seen), embedder.view(seen))


def _openclip_row(clip: Look, model: str, stills: int, view: ClipView) -> dict[str, Any]:
    return {
        **_row(clip, model, stills, view.embedding),
        "openclip_consistency": view.consistency,
        "aesthetic_laion": view.aesthetic,
        "content_tags": view.tags,
        "content_tag_scores": list(view.tag_scores.items()) if view.tag_scores is not None else None,
    }


def _row(clip: Look, model: str, stills: int, vector: Any) -> dict[str, Any]:
    """A row of `embeddings` without what only OpenCLIP can say."""
    return {
        "clip_id": clip.clip_id,
        "embedding": None if vector is None else vector.tolist(),
        "embedding_model": model,
        "embedding_stills": stills,
        "openclip_consistency": None,
        "aesthetic_laion": None,
        "content_tags": None,
        "content_tag_scores": None,
    }


def _report(worker: Worker, part: int, rows: Sequence[dict[str, Any]], cpu_s: float) -> None:
    stills = sum(row["embedding_stills"] for row in rows)
    event = {"kind": "feature", "feature": "embeddings", "part": part, "clips": len(rows), "stills": stills}
    worker.emit({**event, "cpu_s": cpu_s})
