"""Decoding a source once, in display order, with time stamps that only go forward and damage noted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from math import inf
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import av.container
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from curation.damage import Damage
from curation.frames import Frame
from curation.instants import newest_instant
from curation.known_sets import KnownSets
from curation.opening import SourceFailure, open_container
from curation.pixels import FrameMaker
from curation.probe import probe, video_stream
from curation.segments import NEVER, RUN_UP_S, SOUND_S, WHOLE, Piece, packets_before
from curation.tally import GAP, HOLE, Tally
from schemas.errors import ErrorCode

MAX_SIDE = 16384
"""Longest side of a picture as displayed. A header with an absurd sample aspect ratio would otherwise ask for any size."""

_HELD_BACK = 64
"""Packets that a decoder may take before it gives the frame of the first, at most: reordering and frame threads."""

_EXPLICIT = {"hevc": {"err_detect": "explode"}}
"""FFmpeg's decoder of HEVC keeps most errors to itself unless it is told to refuse such frames. Those of H.264, VP9 and MPEG-4 tell
no more with this option (measured with flipped bits), and sound files with open groups of pictures decode as before."""

_ONE_EACH = ("h264", "hevc", "av1")
"""Codecs of which every packet gives a frame. VP8 and MPEG-4 have packets that show nothing on purpose."""

Decoded = tuple[VideoFrame, int | None, int | None]
"""A frame, the number of its packet in decoding order where that is known, and that of a faulty packet since the frame before."""


def open_source(
    path: str | Path, threads: int = 1, *, max_pixels: int | None = None, piece: Piece = WHOLE
) -> SourceReader:
    """Open a source, or a piece of it, for one forward decode. Use as a context manager."""
    return SourceReader(path, threads=threads, max_pixels=max_pixels, piece=piece)


class SourceReader(AbstractContextManager["SourceReader"]):
    """One forward decode of the first video stream. ``probe`` and ``header`` are known at once, ``tally`` grows while frames are read.

    A piece is decoded from a codec keyframe before it until some seconds after it; it owns the frames whose time stamps lie within
    ``bounds``, and only those are counted.

    Raises:
        SourceFailure: when the file cannot be opened, has no video, or not one frame decodes.
    """

    def __init__(
        self, path: str | Path, *, threads: int = 1, max_pixels: int | None = None, piece: Piece = WHOLE
    ) -> None:
        self._container = open_container(path)
        self._exits = ExitStack()
        self._exits.callback(self._container.close)
        self._hear: Callable[[Packet[AudioStream]], None] | None = None
        self._head: list[Decoded] | None = None
        try:
            self._stream = video_stream(self._container)
            self._stream.thread_type = "AUTO" if threads != 1 else "NONE"
            context = self._stream.codec_context
            context.thread_count = threads
            context.options = dict(_EXPLICIT.get(context.codec.canonical_name, {}))
            self._begins = None if context.options else -NEVER
            """Time stamp from which refused packets are faults: a recording may begin anywhere, and what is shown before its first
            codec keyframe refers to what it never had."""
            self._one_each = context.codec.canonical_name in _ONE_EACH
            self._sets = KnownSets.of(context)
            self._numbers: dict[int, int] = {}  # time stamp → number, of packets whose frames are not out yet
            self._faulty: set[int] = set()  # numbers of packets that were refused
            assert self._stream.time_base is not None
            self.audio = next(iter(self._container.streams.audio), None)
            """The sound that belongs to the picture, or None."""
            self._unheard: list[Packet[AudioStream]] = []  # came by while the first frame was sought
            self.tally = Tally()
            self.bounds = piece.bounds(self._stream.time_base)
            self.pts_before: int | None = None
            """Time stamp of the last frame before the piece, if one was decoded."""
            self.pts_after: int | None = None
            """Time stamp of the first frame after the piece, if one was decoded."""
            self.end_pts = 0
            """Time stamp at which the newest frame ends."""
            self._piece = piece
            self._key_pts = -NEVER
            self._in_hand = 0  # frames that the decoder gave and nobody has seen
            self._packets = self._exits.enter_context(closing(self._read_packets(self._all_packets())))
            self._damage = Damage(self.tally)
            self._head = self._first_frames()
            self.probe = probe(self._container, self._stream, self._head[0][0])
            self.header = self.probe.header
            self._check_size(max_pixels)
        except BaseException:
            self.close()
            raise

    def _check_size(self, max_pixels: int | None) -> None:
        shown = (self.probe.width, self.probe.height)
        if max(shown) > MAX_SIDE:
            raise SourceFailure(
                ErrorCode.UNSUPPORTED,
                f"shown as {shown[0]}×{shown[1]} pixels (sample aspect ratio {self.probe.sample_aspect_ratio}); "
                f"no side may be over {MAX_SIDE}",
            )
        if max_pixels is not None and self.probe.coded_width * self.probe.coded_height > max_pixels:
            raise SourceFailure(
                ErrorCode.UNSUPPORTED,
                f"frames of {self.probe.coded_width}×{self.probe.coded_height} pixels are over the recipe's scan.max_pixels = {max_pixels}",
            )

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file, the decoder and every frame. What is only forgotten stays: reader, generators and listener refer to one
        another, and Python looks for such rings once in some hundred scans."""
        self._hear = self._head = None
        self._exits.close()

    @property
    def fps(self) -> float | None:
        """Mean frame rate so far; the header's where fewer than two frames were read."""
        return self.tally.fps(self.header)

    @property
    def variable_fps(self) -> bool:
        """Whether gaps between frames differ by more than rounding to the time base explains."""
        return self.tally.variable_fps(self.header)

    def failure(self) -> tuple[ErrorCode, str] | None:
        """After the last frame: why the source is only partly usable, or None."""
        return self.tally.failure(self.header)

    def listen(self, hear: Callable[[Packet[AudioStream]], None]) -> None:
        """Have the packets of ``audio`` handed over as they come by, from the first on; for a piece, those around it only."""
        self._hear = hear
        for packet in self._unheard:
            hear(packet)
        self._unheard.clear()

    def decoded(self) -> Iterator[tuple[VideoFrame, int, int]]:
        """Yield (frame, index, pts) in display order; pts strictly increasing, mended where missing or running backwards.

        The index counts the frames that are yielded, from 0, run-up included.
        """
        tally, damage, step = self.tally, self._damage, self.header.step
        lower, upper = self.bounds
        end = upper + int(RUN_UP_S / self.header.time_base)
        gap, hole = GAP * step, HOLE * step
        last: int | None = None
        for index, (frame, number, fault) in enumerate(self._all_frames()):
            pts = frame.pts
            mend = pts is None or (last is not None and pts <= last)
            if pts is None or mend:
                pts = 0 if last is None else last + step
            owned = lower <= pts < upper
            if last is not None:
                if pts - last > gap:
                    fault = self._swallowed(last, pts, fault, frame)
                    if pts - last > hole:
                        damage.hole()
                if owned and last >= lower:
                    tally.note_gap(pts - last)
            last = pts
            self.end_pts = pts + (frame.duration or step)
            damage.judge(frame, index, number, fault, owned)
            if owned:
                if not tally.frames:
                    tally.first_pts = pts
                tally.frames += 1
                tally.mended_stamps += mend
                tally.last_pts = pts
                tally.end_pts = self.end_pts
            else:
                tally.run_up += 1
                if pts < lower:
                    self.pts_before = pts
                elif self.pts_after is None:
                    self.pts_after = pts
            yield frame, index, pts
            if pts >= end:
                tally.run_up += self._in_hand
                break
        else:
            if last is not None:
                self._swallowed(last, NEVER, None, frame)
        tally.settle(self.header if self._piece == WHOLE else None)

    def frames(self, luma_rate: float = 2.0) -> Iterator[Frame]:
        """Yield every frame as detectors and signals see it, with the native luma plane at ``luma_rate`` instants a second."""
        maker = FrameMaker(self.probe)
        num, den = self.probe.time_base.as_integer_ratio()
        newest: int | None = None
        for frame, index, pts in self.decoded():
            now = newest_instant(pts * num / den, luma_rate)
            yield maker.make(frame, index, pts, with_luma=now != newest)
            newest = now

    def _all_packets(self) -> Iterator[Packet]:
        """Packets of all streams, from the first or from the codec keyframe where the piece's run-up begins."""
        if self._piece.from_s is None:
            return iter(self._container.demux())
        packets, self._key_pts = packets_before(self._container, self._stream, self._piece)
        return packets

    def _read_packets(self, packets: Iterator[Packet]) -> Generator[Packet[VideoStream], None, None]:
        """Packets of the video stream. Those of its sound are handed on; others only tell where the file really ends."""
        video, audio = self._stream.index, None if self.audio is None else self.audio.index
        sound_from = -inf if self._piece.from_s is None else self._piece.from_s - SOUND_S
        sound_to = inf if self._piece.to_s is None else self._piece.to_s + SOUND_S
        tally = self.tally
        ticks_s = [float(stream.time_base or 0) for stream in self._container.streams]
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                self.tally.errors += 1
                yield from self._flush_packets()
                return
            index = packet.stream.index  # the last ones, which flush a decoder, have no index of their own
            stamp = packet.pts if packet.pts is not None else packet.dts
            start = end = inf  # flushes a decoder
            if stamp is not None:
                start, end = stamp * ticks_s[index], (stamp + (packet.duration or 0)) * ticks_s[index]
                if end > tally.last_packet_s:
                    tally.last_packet_s = end
            if index == video:
                yield cast("Packet[VideoStream]", packet)
            elif index == audio and end >= sound_from and start <= sound_to:
                sound = cast("Packet[AudioStream]", packet)
                if self._hear is not None:
                    self._hear(sound)
                elif self._head is None:
                    self._unheard.append(sound)

    def _flush_packets(self) -> Iterator[Packet[VideoStream]]:
        empty = cast("Packet[VideoStream]", Packet())
        empty.stream = self._stream
        yield empty

    def _decode_packets(self) -> Generator[Decoded, None, None]:
        numbers = self._numbers
        fault: int | None = None
        for number, packet in enumerate(self._packets):
            if packet.pts is not None and not packet.is_discard:  # an edit list leaves those out
                numbers[packet.pts] = number
                if len(numbers) > _HELD_BACK:
                    del numbers[next(iter(numbers))]
            if self._begins is None and packet.is_keyframe:
                self._begins = -NEVER if packet.pts is None else packet.pts
            if self._sets is not None:
                self._sets.look(packet, self.tally)
            faulty = packet.is_corrupt
            frames: list[VideoFrame] = []
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                faulty = self._begins is not None and (packet.pts is None or packet.pts >= self._begins)
            if faulty:
                self._faulty.add(number)
                if self._book_fault(packet.pts):
                    fault = number if fault is None else fault
            self.tally.decoded += len(frames)
            self._in_hand = len(frames)
            for frame in frames:
                self._in_hand -= 1
                pts = frame.pts
                if pts is not None and pts < self._key_pts:
                    self.tally.run_up += 1
                    continue  # a leading frame of the keyframe that was sought: it refers to frames that were not decoded
                came_from = None if pts is None else numbers.pop(pts, None)
                self._faulty.discard(-1 if came_from is None else came_from)
                yield frame, came_from, fault
                fault = None

    def _book_fault(self, pts: int | None) -> bool:
        """Count a faulty packet, if it is the piece's own; whether its fault matters: that of a leading frame does not."""
        lower, upper = self.bounds
        self.tally.errors += pts is None or lower <= pts < upper
        return pts is None or pts >= self._key_pts

    def _swallowed(self, last: int, pts: int, fault: int | None, frame: VideoFrame) -> int | None:
        """The first faulty packet before a frame, after a look at the gap before it: a packet that belongs there gave no frame, though
        the decoder has not refused it. That of AV1 does so where it refuses the packet when it works with one thread.
        """
        if not self._one_each:
            return fault
        step = self.header.step
        if frame.interlaced_frame:
            # Two fields may be packets of their own. The second is shown half a frame after the first and has no frame, and a header
            # that counts packets has half a frame for a step.
            step = max(step, self.tally.least_gap or NEVER)
        first = last + step * 9 // 10
        left = {
            stamp: number
            for stamp, number in self._numbers.items()
            if first <= stamp < pts and number not in self._faulty
        }
        if not left or NEVER > pts > max(left) + HOLE * step:
            return fault  # a clock that was set forward: those frames come later, with time stamps that run backwards
        numbers = [number for stamp, number in left.items() if self._book_fault(stamp)]
        return min([*numbers, *([] if fault is None else [fault])], default=None)

    def _first_frames(self) -> list[Decoded]:
        self._rest = self._exits.enter_context(closing(self._decode_packets()))
        for item in self._rest:
            return [item]
        announced = self._stream.frames
        raise SourceFailure(
            ErrorCode.NO_FRAMES,
            f"a {self._stream.codec_context.name} stream is announced"
            + (f" with {announced} frames" if announced else "")
            + ", but not one frame decodes",
        )

    def _all_frames(self) -> Iterator[Decoded]:
        assert self._head is not None
        yield from self._head
        self._head = []
        yield from self._rest
