"""The one pass over a source: decode once, push every frame to shots, signals and stills, close clips as they become final."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from av.audio.stream import AudioStream
from av.packet import Packet

from curation.decode import SourceReader, open_source
from curation.frames import TIMED, Frame, Span, Transition
from curation.hearing import Hearing
from curation.instants import newest_instant
from curation.pixels import FrameMaker
from curation.segments import NEVER, WHOLE, Piece
from curation.shots import ClipMaker, ClipSpan
from curation.shots.backends import clip_settings, make_finder
from curation.shots.network import ShotNetwork
from curation.signals import SignalSet
from curation.signals.loudness import Loudness
from curation.source_rows import source_columns
from curation.stills import CANDIDATES_PER_SECOND, Still, StillPicker
from schemas import ids
from schemas.recipe import Scan

BURST, LEAST_BURST, MOST_LUMA = 40, 20, 3
"""Frames that are decoded before signals and finder look at them, so that these find their code in the processor's caches. One at a
time, half as much CPU again goes into both at 1080p. A burst keeps so many whole frames at most."""
SOUND_BURST = 96
"""Packets of sound that are decoded in a row, for the same reason."""


@dataclass
class ScanResult:
    """What one pass found. Stills lie in the file that was handed in; clips name their byte ranges in it.

    Frames are counted from the first that the pass owns: of the source, or of the segment.
    """

    source: dict[str, Any]
    """Columns of `sources` except identity and manifest."""
    transitions: list[dict[str, Any]] = field(default_factory=list)
    clips: list[dict[str, Any]] = field(default_factory=list)
    """Columns of `clips`, with ``stills``: list of (frame, offset, size) in the stills file."""
    segment: dict[str, Any] | None = None
    """What :mod:`curation.assemble` must know to join it with its neighbours."""
    seconds: dict[str, float] = field(default_factory=dict)
    """CPU seconds by kind of work; of small frames and single signals estimated from every ``TIMED``-th. For the run's record,
    never for a table."""
    rescanned_frames: int = 0
    """Frames of a first pass with several threads that was thrown away. Depends on the machine, so for the run's record too."""


def scan_source(
    path: Path,
    source_id: str,
    settings: Scan,
    stills_file: BinaryIO,
    *,
    threads: int = 1,
    piece: Piece = WHOLE,
    network: ShotNetwork | None = None,
    alive: Callable[[], None] = lambda: None,
) -> ScanResult:
    """Scan one source, or one segment of it.

    Args:
        source_id: what rows and clip ids are made with; those of a source in several segments are named when it is assembled.
        piece: the span to scan. A segment is decoded with one thread.
        network: for backends that need one.
        alive: called after every frame, so that a watcher can tell slow from stuck.

    Raises:
        SourceFailure: nothing of the source is usable.
    """
    threads = threads if piece == WHOLE else 1
    with open_source(path, threads, max_pixels=settings.max_pixels, piece=piece) as reader:
        run = _Pass(reader, source_id, settings, stills_file, network)
        run.run(alive)
        if threads != 1 and reader.failure() is not None:
            # Damaged and truncated files decode differently with several threads, which may even hide the error: only the
            # answer of one thread is the same everywhere.
            spent = reader.tally.decoded
            stills_file.seek(0)
            stills_file.truncate()
            result = scan_source(path, source_id, settings, stills_file, network=network, alive=alive)
            result.rescanned_frames = spent
            return result
        return run.result()


