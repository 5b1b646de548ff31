"""Stage `embed`, of the command `features`: a vector of each clip, from its stills; with OpenCLIP also aesthetics, tags and consistency.

Like the search for text it looks only at clips that the cheap rules leave, and takes over what another variant measured in the same way.
Perceptual vectors are made in child processes. OpenCLIP runs in this process; stills are read and decoded in threads ahead of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from curation import perceptual
from curation.storage import Store
from pipelines.context import Worker
from pipelines.stages.measuring import Remake, in_children, measure_part, report
from pipelines.stages.still_reading import Found, Look, read_still, to_look

if TYPE_CHECKING:
    from models.vision.embedder import Embedder

NAME = "embed"

BATCH = 64
"""Clips that a child looks at in one task, and clips between two reports of progress."""

STILL_LIMIT_S = 10.0
"""A child may take so long for a still."""

OF_VECTORS = frozenset({"tags", "head"})
"""Settings and inputs that are about vectors, however those came about: under others, the image tower need not look again."""


def run(worker: Worker, part: int) -> None:
    """Make the vectors of the clips of one part; does nothing when it is committed already."""
    settings = worker.variant("embeddings").settings
    openclip = settings["backend"] == "openclip"
    made = _openclip if openclip else _perceptual

    def vectors(clips: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        return made(worker, part, [to_look(clip, settings["stills"]) for clip in clips])

    # Perceptual vectors have no tags: their rows stay as they are.
    remake = Remake(OF_VECTORS, _again(worker) if openclip else lambda row: row)
    measure_part(worker, part, NAME, "embeddings", lambda row: bool(row["embedding_stills"]), vectors, remake)


# Without weights ------------------------------------------------------------------------------------------------------


def look(uri: str, tar: str, clips: Sequence[Look]) -> Found:
    """What a child does: clips whose stills lie in one tar of the corpus at ``uri``."""
    store, began = Store(uri), time.process_time()
    rows = []
    for clip in clips:
        pictures = [read_still(store, tar, place, clip.crop) for place in clip.stills]
        there = [picture for picture in pictures if picture is not None]
        rows.append(_row(clip.clip_id, perceptual.NAME, len(there), perceptual.clip_vector(there)))
    return _found(rows, time.process_time() - began)


def _perceptual(worker: Worker, part: int, looks: Sequence[Look]) -> Iterator[dict[str, Any]]:
    return in_children(
        worker,
        part,
        looks,
        BATCH,
        look,
        (),
        feature="embeddings",
        doing="looking at",
        nothing=lambda clip: _row(clip.clip_id, perceptual.NAME, 0, None),
        still_limit_s=STILL_LIMIT_S,
    )


# With OpenCLIP --------------------------------------------------------------------------------------------------------


def _openclip(worker: Worker, part: int, looks: Sequence[Look]) -> Iterator[dict[str, Any]]:
    embedder = _embedder(worker)
    rows = openclip_rows(embedder, worker.corpus.store, worker.corpus.path("stills", part), looks)
    began = time.process_time()
    while some := list(islice(rows, BATCH)):
        now = time.process_time()
        report(worker, part, "embeddings", _found(some, now - began))
        yield from some
        began = now


def _again(worker: Worker) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What makes a row under other tags, or with another head, of one that has the same vectors."""
    embedder = cache(lambda: _embedder(worker))  # loaded only if there is such a row
    return lambda row: _openclip_row(row["clip_id"], embedder(), row["embedding_stills"], row["still_vectors"])


def _embedder(worker: Worker) -> Embedder:
    from models.vision.make import make_embedder

    return make_embedder(worker.variant("embeddings").settings, worker.context.jobs)


def openclip_rows(embedder: Embedder, store: Store, tar: str, looks: Sequence[Look]) -> Iterator[dict[str, Any]]:
    """Rows of clips whose stills lie in one tar, in order. One stream of stills over all of them, so that batches are full."""
    from models.vision.kept_vectors import pack

    vectors = embedder.stills(
        partial(read_still, store, tar, place, clip.crop) for clip in looks for place in clip.stills
    )
    for clip in looks:
        seen = [vector for vector in islice(vectors, len(clip.stills)) if vector is not None]
        yield _openclip_row(clip.clip_id, embedder, len(seen), pack(seen) if seen else None)


def _openclip_row(clip_id: str, embedder: Embedder, stills: int, kept: bytes | None) -> dict[str, Any]:
    from models.vision.kept_vectors import unpack

    view = embedder.view([] if kept is None else [*unpack(kept, stills)])
    return {
        **_row(clip_id, embedder.name, stills, view.embedding),
        "still_vectors": kept,
        "openclip_consistency": view.consistency,
        "aesthetic_laion": view.aesthetic,
        "content_tags": view.tags,
        "content_tag_scores": list(view.tag_scores.items()) if view.tag_scores is not None else None,
    }


def _row(clip_id: str, model: str, stills: int, vector: Any) -> dict[str, Any]:
    """A row of `embeddings` without what only OpenCLIP can say."""
    return {
        "clip_id": clip_id,
        "embedding": None if vector is None else vector.tolist(),
        "embedding_model": model,
        "embedding_stills": stills,
        "still_vectors": None,
        "openclip_consistency": None,
        "aesthetic_laion": None,
        "content_tags": None,
        "content_tag_scores": None,
    }


def _found(rows: list[dict[str, Any]], cpu_s: float) -> Found:
    return Found(rows, sum(row["embedding_stills"] for row in rows), cpu_s)
