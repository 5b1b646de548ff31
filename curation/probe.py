"""What a source says about its video stream before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.container.input import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from curation.opening import SourceFailure
from curation.tally import Header
from schemas.errors import ErrorCode

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
    """What the header tells of a stream, and the first frame of it that was decoded."""
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


def video_stream(container: InputContainer) -> VideoStream:
    """The first video stream that is not cover art.

    Raises:
        SourceFailure: there is none, or nothing decodes it.
    """
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
