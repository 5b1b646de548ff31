"""The frames of one span of a source, found by seeking where that is exact and by decoding from the start where it is not.

A seek is trusted only as far as it can be checked: decoding must begin at a codec keyframe at or before the span, give the frame
at the span's first time stamp, and give as many frames as the scan counted. Otherwise the source is decoded from its beginning
exactly as the scan did it, which cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.container
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from curation.decode import SourceReader
from curation.opening import open_container
from curation.seeking import seek_keyframe
from schemas.errors import StivError


class CutError(StivError):
    """One clip cannot be cut: the source is not (any more) what the scan saw, or the encoder refused it."""


class SeekFailed(Exception):
    """A seek did not give what was asked for; decode from the start instead."""


@dataclass(frozen=True, slots=True)
class SourceSpan:
    """A half-open span of one video stream."""

    path: Path
    stream_index: int
    start_pts: int
    end_pts: int
    num_frames: int
    """Frames in the span, as the scan counted them."""
    seekable: bool = True
    """Whether decoding may begin at any codec keyframe, as far as the scan could tell."""


class Ledger:
    """Frames decoded for a cut, run-ups and repeats included; ``heard`` is told of more as they come."""

    def __init__(self, heard: Callable[[int], None] = lambda more: None) -> None:
        self._frames = 0
        self._heard = heard

    @property
    def frames(self) -> int:
        return self._frames

    @frames.setter
    def frames(self, value: int) -> None:
        self._heard(value - self._frames)
        self._frames = value


def frames_of(span: SourceSpan, ledger: Ledger, restart: Callable[[], None]) -> Iterator[tuple[VideoFrame, int]]:
    """Yield (frame, pts) of exactly the span's frames, in display order, decoded with one thread.

    ``restart`` is called when frames that were already yielded turn out to be unreliable: forget them, all come again.

    Raises:
        SourceFailure: the source does not open.
        CutError: the source has another number of frames there than the scan counted.
    """
    yielded = 0
    try:
        for item in sought_frames(span, span.start_pts, ledger) if span.seekable else ():
            yielded += 1
            yield item
        if yielded == span.num_frames:
            return
    except SeekFailed:
        pass
    if yielded:
        restart()
    yielded = 0
    with SourceReader(span.path) as reader:
        for frame, _, pts in reader.decoded():
            ledger.frames += 1
            if pts >= span.end_pts:
                break
            if pts >= span.start_pts:
                yielded += 1
                yield frame, pts
    if yielded != span.num_frames:
        raise CutError(
            f"{span.path} has {yielded} frames between pts {span.start_pts} and {span.end_pts}, but {span.num_frames} when it was scanned.",
            fix="Has the file changed? Plan and scan it again.",
        )


def sought_frames(
    span: SourceSpan,
    seek_pts: int,
    ledger: Ledger,
    opened: Callable[[Path], av.container.InputContainer] = open_container,
) -> Iterator[tuple[VideoFrame, int]]:
    """Like :func:`frames_of` from a codec keyframe at or before ``seek_pts``, which is at most ``start_pts``.

    Raises:
        SeekFailed: possibly after some frames, which are then not to be trusted.
    """
    last: int | None = None
    started = False
    with opened(span.path) as container:
        stream = video_stream(container, span.stream_index)
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        try:
            for packet in packets_from_keyframe(container, stream, seek_pts):
                for frame in packet.decode():
                    ledger.frames += 1
                    pts = frame.pts
                    if pts is None or (last is not None and pts <= last):
                        raise SeekFailed("a time stamp is missing or runs backwards")
                    last = pts
                    if pts >= span.end_pts:
                        return
                    if pts < span.start_pts:
                        continue
                    if frame.is_corrupt or (not started and pts != span.start_pts):
                        raise SeekFailed("the first frames after the seek are missing or damaged")
                    started = True
                    yield frame, pts
        except av.error.FFmpegError as error:
            raise SeekFailed(f"decoding after the seek failed: {error}") from error


def packets_from_keyframe(
    container: av.container.InputContainer, stream: VideoStream, seek_pts: int
) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets in decoding order from a codec keyframe that is shown at or before ``seek_pts``; at the end of
    the file an empty packet that flushes the decoder.

    Raises:
        SeekFailed: there is no such keyframe, or the container cannot be sought.
    """
    found = seek_keyframe(container, stream, seek_pts, stream)
    if found is None:
        raise SeekFailed(f"no codec keyframe was found at or before pts {seek_pts}")
    yield found[0]
    yield from found[1]


def video_stream(container: av.container.InputContainer, index: int) -> VideoStream:
    """The stream of that index.

    Raises:
        CutError: it is not a video stream with a decoder.
    """
    stream = container.streams[index] if index < len(container.streams) else None
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        raise CutError(
            f"{container.name} has no decodable video stream {index}.",
            fix="Has the file changed? Plan and scan it again.",
        )
    return stream
