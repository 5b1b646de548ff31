"""The proof that a stream copy shows what its source shows, at as little decoding as a proof needs.

Where the scan decoded the source without a fault, it has already decoded exactly these packets in this order. If no frame of the copy
can depend on anything else, what it shows is a function of the packets and the parameter sets in force, which are those of the
header throughout; so it is enough that the file holds the same bytes at the same times, that a decoder which starts there knows how
many frames to hold back, and that the pictures keep their size and format. Mostly headers tell all that, and nothing is decoded.
Where the first keyframe only promises that nothing after it needs what came before, the promise is put to the test: all frames up to
the next such keyframe, its leading frames included, are decoded and compared with the source's; what follows that keyframe rests on
the same promise, and on frames that were compared. After a scan with faults the first frame and everything from the last clean start
to the end are decoded, or, without a clean first keyframe, everything is compared.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from curation.keyframes import promises_all, starts_afresh
from curation.nal_units import NAL_CODECS, header_units, length_size, units
from curation.opening import OPEN_OPTIONS, open_container
from curation.packet_opening import HEADER_ONLY, open_headers
from curation.pipe_formats import PC
from curation.spans import Ledger, SeekFailed, SourceSpan, sought_frames
from curation.told_forms import has_one_form, told_form

_HEAD = 8
"""Packets decoded at the beginning of a copy at most: as many as FFmpeg looks at to learn how far frames are reordered."""
_UNSEEN = {"skip_loop_filter": "all"}
"""For frames whose pixels nobody looks at: the order and completeness of the output do not depend on it."""

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """Packets in decoding order as their container stores them."""

    extradata: bytes | None
    packets: Sequence[bytes]

    def same_as(self, other: Stored, codec: str) -> bool:
        """Whether a decoder sees the same in both, however they separate units and repeat parameter sets that their headers hold."""
        if codec not in NAL_CODECS:
            return self.packets == other.packets
        return self._content(codec) == other._content(codec)

    def _content(self, codec: str) -> tuple[set[bytes], list[list[bytes]]]:
        sets = set(header_units(codec, self.extradata))
        size = length_size(codec, self.extradata)
        return sets, [[unit for unit in units(packet, size) if unit not in sets] for packet in self.packets]


class CopyRefused(Exception):
    """Why a span cannot be copied exactly, in words that complete "it cannot be copied: "."""


class _ShowsOther(CopyRefused):
    """The copy was compared with the source and shows something else: no other way of opening it will help."""


def check_copy(
    out: Path,
    shown: Sequence[int],
    ledger: Ledger,
    *,
    same: Stored,
    source: SourceSpan,
    faultless: bool,
    alone: bool,
) -> Size:
    """(width, height) of the mp4, after checking that it shows frames at exactly these ticks, all 4:2:0, 8-bit, of one size.

    Args:
        same: the packets as the source stores them.
        source: the span that was copied; frames are compared with its own where nothing less proves them.
        faultless: the scan decoded the source without a fault.
        alone: no frame can depend on what is not in the copy.

    Raises:
        CopyRefused: the copy is not exact.
    """
    if faultless:
        try:
            with av.open(f"file:{out}", options=OPEN_OPTIONS | HEADER_ONLY) as container:
                stream, packets = _packets(container, shown)
                codec, extradata = _told(stream)
                if same.same_as(Stored(extradata, [bytes(packet) for packet in packets]), codec):
                    return _one_size(_check_beginning(stream, packets, None if alone else source, ledger))
        except _ShowsOther:
            raise
        except (av.error.FFmpegError, CopyRefused, SeekFailed):
            pass  # a reader that looks ahead may manage: see below
    try:
        with av.open(f"file:{out}", options=dict(OPEN_OPTIONS)) as container:
            stream, packets = _packets(container, shown)
            codec, extradata = _told(stream)
            if not alone or not same.same_as(Stored(extradata, [bytes(packet) for packet in packets]), codec):
                truth = sought_frames(source, source.start_pts - 1, ledger)
                return _one_size(_check_run(stream, packets, ledger, truth=truth))
            tail = _last_clean_start(stream, packets)
            sizes = _check_run(stream, packets[tail:], ledger)
            if tail:
                sizes |= _check_run(stream, packets[:1], ledger) | _check_forms(stream, packets, ledger)
            return _one_size(sizes)
    except (av.error.FFmpegError, SeekFailed) as error:
        raise CopyRefused("the copy does not decode") from error


def _packets(
    container: av.container.InputContainer, shown: Sequence[int]
) -> tuple[VideoStream, list[Packet[VideoStream]]]:
    """The video stream and its packets.

    Raises:
        CopyRefused: they are not shown at these ticks.
    """
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    packets = [packet for packet in container.demux(stream) if packet.size]
    if sorted(_pts(packet) for packet in packets) != list(shown):
        raise CopyRefused("the copied packets do not keep their times")
    return stream, packets


def _one_size(sizes: set[Size]) -> Size:
    if len(sizes) != 1:
        raise CopyRefused("the size of the picture changes within the clip")
    return sizes.pop()


def _last_clean_start(stream: VideoStream, packets: Sequence[Packet[VideoStream]]) -> int:
    """Position of the last packet from which decoding may start without missing anything; 0 is one."""
    least: int | None = None  # shown first from here on
    for at in range(len(packets) - 1, 0, -1):
        pts = _pts(packets[at])
        least = pts if least is None else min(least, pts)
        if pts == least and packets[at].is_keyframe and starts_afresh(*_told(stream), bytes(packets[at])):
            return at
    return 0


def _check_beginning(
    stream: VideoStream, packets: Sequence[Packet[VideoStream]], source: SourceSpan | None, ledger: Ledger
) -> set[Size]:
    """Decode as much as a proof needs of packets that the scan has decoded without a fault.

    Args:
        source: what to compare with; None where no frame can depend on what is not in the copy.

    Raises:
        CopyRefused: as :func:`_check_run`.
    """
    codec, extradata = _told(stream)
    if source is not None:
        truth = sought_frames(
            source, source.start_pts - 1, ledger, lambda path: open_headers(path, codec) or open_container(path)
        )
        sizes = _check_run(stream, packets[: _next_promise(stream, packets)], ledger, truth=truth)
    else:
        depth = reordering([_pts(packet) for packet in packets])
        form = told_form(codec, extradata, [bytes(packet) for packet in packets])
        # FFmpeg's decoder of H.264 may believe the container instead, as to what is to be cut off.
        told = stream.codec_context.width, stream.codec_context.height
        if form is not None and form.plain and form.reorder is not None and form.reorder >= depth and form.size == told:
            return {told}
        sizes = _check_run(stream, packets[:_HEAD], ledger, enough=depth)
    return sizes | _check_forms(stream, packets, ledger)


def _next_promise(stream: VideoStream, packets: Sequence[Packet[VideoStream]]) -> int:
    """Position after the next keyframe that promises to need nothing before it, and after its leading frames; the end without one."""
    times = [_pts(packet) for packet in packets]
    for key in range(1, len(packets)):
        if packets[key].is_keyframe and promises_all(*_told(stream), bytes(packets[key])):
            end = next((at for at in range(key + 1, len(packets)) if times[at] > times[key]), len(packets))
            if end == len(packets) or max(times[:end]) < min(times[end:]):
                return end
    return len(packets)


def _check_forms(stream: VideoStream, packets: Sequence[Packet[VideoStream]], ledger: Ledger) -> set[Size]:
    """Decode each packet that may bring another form of picture than the first; the sizes of those.

    Raises:
        CopyRefused: as :func:`_check_run`.
    """
    one = has_one_form(*_told(stream), [bytes(packet) for packet in packets])
    return set() if one else _check_run(stream, packets, ledger)


def _check_run(
    stream: VideoStream,
    run: Sequence[Packet[VideoStream]],
    ledger: Ledger,
    *,
    truth: Iterator[tuple[VideoFrame, int]] | None = None,
    enough: int | None = None,
) -> set[Size]:
    """Decode packets that start cleanly; the sizes of their frames.

    Args:
        truth: the source's frames, to compare with.
        enough: stop where a decoder that has begun to give frames holds back as many, for then the others will come in order too.

    Raises:
        CopyRefused: not one good frame for each packet, in the order of showing, or not those of ``truth``.
    """
    if truth is None and not stream.codec_context.is_open:
        stream.codec_context.options = dict(_UNSEEN)
    sizes: set[Size] = set()
    waiting: list[int] = []
    last = -1
    for frame in _decoded(stream, run, waiting, enough):
        ledger.frames += 1
        if not waiting or frame.pts != heapq.heappop(waiting) or frame.pts <= last or frame.is_corrupt:
            raise CopyRefused("the copy does not decode to one good frame for each packet, in the order of showing")
        last = frame.pts
        if frame.format.name != "yuv420p" or int(frame.color_range) == PC:
            raise CopyRefused("the picture is not 8-bit 4:2:0 in limited range")
        if truth is not None and not _same_picture(frame, next(truth, (None,))[0]):
            raise _ShowsOther("frames refer to others before the span, so that the copy would show other pictures")
        sizes.add((frame.width, frame.height))
    if waiting:
        raise CopyRefused("some frames of the copy never come out of the decoder")
    return sizes


def _decoded(
    stream: VideoStream, run: Sequence[Packet[VideoStream]], waiting: list[int], enough: int | None
) -> Iterator[VideoFrame]:
    """The frames of packets, whose times are put on the heap ``waiting`` as they go in."""
    context: Any = stream.codec_context
    given = 0
    for fed, packet in enumerate(run, start=1):
        heapq.heappush(waiting, _pts(packet))
        frames = context.decode(packet)
        given += len(frames)
        yield from frames
        if frames and enough is not None and fed - given >= enough:
            break
    yield from context.decode(None)
    context.flush_buffers()


def reordering(times: Sequence[int]) -> int:
    """Most packets that are stored before one and shown after it; ``times`` of showing are in decoding order."""
    seen: list[int] = []
    most = 0
    for n, time in enumerate(times):
        at = bisect_left(seen, time)
        seen.insert(at, time)
        most = max(most, n - at)
    return most


def _pts(packet: Packet[VideoStream]) -> int:
    assert packet.pts is not None
    return packet.pts


def _told(stream: VideoStream) -> tuple[str, bytes | None]:
    """(codec, extradata) of a stream."""
    return stream.codec_context.codec.canonical_name, stream.codec_context.extradata


def _same_picture(one: VideoFrame, other: VideoFrame | None) -> bool:
    """Whether two planar 8-bit frames have equal pixels, the padding of rows apart."""
    if other is None or (one.width, one.height, one.format.name) != (other.width, other.height, other.format.name):
        return False
    return all(np.array_equal(_pixels(a), _pixels(b)) for a, b in zip(one.planes, other.planes, strict=True))


def _pixels(plane: Any) -> np.ndarray:
    """(h, w) uint8."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
