"""The sound of a span as raw samples that start at the span's first instant, to the sample."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from curation.opening import open_container

_RUN_UP_S = 1
"""Seconds decoded before the span: lossy codecs overlap neighbouring packets, and indices are coarse."""
_JITTER_S = Fraction(1, 50)
"""Time stamps may be this much off before silence is put in; rounded stamps must not tear the sound."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Interleaved signed 16-bit little-endian samples in a file."""

    path: Path
    rate: int
    channels: int


def write_sound(source: Path, start: Fraction, end: Fraction, out: Path) -> Sound | None:
    """Decode the first audio stream between two instants (seconds in the source's time) to ``out``.

    More than two channels are mixed down to two. Where the source is silent or has gaps, zeros keep the sound in step.
    None, and no file, where there is no audio stream that decodes.

    Raises:
        SourceFailure: the source does not open.
        OSError: ``out`` cannot be written.
    """
    with open_container(source) as container:
        stream = next(
            (s for s in container.streams.audio if s.codec_context is not None and s.codec_context.sample_rate), None
        )
        if stream is None:
            return None
        context = stream.codec_context
        rate, channels = context.sample_rate, min(2, context.channels)
        want = round((end - start) * rate)
        done = 0
        with out.open("wb") as handle:
            for time, block in _blocks(container, stream, start, end, rate, channels):
                at = round((time - start) * rate)
                if abs(at - done) <= _JITTER_S * rate and done:
                    at = done
                if at > done:
                    gap = min(at, want) - done
                    handle.write(bytes(2 * channels * gap))
                    done += gap
                block = block[done - at : done - at + want - done]
                handle.write(block.tobytes())
                done += len(block)
            if done == 0:
                handle.close()
                out.unlink()
                return None
            handle.write(bytes(2 * channels * (want - done)))
    return Sound(out, rate, channels)


def _blocks(
    container: av.container.InputContainer,
    stream: AudioStream,
    start: Fraction,
    end: Fraction,
    rate: int,
    channels: int,
) -> Iterator[tuple[Fraction, np.ndarray]]:
    """Yield (time in seconds, (samples, channels) int16) in order, from before ``start`` to ``end``."""
    assert stream.time_base is not None
    target = int((start - _RUN_UP_S) / stream.time_base)
    # Some demuxers answer a seek to before the first packet with the second.
    if target > (stream.start_time or 0):
        # Where this fails the file is read from its beginning, which costs time but nothing else.
        with contextlib.suppress(av.error.FFmpegError):
            container.seek(target, stream=stream, backward=True)
    resamplers: dict[tuple[int, str, str], AudioResampler] = {}
    after = start
    for frame in _decoded(container, stream):
        time = after if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
        if time >= end:
            return
        key = (frame.sample_rate, frame.layout.name, frame.format.name)
        if key not in resamplers:
            resamplers[key] = AudioResampler("s16", "mono" if channels == 1 else "stereo", rate)
        for piece in resamplers[key].resample(frame):
            block = piece.to_ndarray().reshape(-1, channels)
            yield time, block
            time += Fraction(len(block), rate)
        after = time


def _decoded(container: av.container.InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Every frame that decodes; the rest becomes a gap."""
    try:
        for packet in container.demux(stream):
            with contextlib.suppress(av.error.FFmpegError):
                yield from packet.decode()
    except av.error.FFmpegError:
        return  # the file ends here: silence follows
