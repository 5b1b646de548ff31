"""Stage `text`, of the command `features`: how much of a clip's stills is under text.

By default it looks only at clips that the cheap rules leave: those of `select` whose columns are all known after the scan. The other
clips get no row, and their columns are NULL. What another variant measured in the same way is taken over, never measured again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.context import Worker
from pipelines.stages.measuring import in_children, measure_part
from pipelines.stages.still_reading import to_look
from pipelines.stages.text_area import look, text_row

NAME = "text"

BATCH = 8
"""Clips that a child looks at in one task: some seconds of work."""

STILL_LIMIT_S = 60.0
"""A child may take so long for a still, loading the network included."""


def run(worker: Worker, part: int) -> None:
    """Look for text in the clips of one part; does nothing when it is committed already."""
    measure_part(
        worker, part, NAME, "text", lambda row: bool(row["text_stills"]), lambda clips: _look_at(worker, part, clips)
    )


def _look_at(worker: Worker, part: int, clips: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    settings = worker.variant("text").settings
    return in_children(
        worker,
        part,
        [to_look(clip, settings["stills"]) for clip in clips],
        BATCH,
        look,
        (settings["long_side"], settings["min_score"]),
        feature="text",
        doing="looking for text in",
        nothing=lambda clip: text_row(clip.clip_id, []),
        still_limit_s=STILL_LIMIT_S,
    )
