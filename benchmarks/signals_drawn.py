"""Videos for ``signals.py`` with a truth that the golden sets do not have: colour, clipping, change within a clip, sound, copies."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from curation.golden import draw, scenes
from curation.golden.timeline import Shot, Timeline
from curation.golden.video import GoldenVideo, played

SIZE, FRAMES = (640, 360), 50
TONE_HZ, TONE_PEAK = 440.0, 8000 / 32768
"""The tone of ``curation.golden.encode``."""
SHELF_B, SHELF_A = (1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)
HIGH_B, HIGH_A = (1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)
"""K-weighting at 48 kHz: Recommendation ITU-R BS.1770-5, Annex 1, tables 1 and 2."""


def videos(seed: int) -> list[GoldenVideo]:
    """All of them, two or three seconds each."""
    base = 1_000_000 * seed + 950_000
    return [*_colours(base), *_clipped(base), *_replaced(base), *_sound(base), *_copies(base)]


def _one(name: str, shot: Shot, **options: object) -> GoldenVideo:
    return played(f"drawn_{name}", (), Timeline((shot,)), **({"size": SIZE} | options))  # type: ignore[arg-type]


def _colours(base: int) -> list[GoldenVideo]:
    """The same pan from grey to more colour than it had; truth by Hasler and Süsstrunk's formula on the pictures as drawn."""
    pan = scenes.pan(SIZE, base, FRAMES, 1.0, std=24.0)
    found = []
    for saturation in (0.0, 0.5, 1.0, 1.5):
        shot = pan.through(partial(_saturate, saturation))
        found.append(_one(f"colour_{saturation:g}", shot, colourfulness=m3(shot), saturation=saturation))
    return found


def _saturate(saturation: float, picture: np.ndarray, _: int) -> np.ndarray:
    grey = (picture @ np.array(draw.LUMA, np.float32))[..., None]
    return np.clip(np.rint(grey + saturation * (picture - grey)), 0, 255).astype(np.uint8)


def m3(shot: Shot) -> float:
    """Mean over a shot's first, middle and last picture."""
    view, values = shot.make(shot.length), []
    for index in (0, shot.length // 2, shot.length - 1):
        red, green, blue = np.moveaxis(view(index).astype(np.float64), 2, 0)
        rg, yb = red - green, (red + green) / 2 - blue
        values.append(math.sqrt(rg.var() + yb.var()) + 0.3 * math.hypot(rg.mean(), yb.mean()))
    return float(np.mean(values))


def _clipped(base: int) -> list[GoldenVideo]:
    """White and black rectangles that cover a known share of pictures which are nowhere else near either."""
    pan, found = scenes.pan(SIZE, base + 10, FRAMES, 1.0, std=20.0), []
    for white, black in ((0.0, 0.0), (0.05, 0.0), (0.0, 0.05), (0.3, 0.1)):

        def paint(picture: np.ndarray, _: int, white: float = white, black: float = black) -> np.ndarray:
            picture = picture.copy()
            picture[40:240, 40 : 40 + round(white * 640 * 360 / 200)] = 255
            picture[260:340, 40 : 40 + round(black * 640 * 360 / 80)] = 0
            return picture

        name = f"clipped_{round(100 * white)}_{round(100 * black)}"
        found.append(_one(name, pan.through(paint), clipped_highlights=white, clipped_shadows=black))
    return found


def _replaced(base: int) -> list[GoldenVideo]:
    """A picture at rest, of which a share is another one from the second second on."""
    first, other = (scenes.still(SIZE, base + 20 + n, 75) for n in range(2))
    found = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):

        def make(total: int, share: float = share) -> scenes.View:
            before, after = first.make(total)(0), other.make(total)(0)
            changed = before.copy()
            changed[:, : round(share * SIZE[0])] = after[:, : round(share * SIZE[0])]
            return lambda index: before if index < 25 else changed

        found.append(_one(f"replaced_{share:g}", Shot(75, make), replaced=share))
    return found


def _sound(base: int) -> list[GoldenVideo]:
    """A tone, and silence without a sound track."""
    pan = scenes.pan(SIZE, base + 30, FRAMES, 1.0)
    loudness = -0.691 + 10 * math.log10(TONE_PEAK**2 / 2) + gain_db(TONE_HZ)
    tone = _one("tone", pan, encoding={"audio": True}, has_sound=True, loudness=loudness)
    return [tone, _one("silent", pan, has_sound=False, loudness=None)]


def gain_db(frequency: float) -> float:
    """Of the K-weighting at a frequency in Hz, sampled at 48 kHz."""
    z = np.exp(-2j * np.pi * frequency / 48000 * np.arange(3))
    response = np.dot(SHELF_B, z) / np.dot(SHELF_A, z) * np.dot(HIGH_B, z) / np.dot(HIGH_A, z)
    return float(20 * np.log10(abs(response)))


def _copies(base: int) -> list[GoldenVideo]:
    """Six pans, and each coded hard at half the size: ``copy_of`` names what a video shows."""
    found = []
    for n in range(6):
        pan = scenes.pan(SIZE, base + 40 + n, FRAMES, 1.0)
        found.append(_one(f"original_{n}", pan, copy_of=n))
        half = pan.through(lambda picture, _: picture[::2, ::2])
        found.append(_one(f"copy_{n}", half, size=(SIZE[0] // 2, SIZE[1] // 2), encoding={"crf": 34}, copy_of=n))
    return found
