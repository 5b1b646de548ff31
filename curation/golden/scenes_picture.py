"""Changes to shots that picture signals must see, or must not be fooled by: repeated frames, overlays, stripes.

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
