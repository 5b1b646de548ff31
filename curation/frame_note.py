"""Frames that were decoded and stand in no record yet, noted on disk beside the work, so that they are not lost with its process.

A child that decodes keeps its note up to date; whoever puts the frames into a run's record takes the note away. So every frame is
booked once, whatever is killed: by the worker that hears of the answer, at the end of the run, or by the run after a killed one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType

from curation.storage import storage_errors

SUFFIX = ".frames"

_WIDTH = 80
"""Bytes of a note: always the same, so that it is written over in one piece."""

_EVERY_S = 0.25


@dataclass(frozen=True)
class Frames:
    """Frames decoded, by what became of them."""

    used: int = 0
    """Behind an answer."""
    run_up: int = 0
    """At seams, for the frames beside them."""
    again: int = 0
    """In a first pass that was thrown away for a second one."""
    lost: int = 0
    """In passes that gave no answer: interrupted, crashed, over their time."""

    def __add__(self, other: Frames) -> Frames:
        return Frames(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def total(self) -> int:
        return self.used + self.run_up + self.again + self.lost


class FrameNote:
    """The note of one pass, for the process that decodes. What a pass before it left there counts as lost.

    Raises:
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._frames = 0  # every one is lost while there is no answer
        self._saved = 0.0
        self._before = _read(path).total
        self._what = f"Writing to `{path}`"
        with storage_errors(self._what):
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)

    def __enter__(self) -> FrameNote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def count(self, frames: int = 1) -> None:
        """So many more were decoded. Cheap: the file is brought up to date at most four times a second."""
        self._frames += frames
        if time.monotonic() - self._saved >= _EVERY_S:
            self.save()

    def save(self) -> None:
        """Bring the file up to date."""
        self._saved = time.monotonic()
        self._write(Frames(lost=self._before + self._frames))

    def settle(self, frames: Frames) -> None:
        """There is an answer, behind which stand these frames."""
        self._write(frames + Frames(lost=self._before))

    def _write(self, frames: Frames) -> None:
        text = " ".join(map(str, astuple(frames))).ljust(_WIDTH)
        with storage_errors(self._what):
            os.pwrite(self._file, text.encode("ascii"), 0)


def take(path: Path) -> Frames:
    """What a note says; from now on it is the caller's to book."""
    frames = _read(path)
    path.unlink(missing_ok=True)
    return frames


def take_all(paths: Iterable[Path]) -> Frames:
    """The notes of several files together."""
    return sum(map(take, paths), Frames())


def take_below(folder: Path) -> Frames:
    """All notes below a folder together."""
    return take_all(folder.rglob(f"*{SUFFIX}"))


def _read(path: Path) -> Frames:
    try:
        return Frames(*map(int, path.read_text(encoding="ascii").split()))
    except (FileNotFoundError, ValueError, TypeError):  # a power failure may have cut it short
        return Frames()
