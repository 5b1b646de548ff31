"""Stage `score`: what scorers and taggers from outside say of the clips that the cheap rules leave.

They run in the worker itself, for they may hold a network; each is made once in a process. What another variant measured in the same way
is taken over.
"""

from __future__ import annotations

import time
from dataclasses import replace

from curation.captioning.contract import ClipFacts, spread_stills
from curation.own_scores import score_clips
from curation.plugins import SCORERS, Plugin, scorer
from pipelines.context import Worker
from pipelines.stages.caption import facts_of
from pipelines.stages.measuring import clips_to_measure, measured_before

NAME = "score"

TOLD_EVERY = 256
"""Clips after which the display hears of it."""


def run(worker: Worker, part: int) -> None:
    """Score the clips of one part; does nothing when it is committed already."""
    corpus, variant = worker.corpus, worker.variant("scores")
    if corpus.store.exists(corpus.path("scores", part, variant.folder)):
        return
    plugins = [scorer(name) for name in variant.settings["scorers"]]
    clips, total = clips_to_measure(worker, part, "scores")
    rows = measured_before(corpus, variant, part, lambda row: _complete(row, plugins))
    wanted = [clip for clip in clips if clip["clip_id"] not in rows]
    facts = [_shown(clip, variant.settings["stills"]) for clip in facts_of(corpus, part, wanted)]
    for start in range(0, len(facts), TOLD_EVERY):
        rows |= _score(worker, part, facts[start : start + TOLD_EVERY], plugins)
    corpus.write("scores", part, [rows[clip["clip_id"]] for clip in clips], variant.folder)
    counts = {"clips": len(clips), "reused": len(clips) - len(wanted), "skipped": total - len(clips)}
    worker.emit({"kind": "part", "stage": NAME, "part": part, **counts})


def _score(worker: Worker, part: int, facts: list[ClipFacts], plugins: list[Plugin]) -> dict[str, dict[str, object]]:
    began = time.process_time()
    rows, warnings = score_clips(facts, plugins)
    stills = sum(len(clip.stills) for clip in facts)
    event = {"kind": "feature", "feature": "scores", "part": part, "clips": len(facts), "stills": stills}
    worker.emit({**event, "cpu_s": time.process_time() - began})
    for text in warnings:
        worker.emit({"kind": "note", "text": text})
    return {row["clip_id"]: row for row in rows}


def _shown(clip: ClipFacts, stills: int) -> ClipFacts:
    return replace(clip, stills=spread_stills(clip.stills, stills))


def _complete(row: dict[str, object], plugins: list[Plugin]) -> bool:
    """Whether every scorer gave a number: one that failed is asked again. Of a tagger that cannot be told: no tag is an answer, too."""
    heads = {name.partition(".")[0] for name, _ in row["user_scores"]}  # type: ignore[attr-defined]
    return all(plugin.name in heads for plugin in plugins if plugin.group == SCORERS)
