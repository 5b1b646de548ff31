"""Stage `caption`: a text for every clip that the selection left.

All clips of a part are under way at once, so that an endpoint never waits for the slowest answer of a batch; how many questions that
makes is the chat model's limit. Stills are read only when a question is sent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from curation import joined
from curation.captioning import make_captioners, make_rewriter
from curation.captioning.contract import ClipFacts, StillRef, caption_clips
from curation.corpus import Corpus
from pipelines.context import Worker
from pipelines.stages.chats import Asking, all_of

NAME = "caption"

BATCH = 32
"""Clips handed to the captioners at once, and after which the display hears of it."""


def run(worker: Worker, part: int) -> None:
    """Caption the selected clips of one part; does nothing when it is committed already.

    Raises:
        Unanswered: a chat model failed for a reason that may pass. The clip goes to no other captioner, and nothing is committed.
    """
    corpus, variant = worker.corpus, worker.variant("captions")
    if corpus.store.exists(corpus.path("captions", part, variant.folder)):
        return
    selections = corpus.read("selections", part, worker.variant("selections").folder)
    selected = set(selections.filter(selections["selected"])["clip_id"].to_pylist())
    scanned = joined.read_scanned(corpus, part).to_pylist()
    facts = facts_of(corpus, part, [row for row in scanned if row["clip_id"] in selected])
    asking = Asking(worker, part, "captions")
    rows = asyncio.run(_caption(worker, part, facts, asking))
    asking.settle()
    corpus.write("captions", part, rows, variant.folder)
    counts = Counter(str(row["captioner"] or "none") for row in rows)
    worker.emit({"kind": "part", "stage": NAME, "part": part, "clips": len(rows), "captioners": dict(counts)})


async def _caption(worker: Worker, part: int, facts: Sequence[ClipFacts], asking: Asking) -> list[dict[str, Any]]:
    settings = worker.variant("captions").settings
    captioners = make_captioners(settings, asking.model, keep=asking.keep)
    rewriter = make_rewriter(settings, asking.model)

    async def batch(clips: Sequence[ClipFacts]) -> list[dict[str, Any]]:
        rows = await caption_clips(clips, captioners, settings["max_chars"], rewriter)
        worker.emit({"kind": "captioned", "part": part, "clips": len(clips)})
        return rows

    batches = [facts[start : start + BATCH] for start in range(0, len(facts), BATCH)]
    try:
        # An error waits for the others: what is on its way is paid for, and its answer must be kept.
        done = await asyncio.gather(*(batch(clips) for clips in batches), return_exceptions=True)
    finally:
        await asking.close()
        for text in (text for one in (*captioners, rewriter) if one is not None for text in one.warnings):
            worker.emit({"kind": "note", "text": text})
    return [row for rows in all_of(done) for row in rows]


def facts_of(corpus: Corpus, part: int, rows: Sequence[dict[str, Any]]) -> list[ClipFacts]:
    """What is told of clips of a part to captioners and scorers. ``rows`` are wide rows of what the scan knows."""
    plan = corpus.read("plan", part, columns=["rel_path", "caption"]).to_pylist()
    given = {row["rel_path"]: row["caption"] for row in plan}
    return [clip_facts(corpus, part, row, given.get(row["source_rel_path"])) for row in rows]


def clip_facts(corpus: Corpus, part: int, row: dict[str, Any], caption: str | None) -> ClipFacts:
    """The facts of one clip; ``caption`` is what the manifest says of its source. Stills are read only when somebody asks."""
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
