"""Copying packets of a span into an mp4 without an encode, only where the result decodes to exactly the source's frames.

Cutting by time stamps spoils the end of a stream copy: a frame may be stored before others that are shown earlier, so the
packets up to an instant are not the frames up to it. Packets are therefore taken in decoding order, whose every beginning can be
decoded, and only as many as show no gap. Leading frames (stored after the first keyframe, shown before it) refer to frames that
are not in the file and are left out. What was written is then put to the proof (``copy_check``).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from curation.copy_check import CopyRefused, Stored, check_copy
from curation.keyframes import sets_from_header, stands_alone
from curation.opening import open_container
from curation.packet_opening import open_headers
from curation.pipe_formats import PC
from curation.spans import Ledger, SeekFailed, SourceSpan, packets_from_keyframe, video_stream
from curation.timescale import LONGEST, ticks, timescale_of
from schemas.recipe import Export

CODECS = ("h264", "hevc", "vp9", "av1")
"""Codecs that mp4 holds and common readers decode."""
_SOUND_CODECS = ("aac", "mp3", "opus", "ac3", "eac3", "alac", "flac")
_REORDER = 32
"""Packets to look past the end for one that is shown before it: H.264 and HEVC hold back at most 16 frames."""
_LEAST_S, _LEAST_SHARE = 2, Fraction(4, 5)
"""A copy must keep this long, or this share of a short span; else the span is encoded."""


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """Which packets to copy."""

    chosen: tuple[int, ...]
    """Positions in decoding order; the first is a codec keyframe."""
    start_pts: int
    end_pts: int
    """When the first frame after the copy is shown, or the span's end."""
    skipped: int
    """Frames of the span before the first copied one."""
    leading: tuple[int, ...]
    """Positions of the leading frames that were left out; all before the second chosen packet."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a finished copy holds."""

    skipped: int
    num_frames: int
    start_pts: int
    end_pts: int
    width: int
    height: int


def plan_copy(
    stamps: Sequence[tuple[int, bool]], span: SourceSpan, *, tolerance: int, interval: int, least: int
) -> CopyPlan:
    """Choose packets.

    Args:
        stamps: (pts, is codec keyframe) of the stream's packets in decoding order, from a keyframe shown at or before the span
            until every packet shown within the span has come, and some of those after it.
        tolerance: how much later than the span the copy may start, in pts steps, as all that follow.
        interval: longest distance between codec keyframes, and from the last one to the end.
        least: shortest copy.

    Raises:
        CopyRefused: a copy would start too late, be too short, or have keyframes too far apart.
    """
    start, end = span.start_pts, span.end_pts
    if sum(start <= pts < end for pts, _ in stamps) != span.num_frames or len({pts for pts, _ in stamps}) != len(
        stamps
    ):
        raise CopyRefused("the times of its packets are not those of its frames")
    first = next((i for i, (pts, key) in enumerate(stamps) if key and pts >= start), None)
    if first is None or stamps[first][0] > min(start + tolerance, end - 1):
        raise CopyRefused("no codec keyframe lies at its start or within the tolerance after it")
    first_pts = stamps[first][0]
    if any(pts > first_pts for pts, _ in stamps[:first]):
        raise CopyRefused("a frame that is shown after its first codec keyframe is stored before it")
    trailing = [i for i in range(first, len(stamps)) if stamps[i][0] >= first_pts]
    # Shown first among the packets from here on: what is taken must all be shown before it.
    next_shown: list[int | None] = [None]
    for i in reversed(trailing):
        pts, after = stamps[i][0], next_shown[-1]
        next_shown.append(pts if after is None else min(pts, after))
    next_shown.reverse()
    taken, last = 0, first_pts - 1
    for n, i in enumerate(trailing, start=1):
        if stamps[i][0] >= end:
            break
        last = max(last, stamps[i][0])
        after = next_shown[n]
        if after is None or after > last:
            taken = n
    after = next_shown[taken]
    end_pts = end if after is None else min(end, after)
    chosen = tuple(trailing[:taken])
    leading = tuple(i for i in range(first, chosen[-1]) if stamps[i][0] < first_pts)
    if leading and leading[-1] > chosen[1]:
        raise CopyRefused("leading frames are stored among those that follow")
    keyframes = [stamps[i][0] for i in chosen if stamps[i][1]]
    if end_pts - first_pts < least:
        raise CopyRefused("what can be copied of it is too short")
    if any(b - a > interval for a, b in zip(keyframes, [*keyframes[1:], end_pts], strict=True)):
        raise CopyRefused("its codec keyframes are too far apart")
    return CopyPlan(
        chosen=chosen,
        start_pts=first_pts,
        end_pts=end_pts,
        skipped=sum(start <= pts < first_pts for pts, _ in stamps),
        leading=leading,
    )


