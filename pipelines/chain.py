"""The stages as the executors see them: a name, a function of a number, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.context import Worker
from pipelines.stages import caption, choose, export, features, scan


@dataclass(frozen=True)
class Stage:
    """One stage. ``run`` does one part (or one shard) and nothing when that is done already."""

    name: str
    run: Callable[[Worker, int], None]
    table: str
    native: bool
    """Whether it uses a pool of children, and so wants several processors; else it is light."""
    memory_mb: int
    """Of the worker, or of each child where it has children."""


SCAN = Stage("scan", scan.run, "sources", native=True, memory_mb=500)
FEATURES = Stage("features", features.run, "text", native=True, memory_mb=400)
SELECT = Stage("select", choose.run_select, "selections", native=False, memory_mb=400)
CAPTION = Stage("caption", caption.run, "captions", native=False, memory_mb=400)
JUDGE = Stage("judge", choose.run_judge, "decisions", native=False, memory_mb=400)
EXPORT = Stage("export", export.run, "shards", native=True, memory_mb=700)

PART_STAGES = (SCAN, FEATURES, SELECT, CAPTION, JUDGE)
"""Stages of a part, in order. `export` works on shards, after all parts."""

STAGES = {stage.name: stage for stage in (*PART_STAGES, EXPORT)}
