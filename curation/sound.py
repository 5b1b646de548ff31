"""The sound of a span as raw samples that start at the span's first instant, to the sample."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from curation.decode import open_container

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
        stream = next((s for s in container.streams.audio if s.codec_context is not None and s.codec_context.sample_rate), None)
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
    container: av.container.InputContainer, stream: AudioStream, start: Fraction, end: Fraction, rate: int, channels: int
) -> list[tuple[Fraction, np.ndarray]]:
    raise NotImplementedError
