"""What moves in a generated video: colour, direction and shape of the one thing that stands out from a plain background.

Room: stiv_train. In: video (T, H, W, 3) uint8 RGB. Out: words of :mod:`curation.golden.shapes`, or ``unknown``. No network, no
labels: pixels only, so that it judges golden truth and a model's videos alike. Lengths are pixels, colours CIE Lab.

Legend: T frames, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curation.golden.shapes import COLOURS, DIRECTIONS, SHAPES, coverage

UNKNOWN = "unknown"

_LEAST_CONTRAST = 14.0
"""Lab distance from the background below which nothing stands out; golden pairs have at least 45."""
_LEAST_AREA, _MOST_AREA = 0.01, 0.35
"""Of the picture. Golden shapes fill 6 to 12 %."""
_GREY_CHROMA = 20.0
_WHITE_LIGHTNESS = 60.0
_HUE_TOLERANCE = 40.0
"""Degrees. Red, yellow, green, blue and purple lie at least 18 apart; what is farther from all, such as cyan, is none of them."""
_LEAST_TRAVEL = 0.025
"""Of the shorter side, over the whole video. The slowest golden shape travels 7 % in 8 neighbouring frames."""
_LEAST_FIT = 0.55
"""Overlap with the best template below which a blob is no shape."""
_SOFTNESS = 0.8
"""Pixels by which templates are blurred: scaling and codecs soften borders, and a sharp square fits a soft circle too well."""
_TEMPLATE_AREA = {"circle": np.pi, "square": 3.168, "triangle": 3.161}
"""Area of each golden shape in squared radii."""


@dataclass(frozen=True)
class Seen:
    """What was seen in one video. Each word is one of the golden words or ``unknown``."""

    colour: str
    direction: str
    shape: str


@dataclass(frozen=True)
class _Blob:
    """The thing in one frame."""

    cover: np.ndarray
    """(H, W) float32 in 0..1: how much of each pixel it fills."""
    x: float
    y: float
    area: float


def measure(video: np.ndarray) -> Seen:
    """Colour, direction and shape of the thing that moves in a video (T, H, W, 3) uint8."""
    lab = np.stack([cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for frame in video])
    apart = np.linalg.norm(lab - _background(lab), axis=-1)  # (T, H, W)
    blobs = [_blob(frame) for frame in apart]
    found = [blob for blob in blobs if blob is not None]
    if 2 * len(found) < len(blobs) or not found:
        return Seen(UNKNOWN, UNKNOWN, UNKNOWN)
    inside = [frame[blob.cover > 0.8] for frame, blob in zip(lab, blobs, strict=True) if blob is not None]
    return Seen(_colour(np.concatenate(inside)), _direction(blobs, min(video.shape[1:3])), _shape(found))


def _background(lab: np.ndarray) -> np.ndarray:
    """(3,) median colour of the outermost pixels of all frames: golden shapes never touch the border for long."""
    edge = (lab[:, 0], lab[:, -1], lab[:, :, 0], lab[:, :, -1])
    return np.asarray(np.median(np.concatenate([side.reshape(-1, 3) for side in edge]), axis=0))


def _blob(apart: np.ndarray) -> _Blob | None:
    """The largest connected area at least half as far from the background as the farthest pixels; None where there is none."""
    level = float(np.sort(apart, axis=None)[-max(4, apart.size // 50) :].mean())  # a golden shape fills more than 1/50
    if level < _LEAST_CONTRAST:
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats((apart > level / 2).astype(np.uint8), connectivity=4)
    if count < 2:
        return None
    best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    near = cv2.dilate((labels == best).astype(np.uint8), np.ones((3, 3), np.uint8))  # with its anti-aliased border
    cover = np.where(near > 0, np.clip(apart / level, 0, 1), 0).astype(np.float32)
    area = float(cover.sum())
    if not _LEAST_AREA <= area / apart.size <= _MOST_AREA:
        return None
    y, x = np.indices(cover.shape)
    return _Blob(cover, float((cover * x).sum() / area), float((cover * y).sum() / area), area)


def _colour(lab: np.ndarray) -> str:
    """The golden colour of nearest hue to the median of pixels (P, 3), or white; faded and strong colours have one hue."""
    lightness, a, b = np.median(lab, axis=0)
    if np.hypot(a, b) < _GREY_CHROMA:
        return "white" if lightness > _WHITE_LIGHTNESS else UNKNOWN
    hue = np.degrees(np.arctan2(b, a))
    apart = {name: abs((hue - golden + 180) % 360 - 180) for name, golden in _golden_hues().items()}
    nearest = min(apart, key=apart.__getitem__)
    return nearest if apart[nearest] < _HUE_TOLERANCE else UNKNOWN


def _golden_hues() -> dict[str, float]:
    """Degrees in the Lab plane of all golden colours but white."""
    names = [name for name in COLOURS if name != "white"]
    pixels = np.asarray([[COLOURS[name] for name in names]], np.float32) / 255
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]
    return {name: float(np.degrees(np.arctan2(b, a))) for name, (_, a, b) in zip(names, lab, strict=True)}


def _direction(blobs: list[_Blob | None], side: int) -> str:
    """Dominant axis and sign of the straight line through the centres; unknown when it leads less than 2.5 % of the side."""
    seen = [(t, blob.x, blob.y) for t, blob in enumerate(blobs) if blob is not None]
    if len(seen) < 2:
        return UNKNOWN
    times, xs, ys = np.asarray(seen).T
    dx, dy = (np.polyfit(times, along, 1)[0] * (len(blobs) - 1) for along in (xs, ys))
    if max(abs(dx), abs(dy)) < _LEAST_TRAVEL * side:
        return UNKNOWN
    step = (int(np.sign(dx)), 0) if abs(dx) >= abs(dy) else (0, int(np.sign(dy)))
    return next(name for name, towards in DIRECTIONS.items() if towards == step)


def _shape(blobs: list[_Blob]) -> str:
    """The shape whose template of equal area and centre overlaps best over all frames (shared over joint cover)."""
    fit = {}
    for shape in SHAPES:
        shared = joint = 0.0
        for blob in blobs:
            height, width = blob.cover.shape
            radius = float(np.sqrt(blob.area / _TEMPLATE_AREA[shape]))
            template = cv2.GaussianBlur(coverage(shape, (blob.x, blob.y), radius, width, height), (0, 0), _SOFTNESS)
            shared += float(np.minimum(template, blob.cover).sum())
            joint += float(np.maximum(template, blob.cover).sum())
        fit[shape] = shared / joint
    best = max(fit, key=fit.__getitem__)
    return best if fit[best] >= _LEAST_FIT else UNKNOWN
