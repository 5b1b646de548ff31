"""From the bytes of one clip to the sampled frames of a training sample.

In: an .mp4 as the export wrote it (upright, square pixels, 8-bit 4:2:0). Out: uint8 RGB of the size of a bucket, and where in the clip it
was taken. Only what is needed is decoded: from the last codec keyframe at which decoding can begin to the last sampled frame, without
frames that are neither sampled nor referred to.

LEGEND  T sampled frames, H W pixels of the bucket, h w pixels of the clip.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from curation.keyframes import starts_afresh

_OPEN = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2", "protocol_whitelist": "none",
    "probesize": "32", "skip_frame": "all",
}  # fmt: skip
"""Nothing is opened but the bytes given. The header tells all that is needed; probing would decode a dozen frames first, which takes ten
times as long as opening."""
_REORDER = 32
"""Packets to look past the last sampled frame for one shown before it: H.264 and HEVC hold back at most 16 frames."""
_SKIPS = ("h264", "hevc")
"""Codecs whose decoders can be told packet by packet to leave out frames that no other refers to."""
_SCALE = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT)
"""Bicubic, which swscale widens when it shrinks, so that nothing aliases; the same pixels on every processor. Into planes (GBR), not
packed RGB: that keeps full chroma and takes a third of the time."""
_PLANES = (2, 0, 1)  # red, green and blue among the planes of gbrp


class BrokenClip(Exception):
    """The bytes do not decode to the frames that are wanted. Becomes a row of the quarantine, never ends a run."""


@dataclass(frozen=True)
class Cutout:
    """Where a sample lies in its clip, in pixels of the clip."""

    height: int
    width: int
    """Of the whole picture."""
    top: float
    left: float
    """Of the cropped part."""


def cover(height: int, width: int, to_height: int, to_width: int) -> tuple[int, int]:
    """(height, width) of a picture scaled, its aspect kept, until it just covers the bucket's size."""
    scale = max(to_height / height, to_width / width)
    return max(to_height, round(height * scale)), max(to_width, round(width * scale))


def read_sample(
    blob: bytes,
    out: np.ndarray,
    *,
    start: int,
    stride: int,
    crop: tuple[float, float] = (0.5, 0.5),
    strict: bool = True,
) -> Cutout:
    """Decode frames ``start``, ``start + stride``, … (decoded frames counted from 0) into ``out`` (T, H, W, 3) uint8 RGB.

    Args:
        crop: what share of the overhang is cut off at the top and at the left; halves are the centre.
        strict: take any error in the bit stream as a broken clip; else only those from which the decoder does not recover.

    Raises:
        BrokenClip: it does not open, has too few frames, or a wanted frame decodes with errors. ``out`` may then hold rubbish.
    """
    wanted = [start + stride * n for n in range(len(out))]
    try:
        try:
            return _sparingly(blob, out, wanted, crop, strict)
        except _NotByStamps:
            return _one_by_one(blob, out, wanted, crop, strict)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise BrokenClip(f"it does not decode: {error}") from None


class _NotByStamps(Exception):
    """Frames cannot be told by their time stamps: count them."""


def _sparingly(blob: bytes, out: np.ndarray, wanted: list[int], crop: tuple[float, float], strict: bool) -> Cutout:
    """Decode as little as possible. A frame's number is the place of its time stamp among those of all packets."""
    with _opened(blob, strict) as (container, stream):
        packets = []
        for packet in container.demux(stream):
            if packet.size:
                packets.append(packet)
            if len(packets) > wanted[-1] + _REORDER:
                break
        stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
        if len(stamps) != len(packets) or len(set(stamps)) != len(stamps):
            raise _NotByStamps
        if len(stamps) <= wanted[-1]:
            raise BrokenClip(f"it has {len(stamps)} frames; {wanted[-1] + 1} are needed")
        slots = {stamps[index]: slot for slot, index in enumerate(wanted)}
        writer = _Writer(out, crop)
        context = stream.codec_context
        skips = context.codec.canonical_name in _SKIPS
        feed: list[Packet[VideoStream] | None] = [*packets[_first_packet(stream, packets, stamps[wanted[0]]) :], None]
        for fed in feed:
            if skips and fed is not None:
                context.skip_frame = "DEFAULT" if fed.pts in slots else "NONREF"
            for frame in context.decode(fed):
                if frame.pts in slots:
                    writer.write(frame, slots.pop(frame.pts))
            if not slots:
                return writer.cutout()
        raise _NotByStamps


def _one_by_one(blob: bytes, out: np.ndarray, wanted: list[int], crop: tuple[float, float], strict: bool) -> Cutout:
    """Decode from the first frame and count."""
    with _opened(blob, strict) as (container, stream):
        slots = {index: slot for slot, index in enumerate(wanted)}
        writer = _Writer(out, crop)
        count = 0
        for count, frame in enumerate(container.decode(stream), start=1):
            if count - 1 in slots:
                writer.write(frame, slots[count - 1])
            if count > wanted[-1]:
                return writer.cutout()
        raise BrokenClip(f"only {count} frames of it decode; {wanted[-1] + 1} are needed")


def _first_packet(stream: VideoStream, packets: list[Packet[VideoStream]], pts: int) -> int:
    """The last packet, in the order of storing, from which everything shown at ``pts`` or later decodes as it does in full."""
    codec, extradata = stream.codec_context.codec.canonical_name, stream.codec_context.extradata
    for n in range(len(packets) - 1, 0, -1):
        packet = packets[n]
        if (
            packet.is_keyframe
            and packet.pts is not None
            and packet.pts <= pts
            and starts_afresh(codec, extradata, bytes(packet))
        ):
            return n
    return 0


@contextmanager
def _opened(blob: bytes, strict: bool) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A container over bytes and its video stream, which decodes in this thread alone."""
    with av.open(io.BytesIO(blob), format="mp4", options=dict(_OPEN), metadata_errors="replace") as container:
        assert isinstance(container, InputContainer)
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        if strict:
            stream.codec_context.options = {"err_detect": "explode"}
        yield container, stream


class _Writer:
    """Scales and crops frames of one clip into their places."""

    def __init__(self, out: np.ndarray, crop: tuple[float, float]) -> None:
        self._out, self._crop = out, crop
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None

    def write(self, frame: VideoFrame, slot: int) -> None:
        if frame.is_corrupt:
            raise BrokenClip(f"the frame at time stamp {frame.pts} decodes with errors")
        if self._size is None:
            self._size = (frame.height, frame.width)
            self._scaled = cover(*self._size, *self._out.shape[1:3])
            self._corner = [
                round(share * (scaled - side))
                for share, scaled, side in zip(self._crop, self._scaled, self._out.shape[1:3], strict=True)
            ]
        elif self._size != (frame.height, frame.width):
            raise BrokenClip("its frames differ in size")
        height, width = self._scaled
        planar = self._reformatter.reformat(frame, width, height, "gbrp", interpolation=_SCALE, threads=1)
        (top, left), (rows, columns) = self._corner, self._out.shape[1:3]
        for channel, number in enumerate(_PLANES):
            plane = planar.planes[number]
            picture = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            self._out[slot, :, :, channel] = picture[top : top + rows, left : left + columns]

    def cutout(self) -> Cutout:
        assert self._size is not None
        (height, width), (top, left) = self._size, self._corner
        return Cutout(height, width, top * height / self._scaled[0], left * width / self._scaled[1])