def decoding_times(shown: Sequence[int]) -> list[int]:
    """Decoding times for packets in decoding order: strictly increasing, none after its ``shown`` time.

    The times at which frames are shown, in order, moved back by as many frames as the order of storing needs.
    """
    ordered = sorted(shown)
    rank = {pts: n for n, pts in enumerate(ordered)}
    delay = max(n - rank[pts] for n, pts in enumerate(shown))
    step = max(1, ordered[1] - ordered[0]) if len(ordered) > 1 else 1
    return [ordered[n - delay] if n >= delay else ordered[0] - (delay - n) * step for n in range(len(ordered))]


def copy_span(
    span: SourceSpan, codec: str, faultless: bool, time_base: Fraction, settings: Export, out: Path, ledger: Ledger
) -> Copied:
    """Write the copied span to ``out``. ``codec`` is the source's, as FFmpeg names it; ``faultless``: the scan found nothing wrong.

    Raises:
        CopyRefused: the source does not allow an exact copy (``out`` may then hold rubbish).
        SourceFailure: the source does not open.
    """
    keep_sound = settings.audio == "keep"
    quick = None if keep_sound else open_headers(span.path, codec)  # sound may need more than headers tell
    with quick or open_container(span.path) as container:
        stream = video_stream(container, span.stream_index)
        codec, extradata = stream.codec_context.codec.canonical_name, stream.codec_context.extradata
        if codec not in CODECS:
            raise CopyRefused(f"mp4 readers do not take the codec {codec}")
        if stream.codec_context.color_range == PC:
            raise CopyRefused("the picture is not 8-bit 4:2:0 in limited range")
        tolerance = round(Fraction(settings.copy_start_tolerance_s) / time_base)
        try:
            found = packets_from_keyframe(container, stream, span.start_pts)
            # Matroska stores no decoding times; FFmpeg makes them up from what it learns by decoding.
            timed = quick is None or "mp4" in container.format.name
            near = _packets_around(found, span.end_pts, timed=timed)
            stamps, packets = _collect(near, span.start_pts, span.start_pts + tolerance)
        except (SeekFailed, av.error.FFmpegError):
            raise CopyRefused("its packets cannot be found by seeking") from None
        length = span.end_pts - span.start_pts
        plan = plan_copy(
            stamps,
            span,
            tolerance=tolerance,
            interval=round(Fraction(settings.copy_keyframe_interval_s) / time_base),
            least=int(min(_LEAST_S / time_base, _LEAST_SHARE * length)),
        )
        chosen = [packets[i] for i in plan.chosen]
        data, left_out = [bytes(packet) for packet in chosen], [bytes(packets[i]) for i in plan.leading]
        if not sets_from_header(codec, extradata, [*data, *left_out]):
            raise CopyRefused("its parameter sets change, and mp4 readers may know those of the header only")
        alone = stands_alone(codec, extradata, data, left_out)
        try:
            shown = _write(container, stream, chosen, plan, time_base, keep_sound, out)
        except av.error.FFmpegError as error:
            raise CopyRefused(f"the mp4 writer does not take it: {error.strerror}") from error
    start, end = plan.start_pts, plan.end_pts
    source = SourceSpan(span.path, span.stream_index, start, end, len(shown))
    size = check_copy(out, shown, ledger, same=Stored(extradata, data), source=source, faultless=faultless, alone=alone)
    return Copied(plan.skipped, len(shown), start, end, *size)


def _packets_around(
    packets: Iterator[Packet[VideoStream]], end_pts: int, *, timed: bool
) -> Iterator[Packet[VideoStream]]:
    """Packets until none can come any more that is shown before ``end_pts``. ``timed``: their decoding times can be relied on."""
    later = 0
    for packet in packets:
        if not packet.size:
            return
        yield packet
        later += packet.pts is not None and packet.pts >= end_pts
        if later >= _REORDER or (timed and packet.dts is not None and packet.dts >= end_pts):
            return


