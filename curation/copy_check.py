"""The proof that a stream copy shows what its source shows, at as little decoding as a proof needs.

A codec keyframe that resets all references makes what follows a function of the packets alone. Where the scan decoded the source
without a fault, it has already decoded exactly these packets in this order; so it is enough that the file holds the same bytes at the
same times, that a decoder which starts there finds its feet, and that the pictures keep their size and format wherever the stream may
change them. After a scan with faults the first frame and everything from the last clean start to the end are decoded besides, and
where the first keyframe does not reset all references, all of it is decoded and compared with the source, frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import av
import av.container
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from curation.keyframes import sequence_sets, starts_afresh
from curation.opening import OPEN_OPTIONS
from curation.pipe_formats import PC
from curation.spans import Ledger, SeekFailed, SourceSpan, sought_frames

HEADER_ONLY = {"skip_frame": "all", "probesize": "32"}
"""Opening decodes frames to learn the pixel format and how far frames are reordered: up to 40 ms at 1080p. These options leave that
out. A decoder opened so learns the order of showing as it goes, like that of a reader who does not look ahead."""
_HEAD = 8
"""Packets decoded at the beginning of a copy: as many as FFmpeg looks at to learn how far frames are reordered."""
_UNSEEN = {"skip_loop_filter": "all"}
"""For frames whose pixels nobody looks at: the order and completeness of the output do not depend on it."""
_SELF_TOLD = ("mov,mp4", "matroska")
"""Containers that store every frame's time of showing and the parameter sets, so that nothing must be decoded to know them."""
_SELF_TOLD_CODECS = ("h264", "hevc", "av1")
_FORM_BY_GROUP = ("h264", "hevc")
"""Codecs whose parameter sets, and so the size of the picture, may change at keyframes only (Rec. ITU-T H.264, 7.4.1.2.1; H.265,
7.4.2.4.2). Frames of VP9 and AV1 may differ in size from those they refer to."""

Size = tuple[int, int]


class CopyRefused(Exception):
    """Why a span cannot be copied exactly, in words that complete "it cannot be copied: "."""


def open_headers(path: Path, codec: str) -> av.container.InputContainer | None:
    """Open a source for its packets, without decoding; None where its headers alone do not tell enough, or it does not open."""
    if codec not in _SELF_TOLD_CODECS:
        return None
    try:
        container = av.open(f"file:{path}", options={**OPEN_OPTIONS, **HEADER_ONLY}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError):
        return None
    if container.format.name.startswith(_SELF_TOLD):
        return container
    container.close()
    return None


def check_copy(
    out: Path,
    shown: Sequence[int],
    ledger: Ledger,
    *,
    same: Sequence[bytes] | None = None,
    source: SourceSpan | None = None,
) -> Size:
    """(width, height) of the mp4, after checking that it shows frames at exactly these ticks, all 4:2:0, 8-bit, of one size.

    Args:
        same: the packets in decoding order, where the scan decoded them without a fault and the first resets all references.
        source: compare every frame with those of this span; None where the first packet resets all references.

    Raises:
        CopyRefused: the copy is not exact.
    """
    options = dict(OPEN_OPTIONS)
    if same is not None:
        try:
            with av.open(f"file:{out}", options=options | HEADER_ONLY) as container:
                stream, packets = _packets(container, shown)
                if [bytes(packet) for packet in packets] == list(same):
                    return _one_size(_check_runs(stream, packets, _HEAD, len(packets), ledger))
        except (av.error.FFmpegError, CopyRefused):
            pass  # a reader that looks ahead may manage: see below
    try:
        with av.open(f"file:{out}", options=options) as container:
            stream, packets = _packets(container, shown)
            if source is not None:
                return _one_size(_check_run(stream, packets, _fingerprints(source, ledger), ledger))
            return _one_size(_check_runs(stream, packets, 1, _last_clean_start(stream, packets), ledger))
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
    if sorted(packet.pts for packet in packets if packet.pts is not None) != list(shown):
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
        pts = packets[at].pts
        assert pts is not None
        least = pts if least is None else min(least, pts)
        if pts == least and _starts_afresh(stream, packets[at]):
            return at
    return 0


def _check_runs(
    stream: VideoStream, packets: Sequence[Packet[VideoStream]], head: int, tail: int, ledger: Ledger
) -> set[Size]:  # fmt: skip
    """Decode the first ``head`` packets, those from ``tail`` on, and where there are several parameter sets, of the others each
    that may bring another form of picture.

    Raises:
        CopyRefused: as :func:`_check_run`.
    """
    if tail <= head or stream.codec_context.codec.canonical_name not in _FORM_BY_GROUP:
        return _check_run(stream, packets, None, ledger)
    context = stream.codec_context
    sets = sequence_sets(context.codec.canonical_name, context.extradata, map(bytes, packets))
    middle = [at for at in range(head, tail) if len(sets) != 1 and _starts_afresh(stream, packets[at])]
    runs = [packets[:head], *([packets[at]] for at in middle), packets[tail:]]
    return {size for run in runs if run for size in _check_run(stream, run, None, ledger)}


def _starts_afresh(stream: VideoStream, packet: Packet[VideoStream]) -> bool:
    context = stream.codec_context
    return packet.is_keyframe and starts_afresh(context.codec.canonical_name, context.extradata, bytes(packet))


def _check_run(
    stream: VideoStream, run: Sequence[Packet[VideoStream]], truth: Iterator[bytes] | None, ledger: Ledger
) -> set[Size]:  # fmt: skip
    """Decode packets that start cleanly; the sizes of their frames.

    Raises:
        CopyRefused: not one good frame for each packet, in the order of showing, or not those of ``truth``.
    """
    if truth is None and not stream.codec_context.is_open:
        stream.codec_context.options = dict(_UNSEEN)
    times = sorted(packet.pts for packet in run if packet.pts is not None)
    sizes: set[Size] = set()
    count = 0
    for frame in _decoded(stream, run):
        ledger.frames += 1
        if count >= len(times) or frame.pts != times[count] or frame.is_corrupt:
            raise CopyRefused("the copy does not decode to one good frame for each packet, in the order of showing")
        if frame.format.name != "yuv420p" or int(frame.color_range) == PC:
            raise CopyRefused("the picture is not 8-bit 4:2:0 in limited range")
        if truth is not None and next(truth, None) != fingerprint(frame):
            raise CopyRefused("frames refer to others before the span, so that the copy would show other pictures")
        sizes.add((frame.width, frame.height))
        count += 1
    if count != len(times):
        raise CopyRefused("some frames of the copy never come out of the decoder")
    return sizes


def _decoded(stream: VideoStream, packets: Sequence[Packet[VideoStream]]) -> Iterator[VideoFrame]:
    context: Any = stream.codec_context
    for packet in packets:
        yield from context.decode(packet)
    yield from context.decode(None)
    context.flush_buffers()


def _fingerprints(source: SourceSpan, ledger: Ledger) -> Iterator[bytes]:
    """Of the source's frames, decoded from a keyframe before the copied one, so that nothing they refer to is missing."""
    for frame, _ in sought_frames(source, source.start_pts - 1, ledger):
        yield fingerprint(frame)


def fingerprint(frame: VideoFrame) -> bytes:
    """Hash of a planar 8-bit frame's pixels, without the padding of its rows."""
    digest = blake2b(digest_size=16)
    for plane in frame.planes:
        data = memoryview(plane)
        for row in range(plane.height):
            digest.update(data[row * plane.line_size : row * plane.line_size + plane.width])
    return digest.digest()
