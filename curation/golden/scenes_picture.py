"""Changes to shots that picture signals must see, or must not be fooled by: repeated frames and fields, overlays, stripes, dither.

Each takes a :class:`~curation.golden.timeline.Shot` and gives one with what was done to it in its notes.
"""

from __future__ import annotations

import cv2
import numpy as np

from curation.golden import draw
from curation.golden.timeline import Shot, View


def pulled(shot: Shot, from_fps: float, to_fps: float) -> Shot:
    """The shot, drawn at ``from_fps``, as a converter to a higher rate shows it: pictures repeat, none is new.

    It becomes longer in frames, not in seconds. 24 to 30 shows every fourth picture twice; 25 to 60 shows each two or three times.
    """
    ratio = from_fps / to_fps

    def make(total: int) -> View:
        view = shot.make(int(total * ratio) + 2)
        return lambda index: view(int(index * ratio + 1e-9))

    note = {"effective_fps": from_fps, "duplicate_share": round(1 - ratio, 6)}
    return Shot(int(shot.length / ratio), make, shot.motion_px * ratio, shot.note | note)


def telecined(shot: Shot, phase: int = 0) -> Shot:
    """A shot of 24 pictures a second in 30 frames, field by field: four pictures last 2, 3, 2 and 3 fields, so that two frames of five
    hold two pictures, and comb. ``phase`` (0 to 4) is the frame of five with which it begins."""

    def make(total: int) -> View:
        view = shot.make(4 * (total // 5 + 2))

        def frame(index: int) -> np.ndarray:
            five, place = divmod(index + phase, 5)
            top, bottom = (4 * five + picture for picture in _FIELDS[place])
            picture = view(top).copy()
            picture[1::2] = view(bottom)[1::2]
            return picture

        return frame

    return Shot(shot.length * 5 // 4, make, shot.motion_px * 0.8, shot.note | {"comb_share": 0.4})


_FIELDS = ((0, 0), (1, 1), (1, 2), (2, 3), (3, 3))
"""Pictures of four that the top and the bottom field of each of five frames show."""


def dithered(shot: Shot, cells: int = 8) -> Shot:
    """The shot in 8 × 8 × 4 colours, dithered with Bayer's matrix of ``cells`` × ``cells`` thresholds, as FFmpeg makes a GIF."""
    matrix = np.zeros((1, 1))
    while len(matrix) < cells:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    threshold = (matrix + 0.5) / matrix.size - 0.5
    steps = np.array([255 / 7, 255 / 7, 255 / 3])

    def paint(picture: np.ndarray, _: int) -> np.ndarray:
        height, width = picture.shape[:2]
        tiled = np.tile(threshold, (height // cells + 1, width // cells + 1))[:height, :width, None]
        return np.clip(np.rint(picture / steps + tiled) * steps, 0, 255).astype(np.uint8)

    return shot.through(paint, dither_px=cells)


def overlaid(shot: Shot, boxes: list[draw.Box], lines: list[str], *, every: int = 0) -> Shot:
    """The shot under white letters with a dark rim that do not move with it, one line in each of ``boxes``.

    Args:
        lines: shown in turn.
        every: frames after which the next of ``lines`` is shown, as subtitles change; 0 for the first only.
    """

    def paint(picture: np.ndarray, index: int) -> np.ndarray:
        text = lines[index // every % len(lines)] if every else lines[0]
        picture = picture.copy()
        for box in boxes:
            _write(picture, box, text)
        return picture

    return shot.through(paint, overlay_boxes=[list(box) for box in boxes])


def striped(shot: Shot, period: int, gain: float = 0.5) -> Shot:
    """The shot behind horizontal stripes: of every ``period`` rows half are darkened to ``gain``. They do not move."""

    def paint(picture: np.ndarray, _: int) -> np.ndarray:
        rows = np.arange(picture.shape[0]) % period < period // 2
        picture = picture.copy()
        picture[rows] = draw.level(picture[rows], gain)
        return picture

    return shot.through(paint, stripes_px=period)


def _write(picture: np.ndarray, box: draw.Box, text: str) -> None:
    """Letters as large as fill ``box``, drawn into ``picture``."""
    x, y, width, height = box
    font = cv2.FONT_HERSHEY_SIMPLEX
    (one_w, one_h), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = min(width / one_w, height / one_h)
    for colour, thickness in ((draw.BLACK, 5), (draw.WHITE, 2)):
        stroke = max(1, round(thickness * scale))
        cv2.putText(picture, text, (x, y + height), font, scale, colour, stroke, cv2.LINE_AA)
