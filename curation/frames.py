"""What detectors and signals are given: frames of one forward pass, and the spans found in it.

The pass decodes each source frame once and pushes the same :class:`Frame` to every detector and signal. They keep what
they need and never hold on to pixel arrays longer than they must.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

SMALL_SIDE = 256
"""Long side of ``Frame.small`` in pixels."""

TIMED = 17
"""Every frame of this stride is timed: reading the thread's clock can cost more than a signal. A prime, so that the stride does not
fall into step with sampling rates."""

TransitionKind = Literal["cut", "fade", "dissolve"]


@dataclass(slots=True)
class Frame:
    """One decoded frame, as every detector and signal sees it.

    ``small`` and ``gray`` are upright (rotation metadata applied), in square pixels, full range; ``luma`` is as stored.
    """

    index: int
    """Decoded frames counted from 0 in display order."""
    pts: int
    """Presentation time stamp in the stream's time base; strictly increasing."""
    time: float
    """``pts`` in seconds."""
    small: np.ndarray
    """(h, w, 3) uint8 BGR, long side 256 pixels (a smaller source keeps its size)."""
    gray: np.ndarray
    """(h, w) uint8 luminance of ``small``."""
    luma: np.ndarray | None = None
    """(H, W) uint8 native luma plane at sampled instants (about two per second), else None. As stored: not rotated, not
    stretched to square pixels, limited range where the source is. A view: valid only during ``push``; copy what you keep."""
    rotation: int = 0
    """Clockwise degrees (0, 90, 180, 270) that make ``luma`` upright."""
    display_size: tuple[int, int] = (0, 0)
    """(width, height) in pixels as displayed: after rotation and after square pixels."""
    full_range: bool = False
    """True where ``luma`` spans 0..255; False where it spans 16..235."""


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
