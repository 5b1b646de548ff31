"""The one pass over a source: decode once, push every frame to shots, signals and stills, close clips as they become final."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from curation.decode import SourceReader, open_source
from curation.frames import TIMED, Transition
from curation.pixels import FrameMaker
from curation.shots import ClipMaker, ClipSpan, ShotFinder
from curation.signals import SignalSet
from curation.source_rows import source_columns
from curation.stills import CANDIDATES_PER_SECOND, Still, StillPicker
from schemas import ids
from schemas.recipe import Scan

NEVER = 1 << 62


@dataclass
class ScanResult:
    """What one pass found. Stills lie in the file that was handed in; clips name their byte ranges in it."""

    source: dict[str, Any]
    """Columns of `sources` except identity and manifest."""
    transitions: list[dict[str, Any]] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    """Columns of `clips`, with ``stills``: list of (frame, offset, size) in the stills file."""
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds by kind of work, estimated from every ``TIMED``-th frame. For the run's record, never for a table."""
    rescanned_frames: int = 0
    """Frames of a first pass with several threads that was thrown away. Depends on the machine, so for the run's record too."""


def scan_source(
    path: Path,
    source_id: str,
    settings: Scan,
    stills_file: BinaryIO,
    *,
    threads: int = 1,
    alive: Callable[[], None] = lambda: None,
) -> ScanResult:
    """Scan one source.

    Args:
        alive: called after every frame, so that a watcher can tell slow from stuck.

    Raises:
        SourceFailure: nothing of the source is usable.
    """
    with open_source(path, threads, max_pixels=settings.max_pixels) as reader:
        run = _Pass(reader, source_id, settings, stills_file)
        run.run(alive)
        if threads != 1 and reader.failure() is not None:
            # Damaged and truncated files decode differently with several threads, which may even hide the error: only the
            # answer of one thread is the same everywhere.
            spent = reader.tally.frames
            stills_file.seek(0)
            stills_file.truncate()
            result = scan_source(path, source_id, settings, stills_file, threads=1, alive=alive)
            result.rescanned_frames = spent
            return result
        return run.result()


class _Pass:
    """State of one forward pass."""

    def __init__(self, reader: SourceReader, source_id: str, settings: Scan, stills_file: BinaryIO) -> None:
        self._reader = reader
        self._source_id = source_id
        self._settings = settings
        self._file = stills_file
        self._finder = ShotFinder(settings.shots)
        self._maker = ClipMaker(settings.shots)
        self._signals = SignalSet()
        self._stills = StillPicker(settings.stills)
        self._found: list[tuple[Transition, float, float]] = []
        self._clips: list[dict[str, Any]] = []
        self._times: dict[int, float] = {}
        self._seconds = {"decode": 0.0, "frames": 0.0, "shots": 0.0, "signals": 0.0, "stills": 0.0}

    def run(self, alive: Callable[[], None]) -> None:
        reader, probe = self._reader, self._reader.probe
        maker = FrameMaker(probe)
        luma_tick = still_tick = -NEVER
        start = self._now(0)
        for raw, index, pts in reader.decoded():
            mark = self._spend("decode", start, index)
            seconds = float(pts * probe.time_base)
            luma_now, still_now = int(seconds * self._signals.luma_rate // 1), int(seconds * CANDIDATES_PER_SECOND // 1)
            frame = maker.make(raw, index, pts, with_luma=luma_now != luma_tick)
            luma_tick = luma_now
            mark = self._spend("frames", mark, index)
            self._signals.push(frame)
            mark = self._spend("signals", mark, index)
            if still_now != still_tick:
                still_tick = still_now
                jpeg = maker.still(raw, self._settings.stills.short_side, self._settings.stills.quality)
                self._stills.add(Still(index, seconds, jpeg))
                mark = self._spend("stills", mark, index)
            self._times[index] = seconds
            self._maker.push_time(index, pts, seconds)
            self._note(self._finder.push(frame), self._finder.settled)
            self._spend("shots", mark, index)
            alive()
            start = self._now(index + 1)
        tally = reader.tally
        end_pts = tally.end_pts if tally.end_pts is not None else 0
        self._times[tally.frames] = float(end_pts * probe.time_base)
        self._note(self._finder.flush(), tally.frames)
        self._close(self._maker.finish(end_pts, float(end_pts * probe.time_base)))

    @staticmethod
    def _now(index: int) -> float:
        return 0.0 if index % TIMED else time.thread_time()

    def _spend(self, kind: str, since: float, index: int) -> float:
        """Book the CPU time since ``since`` under a kind of work, if this frame is one of those that are timed."""
        if index % TIMED:
            return 0.0
        now = time.thread_time()
        self._seconds[kind] += TIMED * (now - since)
        return now

    def _note(self, transitions: list[Transition], settled: int) -> None:
        for transition in transitions:
            self._found.append((transition, self._time_of(transition.start_frame), self._time_of(transition.end_frame)))
        self._close(self._maker.advance(transitions, settled))
        keep = min(self._maker.needed_from, settled)
        self._signals.forget(keep)
        self._stills.forget(keep)
        while self._times and (first := next(iter(self._times))) < keep:
            del self._times[first]

    def _time_of(self, frame: int) -> float:
        known = self._times.get(frame)
        if known is not None:
            return known
        # The frame after the newest one: not decoded yet.
        last = max(self._times)
        return self._times[last]

    def _close(self, clips: list[ClipSpan]) -> None:
        reader, probe = self._reader, self._reader.probe
        for item in clips:
            span = item.span
            frames = span.end_frame - span.start_frame
            duration = span.end_s - span.start_s
            placed = []
            for still in self._stills.close(span):
                placed.append((still.frame, self._file.tell(), len(still.jpeg)))
                self._file.write(still.jpeg)
            self._clips.append(
                {
                    "clip_id": ids.clip_id(self._source_id, probe.stream_index, span.start_pts, span.end_pts),
                    "source_id": self._source_id,
                    "shot": item.shot,
                    "piece": item.piece,
                    "stream_index": probe.stream_index,
                    "start_pts": span.start_pts,
                    "end_pts": span.end_pts,
                    "time_base": f"{probe.time_base.numerator}/{probe.time_base.denominator}",
                    "start_frame": span.start_frame,
                    "end_frame": span.end_frame,
                    "num_frames": frames,
                    "start_s": span.start_s,
                    "end_s": span.end_s,
                    "duration_s": duration,
                    "fps": frames / duration,
                    "width": probe.width,
                    "height": probe.height,
                    "damaged_frames": reader.tally.damaged_within(span.start_frame, span.end_frame),
                    **self._signals.close(span),
                    "stills": placed,
                }
            )

    def result(self) -> ScanResult:
        reader = self._reader
        for name, seconds in self._signals.timings.items():
            self._seconds[f"signals.{name}"] = seconds
        failure = reader.failure()
        source = source_columns(reader)
        source.update(
            status="partial" if failure else "ok",
            error_code=str(failure[0]) if failure else None,
            error=failure[1] if failure else None,
        )
        transitions = [
            {
                "source_id": self._source_id,
                "start_frame": t.start_frame,
                "end_frame": t.end_frame,
                "start_s": start_s,
                "end_s": end_s,
                "kind": t.kind,
                "score": float(t.score),
                "detector": t.detector,
            }
            for t, start_s, end_s in self._found
        ]
        return ScanResult(source, transitions, self._clips, self._seconds)
