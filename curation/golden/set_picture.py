"""The set ``picture``: repeated frames, fields, coding blocks and static overlays, each with its true value. Without cuts.

``effective_fps`` is in pictures per second; ``duplicate_share``, ``comb_share`` and ``overlay_share`` are fractions;
``quantiser`` grows with blockiness. NULL-worthy cases (nothing moves) have None.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from curation.golden import draw, scenes
from curation.golden.scenes_picture import dithered, overlaid, pulled, striped, telecined
from curation.golden.timeline import Shot, Timeline
from curation.golden.video import GoldenVideo, played

SIZE = (640, 360)
_LOGO: list[draw.Box] = [(525, 22, 90, 26)]
_LINE: list[draw.Box] = [(128, 310, 384, 26)]
_LINES = ["HERE IS A LINE OF TEXT", "AND ANOTHER LINE OF TEXT"]


def videos(seed: int) -> list[GoldenVideo]:
    """All videos of the set, two to four seconds each."""
    base = 1_000_000 * seed + 900_000
    return [*_rate(base), *_combs(base), *_blocks(base), *_overlays(base), *_shapes(base)]


def _one(name: str, shot: Shot, *, size: tuple[int, int] = SIZE, **options: Any) -> GoldenVideo:
    return played(f"picture_{name}", ("picture",), Timeline((shot,)), size=size, **options)


def _rate(base: int) -> list[GoldenVideo]:
    """Shots drawn at one rate and shown at another, through two encoders; and some that only look like it."""
    found = []
    coders: dict[str, dict[str, Any]] = {
        "x264": {"encoding": {"crf": 23}},
        "mpeg4": {"encoding": {"codec": "mpeg4", "crf": None, "options": {"b": "1500000"}}, "suffix": ".avi"},
    }
    for drawn, shown in ((25, 60), (24, 30), (15, 30), (24, 60)):
        shot = pulled(scenes.pan(SIZE, base + drawn, 2 * drawn, 60 / drawn), drawn, shown)
        for coder, options in coders.items():
            found.append(
                _one(f"pulled_{drawn}_in_{shown}_{coder}", shot, fps=float(shown), **_rates(drawn, shown), **options)
            )
    grainy = pulled(scenes.grain(scenes.pan(SIZE, base + 1, 50, 2.5), base, 3.0), 25, 60)
    found.append(_one("pulled_25_in_60_grain", grainy, fps=60.0, **_rates(25, 60)))
    for drawn, shown in ((25, 60), (24, 30), (15, 30)):
        held = pulled(scenes.handheld(SIZE, base + 4, 3 * drawn, 1.5, float(drawn), pan=1.5), drawn, shown)
        name = f"pulled_{drawn}_in_{shown}_coarse"
        found.append(_one(name, held, fps=float(shown), encoding={"crf": 28}, **_rates(drawn, shown)))
    for fps in (30, 60):
        held = scenes.handheld(SIZE, base + 4, 3 * fps, 1.5, float(fps), pan=1.5)
        found.append(_one(f"true_{fps}_coarse", held, fps=float(fps), encoding={"crf": 28}, **_rates(fps, fps)))
        pan = scenes.pan(SIZE, base + fps, 2 * fps, 60 / fps)
        found.append(_one(f"true_{fps}", pan, fps=float(fps), effective_fps=float(fps), duplicate_share=0.0))
    still = scenes.still(SIZE, base + 2, 60)
    found.append(_one("at_rest", still, fps=30.0, effective_fps=None, duplicate_share=None))
    order = [picture for picture in range(50) for _ in range(1 + picture % 2)]
    pts = [40 * p + 30 * (k and order[k - 1] == p) for k, p in enumerate(order)]
    pan = scenes.pan(SIZE, base + 3, 50, 2.5)

    def make(_: int) -> scenes.View:
        view = pan.make(50)
        return lambda index: view(order[index])

    twice = Shot(len(order), make, pan.motion_px * 2 / 3, pan.note)
    variable = {"pts": pts, "time_base": Fraction(1, 1000)}
    rate: dict[str, Any] = {"effective_fps": 25.0, "duplicate_share": round(1 / 3, 6)}
    return [*found, _one("pulled_variable", twice, fps=37.5, encoding=variable, **rate)]


def _rates(drawn: int, shown: int) -> dict[str, Any]:
    return {"effective_fps": float(drawn), "duplicate_share": round(1 - drawn / shown, 6)}


def _combs(base: int) -> list[GoldenVideo]:
    """Fields of two instants in one frame, at two speeds, or in two frames of five; and stripes, dither and grain, which are none."""
    found = []
    for speed in (2.0, 6.0):
        shot = scenes.pan(SIZE, base + 10, 40, speed)
        found.append(_one(f"combed_{speed:g}", scenes.comb(shot), encoding={"crf": 23}, comb_share=1.0))
    for period in (2, 4):
        shot = striped(scenes.pan(SIZE, base + 11, 40, 3.0), period)
        found.append(_one(f"stripes_{period}", shot, encoding={"crf": 18}, comb_share=0.0))
    for cells in (2, 4):
        shot = dithered(scenes.pan(SIZE, base + 13, 40, 3.0), cells)
        found.append(_one(f"dither_{cells}", shot, encoding={"crf": 8}, comb_share=0.0))
    for phase in (0, 2):
        shot = telecined(scenes.pan(SIZE, base + 14, 160, 4.0), phase)
        found.append(_one(f"telecine_{phase}", shot, fps=30000 / 1001, encoding={"crf": 18}, comb_share=0.4))
    grainy = scenes.grain(scenes.pan(SIZE, base + 12, 40, 3.0), base, 8.0)
    return [*found, _one("grain", grainy, encoding={"crf": 18}, comb_share=0.0)]


def _blocks(base: int) -> list[GoldenVideo]:
    """One pan at growing quantisers without smoothing of block borders, and one with it (quantiser None)."""
    shot, found = scenes.pan(SIZE, base + 20, 30, 2.5), []
    for quantiser in (2, 4, 8, 16, 31):
        fixed = {"qmin": str(quantiser), "qmax": str(quantiser), "b": "80000000"}
        encoding = {"codec": "mpeg4", "crf": None, "options": fixed}
        found.append(_one(f"blocks_{quantiser:02}", shot, suffix=".avi", encoding=encoding, quantiser=quantiser))
    return [*found, _one("blocks_none", shot, encoding={"crf": 20}, quantiser=None)]


def _overlays(base: int) -> list[GoldenVideo]:
    """A logo and subtitles over moving pictures, none over one, and a logo over a picture at rest, which nobody can tell."""
    pan = scenes.pan(SIZE, base + 30, 100, 4.0)
    shaking, rest = scenes.shake(SIZE, base + 31, 100, 8.0), scenes.still(SIZE, base + 32, 100)
    shots: dict[str, tuple[Shot, float | None]] = {
        "logo": (overlaid(pan, _LOGO, ["LOGO"]), draw.area_share(_LOGO, *SIZE)),
        "logo_shake": (overlaid(shaking, _LOGO, ["LOGO"]), draw.area_share(_LOGO, *SIZE)),
        "subtitles": (overlaid(pan, _LINE, _LINES, every=50), draw.area_share(_LINE, *SIZE)),
        "none": (pan, 0.0),
        "at_rest": (overlaid(rest, _LOGO, ["LOGO"]), None),
    }
    return [
        _one(f"overlay_{name}", shot, encoding={"crf": 23}, overlay_share=None if share is None else round(share, 6))
        for name, (shot, share) in shots.items()
    ]


def _shapes(base: int) -> list[GoldenVideo]:
    """Orientation, also of what is left between bars."""
    found = []
    for size, expected in (((640, 360), "landscape"), ((360, 640), "portrait"), ((480, 480), "square")):
        found.append(_one(expected, scenes.pan(size, base + 40, 25, 2.0), size=size, orientation=expected))

    def pillars(picture: np.ndarray, _: int) -> np.ndarray:
        return draw.bars(picture, left=220, right=220)

    shot = scenes.pan(SIZE, base + 41, 25, 2.0).through(pillars)
    return [*found, _one("portrait_in_pillars", shot, orientation="portrait")]
