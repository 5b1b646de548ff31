"""Counts of one decode, and what they say about the source: its rate, its damage, whether all is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from schemas.errors import ErrorCode

GAP = 1.5
"""A gap of more than this many usual gaps lacks a frame, where frames come at a constant rate. Most such gaps are meant: an encoder left
out what looks like the frame before."""
HOLE = 4
"""A gap of more than this many usual gaps is a hole: so many frames that look alike in a row are rare."""
_REGULAR = 0.98
"""Least share of usual gaps in a stream of constant rate. Screen recordings and phones at variable rate are far below."""
_MOST_FPS = 1000.0
"""Frames per second that are believed. A header may say that all frames of a film are shown within a millisecond."""
_MOST_GAPS = 64
"""Different gaps that are told apart; a stream with more of them has no constant rate."""


@dataclass(slots=True)
class Header:
    """What the header promises of the video stream; None where it says nothing."""

    time_base: Fraction
    frames: int | None
    seconds: float | None
    rate: Fraction | None
    """Frames per second."""

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON knows; :meth:`of` reads them."""
        rate = None if self.rate is None else str(self.rate)
        return {"time_base": str(self.time_base), "frames": self.frames, "seconds": self.seconds, "rate": rate}

    @staticmethod
    def of(values: dict[str, Any]) -> Header:
        rate = None if values["rate"] is None else Fraction(values["rate"])
        return Header(Fraction(values["time_base"]), values["frames"], values["seconds"], rate)

    @property
    def step(self) -> int:
        """Gap between two frames in pts at the header's rate; 25 per second where it tells none."""
        return max(1, round(1 / ((self.rate or Fraction(25)) * self.time_base)))

    @property
    def slack(self) -> float:
        """Differences between gaps in pts that are only rounding: two ticks, or 2 ms."""
        return max(2.0, 0.002 / float(self.time_base))


