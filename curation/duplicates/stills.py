"""Near duplicates, second half: whether two clips show the same picture, seen in their stills.

Hashes of 64 bits agree by accident too often for a large corpus, and see no colour. So each pair that they propose is proven: the fine
structure of a still of one clip must be found in a still of the other, at about the same place and size; there the colours must agree; and
where nothing moves, hardly anything may differ. Slow parts of the luma, which hashes see, are taken away first; what is left of two different
pictures is as good as independent.

Hashes belong to fixed places of a clip, and two of three must agree. So clips that differ in the order of their pictures alone are not
proposed, and here any still may prove any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import cv2
import numpy as np

from curation.signals.crop import Crop

SIDE = 64
"""Pixels of a side of a sketch."""
MARGIN = 10
"""The middle of one sketch is looked for in the other within so many pixels, 16 % of the picture: a copy may be cropped, and its stills
are of other moments. What lies in the margin alone, such as a logo, is not compared."""
FINE = 3.0
"""Standard deviation in pixels of the blur whose result is taken away."""
FAINT = 1.0
"""Levels. A sketch whose fine structure has a smaller standard deviation proves nothing."""

NEARLY = 0.3
"""Where the middle of one sketch correlates with the other at least so much, it is fitted. Different pictures have 0.16 ± 0.05; a copy that is
cropped by 5 % and brought back to its size has 0.55 or more."""
STRETCH = 0.08
"""Most by which a fit may scale, turn or shear. Crops of 5 % need 0.053; things that differ in size by more are other things."""
SAME = 0.7
"""Least correlation of the fine structures of the same picture, once fitted. Copies have 0.96 to 1, those with moving things whose stills are of
other moments 0.75; cards with one line of other words mostly less than 0.65, cards that share two of three words up to 0.94."""
LESS = 0.06
"""By how much less than the clips' own stills are alike those of one may be like those of the other. So copies of a picture without movement must
be like it as a still is like the next. Copies of golden and real clips need 0.04, cards that share two of three words mostly 0.11 and more."""
NOISE = 0.7
"""Levels: what coding does to a sketch. Of structure with a standard deviation s it takes up to (NOISE / s)² of the correlation
(textures with s from 1 to 30, crf 18 against 32)."""

SAME_COLOUR = 0.7
"""Least correlation of the colours. Copies have 0.8 to 1; shapes of another colour −1 to 0.75, those above 0.6 betrayed by ``TINT``."""
COLOURFUL = 4.0
"""Levels: least standard deviation of the colour in the more colourful of two pictures; below it, there is no structure to compare."""
TINT = 8.0
"""Levels: most by which the mean colours differ. Those of copies differ by up to 3.6; reading BT.601 as BT.709 makes up to 4.8."""
# All limits were set on seed 0 of the golden sets and on real videos; what they do on other seeds is in docs/benchmarks.md.


@dataclass(frozen=True)
class Sketch:
    """What is compared of a still, without its black bars."""

    fine: np.ndarray
    """(64, 64) float32: luma without its slow parts."""
    colour: np.ndarray
    """(64, 64, 2) uint8: Cr and Cb."""

    @cached_property
    def strength(self) -> float:
        """Standard deviation of the fine structure in the middle, in levels."""
        return float(_middle(self.fine).std())

    def mirrored(self) -> Sketch:
        """Left is right."""
        return Sketch(np.ascontiguousarray(self.fine[:, ::-1]), np.ascontiguousarray(self.colour[:, ::-1]))


@dataclass(frozen=True)
class Sketches:
    """Those of a clip's stills that can prove something."""

    stills: Sequence[Sketch]

    @cached_property
    def steadiness(self) -> float:
        """-1..1: how alike two stills of the clip are at most. 1 where nothing moves, or where all that moves is the camera; -1 without two."""
        return max((match(a, b).likeness for a, b in combinations(self.stills, 2)), default=-1.0)

    def mirrored(self) -> Sketches:
        """Left is right."""
        return Sketches([one.mirrored() for one in self.stills])


