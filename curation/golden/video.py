"""What a golden video is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curation.golden.timeline import Timeline


@dataclass(frozen=True, slots=True)
class GoldenVideo:
    """One file: how its pictures are drawn, how it is stored, and what is true about it."""

    name: str
    """Stem of the file; unique over all sets."""
    sets: tuple[str, ...]
    fps: float
    size: tuple[int, int]
    """(width, height) of the pictures that ``frames`` yields, in pixels, as stored."""
    frames: Callable[[], Iterator[np.ndarray]]
    """All pictures in order, (h, w, 3) uint8 RGB (with alpha: 4 channels), drawn anew at each call."""
    truth: dict[str, Any] = field(default_factory=dict)
    """Everything known beyond name, rate and size; see :meth:`describe`."""
    suffix: str = ".mp4"
    caption: str | None = None
    """Goes into a ``.txt`` of the same stem."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of :func:`curation.golden.encode.encode`."""
    damage: Callable[[bytes], bytes] | None = None
    """What is done to the finished file; None for a sound one."""
    store: Callable[[Path], object] | None = None
    """Writes the file to a path, for one that cannot be had by encoding ``frames``; None for all others."""

    @property
    def file(self) -> str:
        """File name."""
        return self.name + self.suffix

    def describe(self) -> dict[str, Any]:
        """The entry in ``golden.json``: rate, size as displayed, caption, and the video's own truth."""
        entry: dict[str, Any] = {
            "sets": list(self.sets),
            "fps": self.fps,
            "width": self.size[0],
            "height": self.size[1],
        }
        if self.caption is not None:
            entry["caption"] = self.caption
        return entry | self.truth


def played(
    name: str,
    sets: tuple[str, ...],
    timeline: Timeline,
    *,
    fps: float = 25.0,
    size: tuple[int, int] = (640, 360),
    suffix: str = ".mp4",
    caption: str | None = None,
    encoding: Mapping[str, Any] | None = None,
    damage: Callable[[bytes], bytes] | None = None,
    **truth: Any,
) -> GoldenVideo:
    """A golden video that shows ``timeline``; further keyword arguments are further truth."""
    known = timeline.truth(fps, *size) | truth
    return GoldenVideo(name, sets, fps, size, timeline.frames, known, suffix, caption, dict(encoding or {}), damage)
