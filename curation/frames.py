"""What detectors and signals are given: frames of one forward pass, and the spans found in it.

The pass decodes each source frame once and pushes the same :class:`Frame` to every detector and signal. They keep what
they need and never hold on to pixel arrays longer than they must.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

SMALL_SIDE = 256
"""Long side of ``Frame.gray`` in pixels."""

TIMED = 17
"""Every frame of this stride is timed: reading the thread's clock can cost more than a signal. A prime, so that the stride does not
fall into step with sampling rates."""

TransitionKind = Literal["cut", "fade", "dissolve"]


@dataclass(slots=True)
class Frame:
    """One decoded frame, as every detector and signal sees it.

    The small planes are upright (rotation metadata applied), in square pixels, full range, in the source's own colour matrix: they
    are what swscale makes of the frame in one step, without a detour over RGB. ``luma`` is as stored.
    """

    index: int
    """Decoded frames counted from 0 in display order."""
    pts: int
    """Presentation time stamp in the stream's time base; strictly increasing."""
    time: float
    """``pts`` in seconds."""
    gray: np.ndarray
    """(h, w) uint8 luminance, 0 black to 255 white; long side 256 pixels (a smaller source keeps its size), both sides even."""
    cb: np.ndarray
    """(h / 2, w / 2) uint8 blue difference, 128 neutral."""
    cr: np.ndarray
    """(h / 2, w / 2) uint8 red difference, 128 neutral."""
    bt709: bool = False
    """Whether colour differences are those of Rec. ITU-R BT.709; else of BT.601."""
    luma: np.ndarray | None = None
    """(H, W) uint8 native luma plane at sampled instants (about two per second), else None. As stored: not rotated, not
    stretched to square pixels, limited range where the source is. A view: valid only during ``push``; copy what you keep."""
    rotation: int = 0
    """Clockwise degrees (0, 90, 180, 270) that make ``luma`` upright."""
    display_size: tuple[int, int] = (0, 0)
    """(width, height) in pixels as displayed: after rotation and after square pixels."""
    full_range: bool = False
    """True where ``luma`` spans 0..255; False where it spans 16..235."""

    def bgr(self) -> np.ndarray:
        """(h, w, 3) uint8 BGR picture of the small planes. Made anew at each call: for sampled instants, not for every frame."""
        size = self.gray.shape[::-1]
        cr, cb = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (self.cr, self.cb))
        return to_bgr(cv2.merge([self.gray, cr, cb]), self.bt709)


_BT709_TO_BGR = np.array([[1, 0, 1.8556], [1, -0.4681, -0.1873], [1, 1.5748, 0]])
"""Rec. ITU-R BT.709-6, items 3.2 and 3.3, solved for B, G, R; columns are Y, Cr, Cb."""


def to_bgr(ycrcb: np.ndarray, bt709: bool) -> np.ndarray:
    """(h, w, 3) uint8 BGR of a full-range (h, w, 3) uint8 picture of Y, Cr, Cb."""
    if not bt709:
        return np.asarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR))
    offset = -128.0 * _BT709_TO_BGR[:, 1:].sum(axis=1, keepdims=True)
    return np.asarray(cv2.transform(ycrcb, np.hstack([_BT709_TO_BGR, offset])))


def frame_of(
    bgr: np.ndarray, index: int = 0, time: float = 0.0, *, pts: int | None = None, luma: np.ndarray | None = None,
    rotation: int = 0, display_size: tuple[int, int] | None = None, full_range: bool = False,
) -> Frame:  # fmt: skip
    """A :class:`Frame` of a picture ((h, w, 3) uint8 BGR, at most 256 pixels long, even sides), for whoever has no decoder."""
    y, cr, cb = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb))
    half = (max(1, y.shape[1] // 2), max(1, y.shape[0] // 2))
    cr, cb = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in (cr, cb))
    size = (bgr.shape[1], bgr.shape[0]) if display_size is None else display_size
    return Frame(index, index if pts is None else pts, time, y, cb, cr, False, luma, rotation, size, full_range)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of shot, with its extent in decoded frames, half open.

    A hard cut is the empty span ``start_frame == end_frame ==`` first frame of the new shot. A fade or dissolve covers every
    frame that shows less than all of the shot before and less than all of the shot after.
    """

    start_frame: int
    end_frame: int
    kind: TransitionKind
    score: float
    """Detector confidence, 0..1."""
    detector: str


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one shot that becomes a clip; half open in frames, pts and seconds."""

    start_frame: int
    end_frame: int
    start_pts: int
    end_pts: int
    start_s: float
    end_s: float
