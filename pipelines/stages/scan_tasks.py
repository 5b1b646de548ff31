"""What there is to scan of a part: sources, and the tasks that are left of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation import assemble, child
from curation.frame_note import Frames, take_all
from schemas.errors import ErrorCode

FATAL = (ErrorCode.TIMEOUT, ErrorCode.CRASHED, ErrorCode.POISON, ErrorCode.FORGOTTEN)
"""What ends a source when it happens to one of its segments: in one piece it would happen again."""


@dataclass(frozen=True)
class Task:
    """One scan by one child: of a segment, or of a source in one piece."""

    row: dict[str, Any]
    """Of the plan."""
    folder: Path
    """Where its answer goes."""
    whole: bool

    @property
    def cost(self) -> float:
        """Bytes to decode, about: for ordering the work."""
        return (self.row["bytes"] or 0) / (1 if self.whole else self.row["segments"])


@dataclass
class Source:
    """A source at work: its rows of the plan, what its scans answered, and what they cost this run."""

    rows: list[dict[str, Any]]
    base: Path
    left: list[Task] = field(default_factory=list)
    """Tasks that are to be done before its answers can be looked at (again)."""
    resumed: bool = True
    """Whether all answers are from a run before."""
    cpu_s: Counter[str] = field(default_factory=Counter)
    misfit: str | None = None
    """Why its segments do not make one source."""

    @property
    def segments(self) -> list[Task]:
        return [Task(row, self.base / row["segment_id"], row["segments"] == 1) for row in self.rows]

    @property
    def whole(self) -> Task:
        """The scan in one piece that takes the place of segments which do not fit."""
        return Task(self.rows[0], self.base / f"{self.rows[0]['segment_id']}-whole", True)

    def answers(self) -> list[tuple[Path, assemble.Answer]]:
        """(folder, answer) of the scan in one piece where there was one, else of every segment that has answered."""
        again = child.read_result(self.whole.folder)
        if again is not None:
            return [(self.whole.folder, again)]
        found = [(task.folder, child.read_result(task.folder)) for task in self.segments]
        return [(folder, answer) for folder, answer in found if answer is not None]

    def missing(self) -> list[Task]:
        """The tasks that are still to be done; none: the answers are there and fit."""
        found = self.answers()
        if len(found) == 1 and (len(self.rows) == 1 or found[0][0] == self.whole.folder):
            return []
        done = {folder for folder, _ in found}
        left = [task for task in self.segments if task.folder not in done]
        if left:
            return left
        answers = [answer for _, answer in found]
        if any(answer["source"]["error_code"] in FATAL for answer in answers):
            return []
        self.misfit = assemble.misfit(answers)
        return [] if self.misfit is None else [self.whole]

    def summary(self) -> tuple[dict[str, Any], int]:
        """The row of `sources` without manifest, and the number of clips, when nothing is missing."""
        source, _, clips = assemble.assemble([answer for _, answer in self.answers()])
        return source, sum(map(len, clips))

    def take_frames(self) -> Frames:
        """The frames that were decoded for it and are in no record yet, when nothing is missing. They are given once."""
        segments = take_all(task.folder / child.FRAMES_FILE for task in self.segments)
        if child.read_result(self.whole.folder) is None:
            return segments
        # The scan in one piece counts; what was decoded before it was in vain.
        again = segments.used + segments.run_up + segments.again
        return Frames(again=again, lost=segments.lost) + take_all([self.whole.folder / child.FRAMES_FILE])
