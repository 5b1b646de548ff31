"""Interlacing combs: lines of two instants in one picture, seen where something moves.

On bands of columns of the native luma plane, a pixel *combs* where it lies outside the range of its two vertical
neighbours by more than they differ from one another, and by over 6 levels:

    s = max(b − max(a, c), min(a, c) − b),    combs where s > max(T, |a − c|)

Texture and noise do that here and there, text and thin lines in one or two rows. A comb does it in row after row: only
runs of RUN rows or more count. The bands are cut into cells; a cell combs where enough of its pixels do, and where the
picture has changed since the frame before, as there are no combs on what rests: blinds and fine stripes stay. Stripes
that move tell themselves by their order: on them all odd rows are darker, or all are brighter, while combs of a
moving thing are darker on one side of it and brighter on the other. The dither of a small palette (a GIF's) differs from
pixel to pixel across as well as down, where a comb's rows are smooth. It is the rule of the usual comb detectors (a
threshold on (a − b)(c − b), counted by blocks), made stricter. Combs that were scaled afterwards are not found.
"""

from __future__ import annotations

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.bands import WIDTH, columns
from curation.signals.samples import Samples

T = 6
"""Levels of 255."""
RUN = 5
"""Rows, one below the other, that comb."""
CELL = 32
"""Rows of a cell; it is one band wide."""
FILLED = 0.075
"""Share of a cell's pixels in runs from which the cell combs. White noise of 20 levels reaches 0.071."""
CELLS = 0.01
"""Share of all cells that must comb; at least two."""
CHANGED = 1.5
"""Levels of 255. Mean difference from the frame before, over a cell, from which something moves."""
ORDERED = 0.8
"""Of 1, where all combing pixels of odd rows go one way and those of even rows the other. Moving textures stay below 0.4."""
ACROSS = 0.25
"""Share of the combing pixels that differ as much from both pixels beside them, from which it is dither. Dither has 0.5 to 0.7, combs
of real and drawn pictures up to 0.1, under strong grain 0.2."""
_BANDS = 12
_DOWN = np.ones((RUN, 1), np.uint8)


class Combs:
    """comb_share (0..1): share of the sampled luma planes that show interlacing combs; None without a sample."""

    def __init__(self) -> None:
        self._samples: Samples[bool] = Samples()
        self._last: np.ndarray | None = None

    def push(self, frame: Frame) -> None:
        last, self._last = self._last, frame.gray
        if frame.luma is None or last is None or last.shape != frame.gray.shape:
            return
        change = cv2.absdiff(last, frame.gray)
        stored = np.rot90(change, frame.rotation // 90) if frame.rotation else change
        self._samples.add(is_combed(frame.luma, stored), frame.index, frame.index - 1)

    def close(self, span: Span) -> dict[str, float | None]:
        flags = self._samples.within(span)
        return {"comb_share": sum(flags) / len(flags) if flags else None}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def is_combed(luma: np.ndarray, change: np.ndarray) -> bool:
    """Whether a plane ((h, w) uint8) shows combs, given the change ((h', w') uint8 of any size) since the frame before."""
    bands = columns(luma, _BANDS, 2)
    if bands.shape[0] < CELL + 2 or bands.shape[1] < WIDTH:
        return False
    rows = (bands.shape[0] - 2) // CELL * CELL
    size = (bands.shape[1] // WIDTH, rows // CELL)
    least = max(2, CELLS * size[0] * size[1])
    above, here, below = bands[:rows], bands[1 : rows + 1], bands[2 : rows + 2]
    low, high = cv2.min(above, below), cv2.max(above, below)
    limit = cv2.max(cv2.absdiff(above, below), T)  # type: ignore[call-overload]  # a number will do; the stubs do not know
    bright = cv2.compare(cv2.subtract(here, high), limit, cv2.CMP_GT)
    dark = cv2.compare(cv2.subtract(low, here), limit, cv2.CMP_GT)
    either = cv2.bitwise_or(bright, dark)
    if _most_in_runs(either) < least * FILLED * WIDTH * CELL:
        return False
    # Whole cells only: OpenCV averages over a whole number of pixels forty times faster than over fractions of them.
    moves = cv2.resize(change, size, interpolation=cv2.INTER_AREA) >= CHANGED
    if np.count_nonzero(moves) < least:
        return False
    runs = cv2.morphologyEx(either, cv2.MORPH_OPEN, _DOWN)
    filled = cv2.resize(runs, size, interpolation=cv2.INTER_AREA) >= 255 * FILLED
    if np.count_nonzero(filled & moves) < least:
        return False
    if _order(cv2.bitwise_and(bright, runs), cv2.bitwise_and(dark, runs)) >= ORDERED:
        return False
    return _across(here, runs) < ACROSS


def _most_in_runs(either: np.ndarray) -> int:
    """At least as many pixels as lie in runs, and far fewer than all: a tenth of the cost of finding the runs.

    A run is as long as three rows, where it goes on beyond the border, or longer, so a third of it has neighbours in it on both sides.
    """
    inner = cv2.bitwise_and(cv2.bitwise_and(either[:-2], either[2:]), either[1:-1])
    return 3 * cv2.countNonZero(inner)


def _across(here: np.ndarray, runs: np.ndarray) -> float:
    """0..1: how many of the combing pixels (``runs``, 255 where one is) stand out across just as they do down; every fifth row will do."""
    here, runs = here[::5], runs[::5]
    left, middle, right = here[:, :-2], here[:, 1:-1], here[:, 2:]
    low, high = cv2.min(left, right), cv2.max(left, right)
    limit = cv2.max(cv2.subtract(high, low), T)  # type: ignore[call-overload]
    out = cv2.max(cv2.subtract(middle, high), cv2.subtract(low, middle))
    inner = runs[:, 1:-1]
    both = cv2.bitwise_and(cv2.compare(out, limit, cv2.CMP_GT), inner)
    return cv2.countNonZero(both) / max(1, cv2.countNonZero(inner))


def _order(bright: np.ndarray, dark: np.ndarray) -> float:
    """0..1: how far odd rows are all bright and even rows all dark, or the reverse, among the combing pixels."""
    even = cv2.countNonZero(bright[::2]) + cv2.countNonZero(dark[1::2])
    odd = cv2.countNonZero(bright[1::2]) + cv2.countNonZero(dark[::2])
    return abs(even - odd) / max(1, even + odd)