@dataclass(slots=True)
class Tally:
    """Counts of one decode. All but what was decoded is about owned frames: all frames, or those of the segment that is scanned."""

    frames: int = 0
    decoded: int = 0
    """Frames that the decoder gave, each counted once for each time."""
    run_up: int = 0
    """Those among them that lie before and after a segment."""
    damaged: list[tuple[int, int]] = field(default_factory=list)
    """Half-open runs of damaged frames, by the number that the reader gave the frame; in order and apart after :meth:`settle`."""
    doubtful: list[tuple[int, int]] = field(default_factory=list)
    """The same for frames between a hole and the next recovery point; they count as damaged if frames were lost there."""
    errors: int = 0
    """Packets that the demuxer called corrupt, or that it or the decoder refused."""
    foreign_sets: bool = False
    """A packet brought parameter sets of H.264 or HEVC that the container's header does not have."""
    bare_keyframes: bool = False
    """A codec keyframe of H.264 or HEVC came without parameter sets of its own."""
    mended_stamps: int = 0
    """Frames whose time stamp was missing or ran backwards."""
    first_pts: int | None = None
    last_pts: int | None = None
    end_pts: int | None = None
    """Time stamp at which the last frame ends."""
    gaps: dict[int, int] = field(default_factory=dict)
    """Gap between two frames in pts → how often it was seen."""
    least_gap: int | None = None
    most_gap: int | None = None
    last_packet_s: float = 0.0
    """Latest end of any packet of any stream, in seconds."""

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON knows; :meth:`of` reads them."""
        return asdict(self) | {"gaps": list(self.gaps.items())}

    @staticmethod
    def of(values: dict[str, Any]) -> Tally:
        return Tally(**values | {"gaps": dict(values["gaps"])})

    @staticmethod
    def joined(tallies: Iterable[Tally]) -> Tally:
        """Of neighbours in time, none without a frame, as if they had been one. Damaged frames keep the numbers they had.

        What was doubtful is forgotten: if there are holes, the source has to be scanned in one piece (:func:`assemble.misfit`).
        """
        whole = Tally()
        for tally in tallies:
            for gap, count in tally.gaps.items():
                whole.note_gap(gap, count)
            if whole.last_pts is None:
                whole.first_pts = tally.first_pts
            elif tally.first_pts is not None:
                whole.note_gap(tally.first_pts - whole.last_pts)
            whole.last_pts, whole.end_pts = tally.last_pts, tally.end_pts
            whole.last_packet_s = max(whole.last_packet_s, tally.last_packet_s)
            whole.frames += tally.frames
            whole.decoded += tally.decoded
            whole.run_up += tally.run_up
            whole.damaged += tally.damaged
            whole.errors += tally.errors
            whole.mended_stamps += tally.mended_stamps
            whole.foreign_sets |= tally.foreign_sets
            whole.bare_keyframes |= tally.bare_keyframes
        return whole

    @property
    def seekable(self) -> bool:
        """Whether decoding may begin at any codec keyframe: not where parameter sets came once and later keyframes lack them."""
        return not (self.foreign_sets and self.bare_keyframes)

    def note_gap(self, gap: int, count: int = 1) -> None:
        """Two frames follow each other at this distance."""
        seen = self.gaps.get(gap)
        if seen is not None:
            self.gaps[gap] = seen + count
            return
        if len(self.gaps) < _MOST_GAPS:
            self.gaps[gap] = count
        self.least_gap = gap if self.least_gap is None else min(self.least_gap, gap)
        self.most_gap = gap if self.most_gap is None else max(self.most_gap, gap)

    def mark(self, index: int) -> None:
        """Note a damaged frame, once or more often."""
        _extend(self.damaged, index)

    def doubt(self, index: int) -> None:
        """Note a frame that refers to frames that may have been lost."""
        _extend(self.doubtful, index)

    def settle(self, header: Header | None) -> None:
        """After the last frame: frames after a hole are damaged if what the hole lacks was lost; then put the runs in order.

        Args:
            header: None for a segment, which has fewer frames than the header counts anyway: its doubtful frames stay doubtful.
        """
        if header is not None:
            self.damaged += self.doubtful if self.lost(header) else []
            self.doubtful = []
        self.damaged = _merged(self.damaged)

    def damaged_within(self, start: int, end: int) -> int:
        """How many damaged frames lie in the half-open span."""
        return sum(max(0, min(end, stop) - max(start, first)) for first, stop in self.damaged)

    @property
    def damaged_frames(self) -> int:
        return sum(stop - first for first, stop in self.damaged)

    def usual_gap(self, header: Header) -> int | None:
        """The gap in pts that is seen most, where frames come at a constant rate; else None."""
        if self.frames < 8 or not self.gaps:
            return None
        usual = max(self.gaps, key=lambda gap: (self.gaps[gap], -gap))
        regular = sum(n for gap, n in self.gaps.items() if abs(gap - usual) <= header.slack)
        return usual if regular >= _REGULAR * (self.frames - 1) else None

    def holes(self, header: Header, least: float = HOLE) -> int:
        """Gaps of a stream of constant rate of more than ``least`` steps, in which frames are missing. They need not be lost: see
        :meth:`lost`."""
        usual = self.usual_gap(header)
        return 0 if usual is None else sum(n for gap, n in self.gaps.items() if gap > least * usual)

    def lost(self, header: Header) -> int:
        """Holes where frames are missing that the header counts. One that counts none may be that of a recording with pauses.

        Smaller gaps are not enough: an AVI counts the empty chunks that stand for repeated frames, and a frame that was lost looks
        just like them. Packets that gave no frame are errors, whatever the header says.
        """
        return self.holes(header) if header.frames is not None and header.frames > self.frames else 0

    def timestamp_faults(self, header: Header) -> int:
        """Mended time stamps, and gaps that the header does not explain: by its count, or where it has none by its rate."""
        usual = self.usual_gap(header)
        if header.frames is not None:
            doubtful = header.frames > self.frames
        else:
            doubtful = header.rate is not None and usual is not None and abs(usual - header.step) <= header.slack
        return self.mended_stamps + (self.holes(header, GAP) if doubtful else 0)

    def fps(self, header: Header) -> float | None:
        """Mean frame rate; the header's where there are fewer than two frames."""
        if self.frames > 1 and self.first_pts is not None and self.last_pts is not None:
            return (self.frames - 1) / float((self.last_pts - self.first_pts) * header.time_base)
        return float(header.rate) if header.rate else None

    def variable_fps(self, header: Header) -> bool:
        """Whether gaps between frames differ by more than rounding to the time base explains."""
        if self.least_gap is None or self.most_gap is None:
            return False
        return self.most_gap - self.least_gap > header.slack

    def duration_s(self, header: Header) -> float | None:
        """From the first frame to the end of the last, in seconds."""
        if self.first_pts is None or self.end_pts is None:
            return None
        return float((self.end_pts - self.first_pts) * header.time_base)

    def failure(self, header: Header) -> tuple[ErrorCode, str] | None:
        """After the last frame: why the source is only partly usable, or None."""
        end_s = max(self.last_packet_s, float((self.end_pts or 0) * header.time_base))
        first_s = float((self.first_pts or 0) * header.time_base)
        promised = header.seconds
        short = promised is not None and end_s - min(first_s, 0.0) < 0.9 * promised and promised - end_s > 0.5
        few = header.frames is not None and self.frames < 0.9 * header.frames
        stamps = self._unbelievable(header, few)
        if stamps is not None and not short:
            return ErrorCode.BAD_TIMESTAMPS, stamps
        # An edit list leaves out frames that the header counts, but no time that it promises.
        brief = promised is None or (self.duration_s(header) or 0.0) < 0.9 * promised
        lost = self.lost(header)
        # A file that is cut off within a packet has one faulty packet. That tells as well, as the duration of an AVI without its index
        # is that of what is left.
        if short or (few and not lost and (self.errors == 1 or (brief and not self.errors))):
            want = f"{promised:.1f} s" if short else f"{header.frames} frames"
            return (
                ErrorCode.TRUNCATED,
                f"the header announces {want}, the file ends after {end_s:.1f} s and {self.frames} frames",
            )
        if self.damaged or self.errors or lost:
            return (
                ErrorCode.DAMAGED,
                f"{self.damaged_frames} of {self.frames} frames are damaged or follow damage"
                + (f"; {self.errors} packets did not decode" if self.errors else "")
                + (f"; frames are lost at {lost} places" if lost else ""),
            )
        return None

    def _unbelievable(self, header: Header, few: bool) -> str | None:
        """What is wrong with the time stamps as a whole, in words, or None.

        Args:
            few: there are far fewer frames than the header counts. Some may be gone because of their time stamps.
        """
        fps, mended = self.fps(header), self.mended_stamps
        if self.frames > 3 and fps is not None and fps > _MOST_FPS:
            return f"{self.frames} frames at {fps:,.0f} a second cannot be"
        most, many = mended > 0.5 * self.frames, mended > 0.1 * self.frames
        if self.frames > 3 and ((most and not header.rate) or (many and few)):
            counted = f"; the header counts {header.frames} frames" if few else ""
            return f"{mended} of {self.frames} time stamps are missing or run backwards{counted}"
        return None


def _extend(runs: list[tuple[int, int]], index: int) -> None:
    if runs and runs[-1][1] == index:
        runs[-1] = (runs[-1][0], index + 1)
    else:
        runs.append((index, index + 1))


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs in order and apart. Those that a decoder held back were noted late, perhaps twice."""
    merged: list[tuple[int, int]] = []
    for first, stop in sorted(runs):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((first, stop))
    return merged
