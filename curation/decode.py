"""Decoding a source once, in display order, with time stamps that only go forward and damage noted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.container
import av.video.frame
import av.video.stream

from curation.frames import Frame
from curation.opening import SourceFailure, open_container
from curation.pixels import FrameMaker
from schemas.errors import ErrorCode

MAX_SIDE = 16384
"""Longest side of a picture as displayed. A header with an absurd sample aspect ratio would otherwise ask for any size."""

_ATTACHED_PICTURE = 0x0400  # AV_DISPOSITION_ATTACHED_PIC: cover art is not a video


@dataclass(slots=True)
class Probe:
    """What the header and the first frame tell of the video stream."""

    container: str
    codec: str
    pixel_format: str
    coded_width: int
    coded_height: int
    rotation: int
    """Clockwise degrees that make the stored picture upright."""
    sample_aspect_ratio: Fraction
    width: int
    """As displayed."""
    height: int
    """As displayed."""
    stream_index: int
    time_base: Fraction
    announced_frames: int | None
    announced_s: float | None
    has_audio: bool
    color_range: str | None
    color_matrix: str | None
    color_transfer: str | None
    color_primaries: str | None


@dataclass(slots=True)
class Tally:
    """Counts of one decode."""

    frames: int = 0
    damaged: list[tuple[int, int]] = field(default_factory=list)
    """Half-open runs of frames that are flagged corrupt or lie between an error and the next recovery point."""
    errors: int = 0
    first_pts: int | None = None
    last_pts: int | None = None
    end_pts: int | None = None
    """Time stamp at which the last frame ends."""
    least_gap: int | None = None
    most_gap: int | None = None
    mended_stamps: int = 0
    """Frames whose time stamp was missing or ran backwards."""
    last_packet_s: float = 0.0
    """Latest end of any packet of any stream, in seconds."""

    def mark_damaged(self, index: int) -> None:
        """Note a damaged frame; indices come in order."""
        if self.damaged and self.damaged[-1][1] == index:
            self.damaged[-1] = (self.damaged[-1][0], index + 1)
        else:
            self.damaged.append((index, index + 1))

    def damaged_within(self, start: int, end: int) -> int:
        """How many damaged frames lie in the half-open span."""
        return sum(max(0, min(end, stop) - max(start, first)) for first, stop in self.damaged)


def open_source(path: str | Path, threads: int = 1, *, max_pixels: int | None = None) -> SourceReader:
    """Open a source for one forward decode. Use as a context manager."""
    return SourceReader(path, threads=threads, max_pixels=max_pixels)


class SourceReader(AbstractContextManager["SourceReader"]):
    """One forward decode of the first video stream. ``probe`` is known at once, ``tally`` grows while frames are read.

    Raises:
        SourceFailure: when the file cannot be opened, has no video, or not one frame decodes.
    """

    def __init__(self, path: str | Path, *, threads: int = 1, max_pixels: int | None = None) -> None:
        self._container = open_container(path)
        try:
            self._stream = _video_stream(self._container)
            self._stream.thread_type = "AUTO" if threads != 1 else "NONE"
            self._stream.codec_context.thread_count = threads
            self.tally = Tally()
            self._packets = self._read_packets()
            self._head = self._first_frames()
            self.probe = self._probe(self._head[0][0])
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
        except BaseException:
            self._container.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file and the decoder. Containers that are only forgotten leak memory."""
        self._container.close()

    @property
    def fps(self) -> float | None:
        """Mean frame rate so far; the header's where fewer than two frames were read."""
        tally = self.tally
        if tally.frames > 1 and tally.first_pts is not None and tally.last_pts is not None:
            return (tally.frames - 1) / float((tally.last_pts - tally.first_pts) * self.probe.time_base)
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    @property
    def variable_fps(self) -> bool:
        """Whether gaps between frames differ by more than rounding to the time base explains (2 ticks, or 2 ms)."""
        tally = self.tally
        if tally.least_gap is None or tally.most_gap is None:
            return False
        spread = tally.most_gap - tally.least_gap
        return spread > 2 and float(spread * self.probe.time_base) > 0.002

    def decoded(self) -> Iterator[tuple[av.video.frame.VideoFrame, int, int]]:
        """Yield (frame, index, pts) in display order; pts strictly increasing, mended where missing or running backwards."""
        tally = self.tally
        step = self._nominal_step()
        broken = False  # between an error and the next recovery point
        for frame, error in self._all_frames():
            broken = broken or error or frame.is_corrupt
            if frame.key_frame and not frame.is_corrupt and not error:
                broken = False
            if broken:
                tally.mark_damaged(tally.frames)
            pts = frame.pts
            if tally.last_pts is None:
                pts = 0 if pts is None else pts
                tally.first_pts = pts
            else:
                if pts is None or pts <= tally.last_pts:
                    pts = tally.last_pts + step
                    tally.mended_stamps += 1
                gap = pts - tally.last_pts
                tally.least_gap = gap if tally.least_gap is None else min(tally.least_gap, gap)
                tally.most_gap = gap if tally.most_gap is None else max(tally.most_gap, gap)
            tally.last_pts = pts
            tally.end_pts = pts + (int(frame.duration) if frame.duration else step)
            index = tally.frames
            tally.frames += 1
            yield frame, index, pts

    def frames(self, luma_rate: float = 2.0) -> Iterator[Frame]:
        """Yield every frame as detectors and signals see it, with the native luma plane at ``luma_rate`` instants a second."""
        maker = FrameMaker(self.probe)
        tick: int | None = None
        for frame, index, pts in self.decoded():
            now = int(float(pts * self.probe.time_base) * luma_rate // 1)
            yield maker.make(frame, index, pts, with_luma=now != tick)
            tick = now

    def failure(self) -> tuple[ErrorCode, str] | None:
        """After the last frame: why the source is only partly usable, or None."""
        tally, probe = self.tally, self.probe
        end_s = max(tally.last_packet_s, float((tally.end_pts or 0) * probe.time_base))
        first_s = float((tally.first_pts or 0) * probe.time_base)
        announced = probe.announced_s
        short = announced is not None and end_s - min(first_s, 0.0) < 0.9 * announced and announced - end_s > 0.5
        few = probe.announced_frames is not None and tally.frames < 0.9 * probe.announced_frames
        if short or (few and tally.errors == 0):
            want = f"{announced:.1f} s" if short else f"{probe.announced_frames} frames"
            return (
                ErrorCode.TRUNCATED,
                f"the header announces {want}, the file ends after {end_s:.1f} s and {tally.frames} frames",
            )
        if tally.damaged or tally.errors:
            return (
                ErrorCode.DAMAGED,
                f"{tally.damaged_within(0, tally.frames)} of {tally.frames} frames are damaged or follow damage"
                + (f"; {tally.errors} packets did not decode" if tally.errors else ""),
            )
        if tally.frames > 3 and tally.mended_stamps > 0.5 * tally.frames and self._stream.time_base is not None:
            rate = self._stream.average_rate or self._stream.guessed_rate
            if not rate:
                return (
                    ErrorCode.BAD_TIMESTAMPS,
                    f"{tally.mended_stamps} of {tally.frames} time stamps are missing or run backwards",
                )
        return None

    def _nominal_step(self) -> int:
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        return max(1, round(1 / (rate * self.probe.time_base)))

    def _read_packets(self) -> Iterator[av.Packet]:
        """Packets of the video stream; other streams are only looked at for where the file really ends."""
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                self.tally.errors += 1
                yield from self._flush_packets()
                return
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.time_base is not None:
                end = float((stamp + (packet.duration or 0)) * packet.time_base)
                self.tally.last_packet_s = max(self.tally.last_packet_s, end)
            if packet.stream is self._stream or packet.stream_index == self._stream.index:
                yield packet

    def _flush_packets(self) -> Iterator[av.Packet]:
        empty = av.Packet()
        empty.stream = self._stream
        yield empty

    def _decode_packets(self) -> Iterator[tuple[av.video.frame.VideoFrame, bool]]:
        """(frame, whether an error came before it)."""
        pending = False
        for packet in self._packets:
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.tally.errors += 1
                pending = True
                continue
            for frame in frames:
                yield frame, pending
                pending = False

    def _first_frames(self) -> list[tuple[av.video.frame.VideoFrame, bool]]:
        self._rest = self._decode_packets()
        for item in self._rest:
            return [item]
        announced = self._stream.frames
        raise SourceFailure(
            ErrorCode.NO_FRAMES,
            f"a {self._stream.codec_context.name} stream is announced"
            + (f" with {announced} frames" if announced else "")
            + ", but not one frame decodes",
        )

    def _all_frames(self) -> Iterator[tuple[av.video.frame.VideoFrame, bool]]:
        yield from self._head
        self._head = []
        yield from self._rest

    def _probe(self, frame: av.video.frame.VideoFrame) -> Probe:
        stream, container = self._stream, self._container
        rotation = round(-(frame.rotation or 0) / 90.0) * 90 % 360
        aspect = stream.sample_aspect_ratio or Fraction(1)
        aspect = aspect if 0 < aspect < 100 else Fraction(1)
        width, height = frame.width, frame.height
        # Square pixels: stretch the axis that grows, so that no stored row or column is lost.
        shown_w, shown_h = (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
        if rotation in (90, 270):
            shown_w, shown_h = shown_h, shown_w
        assert stream.time_base is not None
        return Probe(
            container=container.format.name,
            codec=stream.codec_context.name,
            pixel_format=frame.format.name,
            coded_width=width,
            coded_height=height,
            rotation=rotation,
            sample_aspect_ratio=aspect,
            width=shown_w,
            height=shown_h,
            stream_index=stream.index,
            time_base=stream.time_base,
            announced_frames=stream.frames or None,
            announced_s=_announced_seconds(container, stream),
            has_audio=len(container.streams.audio) > 0,
            color_range={1: "tv", 2: "pc"}.get(int(frame.color_range)),
            color_matrix=_MATRIX.get(int(frame.colorspace)),
            color_transfer=_TRANSFER.get(int(frame.color_trc)),
            color_primaries=_PRIMARIES.get(int(frame.color_primaries)),
        )


def _video_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream:
    for stream in container.streams.video:
        if int(stream.disposition) & _ATTACHED_PICTURE:
            continue
        if stream.codec_context is None:
            raise SourceFailure(ErrorCode.UNSUPPORTED, "the video stream's codec has no decoder here")
        return stream
    kinds = sorted({s.type for s in container.streams})
    raise SourceFailure(
        ErrorCode.NO_VIDEO_STREAM, "the file has no video stream" + (f", only {', '.join(kinds)}" if kinds else "")
    )


def _announced_seconds(container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


# FFmpeg's names for the numbers of ISO/IEC 23091-2 (formerly H.273), which it uses as they are; 2 is "unspecified".
_MATRIX = {
    0: "gbr",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
}
_TRANSFER = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 11: "iec61966-2-4", 13: "iec61966-2-1",
    14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428", 11: "smpte431",
    12: "smpte432", 22: "ebu3213",
}  # fmt: skip
