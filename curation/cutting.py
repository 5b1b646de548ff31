"""Cutting one clip out of its source: by copying packets where that is exact, else by one encode.

The clip appears under its name only when it is complete and checked; a failure leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av

from curation.clip_form import Picture, Timing, box_without_bars
from curation.copy_check import CopyRefused
from curation.encoder import Encoder, ffmpeg_binary, ffmpeg_version
from curation.inner_encoder import InnerEncoder, needs_only_encoding
from curation.opening import OPEN_OPTIONS
from curation.packet_opening import HEADER_ONLY
from curation.remux import copy_span
from curation.sound import write_sound
from curation.spans import CutError, Ledger, SourceSpan, frames_of
from curation.timescale import ticks, timescale_of
from schemas.recipe import Export

__all__ = ["ClipToCut", "CutError", "CutResult", "cut_clip", "ffmpeg_binary", "ffmpeg_version"]


@dataclass(frozen=True, slots=True)
class ClipToCut:
    """One clip and what the scan knows of its source, in the units of the tables ``clips`` and ``sources``."""

    clip_id: str
    path: Path
    """The source, on a local disk."""
    stream_index: int
    time_base: str
    """`numerator/denominator` in seconds."""
    start_pts: int
    end_pts: int
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    rotation: int
    """Clockwise degrees that make the stored picture upright: 0, 90, 180 or 270."""
    width: int
    """As displayed: upright, with square pixels."""
    height: int
    sample_aspect_ratio: str
    """Of a stored pixel, as `width:height`."""
    pixel_format: str
    codec: str
    faultless: bool = False
    """The scan decoded the whole source without an error, a damaged frame or a wrong time stamp."""
    seekable: bool = True
    """Decoding may begin at any codec keyframe: `sources.seekable`."""
    bars: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Black bars at the top, bottom, left and right, in displayed pixels."""


@dataclass(frozen=True, slots=True)
class CutResult:
    """What was really exported; frames are numbers within the source, half open."""

    how: Literal["copy", "encode"]
    start_frame: int
    end_frame: int
    num_frames: int
    width: int
    height: int
    fps: float
    """num_frames / duration."""
    frames_decoded: int
    """Source and result frames decoded for this cut, run-ups and checks included."""


def cut_clip(clip: ClipToCut, settings: Export, out: Path, ledger: Ledger | None = None) -> CutResult:
    """Write ``clip`` to ``out`` as mp4, the same bytes each time, and say what is in it.

    Args:
        ledger: counts the frames that are decoded, also of a cut that fails.

    Raises:
        SourceFailure: the source does not open.
        CutError: the source is not what was scanned, the encoder refused it, or it may only be copied and cannot.
        StorageError: the disk is full.
        UsageError: there is no usable ffmpeg (only where the clip must be encoded).
    """
    scratch = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    sound = scratch.with_suffix(".pcm")
    try:
        result = _cut(clip, settings, scratch, sound, ledger or Ledger())
        scratch.replace(out)
    finally:
        for path in (scratch, sound):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    return result


def _cut(clip: ClipToCut, settings: Export, out: Path, sound: Path, ledger: Ledger) -> CutResult:
    if settings.cut == "encode":
        return _encoded(clip, settings, out, sound, ledger)
    try:
        return _copied(clip, settings, out, ledger)
    except CopyRefused as refused:
        if settings.cut == "copy":
            raise CutError(
                f"It cannot be copied: {refused}.", fix="`export.cut: auto` encodes such clips."
            ) from refused
    return _encoded(clip, settings, out, sound, ledger)


