"""The set ``shapes``: small clips of one moving shape on a plain ground, each with a caption, to train a tiny model on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from curation.golden.shapes import GROUNDS, MovingShape, combination, crossing, moving
from curation.golden.video import GoldenVideo

SIZE = (128, 128)
FPS = 16.0
FRAMES = 40


def videos(seed: int, count: int) -> list[GoldenVideo]:
    """``count`` clips of 2.5 s; shape, colour and direction follow the number, size, lane, speed and ground the seed."""
    return [_clip(seed, index) for index in range(count)]


def _clip(seed: int, index: int) -> GoldenVideo:
    rng = np.random.default_rng([seed, 4, index])
    names = combination(index)
    shape = crossing(*names, *SIZE, FRAMES, rng)
    ground = tuple(GROUNDS)[int(rng.integers(0, len(GROUNDS)))]
    truth = {
        "frames": FRAMES,
        "cuts": [],
        **dict(zip(("shape", "colour", "direction"), names, strict=True)),
        "ground": ground,
        "radius_px": round(shape.radius, 3),
        "speed_px": round(shape.speed, 4),
        "start_px": [round(v, 3) for v in shape.start],
    }
    return GoldenVideo(
        f"shape_{index:04d}_{'_'.join(names)}",
        ("shapes",),
        FPS,
        SIZE,
        _frames(shape, ground),
        truth,
        caption=shape.caption(f"a plain {ground} background"),
        encoding={"gop": 16},
    )


def _frames(shape: MovingShape, ground: str) -> Callable[[], Iterator[np.ndarray]]:
    def frames() -> Iterator[np.ndarray]:
        plain = np.full((SIZE[1], SIZE[0], 3), GROUNDS[ground], np.uint8)
        return moving(shape, plain, FRAMES)

    return frames
