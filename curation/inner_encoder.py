"""Frames in, an H.264 mp4 out, without another process: for frames that need nothing but the encode.

Most clips are already upright, 8-bit 4:2:0 in limited range and of the right size. x264 takes their planes as the decoder left them;
a pipe to ffmpeg would copy each frame several times, which at 1080p costs as much as decoding it.
"""

from __future__ import annotations

import contextlib
import errno
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.video.frame import PictureType, VideoFrame

from curation.clip_form import PIPE_SWS, SQUARE, Picture, Timing, colour_tags, keyframe_due, mp4_options, x264_options
from curation.pipe_formats import full_range
from curation.spans import CutError
from curation.timescale import LONGEST
from schemas.errors import StorageError
from schemas.recipe import Export


def needs_only_encoding(first: VideoFrame, picture: Picture, settings: Export) -> bool:
    """Whether frames like this one can go to x264 as they are."""
    size = (first.width, first.height)
    return (
        first.format.name == "yuv420p"
        and not full_range(first)
        and picture.rotation == 0
        and picture.square_pixels
        and size == (picture.width, picture.height) == picture.shown_size(settings.short_side)
        and picture.box is None
    )


class InnerEncoder(contextlib.AbstractContextManager["InnerEncoder"]):
    """One running x264 with one thread. Write frames, then :meth:`finish`.

    Raises:
        CutError: x264 or the mp4 writer failed.
        StorageError: the disk is full.
    """

    def __init__(self, picture: Picture, timing: Timing, settings: Export, out: Path) -> None:
        self._picture, self._timing, self._settings, self._out = picture, timing, settings, out
        self._due = keyframe_due(timing, settings)
        self._keyframe: float | None = None
        """When the last codec keyframe was shown, in seconds."""
        self._packets = 0
        self._first_dts = 0
        self._mp4: Any = None
        self._stream: Any = None

    def write(self, frame: VideoFrame, tick: int) -> None:
        """Send a frame to be shown at ``tick``; ticks increase from 0."""
        try:
            if self._mp4 is None:
                self._start(frame)
            raw = frame.reformat(
                self._picture.width, self._picture.height, "yuv420p", interpolation=PIPE_SWS, threads=1
            )
            raw.pts, raw.time_base = tick, Fraction(1, self._timing.timescale)
            shown = tick / self._timing.timescale
            # A decoded frame remembers how its source coded it, which x264 would take as an order.
            if self._keyframe is None or shown - self._keyframe >= self._due:
                raw.pict_type, self._keyframe = PictureType.I, shown
            else:
                raw.pict_type = PictureType.NONE
            self._mux(self._stream.encode(raw))
        except (OSError, av.error.FFmpegError) as error:
            raise self._failure(error) from error

    def finish(self) -> None:
        """Complete the mp4."""
        if self._mp4 is None:
            raise CutError("A clip without frames cannot be encoded.")
        try:
            self._mux(self._stream.encode(None))
            self._mp4.close()
        except (OSError, av.error.FFmpegError) as error:
            raise self._failure(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mp4 is not None:
            with contextlib.suppress(OSError, av.error.FFmpegError):
                self._mp4.close()

    def _start(self, first: VideoFrame) -> None:
        timing = self._timing
        options = {name: str(value) for name, value in mp4_options(timing, sound=False).items()}
        self._mp4 = av.open(f"file:{self._out}", "w", format="mp4", options=options)
        stream = self._stream = self._mp4.add_stream("libx264", rate=Fraction(timing.fps).limit_denominator(10_000))
        context = stream.codec_context
        context.thread_count, context.thread_type = 1, "NONE"
        context.width, context.height, context.pix_fmt = first.width, first.height, "yuv420p"
        context.sample_aspect_ratio = SQUARE
        for name, value in colour_tags(first).items():
            setattr(context, name, value)
        stream.time_base = context.time_base = Fraction(1, timing.timescale)
        # Captions inside the source's frames are no part of the picture.
        context.options = {"flags": "+bitexact", "a53cc": "0"} | {
            name: str(value) for name, value in x264_options(timing, self._settings).items()
        }

    def _mux(self, packets: list[Any]) -> None:
        length = self._timing.length
        for packet in packets:
            if self._packets == 0:
                self._first_dts = packet.dts
            self._packets += 1
            # A frame is shown until the next time stamp; only the last packet's duration is written, and makes up the whole.
            last = self._packets == self._timing.num_frames
            due = length + self._first_dts - packet.dts if last else length - packet.pts
            packet.duration = min(max(1, due), LONGEST)
            self._mp4.mux(packet)

    def _failure(self, error: Exception) -> Exception:
        if getattr(error, "errno", None) == errno.ENOSPC:
            return StorageError(
                f"{self._out.parent} is full: a clip could not be written.",
                fix="Free some space, then run the same command again.",
            )
        return CutError(f"x264 or the mp4 writer refused a clip: {error}")