def sketch(jpeg: bytes, crop: Crop) -> Sketch | None:
    """Sketch of a still; None where it is damaged or has no fine structure."""
    data = np.frombuffer(jpeg, np.uint8)
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2)
        if picture is not None and min(picture.shape[:2]) < SIDE:  # small as it is
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:  # no bytes at all
        return None
    return None if picture is None else sketch_of(picture, crop)


def sketch_of(picture: np.ndarray, crop: Crop) -> Sketch | None:
    """As :func:`sketch`, of a picture ((h, w, 3) uint8 BGR)."""
    left, top, right, bottom = crop.box(picture.shape[1], picture.shape[0])
    small = cv2.resize(picture[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    planes = cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb)
    luma = planes[..., 0].astype(np.float32)
    found = Sketch(luma - cv2.GaussianBlur(luma, (0, 0), FINE), np.ascontiguousarray(planes[..., 1:]))
    return found if found.strength >= FAINT else None


@dataclass(frozen=True)
class Match:
    """Where the middle of one sketch lies in another."""

    likeness: float
    """-1..1: correlation of the fine structures there."""
    warp: np.ndarray
    """(2, 3) float32: pixels of the middle to pixels of the other sketch."""


def match(first: Sketch, second: Sketch) -> Match:
    """The place at which the middle of the first sketch is most like the second: the best of all whole shifts, then fitted.

    The fit is affine and maximises the correlation itself (Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation
    coefficient maximization", 2008).
    """
    middle = np.ascontiguousarray(_middle(first.fine))
    _, best, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(second.fine, middle, cv2.TM_CCOEFF_NORMED))
    found = Match(best, np.array([[1, 0, x], [0, 1, y]], np.float32))
    if best < NEARLY:
        return found
    try:
        fitted, warp = cv2.findTransformECC(
            middle, second.fine, found.warp.copy(), cv2.MOTION_AFFINE, _STEPS, _WHOLE, 1
        )
    except cv2.error:  # it does not converge
        return found
    fits = fitted > best and np.abs(warp[:, :2] - np.eye(2)).max() <= STRETCH
    return Match(float(fitted), warp) if fits else found


def colours_agree(first: Sketch, second: Sketch, at: Match) -> bool:
    """Whether the colours are the same where the fine structures match. Compared at half the size, at which video mostly stores them."""
    there = cv2.warpAffine(second.colour, at.warp, (_INNER, _INNER), flags=_BACK, borderMode=cv2.BORDER_REPLICATE)
    a, b = _halved(_middle(first.colour)), _halved(there)
    mean_a, mean_b = a.mean(axis=(0, 1)), b.mean(axis=(0, 1))
    if float(np.hypot(*(mean_a - mean_b))) > TINT:
        return False
    a, b = a - mean_a, b - mean_b
    power_a, power_b = float((a * a).sum()), float((b * b).sum())
    if max(power_a, power_b) < COLOURFUL**2 * _HALF**2:
        return True
    return float((a * b).sum()) >= SAME_COLOUR * (power_a * power_b) ** 0.5


def same(first: Sketches, second: Sketches) -> bool:
    """Whether any still of one clip shows the same as any of the other."""
    return any(_same(a, b, first, second) for a in first.stills for b in second.stills)


def _same(a: Sketch, b: Sketch, first: Sketches, second: Sketches) -> bool:
    found = match(a, b)
    if found.likeness < SAME or not colours_agree(a, b, found):
        return False
    expected = min(first.steadiness, second.steadiness)
    return found.likeness >= expected - LESS - (NOISE / min(a.strength, b.strength)) ** 2


_INNER = SIDE - 2 * MARGIN
_HALF = _INNER // 2
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 1e-3)
_WHOLE = np.full((SIDE, SIDE), 255, np.uint8)
_BACK = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def _middle(plane: np.ndarray) -> np.ndarray:
    return plane[MARGIN:-MARGIN, MARGIN:-MARGIN]


def _halved(colour: np.ndarray) -> np.ndarray:
    """(22, 22, 2) float32 of the middle of the colour planes."""
    return cv2.resize(colour, (_HALF, _HALF), interpolation=cv2.INTER_AREA).astype(np.float32)
