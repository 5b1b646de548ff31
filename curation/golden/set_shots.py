"""The set ``shots``: transitions with known spans, and strong changes inside shots that are none.

Small pictures keep it cheap: 480 × 270 at 25 frames a second. Lengths come from the seed.
"""

from __future__ import annotations

import numpy as np

from curation.golden import draw, scenes, set_shots_ramps
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
        _bursts(seed),
        _explosions(seed),
        _strobes(seed),
        _lightning(seed),
        _overexposed(seed),
        _glitches(seed),
        _returns(seed),
        *set_shots_ramps.videos(seed),
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


def _bursts(seed: int) -> GoldenVideo:
    """Photographers: thirty flashes at random moments, each from one side, through two shots; none within 3 frames of the cut."""
    rng, base = np.random.default_rng([seed, 5, 120]), _texture_seed(seed, 120)
    shots = (
        scenes.grain(scenes.still(SIZE, base, 120), base, 2.0),
        scenes.pan(SIZE, base + 1, 120, 2.0),
    )
    x = np.linspace(0, 1, SIZE[0], dtype=np.float32)[None, :, None]

    def flashing(shot: Shot, free: tuple[int, int]) -> Shot:
        light: dict[int, tuple[bool, float]] = {}
        for start in rng.integers(*free, 15):
            side, weight = bool(rng.integers(2)), float(rng.uniform(0.6, 1.0))
            light.update({int(start) + k: (side, weight) for k in range(int(rng.integers(1, 3)))})

        def lit(picture: np.ndarray, index: int) -> np.ndarray:
            if index not in light:
                return picture
            side, weight = light[index]
            share = weight * (0.4 + 0.6 * (x if side else 1 - x))
            return np.rint(picture * (1 - share) + 255 * share).astype(np.uint8)

        return shot.through(lit, flashes=len(light))

    shots = (flashing(shots[0], (5, 115)), flashing(shots[1], (3, 115)))
    return played("shots_bursts", ("shots",), Timeline(shots, (Cut(),)), size=SIZE)


def _explosions(seed: int) -> GoldenVideo:
    """Blooms that rise within two frames and decay over ten to twenty: three in one shot, one soon after the cut to another."""
    base = _texture_seed(seed, 130)
    first = scenes.zoom(SIZE, base, 170, 0.002, mean=70.0)
    second = scenes.pan(SIZE, base + 1, 80, 1.5, mean=80.0)
    shots = (
        _blooming(first, {25: 10, 70: 15, 115: 20}, (255, 236, 190)),
        _blooming(second, {14: 20}, (255, 255, 255)),
    )
    return played("shots_explosions", ("shots",), Timeline(shots, (Cut(),)), size=SIZE)


def _blooming(shot: Shot, blooms: dict[int, int], colour: draw.Colour) -> Shot:
    """The shot with blooms: first frame → frames until its weight has fallen from 0.98 to a twentieth of that."""
    weights = np.zeros(shot.length)
    for start, decay in blooms.items():
        weights[start] = 0.5
        fall = 0.98 * 0.05 ** (np.arange(shot.length - start - 1) / decay)
        weights[start + 1 :] = np.maximum(weights[start + 1 :], fall)
    return shot.through(lambda picture, index: draw.mix(picture, colour, float(weights[index])), blooms=len(blooms))


def _strobes(seed: int) -> GoldenVideo:
    """Four shots under a strobe for one to two seconds: on and off every 1, 2 or 3 frames, to white or to near black."""
    base = _texture_seed(seed, 140)
    shots = []
    for number, (on, off, dark) in enumerate(((1, 1, False), (2, 2, False), (3, 3, False), (2, 3, True))):
        shot = scenes.pan(SIZE, base + number, 90, (-1.5, 0.0, 2.0, 1.0)[number])

        def strobe(picture: np.ndarray, index: int, on: int = on, off: int = off, dark: bool = dark) -> np.ndarray:
            if not 25 <= index < 65 or (index - 25) % (on + off) >= on:
                return picture
            return draw.level(picture, 0.08) if dark else draw.mix(picture, draw.WHITE, 0.9)

        shots.append(shot.through(strobe, strobe=[25, 65]))
    return played("shots_strobes", ("shots",), Timeline(tuple(shots), (Cut(),) * 3), size=SIZE)


