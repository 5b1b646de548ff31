"""Backend `fixed`: no transitions are sought; a clip begins every ``fixed_s``."""

from __future__ import annotations

from curation.frames import Frame, Transition


class NoFinder:
    """Finds nothing. With the interface of :class:`~curation.shots.finder.ShotFinder`."""

    settled = 0
    """The first frame after the newest: no transition will begin before it, or ever."""
    change = 0.0
    """Every frame is as good a place to split at as any other."""

    def push(self, frame: Frame) -> list[Transition]:
        self.settled = frame.index + 1
        return []

    def flush(self) -> list[Transition]:
        return []
