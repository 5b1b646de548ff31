"""The set ``demo``: what somebody curates to see what curation does. Most of it is kept; the rest shows each kind of refusal.

``outcome`` tells what the default recipe should make of a video: ``kept``, or the name of the rule that should drop all of it.
Damaged files and the one of variable rate come from the sets ``corrupt`` and ``odd``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np

from curation.golden import draw, scenes
from curation.golden.shapes import crossing
from curation.golden.timeline import Cut, Dissolve, Fade, Flash, Join, Shot, Timeline
from curation.golden.video import GoldenVideo, played

SIZE = (640, 360)
_SETS = ("demo",)
_SHAPES = (
    ("circle", "red", "right"),
    ("square", "blue", "left"),
    ("triangle", "yellow", "up"),
    ("circle", "white", "down"),
)


def videos(seed: int) -> list[GoldenVideo]:
    """All videos that are in this set alone."""
    base = 1_000_000 * seed + 800_000
    return [
        _travel(base, "travel", "Patches of colour slide past like fields seen from a train."),
        _copy(
            _travel(base, "travel_copy", None, encoding={"crf": 26, "gop": 50}, outcome="duplicate", copy_of="travel")
        ),
        _film(base),
        _news(base),
        _letterbox(base),
        _phone(base),
        *(_shape(base, seed, number, *names) for number, names in enumerate(_SHAPES)),
        _refusal(base),
        *_dropped(base),
    ]


def _one(name: str, shot: Shot, outcome: str, **options: Any) -> GoldenVideo:
    return played(name, _SETS, Timeline((shot,)), size=options.pop("size", SIZE), outcome=outcome, **options)


def _travel(base: int, name: str, caption: str | None, *, outcome: str = "kept", **options: Any) -> GoldenVideo:
    shots = (
        scenes.pan(SIZE, base, 90, -2.5, mean=125),
        scenes.pan(SIZE, base + 1, 75, -4.0, 0.5, mean=95),
        scenes.zoom(SIZE, base + 2, 85, 0.003, mean=140),
    )
    line = Timeline(shots, (Cut(), Cut()))
    return played(name, _SETS, line, size=SIZE, caption=caption, outcome=outcome, **options)


def _copy(video: GoldenVideo) -> GoldenVideo:
    """The same pictures at three quarters of the size: the duplicate search should find it and its model."""
    width, height = video.size[0] * 3 // 4, video.size[1] * 3 // 4

    def frames() -> Iterator[np.ndarray]:
        for picture in video.frames():
            yield cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)

    return replace(video, size=(width, height), frames=frames, truth=video.truth | {"width": width, "height": height})


def _film(base: int) -> GoldenVideo:
    """A fade from black, a dissolve, a fade through black, a cut, flashes, a fade to black."""
    shots = (
        scenes.pan(SIZE, base + 10, 70, 1.5, mean=110),
        scenes.turn(SIZE, base + 11, 65, 0.25, mean=130),
        scenes.zoom(SIZE, base + 12, 70, -0.003, mean=90),
        scenes.pan(SIZE, base + 13, 70, 0.0, -2.0, mean=120),
    )
    joins: tuple[Join, ...] = (Dissolve(20), Fade(12, 4, 12), Cut())
    flashes = (Flash(200, 1), Flash(207, 1), Flash(215, 2))
    return played("film", _SETS, Timeline(shots, joins, 12, 12, flashes), size=SIZE, fps=24.0, outcome="kept")


def _news(base: int) -> GoldenVideo:
    """A line of text at the bottom of two shots."""
    box = (32, 296, 576, 44)

    def lettering(picture: np.ndarray, _: int) -> np.ndarray:
        return draw.text_box(picture, box, "GOLDEN NEWS  -  EVERY FRAME IS DRAWN", ground=(150, 20, 30))

    shots = tuple(scenes.pan(SIZE, base + 20 + k, 80, 1.2 - 2.6 * k).through(lettering) for k in range(2))
    share = round(draw.area_share([box], *SIZE), 6)
    return played("news", _SETS, Timeline(shots, (Cut(),)), size=SIZE, outcome="kept", text_share=share)


def _letterbox(base: int) -> GoldenVideo:
    """Bars of 45 pixels above and below; what is left is large enough to keep."""
    shots = tuple(
        scenes.pan(SIZE, base + 30 + k, 75, 2.0, 0.7).through(lambda picture, _: draw.bars(picture, 45, 45))
        for k in range(2)
    )
    line = Timeline(shots, (Cut(),))
    return played("letterbox", _SETS, line, size=SIZE, outcome="kept", bars=[45, 45, 0, 0], bar_share=0.25)


def _phone(base: int) -> GoldenVideo:
    """Held upright: stored lying, with the flag that says to turn it."""
    shot = scenes.pan(SIZE, base + 40, 150, 1.8)
    encoding = {"rotation": 90, "audio": True}
    return _one("phone", shot, "kept", fps=30.0, encoding=encoding, rotation=90, width=360, height=640, has_audio=True)


def _shape(base: int, seed: int, number: int, shape: str, colour: str, direction: str) -> GoldenVideo:
    """A large shape crosses a grainy wall in six seconds; the caption says so."""
    length = 150
    rng = np.random.default_rng([seed, 8, number])
    mover = crossing(shape, colour, direction, *SIZE, length, rng)
    wall = draw.texture(*SIZE, base + 50 + number, mean=70, std=16)
    shot = scenes.passing(SIZE, wall, length, mover)
    caption = mover.caption("a rough dark wall")
    return _one(f"{colour}_{shape}_{direction}", shot, "kept", caption=caption)


def _refusal(base: int) -> GoldenVideo:
    caption = "I'm sorry, but I cannot describe this video."
    return _one("bad_caption", scenes.pan(SIZE, base + 60, 125, 2.0), "caption_refusal", caption=caption)


def _dropped(base: int) -> list[GoldenVideo]:
    """One video for each of the rules that look at the picture."""
    pan = partial(scenes.pan, SIZE)
    return [
        _one(
            "blurred",
            pan(base + 70, 125, 2.0).through(lambda picture, _: draw.blur(picture, 5.0)),
            "blurred",
            blur_sigma=5.0,
        ),
        _one("static", scenes.still(SIZE, base + 71, 150), "frozen", static_share=1.0),
        _one("dark", pan(base + 72, 125, 2.0, mean=5.0, std=1.5), "black"),
        _one("flat", pan(base + 73, 125, 2.0, mean=130.0, std=4.0), "flat"),
        _one("too_fast", pan(base + 74, 125, 40.0), "too_fast"),
        _one(
            "pillarbox",
            pan(base + 75, 125, 2.0).through(lambda picture, _: draw.bars(picture, left=140, right=140)),
            "bars",
            bars=[0, 0, 140, 140],
            bar_share=0.4375,
        ),
        _one("small", scenes.pan((256, 144), base + 76, 150, 1.0), "too_small", size=(256, 144)),
    ]