def _lightning(seed: int) -> GoldenVideo:
    """No cut: a night scene, and six strokes of two to four irregular pulses that multiply its light by up to five."""
    rng = np.random.default_rng([seed, 5, 150])
    gains = np.full(220, 0.25)
    for start in range(20, 200, 30):
        at = start
        for _ in range(int(rng.integers(2, 5))):
            length, peak = int(rng.integers(1, 4)), float(rng.uniform(0.7, 1.25))
            gains[at : at + length] = peak
            gains[at + length : at + length + 2] = 0.25 + (peak - 0.25) * np.array([0.5, 0.2])
            at += length + int(rng.integers(1, 5))
    shot = scenes.pan(SIZE, _texture_seed(seed, 150), 220, 0.6).through(
        lambda picture, index: draw.level(picture, float(gains[index])), strokes=6
    )
    return played("shots_lightning", ("shots",), Timeline((shot,)), size=SIZE)


def _overexposed(seed: int) -> GoldenVideo:
    """No cut: long flashes of 12, 15, 18 and 20 frames, the second to pure white."""
    shot = scenes.pan(SIZE, _texture_seed(seed, 160), 230, 1.2)
    flashes = (Flash(25, 12, 0.92), Flash(75, 15, 1.0), Flash(125, 18, 0.85), Flash(180, 20, 0.95))
    return played("shots_overexposed", ("shots",), Timeline((shot,), flashes=flashes), size=SIZE)


def _glitches(seed: int) -> GoldenVideo:
    """No cut: broken frames (wrong blocks, 1 to 12 frames), twice a wholly other picture, and a bus that hides everything."""
    rng, base = np.random.default_rng([seed, 5, 170]), _texture_seed(seed, 170)
    other = draw.texture(*SIZE, base + 1)
    broken = {start + k for start, length in ((25, 1), (55, 4), (90, 8), (130, 12)) for k in range(length)}
    foreign = {start + k for start, length in ((175, 3), (210, 10)) for k in range(length)}
    orders = {index: rng.permutation(30 * 16) for index in sorted(broken)}
    bus = MovingShape("square", "blue", "right", 420.0, 60.0, (-15600.0, 135.0))  # in front from about frame 255 on

    def spoil(picture: np.ndarray, index: int) -> np.ndarray:
        if index in broken:
            blocks = picture[:256].reshape(16, 16, 30, 16, 3).transpose(0, 2, 1, 3, 4).reshape(480, 16, 16, 3)
            mixed = blocks[orders[index]].reshape(16, 30, 16, 16, 3).transpose(0, 2, 1, 3, 4).reshape(256, 480, 3)
            return np.concatenate([np.where(index % 2, 255 - mixed, mixed), picture[256:]])
        return other if index in foreign else bus.paint(picture, index)

    shot = scenes.pan(SIZE, base, 310, 0.7).through(spoil, broken=len(broken), foreign=len(foreign), passers_by=1)
    return played("shots_glitches", ("shots",), Timeline((shot,)), size=SIZE)


def _returns(seed: int) -> GoldenVideo:
    """A conversation: two cameras that never stop, shown by turns for 1.1 to 2 seconds. Every change is a cut."""
    rng, base = np.random.default_rng([seed, 5, 180]), _texture_seed(seed, 180)
    sources = [draw.texture(640, 300, base + number) for number in range(2)]
    shots, at = [], 0
    for number in range(8):
        length = int(rng.integers(28, 51))

        def make(total: int, source: np.ndarray = sources[number % 2], start: int = at) -> scenes.View:
            return lambda index: draw.window(source, 10 + 0.3 * (start + index), 10, *SIZE)

        shots.append(
            scenes.grain(Shot(length, make, 0.3, {"camera": "pan", "pan_px": [-0.3, 0.0]}), base + number, 2.0)
        )
        at += length
    return played("shots_returns", ("shots",), Timeline(tuple(shots), (Cut(),) * 7), size=SIZE)
