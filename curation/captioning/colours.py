"""Names for the colours that cover most of some stills. Measured pixel by pixel; nothing is said of what has the colour."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

NAMES = (
    "black",
    "grey",
    "white",
    "red",
    "orange",
    "yellow",
    "green",
    "turquoise",
    "blue",
    "purple",
    "pink",
    "brown",
)
"""Index = class of a pixel."""

_BLACK_BELOW = 40
_WHITE_ABOVE = 200
_GREY_SATURATION = 40
"""HSV limits of OpenCV's 8-bit scale (0..255): value for black and white, saturation below which there is no hue."""
_HUES = (
    (8, "red"),
    (20, "orange"),
    (34, "yellow"),
    (80, "green"),
    (98, "turquoise"),
    (130, "blue"),
    (152, "purple"),
    (172, "pink"),
    (180, "red"),
)
"""Upper end of each name's hues, in OpenCV's half degrees. Our choice, after the usual colour wheel."""
_BROWN_BELOW = 140
"""Orange darker than this value is called brown."""

_ONE = 0.5
_SECOND = 0.2
_BOTH = 0.6


def colour_shares(stills: Sequence[bytes], bars: tuple[float, float, float, float]) -> np.ndarray:
    """(12,) float64: share of the stills' pixels in each of NAMES; zeros where no still decodes.

    ``stills`` are JPEGs, read at a quarter of their size; ``bars`` are the shares of the picture under black bars at the
    top, bottom, left and right, which are not counted. Each still weighs the same.
    """
    hue_class = np.empty(180, dtype=np.intp)
    start = 0
    for end, name in _HUES:
        hue_class[start:end] = NAMES.index(name)
        start = end
    total, seen = np.zeros(len(NAMES)), 0
    for jpeg in stills:
        if not jpeg:
            continue
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_COLOR_4)
        if picture is None:
            continue
        inner = _without_bars(picture, bars)
        hue, saturation, value = cv2.split(cv2.cvtColor(np.ascontiguousarray(inner), cv2.COLOR_BGR2HSV))
        named = hue_class[hue]
        named[(named == NAMES.index("orange")) & (value < _BROWN_BELOW)] = NAMES.index("brown")
        without_hue = saturation < _GREY_SATURATION
        named[without_hue] = NAMES.index("grey")
        named[without_hue & (value > _WHITE_ABOVE)] = NAMES.index("white")
        named[value < _BLACK_BELOW] = NAMES.index("black")
        total += np.bincount(named.ravel(), minlength=len(NAMES)) / named.size
        seen += 1
    return total / max(seen, 1)


def _without_bars(picture: np.ndarray, bars: tuple[float, float, float, float]) -> np.ndarray:
    """(h, w, 3) → its part inside the bars, at least one pixel, with a pixel's margin for the blur of the small size."""
    height, width = picture.shape[:2]
    top, bottom, left, right = (
        int(np.ceil(share * side)) + (share > 0)
        for share, side in zip(bars, (height, height, width, width), strict=True)
    )
    inner = picture[top : height - bottom, left : width - right]
    return inner if inner.size else picture


def dominant_colours(shares: np.ndarray) -> tuple[str, ...]:
    """Two names where the larger two cover 60 % and the second 20 %; else one that covers half; else none.

    ``shares`` is (12,), of :func:`colour_shares`. Equal shares keep the order of NAMES.
    """
    first, second = np.argsort(-shares, kind="stable")[:2]
    if shares[second] >= _SECOND and shares[first] + shares[second] >= _BOTH:
        return NAMES[first], NAMES[second]
    return (NAMES[first],) if shares[first] >= _ONE else ()
