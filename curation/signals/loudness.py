"""Loudness of the sound: gated, in LUFS, after Recommendation ITU-R BS.1770-5, Annex 1.

    loudness = −0.691 + 10 log10( mean over gated blocks of  Σ over channels G × z )

z is the mean square of a channel after K-weighting (a shelf that lifts high frequencies by 4 dB, then a high-pass at
38 Hz), G its weight (1; 1.41 at the sides and behind; 0 for low-frequency effects). Blocks last 400 ms, one begins every
100 ms. Gate: blocks over −70 LUFS, and of those the ones within 10 LU of their own mean.

The Recommendation filters sample by sample. Here 500 ms at a time are filtered, by Fourier transform, together with at least
the 100 ms before them, in which the filters forget what came earlier (to 1e-10); so the answer is the same. One number per 100 ms is all
that is kept, the weighted power; a block is the mean of four.

The pieces lie on a fixed grid of time, so that a clip's loudness does not depend on where reading began, and count where they
lie in the clip whole. Sound that is missing is silence. A 0 dB sine of 997 Hz in one channel has −3.01 LUFS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from curation.frames import Span

PIECES = 10
"""Per second: the step between blocks."""
BLOCK = 4
"""Pieces in a block."""
_CHUNK = 5
"""Pieces that are filtered at once."""
ABSOLUTE_LUFS = -70.0
RELATIVE_LU = -10.0
_OFFSET = -0.691

JITTER_S = 0.02
"""Time stamps may be this much off before silence is put in, or sound left out: rounded stamps must not tear it."""
_BACK_S = 1.0
"""A stamp that runs back by more is believed: the ones before were wrong."""
_LOUDEST = 16.0
"""Full scale is 1. Samples beyond are damage."""

_DESIGN_RATE = 48000
_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
"""Coefficients (b, a) of the two filters at 48 kHz: tables 1 and 2 of the Recommendation."""


class Loudness:
    """has_sound (whether any of the span is louder than −70 LUFS) and loudness (LUFS; None without sound)."""

    def __init__(self) -> None:
        self._powers: dict[int, float] = {}
        """Weighted power of each finished piece that is not silent, by its number from time 0."""
        self._chunk: np.ndarray | None = None
        """(channels, lead + n) float32: the chunk that is being filled, after the end of the one before it; zeros where
        nothing came yet."""
        self._lead = 0
        self._number = 0
        """Of that chunk, from time 0."""
        self._rate = 0
        self._weights: tuple[float, ...] = ()
        self._at = 0
        """Number of the next sample at this rate, from time 0."""

    @property
    def end_s(self) -> float:
        """Seconds: the end of what was pushed last."""
        return self._at / self._rate if self._rate else 0.0

    def push(self, start_s: float, samples: np.ndarray, rate: int, weights: Sequence[float] | None = None) -> None:
        """Add sound, in order of time.

        Args:
            start_s: time of the first sample.
            samples: (n, channels), float32 of −1..1, or int16.
            rate: samples per second.
            weights: G of each channel; None for 1 each.
        """
        weights = (1.0,) * samples.shape[1] if weights is None else tuple(weights)
        start = round(start_s * rate)
        if rate != self._rate or weights != self._weights:
            self._finish()
            self._rate, self._weights, self._at = rate, weights, start
        jitter = JITTER_S * rate
        if start > self._at + jitter or start < self._at - _BACK_S * rate:
            self._at = start
        elif start < self._at - jitter:
            samples = samples[self._at - start :]
        if samples.dtype == np.int16:
            samples = samples * np.float32(1 / 32768)
        while len(samples):
            number = self._at * PIECES // (rate * _CHUNK)
            if self._chunk is None or number != self._number:
                self._begin(number)
            assert self._chunk is not None
            offset = self._lead + self._at - _first_sample(number * _CHUNK, rate)
            count = min(len(samples), self._chunk.shape[1] - offset)
            self._chunk[:, offset : offset + count] = samples[:count].T
            samples = samples[count:]
            self._at += count

    def close(self, span: Span) -> dict[str, bool | float | None]:
        """The columns for ``span``. Both are None for one too short to hold a piece, unless there never was any sound."""
        powers = self._within(span)
        if not len(powers):
            return {"has_sound": None if self._rate else False, "loudness": None}
        block = min(BLOCK, len(powers))
        powers = np.convolve(powers, np.full(block, 1 / block), "valid")
        heard = powers[powers > _power(ABSOLUTE_LUFS)]
        if not heard.size:
            return {"has_sound": False, "loudness": None}
        gated = heard[heard > heard.mean() * 10 ** (RELATIVE_LU / 10)]
        return {"has_sound": True, "loudness": _OFFSET + 10 * math.log10(float(gated.mean()))}

    def forget(self, before_s: float) -> None:
        """Drop what ended before this time."""
        first = math.floor(before_s * PIECES)
        for number in [n for n in self._powers if n < first]:
            del self._powers[number]

    def _within(self, span: Span) -> np.ndarray:
        """Powers of the pieces that lie in the span whole; (n,) float64."""
        first, last = math.ceil(span.start_s * PIECES - 1e-6), math.floor(span.end_s * PIECES + 1e-6)
        newest = self._measure()
        return np.array([newest.get(n, self._powers.get(n, 0.0)) for n in range(first, last)])

    def _begin(self, number: int) -> None:
        """Start a chunk. It goes on from the one before it where that is its neighbour, else from silence."""
        last, follows = self._chunk, number == self._number + 1
        self._finish()
        first, end = (_first_sample(n * _CHUNK, self._rate) for n in (number, number + 1))
        # A power of two, which is the fastest to transform.
        size = 1 << (_first_sample(1, self._rate) + end - first - 1).bit_length()
        self._chunk, self._number, self._lead = (
            np.zeros((len(self._weights), size), np.float32),
            number,
            size - (end - first),
        )
        if last is not None and follows:
            known = min(self._lead, last.shape[1])
            self._chunk[:, self._lead - known : self._lead] = last[:, last.shape[1] - known :]

    def _finish(self) -> None:
        self._powers.update({piece: power for piece, power in self._measure().items() if power > 0})
        self._chunk = None

    def _measure(self) -> dict[int, float]:
        """Weighted power of the chunk's pieces, by number, as far as they are filled; the rest is silence."""
        if self._chunk is None:
            return {}
        pieces = range(self._number * _CHUNK, (self._number + 1) * _CHUNK)
        base = _first_sample(pieces[0], self._rate) - self._lead
        edges = [_first_sample(n, self._rate) - base for n in (*pieces, pieces[-1] + 1)]
        sound = self._chunk
        if not (sound.min() > -_LOUDEST and sound.max() < _LOUDEST):  # also where one is no number
            sound = np.clip(np.nan_to_num(sound, nan=0.0, posinf=0.0, neginf=0.0), -1, 1)
        return dict(zip(pieces, weighted_powers(sound, self._rate, self._weights, edges), strict=True))