def _collect(
    found: Iterator[Packet[VideoStream]], start_pts: int, latest: int
) -> tuple[list[tuple[int, bool]], dict[int, Packet[VideoStream]]]:
    """(time of showing, is codec keyframe) of packets, and by their place those from the first keyframe on at which a copy might begin.

    What comes before may be long, and is not kept.

    Raises:
        CopyRefused: one is damaged or changes the decoder's settings, or there is no such keyframe until ``latest``.
    """
    stamps: list[tuple[int, bool]] = []
    packets: dict[int, Packet[VideoStream]] = {}
    later = 0
    for packet in found:
        pts = packet.pts
        if pts is None or packet.is_corrupt or packet.is_discard or packet.has_sidedata("new_extradata"):
            raise CopyRefused("packets are damaged, have no time, or change the decoder's settings")
        if packets or (packet.is_keyframe and pts >= start_pts):
            packets[len(stamps)] = packet
        later += pts > latest
        if later >= _REORDER and not packets:
            raise CopyRefused("no codec keyframe lies at its start or within the tolerance after it")
        stamps.append((pts, packet.is_keyframe))
    return stamps, packets


def _write(
    container: av.container.InputContainer, stream: VideoStream, chosen: Sequence[Packet[VideoStream]], plan: CopyPlan,
    time_base: Fraction, keep_sound: bool, out: Path,
) -> list[int]:  # fmt: skip
    """Write the mp4; returns when its frames are shown, in order, in ticks of its track.

    Raises:
        CopyRefused: the sound cannot be copied, or two frames fall on one tick.
    """
    timescale = timescale_of(time_base)
    shown = [ticks(p.pts - plan.start_pts, time_base, timescale) for p in chosen if p.pts is not None]
    if len(set(shown)) != len(shown):
        raise CopyRefused("two frames fall on one tick of the mp4's clock")
    sound = next((s for s in container.streams.audio if s.codec_context is not None), None) if keep_sound else None
    if sound is not None and sound.codec_context.codec.canonical_name not in _SOUND_CODECS:
        raise CopyRefused(f"mp4 readers do not take sound of the codec {sound.codec_context.codec.canonical_name}")
    options = {
        "fflags": "+bitexact",
        "movflags": "+faststart+negative_cts_offsets",
        "video_track_timescale": str(timescale),
    }
    if sound is None:
        # Without an edit list no reader can see other frames than another. Sound needs one to stay in step.
        options["use_editlist"] = "0"
    with av.open(str(out), "w", format="mp4", options=options) as mp4:
        track = mp4.add_stream_from_template(stream, opaque=True)
        if stream.codec_context.codec.canonical_name == "hevc":
            track.codec_context.codec_tag = "hvc1"
        if track.codec_context.pix_fmt is None:  # the header did not say; the scan did
            track.codec_context.pix_fmt = "yuv420p"
        track.time_base = Fraction(1, timescale)
        feeds: list[Iterator[tuple[Fraction, Packet[Any]]]] = [_video_feed(chosen, shown, plan, time_base, track)]
        if sound is not None:
            start, end = plan.start_pts * time_base, plan.end_pts * time_base
            feeds.append(_sound_feed(container, sound, start, end, mp4.add_stream_from_template(sound, opaque=True)))
        for _, packet in heapq.merge(*feeds, key=lambda item: item[0]):
            mp4.mux(packet)
    return sorted(shown)


def _video_feed(
    chosen: Sequence[Packet[VideoStream]], shown: Sequence[int], plan: CopyPlan, time_base: Fraction, track: Any
) -> Iterator[tuple[Fraction, Packet[Any]]]:
    """(decoding time in seconds, packet) for the mp4's video track."""
    base = track.time_base
    total = ticks(plan.end_pts - plan.start_pts, time_base, base.denominator)
    stored = decoding_times(shown)
    for packet, pts, dts in zip(chosen, shown, stored, strict=True):
        packet.pts, packet.dts, packet.time_base = pts, dts, base
        # A frame is shown until the next time stamp; only the last packet's duration is written, and makes up the whole.
        packet.duration = min(max(1, total - (pts if dts != stored[-1] else dts - stored[0])), LONGEST)
        packet.stream = track
        yield dts * base, packet


def _sound_feed(
    container: av.container.InputContainer, sound: AudioStream, start: Fraction, end: Fraction, track: Any
) -> Iterator[tuple[Fraction, Packet[Any]]]:
    """(time in seconds, packet) for the mp4's audio track: those that start within the span."""
    assert sound.time_base is not None
    base = track.time_base = Fraction(1, sound.codec_context.sample_rate)
    container.seek(int(start / sound.time_base), stream=sound, backward=True)
    for packet in container.demux(sound):
        if packet.pts is None:
            continue
        time = packet.pts * sound.time_base
        if time >= end:
            return
        if time >= start:
            length = (packet.duration or 0) * sound.time_base
            packet.pts = packet.dts = round((time - start) / base)
            packet.duration, packet.time_base, packet.stream = round(length / base), base, track
            yield time - start, packet
