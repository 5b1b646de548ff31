"""Stage `score`: what scorers and taggers from outside say of the clips that the cheap rules leave.

They run in the worker itself, for they may hold a network; each is made once in a process. What another variant measured in the same way
is taken over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from curation.captioning.contract import ClipFacts
from curation.evenly import evenly
from curation.own_scores import score_clips
from curation.plugins import SCORERS, Plugin, scorer
from pipelines.context import Worker
from pipelines.stages.caption import facts_of
from pipelines.stages.measuring import measure_part, report
from pipelines.stages.still_reading import Found

NAME = "score"

TOLD_EVERY = 256
"""Clips after which the display hears of it."""


def run(worker: Worker, part: int) -> None:
    """Score the clips of one part; does nothing when it is committed already."""
    settings = worker.variant("scores").settings

    def plugins() -> list[Plugin]:
        # Made at the first need, once in a process: a part that is committed needs none.
        return [scorer(name) for name in settings["scorers"]]

    def scores(clips: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        facts = facts_of(worker.corpus, part, clips)
        shown = [replace(clip, stills=evenly(clip.stills, settings["stills"])) for clip in facts]
        for start in range(0, len(shown), TOLD_EVERY):
            yield from _score(worker, part, shown[start : start + TOLD_EVERY], plugins())

    measure_part(worker, part, NAME, "scores", lambda row: _complete(row, plugins()), scores)


def _score(worker: Worker, part: int, facts: list[ClipFacts], plugins: list[Plugin]) -> list[dict[str, Any]]:
    began = time.process_time()
    rows, warnings = score_clips(facts, plugins)
    stills = sum(len(clip.stills) for clip in facts)
    report(worker, part, "scores", Found(rows, stills, time.process_time() - began))
    for text in warnings:
        worker.emit({"kind": "note", "text": text})
    return rows


def _complete(row: dict[str, object], plugins: list[Plugin]) -> bool:
    """Whether every scorer gave a number: one that failed is asked again. Of a tagger that cannot be told: no tag is an answer, too."""
    heads = {name.partition(".")[0] for name, _ in row["user_scores"]}  # type: ignore[attr-defined]
    return all(plugin.name in heads for plugin in plugins if plugin.group == SCORERS)
