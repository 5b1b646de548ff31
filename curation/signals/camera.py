"""The camera's own motion in one flow field: a similarity, fitted so that what moves by itself does not matter.

    m(x, y) = (tx + s·x − r·y,  ty + s·y + r·x)      x, y from the picture's centre, right and down

tx, ty shift the picture, s makes it larger, r turns it clockwise: 4 numbers, found by least squares over the blocks of
a flow field (:class:`~curation.signals.flow.Field`). A block counts by how well its flow is known, and only in the
directions in which its structure fixes it: a block with one straight edge says nothing of motion along that edge.

The fit is repeated with weights 1 / (1 + (e / c)²)² (Geman and McClure, 1987), where e is the distance of a block's flow
from m and c what a good block may be off. It starts from all blocks, which follows any camera; where a good part of the
picture disagrees it starts from rest, too, and the answer is that which more of the picture supports. Rest has the
benefit of the doubt: exactly no motion in a large part of the picture is no accident, whatever else moves. Where one
part says this and another that, and neither is most of the picture, there is no answer.
"""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from curation.signals.flow import Field

_LOOSE_PX, _LOOSE_SHARE = 0.25, 0.1
"""Pixels, and share of the fitted motion: how far the flow of a block may be off and still belong to the camera's. The
share allows for depth, which a similarity does not know."""
_ROUNDS = 3
_SETTLED_PX = 0.01
_REST = [0.0, 0.0, 0.0, 0.0]
_AGREED = 0.8
"""Share of what is known that follows the fit, from which no other start is tried."""
_DOUBT = 0.75
"""A fit from rest wins where it has this share of the other's support."""
_MOST, _LEFT = 0.65, 0.4
"""A camera that moves must be followed by this share of what is known, or leave at most that share of the motion. A fast
roll bends the flow so that few blocks follow closely, but leaves 0.2 of it. A bus that passes a camera at rest is taken
for its motion with shares of up to 0.62, and leaves 0.45 and more."""
_MOVES_PX = 0.5
"""Pixels. Mean displacement from which a camera moves in this sense; less is within what blocks at rest are off."""
_STIFF = 0.002
"""Of the weight of a shift: what keeps s and r from running away where only a small part of the picture is known."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Camera motion between two frames, in pixels of the small picture."""

    pan: float
    """tx."""
    tilt: float
    """ty."""
    zoom: float
    """Mean displacement that growing makes: log |1 + s + ir| × mean distance of the picture from its centre."""
    roll: float
    """The same for turning: the angle of 1 + s + ir × that distance."""
    length: float
    """Mean displacement of the four together, over the picture."""
    moved: float
    """Mean length of the flow, where it is known (× the share that is known)."""
    left: float
    """The same when m is taken away."""
    support: float
    """0..1: share of the picture whose motion is known and is the camera's."""

    @staticmethod
    def at_rest(support: float) -> Camera:
        """A camera that does not move, before a scene in which nothing does."""
        return Camera(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, support)


