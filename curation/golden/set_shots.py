"""The set ``shots``: transitions with known spans, and strong changes inside shots that are none.

Small pictures keep it cheap: 480 × 270 at 25 frames a second. Lengths come from the seed.
"""

from __future__ import annotations

import numpy as np

from curation.golden import draw, scenes
from curation.golden.shapes import MovingShape
from curation.golden.timeline import Cut, Dissolve, Fade, Flash, Join, Shot, Timeline
from curation.golden.video import GoldenVideo, played

SIZE = (480, 270)
_DISSOLVES = (8, 10, 12, 16, 20, 24, 30, 40)
_FADES = ((12, 0, 12), (6, 2, 6), (20, 10, 20), (8, 25, 8), (25, 4, 12), (15, 0, 25), (10, 6, 10))
"""Frames out, held and in."""


def videos(seed: int) -> list[GoldenVideo]:
    """All videos of the set."""
    return [
        *(_plain_cuts(seed, number) for number in range(3)),
        _similar(seed),
        _short_shots(seed),
        _fast(seed),
        *(_fades(seed, number) for number in range(2)),
        *(_dissolves(seed, number) for number in range(2)),
        _mixed(seed),
        _flashes(seed),
        _restless(seed),
        _light(seed),
        _passers_by(seed),
    ]


def any_shot(seed: int, length: int, rng: np.random.Generator) -> Shot:
    """A shot of a random kind with gentle movement, as most footage has."""
    mean = float(rng.uniform(75, 150))
    kind = int(rng.integers(0, 5))
    if kind == 0:
        return scenes.zoom(SIZE, seed, length, float(rng.choice([-0.004, 0.003, 0.006])), mean=mean)
    if kind == 1:
        return scenes.turn(SIZE, seed, length, float(rng.uniform(-0.4, 0.4)), mean=mean)
    if kind == 2:
        return scenes.grain(scenes.still(SIZE, seed, length, mean=mean), seed, 2.0)
    dx, dy = rng.uniform(-5, 5), rng.uniform(-1.5, 1.5)
    return scenes.pan(SIZE, seed, length, float(dx), float(dy), mean=mean)


def _shots(seed: int, tag: int, count: int, shortest: int, longest: int) -> tuple[Shot, ...]:
    """``count`` different shots of random kind and length."""
    rng = np.random.default_rng([seed, 5, tag])
    base = _texture_seed(seed, tag)
    return tuple(any_shot(base + k, int(rng.integers(shortest, longest + 1)), rng) for k in range(count))


def _texture_seed(seed: int, tag: int) -> int:
    """Textures of different videos and seeds never meet: up to 1000 shots a video, 1000 videos a seed."""
    return 1_000_000 * seed + 1000 * tag


def _plain_cuts(seed: int, number: int) -> GoldenVideo:
    shots = _shots(seed, 10 + number, 13, 18, 60)
    return played(f"shots_cuts_{number}", ("shots",), Timeline(shots, (Cut(),) * 12), size=SIZE)


def _similar(seed: int) -> GoldenVideo:
    """One place seen from nine positions: jump cuts within the same texture, where colours hardly change."""
    rng = np.random.default_rng([seed, 5, 20])
    texture_seed = _texture_seed(seed, 20)

    def view(x: float, y: float, speed: float, length: int) -> Shot:
        def make(total: int) -> scenes.View:
            source = draw.texture(1100, 640, texture_seed)
            return lambda index: draw.window(source, x + speed * index, y, *SIZE)

        return Shot(length, make, abs(speed), {"camera": "pan", "pan_px": [-speed, 0.0], "window_px": [x, y]})

    shots, x, y = [], 100.0, 100.0
    for _ in range(9):
        shots.append(view(x, y, 1.0, int(rng.integers(25, 45))))
        x = float((x + rng.uniform(150, 330)) % 480) + 20
        y = float((y + rng.uniform(80, 200)) % 300) + 20
    return played("shots_similar", ("shots",), Timeline(tuple(shots), (Cut(),) * 8), size=SIZE)


def _short_shots(seed: int) -> GoldenVideo:
    shots = _shots(seed, 30, 16, 5, 14)
    return played("shots_short", ("shots",), Timeline(shots, (Cut(),) * 15), size=SIZE)


