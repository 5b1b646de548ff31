"""Shots to put on a timeline: pans, zooms, turns, stills, a shape passing by, shaking, grain.

Every camera move is declared in pixels of the picture and drawn by resampling a larger texture, so its speed is true by
construction. ``size`` is (width, height).
"""

from __future__ import annotations

import numpy as np

from curation.golden import draw
from curation.golden.shapes import MovingShape
from curation.golden.timeline import Shot, View

Size = tuple[int, int]
_MARGIN = 6


def pan(
    size: Size, seed: int, length: int, dx: float, dy: float = 0.0, *, mean: float = 118.0, std: float = 44.0
) -> Shot:
    """The picture moves by (dx, dy) pixels every frame (right and down are positive)."""
    width, height = size

    def make(total: int) -> View:
        way = max(total - 1, 0)
        source = draw.texture(
            width + int(np.ceil(abs(dx) * way)) + 2 * _MARGIN,
            height + int(np.ceil(abs(dy) * way)) + 2 * _MARGIN,
            seed,
            mean=mean,
            std=std,
        )
        x0 = source.shape[1] - width - _MARGIN if dx > 0 else _MARGIN
        y0 = source.shape[0] - height - _MARGIN if dy > 0 else _MARGIN
        return lambda index: draw.window(source, x0 - dx * index, y0 - dy * index, width, height)

    camera = "static" if not (dx or dy) else "pan" if abs(dx) >= abs(dy) else "tilt"
    note = {"camera": camera, "pan_px": [dx, dy]}
    return Shot(length, make, float(np.hypot(dx, dy)), note)


def still(size: Size, seed: int, length: int, *, mean: float = 118.0, std: float = 44.0) -> Shot:
    """Not one pixel changes."""
    return pan(size, seed, length, 0.0, 0.0, mean=mean, std=std)


def zoom(size: Size, seed: int, length: int, rate: float, *, mean: float = 118.0) -> Shot:
    """The picture grows by the factor ``1 + rate`` every frame about its centre (shrinks where ``rate`` is negative)."""
    width, height = size

    def make(total: int) -> View:
        reach = (1 + abs(rate)) ** max(total - 1, 0)
        source = draw.texture(int(width * reach) + 8, int(height * reach) + 8, seed, mean=mean)
        centre = ((source.shape[1] - 1) / 2, (source.shape[0] - 1) / 2)
        return lambda index: draw.camera(source, centre, width, height, zoom=(1 + rate) ** index)

    return Shot(length, make, abs(rate) * mean_radius(size), {"camera": "zoom", "zoom_rate": rate})


def turn(size: Size, seed: int, length: int, degrees: float, *, mean: float = 118.0) -> Shot:
    """The picture turns clockwise by ``degrees`` every frame about its centre."""
    width, height = size

    def make(total: int) -> View:
        side = int(np.ceil(np.hypot(width, height))) + 8
        source = draw.texture(side, side, seed, mean=mean)
        centre = ((side - 1) / 2, (side - 1) / 2)
        return lambda index: draw.camera(source, centre, width, height, degrees=degrees * index)

    step = 2 * np.sin(np.deg2rad(abs(degrees)) / 2)
    return Shot(length, make, float(step) * mean_radius(size), {"camera": "turn", "degrees": degrees})


def mean_radius(size: Size) -> float:
    """Mean distance of a picture's pixels from its centre, in pixels."""
    width, height = size
    x = np.arange(width) - (width - 1) / 2
    y = np.arange(height) - (height - 1) / 2
    return float(np.hypot(x[None, :], y[:, None]).mean())


def shake(size: Size, seed: int, length: int, amplitude: float) -> Shot:
    """A hand-held camera: every frame looks at a random place up to ``amplitude`` pixels away from the middle on each axis."""
    width, height = size
    # Twice as many as the shot is long: transitions may ask for more than ``length`` pictures.
    offsets = np.random.default_rng([seed, 2]).uniform(-amplitude, amplitude, (2 * length + 100, 2))

    def make(total: int) -> View:
        margin = int(np.ceil(amplitude)) + _MARGIN
        source = draw.texture(width + 2 * margin, height + 2 * margin, seed)

        def view(index: int) -> np.ndarray:
            dx, dy = offsets[index]
            return draw.window(source, margin + dx, margin + dy, width, height)

        return view

    steps = np.hypot(*np.diff(offsets[:length], axis=0).T)
    return Shot(length, make, float(steps.mean()), {"camera": "shake", "amplitude_px": amplitude})


_TREMOR = (0.9, 1.3, 1.9, 2.6, 3.7)
"""Hz. A hand that holds a camera moves it within about this band."""


