"""What the camera does in a span, from its motion in each sample: one word, its speed, and what it leaves of the motion.

A sample's motion has four parts, each as the mean displacement that it makes over the picture, in % of the diagonal per
second: pan (to the side), tilt (up or down), zoom, roll. Summed over about a second the parts say how far the camera
got; their lengths summed say how far it went. The word is

    static   where the mean speed is under STATIC
    shake    where it got less than STRAIGHT of what it went: it keeps turning back
    pan, tilt, zoom, roll    otherwise: the part in which it got furthest

A slow pan to the left and back is a pan: within a second it does not turn back. A hand-held camera that follows
something is what it follows with, as long as that is more than its shaking. The thresholds were set on generated moves
of known kind and looked at on real files; there is no standard for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curation.signals.camera import Camera
from curation.signals.crop import Crop

STATIC = 0.5
"""% of the diagonal per second. A tripod's vibration and the error of the fit are under 0.2, the slowest pans over 1."""
STRAIGHT = 0.6
"""Of the way. Independent steps get 0.45 of it in a second of five samples, jitter about a place 0.2, a sway of 0.5 Hz
0.64."""
WINDOW_S = 1.0
"""Seconds over which a way is called straight or not."""
SUPPORT = 0.1
"""Share of the picture whose motion must be known and the camera's, else the sample does not tell: a small thing on a
plain ground may move, or the camera may."""
TOLD = 0.5
"""Share of the samples that must tell, else the span has no answer."""
MOTION = 0.1
"""% of the diagonal per second. Below it there is no motion to take shares of."""

PARTS = ("pan", "tilt", "zoom", "roll")


class Step(NamedTuple):
    """One sample: a pair of frames."""

    time: float
    """Seconds, of the second frame."""
    seconds: float
    """Between the two."""
    size: tuple[int, int]
    """(width, height) of the small picture in pixels, bars included."""
    flow: float
    """Length of the flow, summed over the picture, per second: px × px² / s."""
    camera: Camera | None
    """Its motion from one frame to the other; None where nothing is known of it, or parts of the picture contradict each other."""


def diagonal(size: tuple[int, int], crop: Crop) -> float:
    """Of the lit picture, in pixels."""
    return float(np.hypot(size[0] * (1 - crop.left - crop.right), size[1] * (1 - crop.top - crop.bottom)))


def speeds(steps: list[Step], crop: Crop) -> list[float]:
    """Mean length of the flow over the lit picture in each sample, % of its diagonal per second."""
    return [100 * step.flow / (step.size[0] * step.size[1] * crop.area * diagonal(step.size, crop)) for step in steps]


def describe(steps: list[Step], crop: Crop, motion: float | None) -> dict[str, float | str | None]:
    """camera_motion, camera_speed (% of the diagonal per second) and motion_residual of a span.

        camera_speed    = mean over samples of the mean length over the picture of the fitted motion
        motion_residual = Σ |flow − fitted motion| / Σ |flow|     (0..1, over samples and blocks whose flow is known)

    A thing that moves before a camera at rest has a residual of 1, a pan over a still scene one near 0. None where
    ``motion`` is None or under ``MOTION``; all are None where too few samples tell of the camera.
    """
    told = [(step, step.camera) for step in steps if step.camera is not None and step.camera.support >= SUPPORT]
    if not told or len(told) < TOLD * len(steps):
        return {"motion_residual": None, "camera_motion": None, "camera_speed": None}
    rates = np.array(
        [
            [value * 100 / (step.seconds * diagonal(step.size, crop)) for value in (c.pan, c.tilt, c.zoom, c.roll, c.length, c.moved, c.left)]
            for step, c in told
        ]
    )  # fmt: skip
    speed, moved, left = (float(v) for v in rates[:, 4:].mean(axis=0))
    residual = None if motion is None or motion < MOTION or moved <= 0 else min(1.0, left / moved)
    kind = "static" if speed < STATIC else _kind(rates[:, :4], np.array([step.time for step, _ in told]))
    return {"motion_residual": residual, "camera_motion": kind, "camera_speed": speed}


def _kind(parts: np.ndarray, times: np.ndarray) -> str:
    """The word for a camera that moves; ``parts`` ((n, 4)) are its speeds in pan, tilt, zoom and roll at ``times`` (s)."""
    gap = float(np.median(np.diff(times))) if len(times) > 1 else WINDOW_S
    window = max(1, min(len(parts), round(WINDOW_S / gap)))
    got = np.lib.stride_tricks.sliding_window_view(parts, window, axis=0).mean(axis=-1)
    went = np.lib.stride_tricks.sliding_window_view(np.linalg.norm(parts, axis=1), window).mean(axis=-1)
    if np.linalg.norm(got, axis=1).sum() < STRAIGHT * went.sum():
        return "shake"
    return PARTS[int(np.abs(got).sum(axis=0).argmax())]