def _fast(seed: int) -> GoldenVideo:
    """Cuts between shots that move so strongly that a frame differs much from the next all the time."""
    base = _texture_seed(seed, 40)
    shots = (
        scenes.pan(SIZE, base, 30, 24.0),
        scenes.shake(SIZE, base + 1, 30, 14.0),
        scenes.pan(SIZE, base + 2, 30, -33.0, 4.0),
        scenes.whip(SIZE, base + 3, 40, 60.0),
        scenes.turn(SIZE, base + 4, 30, 3.0),
        scenes.zoom(SIZE, base + 5, 30, 0.02),
        scenes.pan(SIZE, base + 6, 30, 0.0, 18.0),
    )
    return played("shots_fast", ("shots",), Timeline(shots, (Cut(),) * 6), size=SIZE)


def _fades(seed: int, number: int) -> GoldenVideo:
    """Seven fades, through black in the first video and by turns through white in the second; black at both ends."""
    shots = _shots(seed, 50 + number, 8, 30, 50)
    joins = tuple(Fade(*f, draw.WHITE if number and k % 2 else draw.BLACK) for k, f in enumerate(_FADES))
    return played(f"shots_fades_{number}", ("shots",), Timeline(shots, joins, opens=15, closes=20), size=SIZE)


def _dissolves(seed: int, number: int) -> GoldenVideo:
    shots = _shots(seed, 60 + number, 9, 30, 50)
    order = _DISSOLVES if number == 0 else _DISSOLVES[::-1]
    return played(f"shots_dissolves_{number}", ("shots",), Timeline(shots, tuple(map(Dissolve, order))), size=SIZE)


def _mixed(seed: int) -> GoldenVideo:
    shots = _shots(seed, 70, 7, 25, 60)
    joins: tuple[Join, ...] = (Cut(), Dissolve(15), Cut(), Fade(10, 3, 10), Dissolve(25), Cut())
    return played("shots_mixed", ("shots",), Timeline(shots, joins, opens=10), size=SIZE)


def _flashes(seed: int) -> GoldenVideo:
    """Ten flashes of one to three frames in a row in one shot, a cut, and one flash shortly after it."""
    base = _texture_seed(seed, 80)
    shots = (scenes.pan(SIZE, base, 150, 1.5), scenes.pan(SIZE, base + 1, 60, -2.0))
    row = tuple(Flash(20 + 11 * k, 1 + k % 3, (0.85, 0.6, 0.97)[k % 3]) for k in range(10))
    return played("shots_flashes", ("shots",), Timeline(shots, (Cut(),), flashes=(*row, Flash(160, 1))), size=SIZE)


def _restless(seed: int) -> GoldenVideo:
    """No cut at all: one whip pan of up to 90 pixels a frame."""
    shot = scenes.whip(SIZE, _texture_seed(seed, 90), 160, 90.0)
    return played("shots_whip", ("shots",), Timeline((shot,)), size=SIZE)


def _light(seed: int) -> GoldenVideo:
    """No cut: a light goes on within two frames at frame 60, and off over thirty frames from frame 120."""
    gains = np.interp(np.arange(220), [0, 59, 61, 120, 150, 219], [0.45, 0.45, 1.0, 1.0, 0.45, 0.45])
    shot = scenes.pan(SIZE, _texture_seed(seed, 100), 220, 0.8).through(
        lambda picture, index: draw.level(picture, float(gains[index])), light=[[59, 61], [120, 150]]
    )
    return played("shots_light", ("shots",), Timeline((shot,)), size=SIZE)


def _passers_by(seed: int) -> GoldenVideo:
    """No cut: two large objects cross the picture close to the camera, hiding more than half of it at times."""
    near = MovingShape("square", "blue", "right", 170.0, 14.0, (-200.0, 135.0))
    back = MovingShape("circle", "yellow", "left", 150.0, 9.0, (1600.0, 120.0))
    shot = scenes.pan(SIZE, _texture_seed(seed, 110), 180, 0.5).through(
        lambda picture, index: back.paint(near.paint(picture, index), index), passers_by=2
    )
    return played("shots_passers_by", ("shots",), Timeline((shot,)), size=SIZE)
