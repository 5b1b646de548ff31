"""What a source says about its video stream before it is decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import Any

import av
from av.container.input import InputContainer
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from curation.opening import SourceFailure
from curation.tally import Header
from schemas.errors import ErrorCode

_ATTACHED_PICTURE = 0x0400  # AV_DISPOSITION_ATTACHED_PIC: cover art is not a video
_DEFAULT = 0x0001  # AV_DISPOSITION_DEFAULT
_TINY = 16
_SHORT = 0.5
"""A video stream of less than this part of the longest one is not the one to be seen."""


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
    rate: Fraction | None
    """Frames per second, as the header tells."""
    announced_frames: int | None
    announced_s: float | None
    has_audio: bool
    color_range: str | None
    color_matrix: str | None
    color_transfer: str | None
    color_primaries: str | None

    @property
    def header(self) -> Header:
        return Header(self.time_base, self.announced_frames, self.announced_s, self.rate)


def probe(container: InputContainer, stream: VideoStream, frame: VideoFrame) -> Probe:
    """What the header tells of a stream, and the first frame of it that was decoded.

    Raises:
        SourceFailure: a player would mirror the picture. A turn alone would show it wrong, whichever it is.
    """
    if _is_mirrored(frame):
        raise SourceFailure(
            ErrorCode.UNSUPPORTED,
            "its picture is stored mirrored (by the display matrix), which is not undone here: write it anew, as it is to be seen",
        )
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
        rate=stream.average_rate or stream.guessed_rate or None,
        announced_frames=stream.frames or None,
        announced_s=_announced_seconds(container, stream),
        has_audio=len(container.streams.audio) > 0,
        color_range={1: "tv", 2: "pc"}.get(int(frame.color_range)),
        color_matrix=_MATRIX.get(int(frame.colorspace)),
        color_transfer=_TRANSFER.get(int(frame.color_trc)),
        color_primaries=_PRIMARIES.get(int(frame.color_primaries)),
    )


def _is_mirrored(frame: VideoFrame) -> bool:
    """Whether the display matrix (ISO/IEC 14496-12, 6.2.2: nine numbers by rows) turns left and right around besides any turn."""
    # Of a tiny copy: a frame that was asked for its side data refers to itself through them, and would stay until rings are looked for.
    copy = frame.reformat(width=_TINY, height=_TINY, format="yuv420p", interpolation=Interpolation.POINT, threads=1)
    sides: Any = copy.side_data  # the stubs take it for a mapping to be walked by name
    matrix = next((bytes(data) for data in sides if data.type == Type.DISPLAYMATRIX), b"")
    if len(matrix) < 36:
        return False
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    return bool(a * d - b * c < 0)


def video_stream(container: InputContainer) -> VideoStream:
    """The video stream that a player would show: of those that are not cover art and not much shorter than the longest, the first that
    is marked as the default; else the first.

    Raises:
        SourceFailure: there is none, or nothing decodes it.
    """
    found = [s for s in container.streams.video if not int(s.disposition) & _ATTACHED_PICTURE]
    if not found:
        kinds = sorted({"a cover picture" if s.type == "video" else s.type for s in container.streams})
        only = f", only {' and '.join(kinds)}" if kinds else ""
        raise SourceFailure(ErrorCode.NO_VIDEO_STREAM, f"the file has no video stream{only}")
    decodable = [stream for stream in found if stream.codec_context is not None]
    if not decodable:
        raise SourceFailure(ErrorCode.UNSUPPORTED, "the video stream's codec has no decoder here")
    seconds = [_stream_seconds(stream) for stream in decodable]
    longest = max((s for s in seconds if s is not None), default=0.0)
    # One picture, such as a thumbnail in a track of its own, may come first and need not be marked as what it is.
    long = [stream for stream, s in zip(decodable, seconds, strict=True) if s is None or s >= _SHORT * longest]
    return next((stream for stream in long if int(stream.disposition) & _DEFAULT), long[0])


def _stream_seconds(stream: VideoStream) -> float | None:
    """Length of a stream as the container tells it; Matroska does so in a tag, where it does at all."""
    if stream.duration is not None and stream.time_base is not None and stream.duration >= 0:
        return float(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        length = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except (ValueError, OverflowError):
        return None
    return length if 0 <= length < inf else None


def _announced_seconds(container: InputContainer, stream: VideoStream) -> float | None:
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
