"""Drawn frames to a video file, byte for byte the same each time, with the oddities that real files have.

PyAV does the encoding. Everything that could make bytes differ is pinned: one encoder thread, bit-exact muxing (no dates, no
random ids) and swscale's bit-exact conversion, independent of the processor's flags.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container.output import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter

from curation.x264 import steady_params
from schemas.errors import StorageError

_SWS = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INP
_AVCOL_SPC_BT709 = 1
_INPUT_FORMATS = {
    (3, 3, "uint8"): "rgb24",
    (3, 4, "uint8"): "rgba",
    (3, 3, "uint16"): "rgb48le",
    (2, 0, "uint8"): "gray",
}
_BT601_CODECS = ("mpeg4", "mpeg2video", "mjpeg", "flv", "wmv2")
"""Mostly stored without colour tags; players then assume BT.601, so that is what they are given."""
_BIT_EXACT = {"fflags": "+bitexact"}
_TONE_HZ = 440
_AUDIO_RATE = 48_000
_AUDIO_CODECS = {".webm": "libopus", ".avi": "pcm_s16le", ".mov": "pcm_s16le"}


def encode(
    frames: Iterable[np.ndarray],
    path: Path | str,
    fps: Fraction | float,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    crf: int | None = 18,
    gop: int | None = None,
    bframes: int | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    rotation: int = 0,
    sar: Fraction | None = None,
    audio: bool = False,
    full_range: bool = False,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
) -> int:
    """Write ``frames`` to ``path`` and return how many were written. The ending of ``path`` chooses the container.

    The file appears under its name only when it is complete; a failure leaves nothing behind.

    Args:
        frames: all of one size: (h, w, 3) uint8 RGB, (h, w, 4) uint8 RGBA, (h, w, 3) uint16 RGB (full 16-bit scale, for
            10-bit targets) or (h, w) uint8 grey. Colour is written, and tagged, as BT.709 (older codecs: BT.601).
        fps: frames per second; with ``pts`` only the rate that the header announces.
        codec: an encoder of the bundled FFmpeg: libx264, libx265, libvpx-vp9, libsvtav1, mpeg4, mjpeg, ffv1, prores_ks, …
        pix_fmt: pixel format to encode. 4:2:0 with libx264 and libx265 needs even sides.
        crf: constant quality for encoders that know it (libx264, libx265, libvpx-vp9, libsvtav1); others ignore it.
        gop: frames between codec keyframes at most; None leaves it to the encoder (250 with libx264, plus at cuts).
        bframes: most B-frames in a row; None leaves it to the encoder.
        pts: time stamp of each frame in ``time_base`` units, increasing, one per frame; None means 0, 1, 2, … at ``fps``.
        time_base: seconds per step of ``pts``; unused without them.
        rotation: clockwise degrees (0, 90, 180, 270) by which a player must turn the stored picture; written as the
            container's display matrix (mp4, mov, mkv). FFmpeg reports it counter-clockwise: 90 reads back as -90.
        sar: width / height of one stored pixel; None leaves it unset (square).
        audio: add a 440 Hz tone as long as the video (AAC; Opus in .webm; PCM in .avi and .mov).
        full_range: write luma as 0..255 instead of 16..235, and tag it so.
        options: further encoder options, such as ``{"preset": "medium"}``.
        container_options: options of the muxer, such as ``{"movflags": "faststart"}``.

    Raises:
        StorageError: the file cannot be written.
        ValueError: no frame, fewer or more ``pts`` than frames, or frames of an unknown layout.
        av.error.FFmpegError: the encoder refuses the combination.
    """
    with (
        _finished_file(Path(path)) as part,
        av.open(str(part), "w", options=_BIT_EXACT | dict(container_options or {})) as container,
    ):
        writer = _Writer(container, Fraction(fps).limit_denominator(100_000), codec, pix_fmt, full_range)
        writer.set_codec(crf, gop, bframes, dict(options or {}))
        writer.set_picture(rotation, sar)
        if audio:
            writer.add_tone(_AUDIO_CODECS.get(part.suffix, "aac"))
        return writer.write(frames, pts, time_base)


def encode_tone(path: Path | str, seconds: float) -> None:
    """Write a file with a 440 Hz tone (AAC) and no video stream.

    Raises:
        StorageError: the file cannot be written.
    """
    with _finished_file(Path(path)) as part, av.open(str(part), "w", options=_BIT_EXACT) as container:
        tone = _Tone(container, "aac")
        tone.write(seconds)
        tone.finish()


@contextmanager
def _finished_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes ``path`` when the block ends well and vanishes when it does not."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error}.", fix="Choose a folder that can be written to."
        ) from error


class _Writer:
    """One video stream, and perhaps a tone, going into an open container."""

    def __init__(self, container: OutputContainer, fps: Fraction, codec: str, pix_fmt: str, full_range: bool) -> None:
        self._container = container
        self._fps = fps
        stream: Any = container.add_stream(codec, rate=fps)
        self._stream = stream
        stream.pix_fmt = pix_fmt
        self._codec = codec
        self._range = ColorRange.JPEG if full_range or pix_fmt.startswith("yuvj") else ColorRange.MPEG
        self._bt709 = codec not in _BT601_CODECS
        self._reformatter = VideoReformatter()
        self._tone: _Tone | None = None

    def set_codec(self, crf: int | None, gop: int | None, bframes: int | None, options: dict[str, str]) -> None:
        """Quality and structure; also everything that makes an encoder give the same bytes each time."""
        context = self._stream.codec_context
        context.thread_count = 1
        context.color_range = self._range
        if self._bt709:
            context.colorspace, context.color_primaries, context.color_trc = (
                _AVCOL_SPC_BT709,
                ColorPrimaries.BT709,
                ColorTrc.BT709,
            )
        chosen: dict[str, str] = {"flags": "+bitexact"}
        if crf is not None and self._codec in ("libx264", "libx265", "libvpx-vp9", "libsvtav1"):
            chosen["crf"] = str(crf)
        if self._codec in ("libx264", "libx265"):
            chosen["preset"] = "veryfast"
        if self._codec == "libx264" and steady_params():
            chosen["x264-params"] = ":".join(steady_params())
        if self._codec == "libx265":
            chosen["x265-params"] = "pools=none:frame-threads=1:log-level=error"
        if self._codec == "libvpx-vp9":
            chosen |= {"b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "0"}
        if self._codec in ("mpeg4", "mpeg2video", "mjpeg", "wmv2", "flv"):
            chosen |= {"qmin": "2", "qmax": "3"}
        context.options = chosen | options
        if gop is not None:
            context.gop_size = gop
        if bframes is not None:
            context.max_b_frames = bframes

    def set_picture(self, rotation: int, sar: Fraction | None) -> None:
        """Display matrix and pixel shape."""
        if rotation:
            self._stream.set_display_rotation(-rotation)
        if sar is not None:
            self._stream.codec_context.sample_aspect_ratio = sar

    def add_tone(self, codec: str) -> None:
        """Announce the audio stream; its samples follow the video in :meth:`write`."""
        self._tone = _Tone(self._container, codec)

    def write(self, frames: Iterable[np.ndarray], pts: Sequence[int] | None, time_base: Fraction) -> int:
        """Encode and mux all frames; returns their number."""
        base = 1 / self._fps if pts is None else time_base
        stream = self._stream
        stream.codec_context.time_base = base
        count = 0
        for array in frames:
            if count == 0:
                stream.height, stream.width = array.shape[:2]
            if pts is not None and count >= len(pts):
                raise ValueError(f"{len(pts)} time stamps for more frames")
            frame = self._picture(array)
            frame.pts = count if pts is None else pts[count]
            frame.time_base = base
            self._container.mux(stream.encode(frame))
            if self._tone is not None:
                self._tone.write(float(frame.pts * base))
            count += 1
        if count == 0 or (pts is not None and count != len(pts)):
            raise ValueError(f"{count} frames, but {1 if pts is None else len(pts)} needed")
        last = count - 1 if pts is None else pts[-1]
        if self._tone is not None:
            self._tone.write(float(last * base + 1 / self._fps))
        self._container.mux(stream.encode(None))
        if self._tone is not None:
            self._tone.finish()
        return count

    def _picture(self, array: np.ndarray) -> av.VideoFrame:
        """The frame in the stream's pixel format and colour matrix."""
        key = (array.ndim, array.shape[2] if array.ndim == 3 else 0, str(array.dtype))
        if key not in _INPUT_FORMATS:
            raise ValueError(f"frames of shape {array.shape} and type {array.dtype} are not understood")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=_INPUT_FORMATS[key])
        frame = self._reformatter.reformat(
            frame,
            format=self._stream.pix_fmt,
            dst_colorspace=Colorspace.ITU709 if self._bt709 else Colorspace.ITU601,
            dst_color_range=self._range,
            interpolation=_SWS,
            threads=1,
        )
        if self._bt709:
            frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return frame


class _Tone:
    """An audio stream with a sine, written up to a moment at a time so that it interleaves with the video."""

    def __init__(self, container: OutputContainer, codec: str) -> None:
        self._container = container
        stream: Any = container.add_stream(codec, rate=_AUDIO_RATE, layout="mono")
        stream.codec_context.options = {"flags": "+bitexact"}
        self._stream = stream
        self._samples = 0

    def write(self, until: float) -> None:
        """Encode the tone up to ``until`` seconds."""
        end = round(until * _AUDIO_RATE)
        while self._samples < end:
            count = min(1024, end - self._samples)
            at = np.arange(self._samples, self._samples + count)
            wave = np.rint(8000 * np.sin(2 * np.pi * _TONE_HZ * at / _AUDIO_RATE)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = _AUDIO_RATE, self._samples, Fraction(1, _AUDIO_RATE)
            self._container.mux(self._stream.encode(frame))
            self._samples += count

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._container.mux(self._stream.encode(None))
