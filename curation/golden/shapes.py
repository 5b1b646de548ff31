"""One shape crossing the picture in a straight line: three shapes, six colours, four directions, and the caption that says so.

The direction never changes within a clip and the shape never leaves the picture, so a caption is true of every part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curation.golden.draw import Colour

SHAPES = ("circle", "square", "triangle")
COLOURS: dict[str, Colour] = {
    "red": (225, 45, 40),
    "green": (45, 185, 60),
    "blue": (50, 85, 230),
    "yellow": (240, 215, 50),
    "purple": (165, 55, 205),
    "white": (240, 240, 240),
}
DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
GROUNDS: dict[str, Colour] = {
    "black": (16, 16, 18),
    "dark grey": (58, 58, 60),
    "grey": (112, 112, 114),
    "brown": (84, 58, 36),
}
"""Plain backgrounds; every colour above stands out from each of them."""
_SIN_60 = float(np.sqrt(3) / 2)


@dataclass(frozen=True, slots=True)
class MovingShape:
    """A shape at ``start`` (centre in frame 0, pixels) that moves ``speed`` pixels a frame towards ``direction``."""

    shape: str
    colour: str
    direction: str
    radius: float
    """Of the circle; the square and the triangle are given about the same area."""
    speed: float
    start: tuple[float, float]

    def centre(self, frame: int) -> tuple[float, float]:
        """(x, y) of the centre in this frame."""
        dx, dy = DIRECTIONS[self.direction]
        return self.start[0] + dx * self.speed * frame, self.start[1] + dy * self.speed * frame

    def paint(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """A copy of ``picture`` with the shape on it, its border anti-aliased by exact distance."""
        cover = coverage(self.shape, self.centre(frame), self.radius, picture.shape[1], picture.shape[0])[..., None]
        colour = np.asarray(COLOURS[self.colour], np.float32)
        return np.rint(picture * (1 - cover) + colour * cover).astype(np.uint8)

    def caption(self, ground: str) -> str:
        """One sentence that names shape, colour, direction and background."""
        course = f"to the {self.direction}" if self.direction in ("left", "right") else f"{self.direction}wards"
        return f"A {self.colour} {self.shape} moves {course} across {ground}."


def coverage(shape: str, centre: tuple[float, float], radius: float, width: int, height: int) -> np.ndarray:
    """(h, w) float32 in 0..1: how much of each pixel the shape covers, from its signed distance to the border."""
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(centre[0])
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(centre[1])
    if shape == "circle":
        inside = radius - np.hypot(x, y)
    elif shape == "square":
        inside = 0.89 * radius - np.maximum(np.abs(x), np.abs(y))
    else:
        slant = _SIN_60 * np.abs(x) - 0.5 * y
        inside = 0.78 * radius - np.maximum(slant, y + 0 * x)
    return np.clip(inside + 0.5, 0, 1)


def crossing(
    shape: str, colour: str, direction: str, width: int, height: int, frames: int, rng: np.random.Generator
) -> MovingShape:
    """A shape of random size, lane and speed that stays within a ``width`` × ``height`` picture for ``frames`` frames."""
    side = min(width, height)
    radius = side * float(rng.uniform(0.14, 0.19))
    reach = 1.6 * radius  # the triangle's tip is 1.56 radii from its centre
    dx, dy = DIRECTIONS[direction]
    free = (width if dx else height) - 2 * reach
    travel = free * float(rng.uniform(0.8, 0.95))
    begin = reach + (free - travel) * float(rng.random())
    if dx + dy < 0:
        begin = (width if dx else height) - begin
    lane = float(rng.uniform(reach, (height if dx else width) - reach))
    start = (begin, lane) if dx else (lane, begin)
    return MovingShape(shape, colour, direction, radius, travel / max(frames - 1, 1), start)


def combination(index: int) -> tuple[str, str, str]:
    """Shape, colour and direction of clip ``index``; any 72 clips in a row hold each combination once."""
    colours, directions = tuple(COLOURS), tuple(DIRECTIONS)
    shape = SHAPES[index % 3]
    colour = colours[index // 3 % 6]
    return shape, colour, directions[index // 18 % 4]


def moving(shape: MovingShape, ground: np.ndarray, frames: int) -> Iterator[np.ndarray]:
    """``frames`` pictures of ``shape`` crossing the still picture ``ground``."""
    for frame in range(frames):
        yield shape.paint(ground, frame)
