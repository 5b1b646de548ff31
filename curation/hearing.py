"""Hearing: the packets of one audio stream, decoded on the way and pushed to a meter. Damage is counted, never raised.

Nothing is resampled: the meter gets the sound at its own rate, as floats, with the weight of each loudspeaker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

LEAST_RATE, MAX_RATE, MAX_CHANNELS = 1000, 768_000, 64
"""A damaged header may announce anything; beyond these, sound is not read."""

_BESIDE = 1.41
"""Weight of loudspeakers at the sides and behind: Recommendation ITU-R BS.1770-5, Annex 1, table 3."""
_SILENT = ("LFE", "LFE2")
_SIDES, _BACKS = ("SL", "SR"), ("BL", "BR")

_SCALES = {"u8": 1 / 128, "s16": 1 / 2**15, "s32": 1 / 2**31, "s64": 1 / 2**63, "flt": 1.0, "dbl": 1.0}
"""Of one step of FFmpeg's sample formats, planar or not, in shares of full scale."""

_DECODING = (av.error.FFmpegError, ValueError, OSError, RuntimeError, NotImplementedError, AttributeError)
"""What PyAV is seen to raise for packets that make no sense: FFmpeg's errors, and its own for frames that no array can hold."""


class Meter(Protocol):
    """What listens."""

    def push(self, start_s: float, samples: np.ndarray, rate: int, weights: Sequence[float] | None = None) -> None:
        """(n, channels) float32 samples from a time in seconds on, with the weight of each channel."""


class Hearing:
    """Decodes one audio stream packet by packet, in the order in which the demuxer gives them."""

    def __init__(self, stream: AudioStream, meter: Meter) -> None:
        self._stream, self._meter = stream, meter
        self._next_s = 0.0
        self._weights: dict[str, tuple[float, ...]] = {}
        """Of the newest layout, by its name."""
        self.errors = 0
        """Packets and frames that could not be used."""
        self.seconds = 0.0
        """Of sound that were pushed."""

    def packet(self, packet: Packet[AudioStream]) -> None:
        """Decode a packet and push what comes out."""
        if self._stream.codec_context is None:  # no decoder for it here
            self.errors += 1
            return
        try:
            frames = packet.decode()
        except _DECODING:
            self.errors += 1
            return
        for frame in frames:
            try:
                samples = as_floats(frame)
            except _DECODING:
                self.errors += 1
                continue
            rate, start, layout = frame.sample_rate, frame.time, frame.layout.name
            if start is None or not math.isfinite(start):
                start = self._next_s
            if layout not in self._weights:
                self._weights = {layout: channel_weights(tuple(channel.name for channel in frame.layout.channels))}
            self._next_s = start + len(samples) / rate
            self.seconds += len(samples) / rate
            self._meter.push(start, samples, rate, self._weights[layout])


def as_floats(frame: AudioFrame) -> np.ndarray:
    """(n, channels) float32 of −1..1.

    Raises:
        ValueError: a rate, a number of channels or a sample format that no sound has.
    """
    name, rate, channels = frame.format.name, frame.sample_rate, frame.layout.nb_channels
    if not (LEAST_RATE <= rate <= MAX_RATE and 0 < channels <= MAX_CHANNELS):
        raise ValueError(f"{channels} channels at {rate} Hz")
    planar = name.endswith("p")
    scale = _SCALES.get(name[:-1] if planar else name)
    if scale is None:
        raise ValueError(f"sample format {name}")
    values = frame.to_ndarray()
    samples = values.T if planar else values.reshape(-1, channels)
    if samples.dtype == np.uint8:
        samples = samples.astype(np.int16) - 128
    return samples * np.float32(scale) if scale != 1.0 else samples.astype(np.float32, copy=False)


def channel_weights(names: tuple[str, ...]) -> tuple[float, ...]:
    """BS.1770's weight of each channel, by FFmpeg's names. Where there are loudspeakers at the sides, those behind count 1."""
    beside = _SIDES if any(name in _SIDES for name in names) else _BACKS
    return tuple(0.0 if name in _SILENT else _BESIDE if name in beside else 1.0 for name in names)
