"""How much of a clip's stills is under text: what a child process does for the stage `features`.

In: where JPEGs lie in a part's stills tar. Out: rows of the table `text`. The picture counts without its black bars.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

from curation.storage import Store
from models.text_detector.detector import TextDetector
from pipelines.stages.still_reading import Found, Look, read_still


def look(uri: str, tar: str, clips: Sequence[Look], long_side: int, min_score: float) -> Found:
    """Look at clips whose stills lie in one tar of the corpus at ``uri``."""
    detector, store = _detector(long_side, min_score), Store(uri)
    began = time.process_time()
    rows = []
    for clip in clips:
        pictures = [read_still(store, tar, place, clip.crop) for place in clip.stills]
        rows.append(text_row(clip.clip_id, [detector.area(p) for p in pictures if p is not None]))
    return Found(rows, sum(row["text_stills"] for row in rows), time.process_time() - began)


def text_row(clip_id: str, areas: Sequence[float]) -> dict[str, Any]:
    """A row of `text`, from the share of each still that was looked at."""
    return {
        "clip_id": clip_id,
        "text_area": sum(areas) / len(areas) if areas else None,
        "text_area_max": max(areas, default=None),
        "text_stills": len(areas),
    }


@functools.cache
def _detector(long_side: int, min_score: float) -> TextDetector:
    """Loaded once in a process."""
    return TextDetector(long_side, min_score)
