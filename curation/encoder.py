"""Frames in, an H.264 mp4 out: one ffmpeg with one x264 thread, fed through a pipe, the same bytes each time.

For frames that must be changed on the way; others take the shorter one (``inner_encoder``). Frames travel as raw video in NUT, which keeps their time stamps, so variable frame rates survive. Stretching to square pixels,
turning upright, cropping, shrinking and the change to 8-bit 4:2:0 in limited range happen in ffmpeg's filters.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import av
import ffmpeg
import imageio_ffmpeg
from av.video.frame import VideoFrame

from curation.clip_form import (
    PIPE_SWS,
    RGB,
    TV,
    Picture,
    Timing,
    colour_tags,
    keyframe_due,
    mp4_options,
    x264_options,
)
from curation.pipe_formats import PC, full_range, pipe_format
from curation.sound import Sound
from curation.spans import CutError
from curation.timescale import LONGEST
from schemas.errors import StorageError, UsageError
from schemas.recipe import Export

BINARY_VARIABLE = "STIV_FFMPEG"
_INSTALL = (
    f"Install the Python package imageio-ffmpeg, or ffmpeg 5.1 or newer with libx264, or name one in {BINARY_VARIABLE}."
)
_SWS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
"""swscale with rounding that is the same on every processor."""
_TURNS = {90: (("transpose", "clock"),), 180: (("hflip", None), ("vflip", None)), 270: (("transpose", "cclock"),)}


def ffmpeg_binary() -> str:
    """Path of the encoder: ``STIV_FFMPEG``, else imageio-ffmpeg's pinned one, else the system's.

    Raises:
        UsageError: there is none, it does not run, is too old, or is built without libx264.
    """
    named = os.environ.get(BINARY_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise UsageError(
                f"{BINARY_VARIABLE} names `{named}`, which is not a program that can be run.", fix=_INSTALL
            )
    else:
        try:
            found = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError:
            found = shutil.which("ffmpeg")
        if found is None:
            raise UsageError("There is no ffmpeg to encode clips with.", fix=_INSTALL)
    _check_binary(found, os.stat(found).st_mtime_ns)
    return found


@lru_cache(maxsize=8)
def _check_binary(binary: str, mtime_ns: int) -> None:
    if " libx264 " not in _output_of(binary, "-encoders"):
        raise UsageError(f"`{binary}` cannot encode H.264: it was built without libx264.", fix=_INSTALL)
    release = re.match(r"n?(\d+)\.(\d+)", ffmpeg_version(binary))
    if release and (int(release[1]), int(release[2])) < (5, 1):
        raise UsageError(f"`{binary}` is version {release[0]}; 5.1 is the oldest that works.", fix=_INSTALL)


def ffmpeg_version(binary: str) -> str:
    """The version as that binary gives it, such as ``7.0.2-static``."""
    words = _output_of(binary, "-version").split()
    if words[:2] != ["ffmpeg", "version"] or len(words) < 3:
        raise UsageError(f"`{binary}` does not answer like ffmpeg.", fix=_INSTALL)
    return words[2]


def _output_of(binary: str, option: str) -> str:
    try:
        done = subprocess.run(
            [binary, "-hide_banner", option] if option != "-version" else [binary, option],
            stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"`{binary} {option}` failed: {error}.", fix=_INSTALL) from None
    return done.stdout


class Encoder(contextlib.AbstractContextManager["Encoder"]):
    """One running ffmpeg. Write frames, then :meth:`finish`; leaving the context without that kills it.

    Raises:
        CutError: ffmpeg failed; the message ends with its last lines.
        StorageError: it failed because the disk is full or cannot be written.
        UsageError: there is no usable ffmpeg.
    """

    def __init__(self, picture: Picture, timing: Timing, sound: Sound | None, settings: Export, out: Path) -> None:
        self._binary = ffmpeg_binary()
        self._picture, self._timing = picture, timing
        self._sound, self._settings, self._out = sound, settings, out
        self._process: subprocess.Popen[bytes] | None = None
        self._nut: Any = None
        self._stream: Any = None
        self._stderr = _LastLines()

    def write(self, frame: VideoFrame, tick: int) -> None:
        """Send a frame to be shown at ``tick``; ticks increase from 0."""
        if self._process is None:
            self._start(frame)
        raw = frame.reformat(
            self._stream.width, self._stream.height, self._stream.pix_fmt, interpolation=PIPE_SWS, threads=1
        )  # untouched where it already fits
        raw.pts, raw.time_base = tick, Fraction(1, self._timing.timescale)
        try:
            self._nut.mux(self._stream.encode(raw))
        except (OSError, av.error.FFmpegError) as error:
            raise self._failure() from error

    def finish(self) -> None:
        """Wait until the mp4 is complete."""
        if self._process is None:
            raise CutError("A clip without frames cannot be encoded.")
        try:
            self._nut.mux(self._stream.encode(None))
            self._nut.close()
            self._pipe().close()
        except (OSError, av.error.FFmpegError) as error:
            raise self._failure() from error
        if self._process.wait() != 0:
            raise self._failure()
        self._stderr.join()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.kill()
            process.wait()
        # Both may still hold bytes that nobody takes any more.
        with contextlib.suppress(OSError, av.error.FFmpegError):
            if self._nut is not None:
                self._nut.close()
        with contextlib.suppress(OSError):
            self._pipe().close()
        self._stderr.join()
        assert process.stderr is not None
        process.stderr.close()

    def _start(self, first: VideoFrame) -> None:
        name = pipe_format(first)
        command = self._command(first, name)
        self._process = command.run_async(cmd=self._binary, pipe_stdin=True, pipe_stderr=True)
        assert self._process.stderr is not None
        self._stderr.follow(self._process.stderr)
        self._nut = av.open(_Sink(self._pipe()), "w", format="nut", buffer_size=1 << 20)
        self._stream = self._nut.add_stream("rawvideo", rate=Fraction(25))
        self._stream.width, self._stream.height, self._stream.pix_fmt = first.width, first.height, name
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, self._timing.timescale)

    def _pipe(self) -> IO[bytes]:
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin

    def _failure(self) -> Exception:
        """The error to raise; ends the process, so that its last words are complete."""
        assert self._process is not None
        with contextlib.suppress(OSError):
            self._pipe().close()
        try:
            code = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._stderr.join()
        said = self._stderr.text() or "it said nothing"
        if "No space left on device" in said:
            return StorageError(
                f"{self._out.parent} is full: a clip could not be written.",
                fix="Free some space, then run the same command again.",
            )
        # Addresses differ from run to run, and this text goes into a table.
        last = " | ".join(re.sub(r" @ 0x[0-9a-f]+", "", line).strip() for line in said.strip().splitlines()[-2:])
        return CutError(f"ffmpeg ended with code {code} while it encoded a clip; its last lines: {last}")

    def _command(self, first: VideoFrame, name: str) -> Any:
        """The whole command line, as an ffmpeg-python node."""
        picture = self._picture
        width, height = picture.shown_size(self._settings.short_side)
        rgb = first.format.is_rgb or name == "rgb24"
        tags = colour_tags(first, rgb=rgb)
        source_range = PC if full_range(first) else TV
        node = ffmpeg.input("pipe:0", format="nut", probesize=32, analyzeduration=0, threads=1).video
        # Newer releases of ffmpeg encode with the tags that frames carry, older ones with those of the output.
        carried = tags | {"range": source_range} | ({"colorspace": RGB} if rgb else {})
        node = node.filter("setparams", **{n: v for n, v in carried.items() if n != "color_range"})
        for turn, argument in _TURNS.get(picture.rotation, ()):
            node = node.filter(turn, argument) if argument else node.filter(turn)
        stored = (first.height, first.width) if picture.rotation in (90, 270) else (first.width, first.height)
        left, top, box_width, box_height = picture.stored_box(*stored)
        exact = picture.square_pixels and stored == (picture.width, picture.height)
        if exact and (width, height) == (box_width - box_width % 2, box_height - box_height % 2):
            # An odd row or column is cut off, not squeezed.
            box_width, box_height = width, height
        if (box_width, box_height) != stored:
            node = node.filter("crop", box_width, box_height, left, top, exact=1)
        # The matrix only changes where the source is RGB and has none.
        matrices = {"out_color_matrix": "bt709"} if rgb else {}
        node = node.filter("scale", width, height, flags=_SWS, in_range=source_range, out_range=TV, **matrices)
        node = node.filter("format", "yuv420p").filter("setsar", 1)
        streams = [node]
        if self._sound is not None:
            streams.append(
                ffmpeg.input(str(self._sound.path), format="s16le", ar=self._sound.rate, ac=self._sound.channels).audio
            )
        return ffmpeg.output(
            *streams, f"file:{self._out}", format="mp4", **self._x264(), **self._mp4(), **tags
        ).global_args("-nostdin", "-hide_banner", "-nostats", "-loglevel", "error", "-filter_complex_threads", "1", "-y")  # fmt: skip

    def _x264(self) -> dict[str, Any]:
        timing = self._timing
        due = f"isnan(prev_forced_t)+gte(t-prev_forced_t,{keyframe_due(timing, self._settings):.6f})"
        return {
            "c:v": "libx264", "threads:v": 1, "pix_fmt": "yuv420p", "flags:v": "+bitexact",
            **x264_options(timing, self._settings), "force_key_frames": f"expr:{due}",
            "fps_mode": "passthrough", "enc_time_base": f"1/{timing.timescale}",
            # A frame is shown until the next time stamp; only the last packet's duration is written, and makes up the whole.
            "bsf:v": f"setts=pts=PTS:dts=DTS:duration='clip(if(eq(N,{timing.num_frames - 1}),{timing.length}+STARTDTS-DTS,{timing.length}-PTS),1,{LONGEST})'",
        }  # fmt: skip

    def _mp4(self) -> dict[str, Any]:
        options = mp4_options(self._timing, sound=self._sound is not None) | {"map_metadata": -1, "map_chapters": -1}
        if self._sound is None:
            return options
        return options | {"c:a": "aac", "b:a": "128k", "threads:a": 1, "flags:a": "+bitexact"}


class _Sink:
    """A pipe as PyAV wants it: something to write to, without seeking."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def write(self, data: bytes) -> int:
        return self._pipe.write(data)


class _LastLines:
    """Reads a stream in a thread, so that its writer never waits, and keeps the last lines."""

    def __init__(self, keep: int = 8) -> None:
        self._lines: deque[str] = deque(maxlen=keep)
        self._thread: threading.Thread | None = None

    def follow(self, stream: IO[bytes]) -> None:
        self._thread = threading.Thread(target=self._read, args=(stream,), name="ffmpeg-stderr", daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._lines.append(text[:500])

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def text(self) -> str:
        return " | ".join(self._lines)
