"""The stages as the executors see them: a name, a function of a number, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipelines.context import Worker
from pipelines.stages import caption, check, choose, dedup, embed, export, features, own_scores, scan
from schemas.chat import Unanswered


@dataclass(frozen=True)
class Stage:
    """One stage. ``run`` does one part (or one shard) and nothing when that is done already."""

    name: str
    command: str
    """The command that runs it: some run several."""
    run: Callable[[Worker, int], None]
    table: str
    load: Literal["native", "model", "cpu", "light"]
    """`native`: a pool of children, and so several processors. `model`: a network in the worker itself, on a GPU where there is one.
    `cpu`: one processor. `light`: next to nothing, or waiting for somebody else's machine."""
    memory_mb: int
    """Of the worker, or of each child where it has children."""
    single: bool = False
    """One worker in the whole cluster: what it asks of an endpoint is under one budget, one rate and one limit of requests."""
    barrier: bool = False
    """Whether it looks at all parts at once: what comes before must be complete, and nothing overtakes it."""


SCAN = Stage("scan", "scan", scan.run, "sources", "native", 500)
TEXT = Stage("text", "features", features.run, "text", "native", 400)
EMBED = Stage("embed", "features", embed.run, "embeddings", "native", 400)
SCORE = Stage("score", "features", own_scores.run, "scores", "model", 600)
DEDUP = Stage("dedup", "dedup", dedup.run, "duplicates", "light", 400, barrier=True)
SELECT = Stage("select", "select", choose.run_select, "selections", "light", 400)
CAPTION = Stage("caption", "caption", caption.run, "captions", "light", 400)
CHECK = Stage("check", "check", check.run, "checks", "light", 400)
JUDGE = Stage("judge", "judge", choose.run_judge, "decisions", "light", 400)
EXPORT = Stage("export", "export", export.run, "shards", "native", 700)

PART_STAGES = (SCAN, TEXT, EMBED, SCORE, DEDUP, SELECT, CAPTION, CHECK, JUDGE)
"""Stages of a part, in order. `export` works on shards, after all parts."""

MEASURING = (TEXT, EMBED, SCORE)
"""Stages of the command `features`."""

DEDUP_LOOK = Stage("dedup_look", "dedup", dedup.look, "duplicates", "cpu", 400)
DEDUP_SEARCH = Stage("dedup_search", "dedup", dedup.search, "duplicates", "cpu", 1200)
"""The steps of `dedup` that are spread over workers; units of the second are shares of all clips."""

STAGES = {stage.name: stage for stage in (*PART_STAGES, DEDUP_LOOK, DEDUP_SEARCH, EXPORT)}


def carry_out(stage: Stage, worker: Worker, unit: int) -> bool:
    """Run a stage on a unit. Whether later stages may go on with it: not where a chat model has not answered all that it needs."""
    try:
        stage.run(worker, unit)
    except Unanswered as error:
        told = {"stage": stage.name, "part": unit, "questions": error.questions, "why": error.why}
        worker.emit({"kind": "unanswered", **told})
        return False
    return True