def _copied(clip: ClipToCut, settings: Export, out: Path, ledger: Ledger) -> CutResult:
    """The clip by stream copy.

    Raises:
        CopyRefused: that is not allowed or would not be exact.
    """
    base = Fraction(clip.time_base)
    refusals = {
        "its picture is stored turned": clip.rotation != 0,
        f"its pixel format is {clip.pixel_format}": clip.pixel_format != "yuv420p",
        "its picture is larger than `short_side`": min(clip.width, clip.height) > settings.short_side,
        "its pixels are not square": not _square_pixels(clip),
        "it has black bars to be cut off": _picture(clip, settings).box is not None,
        "its parameter sets come once in between": not clip.seekable,
    }
    for why, holds in refusals.items():
        if holds:
            raise CopyRefused(why)
    copied = copy_span(_span(clip), clip.codec, clip.faultless, base, settings, out, ledger)
    if (copied.width, copied.height) != (clip.width, clip.height):
        raise CopyRefused("its picture has another size than the source's first")
    start = clip.start_frame + copied.skipped
    duration = float((copied.end_pts - copied.start_pts) * base)
    return CutResult(
        how="copy",
        start_frame=start,
        end_frame=start + copied.num_frames,
        num_frames=copied.num_frames,
        width=copied.width,
        height=copied.height,
        fps=copied.num_frames / duration,
        frames_decoded=ledger.frames,
    )


def _encoded(clip: ClipToCut, settings: Export, out: Path, sound_path: Path, ledger: Ledger) -> CutResult:
    """The clip by one encode."""
    base = Fraction(clip.time_base)
    span = _span(clip)
    sound = None
    if settings.audio == "keep":
        sound = write_sound(clip.path, clip.start_pts * base, clip.end_pts * base, sound_path)
    timescale = timescale_of(base)
    timing = Timing(span.num_frames, ticks(clip.end_pts - clip.start_pts, base, timescale), timescale)
    picture = _picture(clip, settings)
    shown: list[int] = []
    with contextlib.ExitStack() as stack:
        encoder: Encoder | InnerEncoder | None = None

        def restart() -> None:
            nonlocal encoder
            stack.pop_all().close()
            encoder = None
            shown.clear()

        for frame, pts in frames_of(span, ledger, restart):
            if encoder is None:
                if sound is None and needs_only_encoding(frame, picture, settings):
                    encoder = stack.enter_context(InnerEncoder(picture, timing, settings, out))
                else:
                    encoder = stack.enter_context(Encoder(picture, timing, sound, settings, out))
            # Only a time base finer than the track's can round two frames to one tick.
            tick = ticks(pts - clip.start_pts, base, timescale)
            shown.append(max(shown[-1] + 1, tick) if shown else tick)
            encoder.write(frame, shown[-1])
        if encoder is None:
            raise CutError("A clip without frames cannot be encoded.")
        encoder.finish()
    width, height = _check_encoded(out, shown)
    return CutResult(
        how="encode",
        start_frame=clip.start_frame,
        end_frame=clip.end_frame,
        num_frames=span.num_frames,
        width=width,
        height=height,
        fps=timing.fps,
        frames_decoded=ledger.frames,
    )


def _picture(clip: ClipToCut, settings: Export) -> Picture:
    box = box_without_bars(clip.width, clip.height, *clip.bars) if settings.crop_bars else None
    return Picture(clip.rotation, clip.width, clip.height, _square_pixels(clip), box)


def _square_pixels(clip: ClipToCut) -> bool:
    return Fraction(clip.sample_aspect_ratio.replace(":", "/")) == 1


def _span(clip: ClipToCut) -> SourceSpan:
    frames = clip.end_frame - clip.start_frame
    return SourceSpan(clip.path, clip.stream_index, clip.start_pts, clip.end_pts, frames, clip.seekable)


def _check_encoded(out: Path, shown: list[int]) -> tuple[int, int]:
    """(width, height) of an encoded clip, after checking that every frame is there and shown when it should be.

    x264 makes one packet of each frame, so nothing needs decoding.
    """
    try:
        with av.open(f"file:{out}", options={**OPEN_OPTIONS, **HEADER_ONLY}) as mp4:
            stream = mp4.streams.video[0]
            found = sorted(packet.pts for packet in mp4.demux(stream) if packet.size and packet.pts is not None)
            size = stream.codec_context.width, stream.codec_context.height
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise CutError(f"ffmpeg reported no error, but what it wrote cannot be read: {error}.") from error
    if found != shown:
        raise CutError(f"ffmpeg wrote {len(found)} frames of a clip that has {len(shown)}, or at other times.")
    return size
