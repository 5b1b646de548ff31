"""Stage `caption`: a text for every clip that the selection left."""

from __future__ import annotations

from functools import partial
from typing import Any

from curation import joined
from curation.captioning import make_captioners
from curation.captioning.contract import ClipFacts, StillRef, caption_clips
from curation.corpus import Corpus
from pipelines.context import Worker

BATCH = 256
"""Clips handed to the captioners at once."""


def run(worker: Worker, part: int) -> None:
    """Caption the selected clips of one part."""
    corpus, variant = worker.corpus, worker.variant("captions")
    if corpus.store.exists(corpus.path("captions", part, variant.folder)):
        return
    selections = corpus.read("selections", part, worker.variant("selections").folder)
    selected = {
        c for c, s in zip(selections["clip_id"].to_pylist(), selections["selected"].to_pylist(), strict=True) if s
    }
    given = {
        row["rel_path"]: row["caption"]
        for row in corpus.read("plan", part, columns=["rel_path", "caption"]).to_pylist()
    }
    facts = [
        clip_facts(corpus, part, row, given.get(row["source_rel_path"]))
        for row in joined.read_scanned(corpus, part).to_pylist()
        if row["clip_id"] in selected
    ]
    captioners = make_captioners(variant.settings["captioners"])
    rows: list[dict[str, Any]] = []
    for start in range(0, len(facts), BATCH):
        rows += caption_clips(facts[start : start + BATCH], captioners, variant.settings["max_chars"])
    corpus.write("captions", part, rows, variant.folder)
    for captioner in captioners:
        for text in captioner.warnings:
            worker.emit({"kind": "note", "text": text})
    counts: dict[str, int] = {}
    for row in rows:
        name = row["captioner"] or "none"
        counts[name] = counts.get(name, 0) + 1
    worker.emit({"kind": "part", "stage": "caption", "part": part, "clips": len(rows), "captioners": counts})


def clip_facts(corpus: Corpus, part: int, row: dict[str, Any], caption: str | None) -> ClipFacts:
    """What captioners are told of a clip. Stills are read only when one asks."""
    tar = corpus.path("stills", part)
    stills = [
        StillRef(frame=frame, read=partial(corpus.store.read_range, tar, offset, size))
        for frame, offset, size in zip(row["stills_frame"], row["stills_offset"], row["stills_size"], strict=True)
    ]
    return ClipFacts(
        clip_id=row["clip_id"],
        source_uri=row["source_uri"],
        rel_path=row["source_rel_path"],
        manifest_caption=caption,
        row=row,
        stills=stills,
    )
