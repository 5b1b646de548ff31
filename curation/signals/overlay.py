"""Static overlays: logos, captions and subtitles, which stay where they are while the picture behind them moves.

Twice a second the gradient of the small picture is taken. An edge *stays* where it differs by at most half of its length from
the gradients half a second and a second ago, in strength and direction: so a see-through logo counts, and a moving texture that
happens to have an edge in the same place does not. Upright and level edges that stay close together are an overlay (a
horizon stays level in a pan, and has no upright ones); its area is that of the edges, closed up over gaps as between letters.

With a camera at rest everything stays, and nothing can be told. So a sample only counts where most of the picture moves:
in 60 % of those of 6 × 6 fields that have edges, 85 % of the edges must not stay. In the middle of a slow zoom nothing moves
either, which can read as an overlay of up to 1 %. Subtitles change; the share is a mean over the samples that count, so it is
what is covered at a time, and a line must be up for over a second to be seen. Black bars, and what is written in them, are left
out.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals.crop import NO_BARS, Crop
from curation.signals.samples import Clock, Samples

RATE = 2.0
"""Samples per second."""
EDGE = 40
"""Levels of 255 over two pixels: |gx| + |gy| of an edge."""
STAYS_PART = 2
"""One in so many: the part of its own length by which the gradient of an edge that stays may change."""
CROWD = 0.25
"""Share of edges that stay, in a window of 7 × 7 pixels, from which they are an overlay and not chance."""
BOTH = 0.06
"""The same for upright and for level edges, each for itself: letters have both."""
MOVED = 0.85
"""Share of a field's edges that must not stay for the field to move."""
FIELDS = 0.6
"""Share of the fields that must move."""
_GRID = 6
_LEAST_EDGES = 0.02
"""Share of a field's pixels that must be edges for the field to say anything."""
_LEAST_FIELDS = 9
_RIM = 2
"""Pixels kept away from the border of the picture, as black bars blend into it."""
_WINDOW = (7, 7)
_CLOSE = np.ones((5, 9), np.uint8)
"""Gaps up to this are closed, as between letters."""

Masks = tuple[np.ndarray, tuple[int, ...]]
"""Packed bits of three masks: edges, upright edges that stayed for a second, level ones that did; with the shape of each."""


class Overlay:
    """overlay_share (0..1): mean share of the picture, bars left out, under what stays; None where too little moves."""

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._last: deque[tuple[int, np.ndarray, np.ndarray]] = deque(maxlen=2)
        self._samples: Samples[Masks] = Samples()

    def push(self, frame: Frame) -> None:
        if not self._clock.due(frame.time):
            return
        across = np.asarray(cv2.Sobel(frame.gray, cv2.CV_16S, 1, 0, ksize=1))
        down = np.asarray(cv2.Sobel(frame.gray, cv2.CV_16S, 0, 1, ksize=1))
        if self._last and self._last[-1][1].shape != across.shape:
            self._last.clear()
        if len(self._last) == 2:
            wide, high = np.abs(across), np.abs(down)
            length = cv2.add(wide, high)
            changes = [cv2.add(cv2.absdiff(across, x), cv2.absdiff(down, y)) for _, x, y in self._last]
            edges = length >= EDGE
            stays = edges & (cv2.max(*changes) * STAYS_PART <= length)
            masks = np.packbits(np.stack([edges, stays & (wide >= high), stays & (wide < high)]))
            self._samples.add((masks, frame.gray.shape), frame.index, self._last[0][0])
        self._last.append((frame.index, across, down))

    def close(self, span: Span, crop: Crop = NO_BARS) -> dict[str, float | None]:
        known = [_stayed(masks, crop) for masks in self._samples.within(span)]
        shares = []
        for index in range(len(known) + 2):
            # A sample is in up to three of the seconds: as their last, middle and first.
            seconds = [mask for mask in known[max(0, index - 2) : index + 1] if mask is not None]
            if seconds and all(mask.shape == seconds[0].shape for mask in seconds):
                shares.append(_area(np.bitwise_or.reduce(seconds)))
        return {"overlay_share": float(np.mean(shares)) if shares else None}

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def _stayed(sample: Masks, crop: Crop) -> np.ndarray | None:
    """(2, h, w) uint8, 0 or 1: upright and level edges that stayed, without bars; None where too little moves."""
    bits, (height, width) = sample
    left, top, right, bottom = crop.box(width, height)
    if min(right - left, bottom - top) < 4 * _GRID:
        return None
    masks = np.unpackbits(bits, count=3 * height * width).reshape(3, height, width)
    edges, upright, level = masks[:, top + _RIM : bottom - _RIM, left + _RIM : right - _RIM]
    return np.stack([upright, level]) if _moves(edges, upright | level) else None


def _area(stayed: np.ndarray) -> float:
    """Share (0..1) that crowds of upright and level edges ((2, h, w) uint8, 0 or 1) cover, closed up."""
    if not stayed.any():
        return 0.0
    share = [cv2.boxFilter(mask * 255, -1, _WINDOW, borderType=cv2.BORDER_CONSTANT) for mask in stayed]
    crowd = (cv2.add(*share) >= 255 * CROWD) & (cv2.min(*share) >= 255 * BOTH)
    area = cv2.morphologyEx(crowd.astype(np.uint8), cv2.MORPH_CLOSE, _CLOSE)
    return float(np.count_nonzero(area)) / area.size


def _moves(edges: np.ndarray, stays: np.ndarray) -> bool:
    """Whether nearly all of the picture has moved, from two masks ((h, w) uint8, 0 or 1)."""
    size = (_GRID, _GRID)
    height, width = (n // _GRID * _GRID for n in edges.shape)
    here, stayed = (
        cv2.resize(m[:height, :width].astype(np.float32), size, interpolation=cv2.INTER_AREA) for m in (edges, stays)
    )
    telling = here >= _LEAST_EDGES
    moved = telling & (stayed <= (1 - MOVED) * here)
    count = int(np.count_nonzero(telling))
    return count >= _LEAST_FIELDS and int(np.count_nonzero(moved)) >= FIELDS * count
