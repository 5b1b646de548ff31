"""What the camera does, against moves that were drawn: kind, speed, and the share of the motion that is not the camera's."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from curation.frames import Span, frame_of
from curation.golden import draw, scenes
from curation.golden.shapes import MovingShape
from curation.golden.timeline import Shot
from curation.signals import camera, camera_path
from curation.signals.camera import Camera
from curation.signals.camera_path import Step, describe
from curation.signals.crop import NO_BARS
from curation.signals.flow import Field
from curation.signals.motion import Motion

Size = tuple[int, int]
SMALL, LARGE = (320, 180), (640, 360)


def measure(shot: Shot, size: Size, fps: float) -> dict[str, float | str | None]:
    signal, view = Motion(), shot.make(shot.length)
    small = (256, round(256 * size[1] / size[0] / 2) * 2)
    for index in range(shot.length):
        picture = cv2.resize(view(index), small, interpolation=cv2.INTER_AREA)
        signal.push(frame_of(np.ascontiguousarray(picture[..., ::-1]), index, index / fps))
    return signal.close(Span(0, shot.length, 0, 0, 0.0, shot.length / fps))


def step(percent: float, size: Size, fps: float) -> float:
    """Pixels a frame at ``percent`` of the diagonal per second."""
    return percent / 100 * float(np.hypot(*size)) / fps


def move(kind: str, way: int, percent: float, size: Size, fps: float) -> Shot:
    """A second of a camera move at a mean speed of ``percent``, one way (1) or the other (-1)."""
    frames, px = round(fps) + 1, way * step(percent, size, fps)
    if kind == "zoom":
        return scenes.zoom(size, 3, frames, px / scenes.mean_radius(size))
    if kind == "roll":
        return scenes.turn(size, 4, frames, float(np.degrees(px / scenes.mean_radius(size))))
    return scenes.pan(size, 1, frames, px, 0.3 * px) if kind == "pan" else scenes.pan(size, 2, frames, 0.0, px)


@pytest.mark.parametrize(
    ("size", "fps", "way"),
    [(SMALL, 12.0, -1), (SMALL, 25.0, 1), (SMALL, 60.0, -1), (LARGE, 12.0, 1), (LARGE, 25.0, -1)],
)
@pytest.mark.parametrize("percent", [2.0, 12.0, 30.0])
@pytest.mark.parametrize("kind", ["pan", "tilt", "zoom", "roll"])
def test_each_move_has_its_name_and_its_speed(kind: str, percent: float, size: Size, fps: float, way: int) -> None:
    percent = min(percent, 15.0) if kind == "zoom" else percent
    shot = move(kind, way, percent, size, fps)
    found = measure(shot, size, fps)
    assert found["camera_motion"] == kind
    true = 100 * shot.motion_px / float(np.hypot(*size)) * fps
    assert found["camera_speed"] == pytest.approx(true, rel=0.10)
    assert found["motion_residual"] is not None
    assert float(found["motion_residual"]) < 0.25


@pytest.mark.parametrize(("size", "fps"), [(SMALL, 12.0), (SMALL, 60.0), (LARGE, 25.0)])
@pytest.mark.parametrize("percent", [4.0, 25.0])
def test_smooth_shaking_of_a_hand_is_shake_and_with_a_pan_it_is_the_pan(percent: float, size: Size, fps: float) -> None:
    px = step(percent, size, fps)
    for seed in (5, 6):
        shaking = measure(scenes.handheld(size, seed, round(3 * fps), px, fps), size, fps)
        assert shaking["camera_motion"] == "shake"
        # Slow motion is read over a fifth of a second, in which a hand turns back; and three seconds are a small sample.
        assert 0.65 * percent < float(shaking["camera_speed"] or 0) < 1.2 * percent
        assert float(shaking["motion_residual"] or 1) < 0.1
    following = measure(scenes.handheld(size, 5, round(3 * fps), px / 2, fps, pan=px), size, fps)
    assert following["camera_motion"] == "pan"


def thing(size: Size, frames: int, radius: float, way: float) -> MovingShape:
    """A square whose radius is a share of the width, and which crosses such a share of it in ``frames``."""
    speed = way * size[0] / frames
    return MovingShape("square", "red", "right", radius * size[0], speed, (0.2 * size[0], 0.5 * size[1]))


@pytest.mark.parametrize(("size", "fps"), [(SMALL, 12.0), (SMALL, 60.0), (LARGE, 25.0)])
def test_a_thing_that_moves_before_a_camera_at_rest_is_not_the_camera(size: Size, fps: float) -> None:
    frames = round(2 * fps)
    ground = scenes.still(size, 1, 2).make(1)(0)
    for radius, way in ((0.08, 0.2), (0.1, 0.5), (0.17, 0.6)):
        found = measure(scenes.passing(size, ground, frames, thing(size, frames, radius, way)), size, fps)
        assert found["camera_motion"] == "static"
        assert float(found["camera_speed"] or 0) < 0.05
        assert found["motion_residual"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("size", "fps"), [(SMALL, 12.0), (SMALL, 60.0), (LARGE, 25.0)])
@pytest.mark.parametrize("percent", [2.0, 30.0])
def test_a_thing_before_a_pan_does_not_change_the_pan(percent: float, size: Size, fps: float) -> None:
    frames = round(2 * fps)
    pan = scenes.pan(size, 1, frames, -step(percent, size, fps))
    for radius, way in ((0.1, 0.5), (0.13, 0.0)):
        found = measure(scenes.in_front(pan, thing(size, frames, radius, way)), size, fps)
        assert found["camera_motion"] == "pan"
        assert found["camera_speed"] == pytest.approx(percent, rel=0.05)
        assert float(found["motion_residual"] or 0) < 0.2


def bus(size: Size, height: float, lane: float, way: float) -> Callable[[np.ndarray, int], np.ndarray]:
    """Paints a textured box, half as wide as the picture and ``height`` (share) high, that drives through it once.

    ``lane`` is the share of the rest of the height that lies above it, ``way`` how far it gets in a frame (px).
    """
    w, h = size[0] // 2, round(height * size[1])
    side, top = draw.texture(w, h, 77), round(lane * (size[1] - h))

    def paint(picture: np.ndarray, index: int) -> np.ndarray:
        left = round(way * index) - w if way > 0 else size[0] + round(way * index)
        low, high = max(0, left), min(size[0], left + w)
        out = picture.copy()
        if low < high:
            out[top : top + h, low:high] = side[:, low - left : high - left]
        return out

    return paint


@pytest.mark.parametrize(("size", "fps"), [(SMALL, 12.0), (LARGE, 25.0)])
@pytest.mark.parametrize("height", [0.6, 0.75])
@pytest.mark.parametrize(("lane", "contrast"), [(1.0, 44.0), (0.5, 12.0)])
def test_a_bus_that_fills_much_of_the_picture_is_not_a_pan(
    size: Size, fps: float, height: float, lane: float, contrast: float
) -> None:
    frames = round(2 * fps)
    for seed, way in ((1, 1.5 * size[0] / frames), (2, -1.5 * size[0] / frames)):
        ground = scenes.still(size, seed, frames, std=contrast)
        found = measure(ground.through(bus(size, height, lane, way)), size, fps)
        assert found["camera_motion"] in ("static", None)


@pytest.mark.parametrize(("percent", "way"), [(4.0, 1), (4.0, -1), (25.0, -1)])
def test_a_pan_past_a_bus_is_a_pan(percent: float, way: int) -> None:
    pan = scenes.pan(LARGE, 1, 50, -step(percent, LARGE, 25.0))
    found = measure(pan.through(bus(LARGE, 0.6, 1.0, way * 1.5 * LARGE[0] / 50)), LARGE, 25.0)
    assert found["camera_motion"] == "pan"
    assert found["camera_speed"] == pytest.approx(percent, rel=0.05)


def test_a_bus_would_be_a_pan_if_half_of_the_motion_might_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proof that the check above can fail."""
    monkeypatch.setattr(camera, "_LEFT", 1.0)
    with pytest.raises(AssertionError):
        test_a_bus_that_fills_much_of_the_picture_is_not_a_pan(SMALL, 12.0, 0.75, 0.5, 12.0)


