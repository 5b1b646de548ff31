"""Looking into large files while the plan is made, in a child process: a demuxer may hang or crash without harm. Room: pipelines."""

from __future__ import annotations

from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from curation.segments import WHOLE, Piece, divide
from pipelines.children import DEATHS, Children
from schemas.recipe import Plan

LIMIT_S = 60.0
"""A file that takes longer to open is planned as one piece; its scan will say what is wrong."""


class Divider(AbstractContextManager["Divider"]):
    """:func:`curation.segments.divide` in a child, which is started at the first file that is large enough to be looked into."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._children = Children(1)

    def __call__(self, path: Path, size: int | None, settings: Plan) -> list[Piece]:
        if size is None or size <= settings.segment_mb * 1e6:
            return [WHOLE]
        try:
            pieces: list[Piece] = self._children.submit(divide, path, size, settings, limit_s=self._limit_s).result()
        except (FutureTimeout, *DEATHS):
            return [WHOLE]
        return pieces

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._children.stop()
