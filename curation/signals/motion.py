"""Motion: the mean length of optical flow, what of it is the camera's, and what the camera does.

    motion = 100 × mean over the lit picture of |flow| / its diagonal / seconds between the two frames

Lengths are averaged, so movements to the left and to the right add up. The flow (:mod:`curation.signals.flow`) is
measured on the small gray frames, five times a second. The interval fits the speed: slow motion is measured over up to
0.2 s, because flow of a tenth of a pixel is not accurate; fast motion from one frame to the next. Pictures that hardly
differ are not measured: they are at rest.

From the same flow the camera's own motion is fitted (:mod:`curation.signals.camera`), and named when the span is known
(:mod:`curation.signals.camera_path`). Black bars are cut off before, so that they take part in nothing.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from curation.frames import Frame, Span
from curation.signals import camera, camera_path
from curation.signals.camera import Camera
from curation.signals.camera_path import Step
from curation.signals.crop import NO_BARS, Crop
from curation.signals.flow import fine_flow, glance, half, refine, rough_flow
from curation.signals.margins import black_margins
from curation.signals.samples import Clock, Samples

RATE = 5.0
"""Samples per second, and the inverse of the longest interval in seconds between the frames of a pair (if frames are
that close)."""
LEAST_SIDE = 32
"""Pixels. Smaller pictures give no flow, and no motion."""

_REACH = 10.0
"""Pixels. Displacement that a pair should not exceed: half of what DIS can do."""
_REPEAT = 0.01
"""Levels. Mean difference up to which a frame repeats the one before it."""

Picture = tuple[int, float, np.ndarray]
"""Index, time in seconds, gray."""


class Motion:
    """motion and motion_p95 (% of the diagonal per second), motion_residual (0..1), camera_motion (a word) and
    camera_speed (% of the diagonal per second).

    motion is the mean over the samples of the span, motion_p95 their 95th percentile; for the others see
    :mod:`curation.signals.camera_path`. Only pairs of frames that both lie in the span count. None without a pair, and
    for pictures under 32 px.
    """

    def __init__(self) -> None:
        self._clock = Clock(RATE)
        self._recent: deque[Picture] = deque()
        self._samples: Samples[Step] = Samples()

    def push(self, frame: Frame) -> None:
        recent = self._recent
        if recent and recent[-1][2].shape != frame.gray.shape:
            recent.clear()
        # One frame older than the interval is of no use, but the last one is always needed (few frames per second).
        while len(recent) > 1 and frame.time - recent[0][1] > 1 / RATE + 1e-3:
            recent.popleft()
        if self._clock.due(frame.time) and recent and min(frame.gray.shape) >= LEAST_SIDE:
            first, step = measure([*recent, (frame.index, frame.time, frame.gray)])
            self._samples.add(step, frame.index, first)
        recent.append((frame.index, frame.time, frame.gray))

    def close(self, span: Span, crop: Crop = NO_BARS) -> dict[str, float | str | None]:
        steps = self._samples.within(span)
        speeds = camera_path.speeds(steps, crop)
        motion = float(np.mean(speeds)) if speeds else None
        return {
            "motion": motion,
            "motion_p95": float(np.percentile(speeds, 95)) if speeds else None,
            **camera_path.describe(steps, crop, motion),
        }

    def forget(self, before_frame: int) -> None:
        self._samples.forget(before_frame)


def measure(pictures: list[Picture]) -> tuple[int, Step]:
    """Motion up to the last of ``pictures`` (in order, of one size, two or more): the pair's first index, and the sample."""
    size = pictures[-1][2].shape[::-1]
    pictures = distinct(pictures)
    _, time, gray = pictures[-1]
    before = pictures[:-1]
    pair = before[0] if before else pictures[0]
    box = _lit_box(pair[2], gray)
    if box is None:
        return pair[0], Step(time, 1 / RATE, size, 0.0, None)
    now, then = gray[box], pair[2][box]
    half_now, half_then = half(now), half(then)
    look = glance(half_then, half_now)
    if look.still or not before:
        return pair[0], Step(time, 1 / RATE, size, 0.0, Camera.at_rest(look.textured))
    if look.calm:
        flow = fine_flow(half_then, half_now)
    else:
        flow, per_frame = rough_flow(half(before[-1][2][box]), half_now)
        steps = max(1, min(len(before), int(_REACH / max(per_frame, 1e-3))))
        pair = before[-steps]
        then = pair[2][box]
        if steps > 1:
            flow = fine_flow(half(then), half_now)
    field = refine(then, now, flow)
    seconds = time - pair[1]
    height, width = now.shape
    return pair[0], Step(time, seconds, size, float(field.length.mean()) * width * height / seconds, camera.fit(field))


def distinct(pictures: list[Picture]) -> list[Picture]:
    """Those of ``pictures`` that differ from the one before, in order.

    Sources converted from a lower frame rate repeat frames. A repeat counts from when its picture was first shown, else
    the step after it would seem to take one frame where it takes two.
    """
    kept = pictures[:1]
    least = _REPEAT * pictures[0][2].size
    for picture in pictures[1:]:
        new, last = picture[2], kept[-1][2]
        # Every 16th row is mostly enough to see that much change.
        if cv2.norm(new[::16], last[::16], cv2.NORM_L1) > least or cv2.norm(new, last, cv2.NORM_L1) > least:
            kept.append(picture)
    return kept


def _lit_box(before: np.ndarray, after: np.ndarray) -> tuple[slice, slice] | None:
    """Where two pictures are not black from border to border: rows and columns, even in number. None for under 32 px."""
    margins = black_margins(cv2.max(before, after), 0)
    if margins is None:
        return None
    rows, columns = (
        slice(low, low + (length - low - high) // 2 * 2)
        for low, high, length in (
            # The line next to a bar is often half black.
            (margins.top + (margins.top > 0), margins.bottom + (margins.bottom > 0), before.shape[0]),
            (margins.left + (margins.left > 0), margins.right + (margins.right > 0), before.shape[1]),
        )
    )
    if min(rows.stop - rows.start, columns.stop - columns.start) < LEAST_SIDE:
        return None
    return rows, columns
