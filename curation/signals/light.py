"""Light, colour and composition of the picture, from small frames at two samples per second.

Sums are kept with the black bars in them and corrected when the span is closed: a bar adds nothing to a sum of levels,
so dividing by the share that is not bar gives the mean over the picture proper. Where edges lie is worked out then, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.crop import NO_BARS, Crop
from curation.signals.samples import Clock, Samples

RATE = 2.0
"""Samples per second."""
_DARK, _BRIGHT = 8, 247
"""Levels of 255 up to and from which detail is lost in black or white (about 3 % from either end)."""


@dataclass(frozen=True, slots=True)
class Light:
    """Means over the samples of a span, bars left out."""

    brightness: float
    """0..1: mean luminance / 255."""
    contrast: float
    """0..1: standard deviation of luminance / 127.5 (its value for a picture half black and half white)."""
    colourfulness: float
    """Hasler and Süsstrunk's M3, 0 for gray to about 180."""
    clipped_highlights: float
    """0..1: share of pixels without detail in white: of level 247 and over."""
    clipped_shadows: float
    """0..1: share of pixels without detail in black: of level 8 and under."""
    spread: float
    """0..1: share of the picture that the middle of its edges covers, see :func:`edge_spread`."""


@dataclass(frozen=True, slots=True)
class _Moments:
    gray: float
    gray2: float
    rg: float
    yb: float
    chroma2: float
    dark: float
    bright: float
    half: np.ndarray
    """(h, w) uint8: the gray picture at half the size, for :func:`edge_spread` once the bars are known."""


class LightMeter:
    """brightness, contrast, clipped_highlights, clipped_shadows (0..1) and colourfulness (0..), see :class:`Light`.

    colourfulness is M3 of Hasler and Süsstrunk, "Measuring colourfulness in natural images" (2003), section 6: with rg
    = R − G and yb = (R + G) / 2 − B, M3 = sqrt(var(rg) + var(yb)) + 0.3 · sqrt(mean(rg)² + mean(yb)²).
    """

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._samples: Samples[_Moments] = Samples()

    def push(self, frame: Frame) -> None:
        if self._clock.due(frame.time):
            self._samples.add(_moments(frame.bgr(), frame.gray), frame.index)

    def measure(self, span: Span, crop: Crop = NO_BARS) -> Light | None:
        """The means over the span, without the black bars; None without a sample."""
        samples = self._samples.within(span)
        if not samples:
            return None
        each = [_without_bars(m, crop) for m in samples]
        return Light(*(float(np.mean([getattr(e, name) for e in each])) for name in Light.__slots__))

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def columns_of(light: Light | None) -> dict[str, float | None]:
    """What of ``light`` is a column of its own; all None without it."""
    return {name: None if light is None else getattr(light, name) for name in Light.__slots__ if name != "spread"}


def edge_spread(gray: np.ndarray) -> float:
    """0..1: area of the box that holds the middle 81 % of the edge energy along x and along y.

    Ke, Tang and Jing, "The Design of High-Level Features for Photo Quality Assessment" (2006), section 3.1.1: in
    photographs of professionals the edges gather at the subject, in snapshots they fill the frame. A picture without
    edges has spread 1.
    """
    energy = np.abs(cv2.Laplacian(gray, cv2.CV_16S, ksize=1))
    along_x = cv2.reduce(energy, 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F).ravel()
    along_y = cv2.reduce(energy, 1, cv2.REDUCE_SUM, dtype=cv2.CV_64F).ravel()
    return _middle(along_x) * _middle(along_y)


def _middle(energy: np.ndarray) -> float:
    """0..1: share of the axis that holds the middle 90 % of ``energy`` ((n,) ≥ 0); along both axes, 81 %."""
    total = np.cumsum(energy)
    if total[-1] <= 0:
        return 1.0
    first, last = np.searchsorted(total, (0.05 * total[-1], 0.95 * total[-1]))
    return float(last - first + 1) / energy.size


def _moments(bgr: np.ndarray, gray: np.ndarray) -> _Moments:
    """Means over all pixels of ``bgr`` ((h, w, 3) uint8) and ``gray`` ((h, w) uint8)."""
    height, width = gray.shape
    blue, green, red = cv2.split(bgr)
    rg = cv2.subtract(red, green, dtype=cv2.CV_32F)
    yb = cv2.subtract(cv2.addWeighted(red, 0.5, green, 0.5, 0.0, dtype=cv2.CV_32F), blue, dtype=cv2.CV_32F)
    (rg_mean, rg2), (yb_mean, yb2), (gray_mean, gray2) = (_mean_and_square(plane) for plane in (rg, yb, gray))
    return _Moments(
        gray=gray_mean,
        gray2=gray2,
        rg=rg_mean,
        yb=yb_mean,
        chroma2=rg2 + yb2,
        dark=int(np.count_nonzero(gray <= _DARK)) / gray.size,
        bright=int(np.count_nonzero(gray >= _BRIGHT)) / gray.size,
        half=cv2.resize(gray, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA),
    )


def _mean_and_square(plane: np.ndarray) -> tuple[float, float]:
    """Mean, and mean of the squares."""
    return cv2.mean(plane)[0], cv2.norm(plane, cv2.NORM_L2SQR) / plane.size


def _without_bars(m: _Moments, crop: Crop) -> Light:
    lit = crop.area
    gray, gray2, rg, yb, chroma2 = (v / lit for v in (m.gray, m.gray2, m.rg, m.yb, m.chroma2))
    left, top, right, bottom = crop.box(*m.half.shape[::-1])
    return Light(
        brightness=min(1.0, gray / 255),
        contrast=min(1.0, float(np.sqrt(max(0.0, gray2 - gray**2))) / 127.5),
        colourfulness=float(np.sqrt(max(0.0, chroma2 - rg**2 - yb**2)) + 0.3 * np.hypot(rg, yb)),
        clipped_highlights=min(1.0, m.bright / lit),
        clipped_shadows=min(1.0, max(0.0, m.dark - (1.0 - lit)) / lit),
        spread=edge_spread(m.half[top:bottom, left:right]),
    )