class _Pass:
    """State of one forward pass."""

    def __init__(
        self, reader: SourceReader, source_id: str, settings: Scan, stills_file: BinaryIO, network: ShotNetwork | None
    ) -> None:
        self._reader = reader
        self._source_id = source_id
        self._settings = settings
        self._file = stills_file
        self._finder = make_finder(settings.shots, network)
        lower, upper = reader.bounds
        self._maker = ClipMaker(
            clip_settings(settings.shots),
            owned_from=None if lower == -NEVER else lower,
            owned_to=None if upper == NEVER else upper,
        )
        self._frame_maker = FrameMaker(reader.probe)
        self._signals = SignalSet()
        self._loudness = Loudness()
        self._stills = StillPicker(settings.stills)
        self._found: list[tuple[Transition, int, int]] = []  # with the time stamps of its two ends
        self._clips: list[dict[str, Any]] = []
        self._unheard: deque[tuple[dict[str, Any], Span]] = deque()  # clips whose sound may not all have come by yet
        self._pts: dict[int, int] = {}  # of the frames that a transition or clip to come may name
        self._first = 0  # number of the first frame that the pass owns
        self._stop = 0  # number of the first frame after those
        self._seconds = {"decode": 0.0, "frames": 0.0, "shots": 0.0, "signals": 0.0, "stills": 0.0, "sound": 0.0}
        self._packets: list[Packet[AudioStream]] = []  # of sound, to be heard
        if reader.audio is not None:
            self._hearing = Hearing(reader.audio, self._loudness)
            reader.listen(self._hear)

    def run(self, alive: Callable[[], None]) -> None:
        """Read every frame. Those before the piece are run-up for all, those after it for the shot finder alone."""
        reader = self._reader
        num, den = reader.probe.time_base.as_integer_ratio()
        frames = 0  # that came by, run-up included
        for burst in self._bursts(alive):
            frames = burst[-1].index + 1
            self._look(burst)
        self._hear_packets()
        end_pts = reader.end_pts
        self._pts[frames] = end_pts
        self._note(self._finder.flush(), frames)
        self._close(self._maker.finish(end_pts, end_pts * num / den))

    def _bursts(self, alive: Callable[[], None]) -> Iterator[list[Frame]]:
        """Decode and shrink; candidates for stills are put aside on the way, while the picture is in the processor's caches. For the
        same reason a burst ends with a frame whose luma is sampled; one more is kept within it, at the usual rates."""
        maker, spent = self._frame_maker, self._seconds
        lower, upper = self._reader.bounds
        num, den = self._reader.probe.time_base.as_integer_ratio()
        luma_rate, short_side = self._signals.luma_rate, self._settings.stills.short_side
        luma_tick = still_tick = -NEVER
        burst: list[Frame] = []
        lumas = 0
        start = time.thread_time()
        for raw, index, pts in self._reader.decoded():
            seconds = pts * num / den
            luma_now, still_now = newest_instant(seconds, luma_rate), int(seconds * CANDIDATES_PER_SECOND // 1)
            timed = index % TIMED == TIMED - 1  # not the first frame, which sets libraries up
            mark = time.thread_time() if timed else 0.0
            frame = maker.make(raw, index, pts, with_luma=luma_now != luma_tick)
            if timed:
                took = TIMED * (time.thread_time() - mark)
                spent["frames"] += took
                spent["decode"] -= took
            if pts < lower:
                self._first = index + 1
            if pts < upper:
                self._stop = index + 1
            if still_now != still_tick and lower <= pts < upper:
                mark = time.thread_time()
                self._stills.add(Still(index, seconds, maker.shrunk(raw, short_side)))
                took = time.thread_time() - mark
                spent["stills"] += took
                spent["decode"] -= took
            luma_tick, still_tick = luma_now, still_now
            burst.append(frame)
            lumas += frame.luma is not None
            if len(burst) == BURST or (frame.luma is not None and (len(burst) >= LEAST_BURST or lumas == MOST_LUMA)):
                spent["decode"] += time.thread_time() - start
                yield burst
                burst, lumas = [], 0
                start = time.thread_time()
            alive()
        spent["decode"] += time.thread_time() - start
        if burst:
            yield burst

    def _look(self, burst: list[Frame]) -> None:
        """Show frames to signals and finder: many in a row, since a decoder in between would push their code out of the caches."""
        finder, maker, spent = self._finder, self._maker, self._seconds
        start = time.thread_time()
        for frame in burst:
            if frame.index < self._stop:
                self._signals.push(frame)
        between = time.thread_time()
        spent["signals"] += between - start
        for frame in burst:
            self._pts[frame.index] = frame.pts
        before = spent["stills"]
        for frame in burst:
            found = finder.push(frame)
            maker.push_time(frame.index, frame.pts, frame.time, finder.change)
            if found:
                self._note(found, finder.settled)
        self._note([], finder.settled)
        spent["shots"] += (
            time.thread_time() - between - (spent["stills"] - before)
        )  # JPEGs of clips that ended are apart

    def _hear(self, packet: Packet[AudioStream]) -> None:
        self._packets.append(packet)
        if len(self._packets) == SOUND_BURST:
            before = self._seconds["sound"]
            self._hear_packets()
            self._seconds["decode"] -= self._seconds["sound"] - before  # it was heard between two frames

    def _hear_packets(self) -> None:
        start = time.thread_time()
        for packet in self._packets:
            self._hearing.packet(packet)
        self._packets.clear()
        self._seconds["sound"] += time.thread_time() - start

    def _listen(self, until_s: float) -> None:
        """Give the clips their loudness of which all sound has come by. Frames and sound are not in step, and with several threads
        less so: what is a second behind the newest sound is complete."""
        while self._unheard and self._unheard[0][1].end_s + 1 <= until_s:
            clip, span = self._unheard.popleft()
            clip.update(self._loudness.close(span))
            self._loudness.forget(span.end_s - 1)

    def _note(self, transitions: list[Transition], settled: int) -> None:
        for transition in transitions:
            self._found.append((transition, self._pts_of(transition.start_frame), self._pts_of(transition.end_frame)))
        self._close(self._maker.advance(transitions, settled))
        keep = min(self._maker.needed_from, settled)
        self._signals.forget(keep)
        self._stills.forget(keep)
        while self._pts and (first := next(iter(self._pts))) < keep:
            del self._pts[first]

    def _pts_of(self, frame: int) -> int:
        # The frame after the newest one is not decoded yet.
        return self._pts[frame] if frame in self._pts else self._pts[max(self._pts)]

    def _close(self, clips: list[ClipSpan]) -> None:
        probe = self._reader.probe
        for item in clips:
            span = item.span
            frames = span.end_frame - span.start_frame
            duration = span.end_s - span.start_s
            placed = []
            self._seconds["stills"] -= time.thread_time()
            for still in self._stills.close(span):
                jpeg = self._frame_maker.jpeg(still.picture, self._settings.stills.quality)
                placed.append((still.frame - self._first, self._file.tell(), len(jpeg)))
                self._file.write(jpeg)
            self._seconds["stills"] += time.thread_time()
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
                    "start_frame": span.start_frame - self._first,
                    "end_frame": span.end_frame - self._first,
                    "num_frames": frames,
                    "start_s": span.start_s,
                    "end_s": span.end_s,
                    "duration_s": duration,
                    "fps": frames / duration,
                    "width": probe.width,
                    "height": probe.height,
                    "damaged_frames": 0,  # known at the end
                    **self._signals.close(span),
                    "stills": placed,
                }
            )
            self._unheard.append((self._clips[-1], span))
        self._listen(self._loudness.end_s)

    def result(self) -> ScanResult:
        reader, first = self._reader, self._first
        for name, seconds in self._signals.timings.items():
            self._seconds[f"signals.{name}"] = seconds
        self._listen(math.inf)
        for clip in self._clips:
            if reader.audio is not None and not self._hearing.seconds:
                clip["has_sound"] = None  # there is some, but it does not decode
            clip["damaged_frames"] = reader.tally.damaged_within(clip["start_frame"] + first, clip["end_frame"] + first)
        time_base = reader.probe.time_base
        transitions = [
            {
                "source_id": self._source_id,
                "start_frame": t.start_frame - first,
                "end_frame": t.end_frame - first,
                "start_s": float(start_pts * time_base),
                "end_s": float(end_pts * time_base),
                "kind": t.kind,
                "score": float(t.score),
                "detector": t.detector,
            }
            for t, start_pts, end_pts in self._found
            if first <= t.start_frame < self._stop
        ]
        return ScanResult(source_columns(reader), transitions, self._clips, self._segment(), self._seconds)

    def _segment(self) -> dict[str, Any]:
        reader = self._reader
        return {
            "header": reader.header.as_json(),
            "tally": reader.tally.as_json(),
            "pts_before": reader.pts_before,
            "pts_after": reader.pts_after,
            "shots": self._maker.shots,
            "pieces": self._maker.pieces,
            "seam_before": self._near(self._first),
            "seam_after": self._near(self._stop),
        }

    def _near(self, seam: int) -> list[list[Any]]:
        """The transitions at a seam, trims included: on which side each begins, and where it ends for the other side's clips.

        One that begins before the seam reaches to its end, one that begins behind it to its start.
        """
        trim = self._settings.shots.trim_frames
        return [
            ["before", end_pts] if t.start_frame < seam else ["behind", start_pts]
            for t, start_pts, end_pts in self._found
            if t.start_frame - trim <= seam <= t.end_frame + trim
        ]