def weighted_powers(samples: np.ndarray, rate: int, weights: Sequence[float], edges: Sequence[int]) -> list[float]:
    """Σ over channels of G × the mean square after K-weighting, of (channels, n) float32 between each two of ``edges``."""
    powers = [0.0] * (len(edges) - 1)
    for channel, weight in zip(samples, weights, strict=True):
        if weight:
            # OpenCV's transform takes half the time of numpy's.
            spectrum = cv2.mulSpectrums(cv2.dft(channel[None]), _response(len(channel), rate), cv2.DFT_ROWS)
            heard = cv2.idft(spectrum, flags=cv2.DFT_SCALE)[0]
            for at, (start, end) in enumerate(pairwise(edges)):
                powers[at] += weight * float(heard[start:end] @ heard[start:end]) / (end - start)
    return powers


@lru_cache(maxsize=32)
def _response(size: int, rate: int) -> np.ndarray:
    """(1, size) float32: K at the frequencies of a transform of ``size`` samples, an even number. Packed as OpenCV packs spectra of
    real numbers: real and imaginary parts in turn, without those two imaginary parts that are 0.

    Over half of 48 kHz, where K is not given, it stays what it is there.
    """
    z = np.exp(-2j * np.pi * np.minimum(np.fft.rfftfreq(size, 1 / rate) / _DESIGN_RATE, 0.5))
    response = np.ones(len(z), complex)
    for b, a in (_SHELF, _HIGH_PASS):
        response *= (b[0] + b[1] * z + b[2] * z * z) / (a[0] + a[1] * z + a[2] * z * z)
    parts = np.stack([response.real, response.imag], axis=1).ravel()
    return np.delete(parts, [1, size + 1])[None].astype(np.float32)


def _first_sample(number: int, rate: int) -> int:
    """Of a piece: the first whose time is not before the piece's."""
    return -(-number * rate // PIECES)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET) / 10))
