"""Asking a shot network, frame by frame: small colour pictures, and windows over them.

The network itself belongs to another room; here is what it must offer, and how a stream becomes windows of 100 frames. As in the
paper of TransNetV2 (arXiv:2008.04838) only the middle 50 answers of a window are used, the windows lie 50 frames apart, and the
first and the last frame of the stream stand in for what would lie beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from curation.frames import Frame, to_bgr

WIDTH, HEIGHT = 48, 27
"""Size in pixels of the pictures that the network looks at, whatever the shape of the video."""
WINDOW = 100
"""Frames of a window."""
MARGIN = 25
"""Frames at each end of a window whose answers are not used: they see too little of what is around them."""
STEP = WINDOW - 2 * MARGIN


class ShotNetwork(Protocol):
    """A network that finds transitions."""

    batch: int
    """Windows that it likes to be given at once."""

    def probabilities(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For (B, 100, 27, 48, 3) uint8 RGB frames two (B, 100) float32 arrays of probabilities: that a transition is centred on
        the frame, and that the frame is part of one."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """What the network says about consecutive frames from number ``first`` on."""

    first: int
    centre: np.ndarray
    """(N,) float32: probability that a transition is centred on the frame; a hard cut on the last one of the old shot."""
    part: np.ndarray
    """(N,) float32: probability that the frame is part of a transition."""


def thumbnail(frame: Frame) -> np.ndarray:
    """(27, 48, 3) uint8 RGB picture of a frame; its shape is not kept."""
    ycrcb = cv2.merge([_reduced(plane) for plane in (frame.gray, frame.cr, frame.cb)])
    if frame.bt709:
        return to_bgr(ycrcb, True)[..., ::-1]
    return np.asarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB))


def _reduced(plane: np.ndarray) -> np.ndarray:
    """A plane at the network's size. Halving first is an exact mean and a fifth of the work."""
    while plane.shape[1] >= 2 * WIDTH and plane.shape[0] >= 2 * HEIGHT:
        plane = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(plane, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


class Windower:
    """Thumbnails in, answers about every frame out, at most ``batch`` windows behind.

    Which windows are asked together depends on their place in the stream alone, so that the answers do too. It holds
    ``WINDOW + STEP * (batch − 1)`` thumbnails of 3.9 kB.
    """

    def __init__(self, network: ShotNetwork) -> None:
        self._network = network
        self._frames: list[np.ndarray] = []  # from the first frame of the next window on
        self._start = -MARGIN  # number of that frame
        self._given = 0  # frames pushed

    @property
    def held(self) -> int:
        """Thumbnails kept."""
        return len(self._frames)

    def push(self, picture: np.ndarray) -> Answers | None:
        """Take the next thumbnail, (27, 48, 3) uint8; return what is now known, counting frames from 0."""
        if self._given == 0:
            self._frames = [picture] * MARGIN
        self._frames.append(picture)
        self._given += 1
        if len(self._frames) < WINDOW + STEP * (self._network.batch - 1):
            return None
        return self._ask(self._network.batch)

    def flush(self) -> Answers | None:
        """The stream has ended: what is known of the frames that are left."""
        missing = self._given - (self._start + MARGIN)
        if missing <= 0:
            return None
        windows = -(-missing // STEP)
        self._frames += [self._frames[-1]] * (WINDOW + STEP * (windows - 1) - len(self._frames))
        answers = self._ask(windows)
        return Answers(answers.first, answers.centre[:missing], answers.part[:missing])

    def _ask(self, windows: int) -> Answers:
        stack = np.stack(self._frames[: WINDOW + STEP * (windows - 1)])
        batch = np.stack([stack[STEP * k : STEP * k + WINDOW] for k in range(windows)])
        centre, part = (p[:, MARGIN : MARGIN + STEP].ravel() for p in self._network.probabilities(batch))
        first = self._start + MARGIN
        del self._frames[: STEP * windows]
        self._start += STEP * windows
        return Answers(first, centre, part)