def test_without_weights_a_thing_would_pull_the_fit_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proof that the checks above can fail."""
    monkeypatch.setattr(camera, "_LOOSE_PX", 1e3)
    with pytest.raises(AssertionError):
        test_a_thing_that_moves_before_a_camera_at_rest_is_not_the_camera(SMALL, 12.0)


@pytest.mark.parametrize("std", [0.0, 1.0, 4.0])
def test_a_still_camera_is_static_with_and_without_noise(std: float) -> None:
    found = measure(scenes.grain(scenes.still(LARGE, 1, 40), 1, std), LARGE, 25.0)
    assert found["camera_motion"] == "static"
    assert float(found["camera_speed"] or 0) < 0.05
    assert found["motion_residual"] is None


@pytest.mark.parametrize("std", [0.0, 3.0])
def test_a_plain_ground_says_nothing_of_the_camera(std: float) -> None:
    plain = np.full((SMALL[1], SMALL[0], 3), 90, np.uint8)
    for shape in (thing(SMALL, 40, 0.08, 0.5), thing(SMALL, 40, 0.0, 0.0)):
        found = measure(scenes.grain(scenes.passing(SMALL, plain, 40, shape), 1, std), SMALL, 25.0)
        assert found["camera_motion"] is None
        assert found["camera_speed"] is None
        assert found["motion_residual"] is None


def test_a_whip_is_a_pan_and_not_a_shake() -> None:
    for frames in (25, 75):
        assert measure(scenes.whip(LARGE, 1, frames, 20.0), LARGE, 25.0)["camera_motion"] == "pan"


def test_handheld_pictures_move_as_declared() -> None:
    for pan in (0.0, 2.0):
        shot = scenes.handheld(LARGE, 5, 12, 3.0, 25.0, pan=pan)
        view = shot.make(shot.length)
        grey = [cv2.cvtColor(view(i), cv2.COLOR_RGB2GRAY).astype(np.float32) for i in range(shot.length)]
        window = cv2.createHanningWindow(LARGE, cv2.CV_32F)
        shifts = [cv2.phaseCorrelate(a, b, window)[0] for a, b in itertools.pairwise(grey)]
        assert np.hypot(*np.array(shifts).T).mean() == pytest.approx(shot.motion_px, rel=0.05)


def test_odd_block_counts_read_the_same_zoom() -> None:
    """A picture of 256 × 108 has 13 and a half rows of blocks."""
    size = (640, 270)
    assert measure(move("zoom", 1, 8.0, size, 25.0), size, 25.0)["camera_speed"] == pytest.approx(8.0, rel=0.05)


# The fit


def field_of(dx: np.ndarray, dy: np.ndarray, known: np.ndarray, edges: str = "all") -> Field:
    """A field whose blocks have structure in all directions, or only edges that stand upright."""
    half = np.full_like(dx, 0.5)
    xx, yy = (half, half) if edges == "all" else (2 * half, 0 * half)
    return Field(np.hypot(dx, dy), dx, dy, known, xx, 0 * half, yy, (256, 144))


def similarity(tx: float, ty: float, growth: float, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """(18, 32) displacements in pixels of the block centres."""
    y, x = (g.astype(np.float32) * 8 for g in np.mgrid[0:18, 0:32])
    place = (x - x.mean()) + 1j * (y - y.mean())
    moved = complex(tx, ty) + (growth * np.exp(1j * np.deg2rad(degrees)) - 1) * place
    return moved.real.astype(np.float32), moved.imag.astype(np.float32)


MOVES = [(3.0, -2.0, 1.0, 0.0), (0.0, 0.0, 1.05, 0.0), (0.0, 0.0, 1 / 1.05, 0.0), (1.0, 2.0, 0.98, 2.5)]


@pytest.mark.parametrize("move", MOVES)
def test_the_fit_is_exact_where_half_of_the_picture_is_unknown_and_a_fifth_goes_its_own_way(move: tuple) -> None:
    dx, dy = similarity(*move)
    known = np.ones_like(dx)
    known[:, 8:24] = 0
    dx[:9, 24:] += 6
    dx[:, 8:24] = 99
    found = camera.fit(field_of(dx, dy, known))
    assert found is not None
    radius = float(np.hypot(*similarity(0, 0, 2, 0)).mean())
    assert found.pan == pytest.approx(move[0], abs=0.05)
    assert found.tilt == pytest.approx(move[1], abs=0.05)
    assert found.zoom == pytest.approx(radius * np.log(move[2]), abs=0.1)
    assert found.roll == pytest.approx(radius * np.deg2rad(move[3]), abs=0.1)
    assert found.support == pytest.approx(0.35, abs=0.05)


@pytest.mark.parametrize(("columns_at_rest", "pan"), [(24, 0.0), (15, 0.0), (6, 5.0), (0, 5.0)])
def test_rest_has_the_benefit_of_the_doubt(columns_at_rest: int, pan: float) -> None:
    """Of 32 columns so many are at rest, all others move together: up to about half of them are a thing before the camera."""
    dx, dy = similarity(5.0, 0.0, 1.0, 0.0)
    dx[:, 32 - columns_at_rest :] = 0
    found = camera.fit(field_of(dx, dy, np.ones_like(dx)))
    assert found is not None
    assert found.pan == pytest.approx(pan, abs=0.1)


def test_two_moves_of_which_neither_is_most_of_the_picture_leave_it_open() -> None:
    """Three bands: one goes right, one left, one down; then the first alone is well known."""
    dx, dy = similarity(0.0, 0.0, 1.0, 0.0)
    known = np.ones_like(dx)
    dx[:7], dx[7:13], dy[13:] = 9.0, -7.0, 5.0
    assert camera.fit(field_of(dx, dy, known)) is None
    known[7:] = 0.1
    found = camera.fit(field_of(dx, dy, known))
    assert found is not None
    assert found.pan == pytest.approx(9.0, abs=0.3)


def test_growing_and_shrinking_back_have_the_same_speed() -> None:
    known = np.ones((18, 32), np.float32)
    there, back = (camera.fit(field_of(*similarity(0, 0, g, 0), known)) for g in (1.08, 1 / 1.08))
    assert there is not None
    assert back is not None
    assert there.zoom == pytest.approx(-back.zoom, rel=0.01)
    assert there.length == pytest.approx(back.length, rel=0.01)


def test_edges_count_only_across_themselves() -> None:
    """Upright edges fix the shift to the side; what their flow says of up and down is a guess."""
    dx, dy = similarity(3.0, 0.0, 1.0, 0.0)
    dy = dy + np.random.default_rng(0).normal(0, 2, dy.shape).astype(np.float32)
    corners = np.zeros_like(dx)
    corners[::4, ::4] = 1
    edges = field_of(dx, dy * (1 - corners), np.ones_like(dx), "upright")
    found = camera.fit(
        Field(edges.length, edges.dx, edges.dy, edges.known, 1 - corners / 2, edges.xy, corners / 2, (256, 144))
    )
    assert found is not None
    assert (found.pan, found.tilt) == pytest.approx((3.0, 0.0), abs=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_any_field_gives_finite_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape, reach = ((4, 4), (18, 32))[seed % 2], (5.0, 100.0)[seed // 4]
    dx, dy = (rng.normal(0, reach, shape).astype(np.float32) for _ in "xy")
    known = (rng.random(shape) < 0.6).astype(np.float32)
    field = dataclasses.replace(field_of(dx, dy, known), size=(8 * shape[1], 8 * shape[0]))
    y, x = (g.astype(np.float32) - g.mean() for g in np.mgrid[0 : shape[0], 0 : shape[1]])
    for one in (field, dataclasses.replace(field, dx=-8 * x, dy=-8 * y, known=np.ones_like(known))):
        found = camera.fit(one)
        assert found is None or all(np.isfinite(dataclasses.astuple(found)))


def test_nothing_known_is_no_fit() -> None:
    dx, dy = similarity(3.0, 0.0, 1.0, 0.0)
    assert camera.fit(field_of(dx, dy, np.zeros_like(dx))) is None


# The word


def steps(path: np.ndarray, rate: float = 5.0) -> list[Step]:
    """Samples of a camera with these displacements ((n, 4): pan, tilt, zoom, roll; pixels a sample)."""
    return [
        Step(i / rate, 1 / rate, (256, 144), 0.0, Camera(*row, float(np.linalg.norm(row)), 1.0, 0.0, 1.0))
        for i, row in enumerate(np.asarray(path, float))
    ]


def word(path: np.ndarray, rate: float = 5.0) -> object:
    return describe(steps(path, rate), NO_BARS, 1.0)["camera_motion"]


def test_the_word_follows_the_way_within_a_second() -> None:
    time = np.arange(30) / 5

    def swing(hz: float) -> np.ndarray:
        return np.stack([3 * np.cos(2 * np.pi * hz * time + 0.3), 0 * time, 0 * time, 0 * time], axis=1)

    assert word(swing(0.1)) == "pan"  # to and fro in ten seconds
    for hz in (0.9, 1.3, 2.1, 3.3):
        assert word(swing(hz)) == "shake"
        assert word(swing(hz) + np.array([6, 0, 0, 0])) == "pan"
        assert word(swing(hz) + np.array([0, 0, -6, 0])) == "zoom"
    assert word(np.full((1, 4), [0, 9, 1, 1])) == "tilt"
    assert word(np.full((2, 4), [1, 2, 3, -9])) == "roll"
    assert word(np.full((20, 4), [0.1, 0, 0, 0])) == "static"
    # Two frames a second: a second holds two samples.
    assert word(np.tile([[4, 0, 0, 0], [-4, 0, 0, 0]], (5, 1)), rate=2.0) == "shake"


def test_independent_steps_are_a_shake_whatever_the_seed() -> None:
    for seed in range(20):
        assert word(np.random.default_rng(seed).normal(0, 3, (20, 4))) == "shake"


def test_too_few_samples_that_tell_leave_it_open() -> None:
    blind = Step(0.0, 0.2, (256, 144), 0.0, None)
    weak = blind._replace(camera=Camera.at_rest(camera_path.SUPPORT / 2))
    seen = steps(np.full((4, 4), [3, 0, 0, 0]))
    for blank in (blind, weak):
        assert describe([*seen, *[blank] * 4], NO_BARS, 1.0)["camera_motion"] == "pan"
        assert set(describe([*seen, *[blank] * 5], NO_BARS, 1.0).values()) == {None}
    assert set(describe([], NO_BARS, None).values()) == {None}


def test_the_residual_is_a_share_of_what_moves() -> None:
    assert camera_path.MOTION == 0.1
    seen = [s._replace(camera=Camera(3, 0, 0, 0, 3, 2.0, 0.5, 1.0)) for s in steps(np.zeros((3, 4)))]
    assert describe(seen, NO_BARS, 1.0)["motion_residual"] == pytest.approx(0.25)
    assert describe(seen, NO_BARS, 0.05)["motion_residual"] is None
    for moved, left in itertools.product((2.0, 3.0), (4.0, 5.0)):
        over = [s._replace(camera=Camera(3, 0, 0, 0, 3, moved, left, 1.0)) for s in seen]
        assert describe(over, NO_BARS, 1.0)["motion_residual"] == 1.0
