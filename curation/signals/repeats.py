"""Repeated frames: how many pictures a second a clip really shows, whatever rate its file claims.

On every frame the mean absolute difference d to the frame before is kept, from the small gray picture. A converter to
a higher rate shows pictures twice; a codec then refines the second showing, so d is small but not 0. A frame repeats
the one before where

    d ≤ min(RATIO × r, CEILING)     with r = the lesser of the largest d of the REACH frames before and of those after

that is, where it is a notch in a picture that moves on both sides. Where small steps come in the pattern of a pull-up
(``cadence.py``), the pattern says how many frames repeat, since coding hides some: x264 at crf 28 makes up to half of the
repeats of a slow picture larger than that. Small steps without a pattern are counted one by one. A picture that comes to rest has no movement on one
side, a slow one no notch. Where a picture moves so slowly that a step is hardly more than what coding changes (under
about a quarter of a pixel of the small picture a frame), nobody can tell: such moments are left out, and a clip made of
them has no answer. The ratio was set on pans, shakes and zooms at rates from 15 to 60, through x264 at crf 23 and
mpeg4. Steps are means over the picture without its black bars.
"""

from __future__ import annotations

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.cadence import cadence
from curation.signals.crop import NO_BARS, Crop
from curation.signals.samples import Samples

RATIO = 0.25
CEILING = 2.5
"""Levels of 255. Flashes make every frame between them look like a notch, but not like a repeat."""
BETWEEN = 0.4
"""Repeats stand apart: few steps lie between RATIO and this part of r. Where at least half as many do, what looks like repeats is
the unevenness of coding: key frames and the like that change a slow picture more than it moves."""
DOUBTFUL = 0.1
"""Share of frames up to which such unevenness is taken for what it is; where more look like repeats, nobody can tell."""
CERTAIN, POSSIBLE = 0.65, 0.4
"""Fit of a pattern (J, 0..1) from which it is a pull-up, and from which it may be one: then nobody can tell."""
SHOWN = 0.82
"""Share of a pattern's new pictures that must be seen to be new."""
SMALL, PATTERNED = 0.5, 0.05
"""A pattern is looked for where more than a share ``PATTERNED`` of the steps are less than ``SMALL`` of those around them."""
REACH = 6
"""Frames. Pictures shown up to six times are found: 10 in 60, 5 in 30."""
MOVING = 1.0
"""Levels of 255. Mean difference from which a step is motion: x264 changes a slow picture by up to 0.8 at will."""
LEAST_SECONDS, LEAST_SHARE = 0.9, 0.25
"""Less motion than this, in seconds or as a share of the clip, says nothing: what is left may be keyframes' flicker."""
_UNKNOWN: dict[str, float | None] = {"duplicate_share": None, "effective_fps": None}


class Repeats:
    """duplicate_share (0..1) and effective_fps (1/s).

    duplicate_share is the share of frames that repeat the one before, effective_fps the number of the others per
    second, both over the moments in which the picture moves. None where it does so for less than 0.9 s or a quarter of
    the span (of a picture at rest one cannot say that it repeats), and where repeats cannot be told from uneven coding.
    """

    def __init__(self) -> None:
        self._samples: Samples[tuple[float, float]] = Samples()
        self._last: tuple[float, np.ndarray] | None = None

    def push(self, frame: Frame) -> None:
        last, self._last = self._last, (frame.time, frame.gray)
        if last is None or last[1].shape != frame.gray.shape:
            return
        step = cv2.norm(last[1], frame.gray, cv2.NORM_L1) / frame.gray.size
        self._samples.add((frame.time - last[0], step), frame.index, frame.index - 1)

    def close(self, span: Span, crop: Crop = NO_BARS) -> dict[str, float | None]:
        samples = self._samples.within(span)
        if samples:
            gaps, steps = np.array(samples).T
            steps = steps / crop.area
            around = _around(steps)
            moving = np.maximum(steps, around) >= MOVING
            seconds = float(gaps[moving].sum())
            if seconds >= max(LEAST_SECONDS, LEAST_SHARE * float(gaps.sum())):
                share = _share(steps, around, moving, gaps)
                if share is not None:
                    count = int(np.count_nonzero(moving))
                    return {"duplicate_share": share, "effective_fps": (1.0 - share) * count / seconds}
        return dict(_UNKNOWN)

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def _share(steps: np.ndarray, around: np.ndarray, moving: np.ndarray, gaps: np.ndarray) -> float | None:
    """0..1: how many of the frames that move repeat the one before; None where nobody can tell."""
    ratios = steps / np.maximum(around, 1e-9)
    ratios = np.where(steps <= CEILING, ratios, np.maximum(ratios, 1.0))
    count = int(np.count_nonzero(moving))
    fit = 0.0
    if np.count_nonzero(moving & (ratios < SMALL)) > PATTERNED * count:
        fit, new, shown = cadence(ratios, moving, gaps)
        if fit >= CERTAIN and shown >= SHOWN:
            return 1.0 - new
    repeats = int(np.count_nonzero(moving & (ratios <= RATIO)))
    between = int(np.count_nonzero(moving & (steps > RATIO * around) & (steps <= BETWEEN * around)))
    if 2 * between >= repeats:
        repeats, uneven = 0, repeats
        if uneven > DOUBTFUL * count:
            return None
    return None if fit >= POSSIBLE else repeats / count


def _around(steps: np.ndarray) -> np.ndarray:
    """(n,): the lesser of the largest of the ``REACH`` values before and of those after each of ``steps`` ((n,)).

    Where one of the sides is cut short by an end, the second largest value of the other may stand for it: a picture that
    moves does so more than once, a title that appears near the end of a picture at rest does not.
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(steps, REACH), REACH)
    before, after = windows[: len(steps)], windows[REACH + 1 :]
    largest_before, largest_after = before.max(axis=1), after.max(axis=1)
    for short, whole in ((largest_before[:REACH], after[:REACH]), (largest_after[-REACH:], before[-REACH:])):
        np.maximum(short, np.partition(whole, -2, axis=1)[:, -2], out=short)
    return np.asarray(np.minimum(largest_before, largest_after))