def handheld(size: Size, seed: int, length: int, step: float, fps: float, *, pan: float = 0.0) -> Shot:
    """A hand-held camera whose shaking is smooth: five swings at once on each axis, the slow ones the widest.

    The picture goes ``step`` pixels every frame in the mean, without getting anywhere; with ``pan`` it also moves to the
    right by so many pixels every frame.
    """
    width, height = size
    rng = np.random.default_rng([seed, 4])
    phases, weights = rng.uniform(0, 2 * np.pi, (2, len(_TREMOR))), rng.uniform(0.6, 1.4, (2, len(_TREMOR)))

    def swing(at: np.ndarray) -> np.ndarray:
        angles = 2 * np.pi * np.multiply.outer(at / fps, np.array(_TREMOR)) if at.size else np.zeros((0, len(_TREMOR)))
        return np.asarray(np.einsum("ij,kij->ki", weights / np.array(_TREMOR), np.sin(angles[:, None] + phases)))

    scale = step / float(np.hypot(*np.diff(swing(np.arange(length)), axis=0).T).mean())
    reach = int(np.ceil(scale * float((weights / np.array(_TREMOR)).sum(axis=1).max()))) + _MARGIN

    def make(total: int) -> View:
        way = int(np.ceil(abs(pan) * max(total - 1, 0)))
        source = draw.texture(width + way + 2 * reach, height + 2 * reach, seed)

        def view(index: int) -> np.ndarray:
            dx, dy = scale * swing(np.array([index]))[0]
            return draw.window(source, reach + (way if pan > 0 else 0) - pan * index + dx, reach + dy, width, height)

        return view

    path = scale * swing(np.arange(length)) - np.multiply.outer(np.arange(length), [pan, 0.0])
    mean = float(np.hypot(*np.diff(path, axis=0).T).mean())
    return Shot(length, make, mean, {"camera": "shake", "step_px": step, "pan_px": [pan, 0.0]})


def in_front(shot: Shot, shape: MovingShape) -> Shot:
    """The same shot with a shape that moves by itself in front of it. ``motion_px`` stays that of the shot."""
    truth = {"shape": shape.shape, "direction": shape.direction, "shape_speed_px": round(shape.speed, 4)}
    return shot.through(shape.paint, **truth)


def whip(size: Size, seed: int, length: int, top_speed: float) -> Shot:
    """A pan that starts at rest, reaches ``top_speed`` pixels a frame half-way and comes to rest: it tempts cut detectors."""
    width, height = size

    def make(total: int) -> View:
        speeds = top_speed * np.sin(np.pi * np.arange(total) / max(total, 1)) ** 2
        way = np.cumsum(speeds)
        source = draw.texture(width + int(np.ceil(way[-1])) + 2 * _MARGIN, height + 2 * _MARGIN, seed)
        return lambda index: draw.window(source, _MARGIN + float(way[index]), _MARGIN, width, height)

    return Shot(length, make, top_speed / 2, {"camera": "whip", "top_speed_px": top_speed})


def passing(size: Size, ground: np.ndarray, length: int, shape: MovingShape, **note: object) -> Shot:
    """A shape crosses the still picture ``ground`` (h, w, 3) in front of a camera at rest."""
    area = np.pi * shape.radius**2 / (size[0] * size[1])
    truth = {
        "camera": "static",
        "shape": shape.shape,
        "colour": shape.colour,
        "direction": shape.direction,
        "shape_speed_px": round(shape.speed, 4),
        "shape_share": round(area, 4),
        **note,
    }
    return Shot(length, lambda total: lambda index: shape.paint(ground, index), area * shape.speed, truth)


def grain(shot: Shot, seed: int, std: float) -> Shot:
    """The same shot with sensor noise of ``std`` grey levels, new in every frame, equal in R, G and B."""

    def change(picture: np.ndarray, index: int) -> np.ndarray:
        noise = np.random.default_rng([seed, 3, index]).normal(0, std, picture.shape[:2])
        return np.clip(np.rint(picture + noise[..., None]), 0, 255).astype(np.uint8)

    return shot.through(change, grain=std)


def comb(shot: Shot) -> Shot:
    """The same shot as badly deinterlaced material shows it: odd lines come from the next frame."""

    def make(total: int) -> View:
        view = shot.make(total + 1)

        def combed(index: int) -> np.ndarray:
            picture = view(index).copy()
            picture[1::2] = view(index + 1)[1::2]
            return picture

        return combed

    return Shot(shot.length, make, shot.motion_px, shot.note | {"combed": True})