def fit(field: Field) -> Camera | None:
    """The camera's motion in ``field``; None where nothing is known, and where parts of the picture contradict each other."""
    grid = _grid(*field.dx.shape, *field.size)
    dx, dy = field.dx.ravel(), field.dy.ravel()
    # What moves out of the picture has no place in the second one, so that its flow is a guess.
    ends_x, ends_y = np.abs(grid.x + dx), np.abs(grid.y + dy)
    known = field.known.ravel() * ((ends_x <= grid.half_width) & (ends_y <= grid.half_height))
    total = float(known.sum())
    if total < 1.0:
        return None
    problem = _Problem(grid, dx, dy, known, total, field.xx.ravel(), field.xy.ravel(), field.yy.ravel())
    if float(problem.weigh(_REST).sum()) > _AGREED * total:
        model, support = problem.settle(_REST)
    else:
        model, support = problem.settle(problem.solve(known), soft=True)
        if support < _AGREED * total:
            other, other_support = problem.settle(_REST)
            if other_support > _DOUBT * support:
                model, support = other, other_support
    mx, my = grid.field(model)
    tx, ty, s, r = model
    # Growing by a tenth and shrinking back have the same speed, which is in the logarithm. More than half is no camera.
    step = complex(s, r) / grid.radius
    grows = grid.radius * (cmath.log(1 + step) if abs(step) < 0.5 else step)
    blocks = len(dx)
    length = float(np.hypot(*grid.field((tx, ty, grows.real, grows.imag))).mean())
    moved, left = float(np.hypot(dx, dy) @ known), float(np.hypot(dx - mx, dy - my) @ known)
    if length > _MOVES_PX and support < _MOST * total and left > _LEFT * moved:
        return None
    return Camera(
        tx,
        ty,
        grows.real,
        grows.imag,
        length=length,
        moved=moved / blocks,
        left=left / blocks,
        support=support / blocks,
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """N block centres, from the middle of the picture."""

    x: np.ndarray
    """(N,) float32 pixels."""
    y: np.ndarray
    half_width: float
    half_height: float
    radius: float
    """Mean distance from the middle, pixels."""
    u: np.ndarray
    """x / mean radius."""
    v: np.ndarray
    moments: np.ndarray
    """(N, 6): 1, u, v, u², uv, v²."""

    def field(self, model: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Displacement of each block under ``model`` (tx, ty, zoom, roll; pixels)."""
        tx, ty, s, r = model
        return tx + s * self.u - r * self.v, ty + s * self.v + r * self.u


@lru_cache(maxsize=16)
def _grid(rows: int, columns: int, width: int, height: int) -> _Grid:
    y, x = (g.ravel() for g in np.mgrid[0:rows, 0:columns].astype(np.float32))
    x, y = (x - x.mean()) * np.float32(width / columns), (y - y.mean()) * np.float32(height / rows)
    radius = np.float32(max(1.0, np.hypot(x, y).mean()))
    u, v = x / radius, y / radius
    moments = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    return _Grid(x, y, width / 2, height / 2, float(radius), u, v, moments)


class _Problem:
    """Least squares for one field. Every sum it needs is a weighted sum of five values per block times six moments."""

    def __init__(
        self,
        grid: _Grid,
        dx: np.ndarray,
        dy: np.ndarray,
        known: np.ndarray,
        total: float,
        xx: np.ndarray,
        xy: np.ndarray,
        yy: np.ndarray,
    ) -> None:
        self._grid, self._dx, self._dy, self._known, self._total = grid, dx, dy, known, total
        self._xx, self._xy, self._yy = xx, xy, yy
        self._values = np.stack([xx, xy, yy, xx * dx + xy * dy, xy * dx + yy * dy])

    def solve(self, weights: np.ndarray) -> list[float]:
        """tx, ty, zoom and roll (pixels) that leave the least, with one weight per block ((N,))."""
        (a, ax, ay, axx, axy, ayy), (b, bx, by, bxx, bxy, byy), (c, cx, cy, cxx, cxy, cyy), g, h = (
            (self._values * weights) @ self._grid.moments
        ).tolist()
        stiff = _STIFF * (a + c) + 1e-6
        zoom_roll = bxx - byy + cxy - axy
        matrix = [
            [a + stiff, b, ax + by, bx - ay],
            [b, c + stiff, bx + cy, cx - by],
            [ax + by, bx + cy, axx + 2 * bxy + cyy + stiff, zoom_roll],
            [bx - ay, cx - by, zoom_roll, ayy - 2 * bxy + cxx + stiff],
        ]
        right = [[g[0]], [h[0]], [g[1] + h[2]], [h[1] - g[2]]]
        _, found = cv2.solve(np.array(matrix), np.array(right), flags=cv2.DECOMP_CHOLESKY)
        return found.ravel().tolist()

    def settle(self, model: list[float], *, soft: bool = False) -> tuple[list[float], float]:
        """Repeat the fit with weights until it follows most of what is known. ``soft``: begin with wide weights.

        Returns:
            The model, and its support: the sum of the weights of the blocks that follow it.
        """
        weights = self.weigh(model, soft)
        for _ in range(_ROUNDS):
            last, model = model, self.solve(weights)
            weights = self.weigh(model, soft)
            if max(abs(new - old) for new, old in zip(model, last, strict=True)) < _SETTLED_PX:
                break
        return model, float((self.weigh(model) if soft else weights).sum())

    def weigh(self, model: list[float], soft: bool = False) -> np.ndarray:
        """(N,): how well each block is known and follows ``model``."""
        mx, my = self._grid.field(model)
        rx, ry = self._dx - mx, self._dy - my
        # Twice the tensor, whose trace is 1: where all directions are known this is the squared distance.
        squares = 2 * (rx * (self._xx * rx + 2 * self._xy * ry) + self._yy * ry * ry)
        tolerance = _LOOSE_PX + _LOOSE_SHARE * np.sqrt(mx * mx + my * my)
        errors = squares / (tolerance * tolerance)
        if soft:
            mean = float(np.sqrt(np.maximum(errors, 0)) @ self._known) / self._total
            errors /= max(1.0, mean * mean)
        errors += 1
        return self._known / (errors * errors)
