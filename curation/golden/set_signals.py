"""The set ``signals``: one property per video, with its true value under a key of its own. Without cuts.

Motion is in % of the diagonal per second, bars in pixels [top, bottom, left, right], shares as fractions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from curation.golden import draw, scenes
from curation.golden.shapes import MovingShape
from curation.golden.timeline import Shot, Timeline
from curation.golden.video import GoldenVideo, played

SIZE = (640, 360)
LARGE = (1280, 720)
FRAMES = 50
_BARS = {
    "letterbox": (45, 45, 0, 0),
    "uneven": (40, 62, 0, 0),
    "pillarbox": (0, 0, 80, 80),
    "window": (30, 30, 64, 64),
    "thin": (6, 6, 0, 0),
}
_WORDS = "WORDS THAT A READER CAN READ"
_TEXT = {
    "small": [(40, 300, 280, 24)],
    "caption": [(40, 270, 560, 56)],
    "slide": [(30, 30, 580, 70), (30, 130, 580, 90), (30, 250, 580, 80)],
}


def videos(seed: int) -> list[GoldenVideo]:
    """All videos of the set, two seconds each."""
    base = 1_000_000 * seed + 700_000
    return [*_motion(base), *_camera(base), *_sharpness(base), *_frame(base), *_light(base), *_time(base)]


def _one(name: str, shot: Shot, *, size: tuple[int, int] = SIZE, **options: Any) -> GoldenVideo:
    return played(f"signal_{name}", ("signals",), Timeline((shot,)), size=size, **options)


def _motion(base: int) -> list[GoldenVideo]:
    """Pans at set speeds in two sizes and rates, so that a measure must not depend on either; turns, zooms, rest."""
    found = []
    for percent in (1, 5, 20, 60, 120):
        for size, fps in ((SIZE, 25.0), (LARGE, 50.0)):
            if size == LARGE and percent not in (5, 60):
                continue
            dx = percent / 100 * float(np.hypot(*size)) / fps
            shot = scenes.pan(size, base + percent, round(2 * fps), round(dx, 6))
            name = f"pan_{percent}" + ("_720p50" if size == LARGE else "")
            truth: dict[str, Any] = {"motion": float(percent), "camera_motion": "pan", "camera_speed": float(percent)}
            found.append(_one(name, shot, size=size, fps=fps, **truth))
    moves = {
        "pan_diagonal": ("pan", scenes.pan(SIZE, base + 200, FRAMES, 2.5, -1.75)),
        "zoom": ("zoom", scenes.zoom(SIZE, base + 201, FRAMES, 0.008)),
        "turn": ("roll", scenes.turn(SIZE, base + 202, FRAMES, 0.5)),
        "static": ("static", scenes.still(SIZE, base + 203, FRAMES)),
        "static_grain": ("static", scenes.grain(scenes.still(SIZE, base + 203, FRAMES), base, 2.5)),
    }
    return found + [_moving(name, kind, shot, motion=_speed(shot)) for name, (kind, shot) in moves.items()]


def _camera(base: int) -> list[GoldenVideo]:
    """What the camera does (``camera_motion``) and how fast (``camera_speed``), alone and with things that move by themselves."""
    still = scenes.still(SIZE, base + 250, 1).make(1)(0)
    crossing = MovingShape("square", "red", "right", 70.0, 6.0, (120.0, 190.0))
    rest = MovingShape("square", "blue", "right", 80.0, 0.0, (320.0, 190.0))
    pan = scenes.pan(SIZE, base + 251, FRAMES, -3.0)
    moves = {
        "tilt": ("tilt", scenes.pan(SIZE, base + 252, FRAMES, 0.4, -2.0)),
        "tilt_fast": ("tilt", scenes.pan(SIZE, base + 253, FRAMES, 0.0, 9.0)),
        "zoom_out": ("zoom", scenes.zoom(SIZE, base + 254, FRAMES, -0.004)),
        "roll": ("roll", scenes.turn(SIZE, base + 255, FRAMES, -0.15)),
        "handheld_pan": ("pan", scenes.handheld(SIZE, base + 257, 2 * FRAMES, 1.5, 25.0, pan=4.0)),
        "pan_object": ("pan", scenes.in_front(pan, crossing)),
        "pan_following": ("pan", scenes.in_front(pan, rest)),
    }
    found = [_moving(f"camera_{name}", kind, shot) for name, (kind, shot) in moves.items()]
    # Without a speed: a hand turns back within the fifth of a second over which slow motion is measured.
    shaking = scenes.handheld(SIZE, base + 256, 2 * FRAMES, 4.0, 25.0)
    found.append(_one("camera_handheld", shaking, camera_motion="shake"))
    passing = scenes.passing(SIZE, still, FRAMES, crossing)
    truth: dict[str, Any] = {"camera_motion": "static", "camera_speed": 0.0, "motion_residual": 1.0}
    return [*found, _one("camera_static_object", passing, **truth)]


def _moving(name: str, kind: str, shot: Shot, **truth: Any) -> GoldenVideo:
    """A video whose shot's displacement is all the camera's."""
    return _one(name, shot, camera_motion=kind, camera_speed=_speed(shot), **truth)


def _speed(shot: Shot) -> float:
    """% of the diagonal per second, at the rate and size of most videos of the set."""
    return round(shot.motion_px * 100 * 25.0 / float(np.hypot(*SIZE)), 4)


def _sharpness(base: int) -> list[GoldenVideo]:
    """The same slow pan sharp (in three sizes), blurred, and enlarged from less; ``blur_sigma`` and ``upscaled`` tell."""
    found = []
    for size in ((320, 180), SIZE, LARGE):
        shot = scenes.pan(size, base + 300, FRAMES, 1.0)
        found.append(_one(f"sharp_{size[1]}p", shot, size=size, blur_sigma=0.0, upscaled=1.0))
    shot = scenes.pan(SIZE, base + 300, FRAMES, 1.0)
    for sigma in (0.7, 1.5, 3.0, 6.0):
        found.append(_one(f"blur_{sigma:g}", shot.through(partial(_blur, sigma)), blur_sigma=sigma, upscaled=1.0))
    for factor in (2.0, 4.0):
        found.append(
            _one(f"upscaled_{factor:g}", shot.through(partial(_upscale, factor)), blur_sigma=0.0, upscaled=factor)
        )
    found.append(_one("blocky", shot, encoding={"crf": 42}, crf=42))
    found.append(_one("combed", scenes.comb(scenes.pan(SIZE, base + 301, FRAMES, 6.0)), combed=True))
    return found


def _frame(base: int) -> list[GoldenVideo]:
    """Black bars; filled boxes with text (``text_share``) that its letters fill in part (``letters_share``)."""
    shot = scenes.pan(SIZE, base + 400, FRAMES, 1.5)
    found = []
    for name, widths in _BARS.items():
        top, bottom, left, right = widths
        share = 1 - (SIZE[1] - top - bottom) * (SIZE[0] - left - right) / (SIZE[0] * SIZE[1])
        changed = shot.through(partial(_bars, widths))
        found.append(_one(f"bars_{name}", changed, bars=list(widths), bar_share=round(share, 6)))
    # Dark, but nowhere black up to a border: no bars.
    dark = scenes.pan(SIZE, base + 401, FRAMES, 1.5, mean=34.0, std=12.0)
    found.append(_one("bars_none_dark", dark, bars=[0, 0, 0, 0], bar_share=0.0))
    for name, boxes in _TEXT.items():
        letters = [draw.letters(box, _WORDS) for box in boxes]
        truth: dict[str, Any] = {
            "text_share": round(draw.area_share(boxes, *SIZE), 6),
            "text_boxes": [list(box) for box in boxes],
            "letters_share": round(draw.area_share(letters, *SIZE), 6),
            "letters_boxes": [list(box) for box in letters],
        }
        found.append(_one(f"text_{name}", shot.through(partial(_text, boxes)), **truth))
    found.append(_one("text_none", shot, text_share=0.0, text_boxes=[], letters_share=0.0, letters_boxes=[]))
    return found


def _light(base: int) -> list[GoldenVideo]:
    """Mean luma and its spread in grey levels of 255 (``luma_mean``, ``luma_std``, before clipping), and colour."""
    found = []
    for mean, std in ((25, 8), (64, 20), (128, 44), (200, 20)):
        shot = scenes.pan(SIZE, base + 500, FRAMES, 1.0, mean=float(mean), std=float(std))
        found.append(_one(f"luma_{mean}", shot, luma_mean=float(mean), luma_std=float(std)))
    flat = scenes.pan(SIZE, base + 501, FRAMES, 1.0, std=3.0)
    found.append(_one("flat", flat, luma_mean=118.0, luma_std=3.0))
    grey = scenes.pan(SIZE, base + 502, FRAMES, 1.0).through(_grey)
    found.append(_one("grey", grey, colour=False))
    black = scenes.still(SIZE, base, FRAMES).through(lambda picture, _: np.zeros_like(picture))
    found.append(_one("black", black, luma_mean=0.0, luma_std=0.0, black_share=1.0))
    return found


def _time(base: int) -> list[GoldenVideo]:
    """Parts of the time that are black, or frozen: from frame 50 to frame 99 of 100."""
    pan = scenes.pan(SIZE, base + 600, 100, 2.0)
    black = pan.through(lambda picture, index: picture if index < 50 else np.zeros_like(picture))

    def freeze(total: int) -> scenes.View:
        view = pan.make(total)
        return lambda index: view(min(index, 49))

    frozen = Shot(100, freeze, pan.motion_px / 2, pan.note)
    return [_one("black_half", black, black_share=0.5), _one("frozen_half", frozen, static_share=0.5)]


def _blur(sigma: float, picture: np.ndarray, _: int) -> np.ndarray:
    return draw.blur(picture, sigma)


def _upscale(factor: float, picture: np.ndarray, _: int) -> np.ndarray:
    return draw.upscale(picture, factor)


def _bars(widths: tuple[int, int, int, int], picture: np.ndarray, _: int) -> np.ndarray:
    return draw.bars(picture, *widths)


def _text(boxes: list[draw.Box], picture: np.ndarray, _: int) -> np.ndarray:
    for box in boxes:
        picture = draw.text_box(picture, box, _WORDS)
    return picture


def _grey(picture: np.ndarray, _: int) -> np.ndarray:
    luma = np.rint(picture @ np.array(draw.LUMA, np.float32)).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)
