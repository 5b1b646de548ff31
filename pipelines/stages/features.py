"""Stage `text`, of the command `features`: how much of a clip's stills is under text.

By default it looks only at clips that the cheap rules leave: those of `select` whose columns are all known after the scan. The other
clips get no row, and their columns are NULL. What another variant measured in the same way is taken over, never measured again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from pebble import ProcessFuture

from curation.corpus import part_name
from pipelines.children import DEATHS
from pipelines.context import Worker
from pipelines.stages.measuring import clips_to_measure, measured_before
from pipelines.stages.still_reading import Look, to_look
from pipelines.stages.text_area import Found, look, text_row

NAME = "text"

BATCH = 8
"""Clips that a child looks at in one task: some seconds of work."""

STILL_LIMIT_S = 60.0
"""A child may take so long for a still, loading the network included."""


def run(worker: Worker, part: int) -> None:
    """Look for text in the clips of one part; does nothing when it is committed already."""
    corpus, variant = worker.corpus, worker.variant("text")
    if corpus.store.exists(corpus.path("text", part, variant.folder)):
        return
    clips, total = clips_to_measure(worker, part, "text")
    rows = measured_before(corpus, variant, part, lambda row: bool(row["text_stills"]))
    wanted = [clip for clip in clips if clip["clip_id"] not in rows]
    for row in _look_at(worker, part, wanted):
        rows[row["clip_id"]] = row
    corpus.write("text", part, [rows[clip["clip_id"]] for clip in clips], variant.folder)
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


def _look_at(worker: Worker, part: int, clips: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    settings = worker.variant("text").settings
    tar = worker.corpus.path("stills", part)
    looks = [to_look(clip, settings["stills"]) for clip in clips]
    failed: list[Look] = []
    batches = [tuple(looks[start : start + BATCH]) for start in range(0, len(looks), BATCH)]

    def start(batch: tuple[Look, ...], alone: bool) -> ProcessFuture:
        limit_s = STILL_LIMIT_S * (1 + sum(len(clip.stills) for clip in batch))
        arguments = (worker.context.uri, tar, batch, settings["long_side"], settings["min_score"])
        return worker.children.submit(look, *arguments, limit_s=limit_s)

    def rows(found: Found, clips: int) -> list[dict[str, Any]]:
        event = {"kind": "feature", "feature": "text", "part": part, "clips": clips, "stills": found.stills}
        worker.emit({**event, "cpu_s": found.cpu_s})
        return found.rows

    for batch, future in worker.children.settle(batches, start, hopeless=lambda batch: True):
        try:
            yield from rows(future.result(), len(batch))
        except (FutureTimeout, *DEATHS):
            failed += batch
    # Mostly one clip is to blame: each goes once more, by itself, so that the others keep their text.
    for (clip,), future in worker.children.settle((), start, suspects=[(clip,) for clip in failed]):
        try:
            yield from rows(future.result(), 1)
        except (FutureTimeout, *DEATHS):
            # Not worth the run: this clip says that nothing was looked at.
            text = f"{part_name(part)}: looking for text in clip {clip.clip_id} failed: the process died or hung, twice"
            worker.emit({"kind": "note", "text": text})
            yield text_row(clip.clip_id, [])
