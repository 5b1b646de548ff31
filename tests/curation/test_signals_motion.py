"""Motion against pans, zooms and noise whose speed is known from how they were drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest

from curation.frames import Frame, Span, frame_of
from curation.golden.draw import texture, window
from curation.signals import flow, motion
from curation.signals.crop import Crop
from curation.signals.flow import Field
from curation.signals.motion import Motion

W, H = 256, 144
DIAGONAL = float(np.hypot(W, H))
Draw = Callable[[float], np.ndarray]


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return texture(4200, 300, 3)


def frames(draw: Draw, fps: float, count: int, first: int = 0, noise: float = 0.0) -> Iterator[Frame]:
    """``draw(time)`` gives (h, w, 3) uint8 RGB; noise in levels."""
    rng = np.random.default_rng(0)
    for index in range(first, first + count):
        rgb = draw(index / fps)
        if noise:
            rgb = np.clip(np.rint(rgb + rng.normal(0, noise, rgb.shape)), 0, 255).astype(np.uint8)
        side = max(rgb.shape[:2])
        if side > W:
            size = (round(rgb.shape[1] * W / side), round(rgb.shape[0] * W / side))
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        bgr = np.ascontiguousarray(rgb[..., ::-1])
        yield frame_of(bgr, index, index / fps)


def measure(
    draw: Draw, fps: float = 25.0, count: int = 31, noise: float = 0.0, crop: Crop | None = None
) -> dict[str, float | str | None]:
    signal = Motion()
    for frame in frames(draw, fps, count, noise=noise):
        signal.push(frame)
    return signal.close(Span(0, count, 0, count, 0.0, count / fps), crop or Crop())


def mean_of(draw: Draw, fps: float = 25.0, count: int = 31, noise: float = 0.0) -> float:
    value = measure(draw, fps, count, noise)["motion"]
    assert isinstance(value, float)
    return value


def pan(source: np.ndarray, percent: float) -> Draw:
    """A pan of ``percent`` of the diagonal per second."""
    return lambda time: window(source, 20 + percent / 100 * DIAGONAL * time, 20, W, H)


def test_five_pixels_a_frame_is_42_6_percent_a_second(source: np.ndarray) -> None:
    assert mean_of(lambda t: window(source, 20 + 5 * round(t * 25), 20, W, H)) == pytest.approx(42.6, rel=0.10)


@pytest.mark.parametrize("fps", [12.5, 25.0, 50.0])
@pytest.mark.parametrize("percent", [0.5, 1.0, 3.0, 10.0, 25.0, 60.0])
def test_pans_are_read_within_a_tenth_at_any_frame_rate(source: np.ndarray, percent: float, fps: float) -> None:
    assert mean_of(pan(source, percent), fps, int(fps) + 1) == pytest.approx(percent, rel=0.10)


def test_faster_reads_as_faster_up_to_a_third_of_the_frame_from_one_to_the_next(source: np.ndarray) -> None:
    speeds = [40.0, 80.0, 120.0, 180.0, 260.0, 380.0, 540.0, 750.0]
    values = [mean_of(pan(source, p), 25.0, 31) for p in speeds]
    assert all(b > 1.15 * a for a, b in pairwise(values)), values
    assert values == pytest.approx(speeds, rel=0.15)


def test_a_short_reach_of_the_flow_alone_would_fail(source: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above sees the known fault of DIS: without the global shift, large displacements read too small."""
    monkeypatch.setattr(flow, "_shift", lambda before, after: (0.0, 0.0))
    assert mean_of(pan(source, 540.0)) < 0.5 * 540.0


def test_same_scene_at_twice_the_size_reads_the_same(source: np.ndarray) -> None:
    once = mean_of(pan(source, 15.0))
    double = cv2.resize(source[:, :1200], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    twice = mean_of(lambda t: window(double, 40 + 2 * 0.15 * DIAGONAL * t, 40, 2 * W, 2 * H))
    assert twice == pytest.approx(once, rel=0.15)


def test_half_the_frame_rate_reads_the_same(source: np.ndarray) -> None:
    draw = pan(source, 35.0)
    assert mean_of(draw, 12.5, 16) == pytest.approx(mean_of(draw, 25.0, 31), rel=0.15)


def test_variable_frame_rate_is_timed_by_its_stamps(source: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.10], 60))
    signal = Motion()
    for index, time in enumerate(times):
        (frame,) = frames(lambda _, t=float(time): pan(source, 20.0)(t), 25.0, 1)  # type: ignore[misc]
        frame.index, frame.time = index, float(time)
        signal.push(frame)
    value = signal.close(Span(0, 60, 0, 60, 0.0, float(times[-1])))["motion"]
    assert value == pytest.approx(20.0, rel=0.10)


def test_repeated_frames_do_not_hide_the_speed(source: np.ndarray) -> None:
    draw = pan(source, 30.0)
    assert mean_of(lambda t: draw(int(t * 12.5 + 1e-6) / 12.5), 25.0, 51) == pytest.approx(30.0, rel=0.15)


def test_left_and_right_do_not_cancel(source: np.ndarray) -> None:
    def draw(time: float) -> np.ndarray:
        shift = 0.20 * DIAGONAL * time
        upper = window(source, 500 + shift, 20, W, H // 2)
        lower = window(source, 500 - shift, 20 + H // 2, W, H // 2)
        return np.vstack([upper, lower])

    assert mean_of(draw) == pytest.approx(20.0, rel=0.12)


def test_signed_flow_would_cancel(source: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proof that the check above can fail: the length of the mean flow is near 0 there."""

    def length_of_mean(before: np.ndarray, after: np.ndarray, start: np.ndarray) -> Field:
        field = flow.refine(before, after, start)
        length = np.full_like(field.length, np.hypot(field.dx.mean(), field.dy.mean()))
        return dataclasses.replace(field, length=length)

    monkeypatch.setattr(motion, "refine", length_of_mean)
    with pytest.raises(AssertionError):
        test_left_and_right_do_not_cancel(source)


@pytest.mark.parametrize("noise", [1.0, 3.0, 8.0])
def test_noise_of_a_still_camera_is_no_motion(source: np.ndarray, noise: float) -> None:
    assert mean_of(lambda _: window(source, 100, 20, W, H), noise=noise) < 0.05
    assert mean_of(lambda _: np.full((H, W, 3), 120, np.uint8), noise=noise) < 0.2


def test_without_the_test_for_noise_it_would_be_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_STRONG", -1.0)
    assert mean_of(lambda _: np.full((H, W, 3), 120, np.uint8), noise=3.0) > 2.0


def test_noise_does_not_hide_a_pan(source: np.ndarray) -> None:
    assert mean_of(pan(source, 5.0), noise=4.0) == pytest.approx(5.0, rel=0.10)


def test_a_small_mover_counts_by_its_area(source: np.ndarray) -> None:
    """A box of 1/9 of the frame crosses a still textured ground at 45 %/s: a ninth of that, and what it uncovers."""
    ground, box = window(source, 100, 20, W, H), window(source, 2000, 60, 85, 48)

    def draw(time: float) -> np.ndarray:
        picture = ground.copy()
        x = round(5 + 0.45 * DIAGONAL * time)
        picture[48:96, x : x + 85] = box
        return picture

    assert 3.5 < mean_of(draw, 25.0, 31) < 9.0


def test_percentile_tells_a_jolt_from_a_steady_pan(source: np.ndarray) -> None:
    steady = measure(pan(source, 20.0), 25.0, 76)
    # Still but for 0.4 s.
    jolt = measure(lambda t: window(source, 20 + DIAGONAL * float(np.clip(t - 1.0, 0, 0.4)), 20, W, H), 25.0, 76)
    assert steady["motion_p95"] == pytest.approx(20.0, rel=0.1)
    assert isinstance(jolt["motion"], float)
    assert isinstance(jolt["motion_p95"], float)
    assert jolt["motion_p95"] > 4 * jolt["motion"]


def test_flow_across_a_span_edge_does_not_count(source: np.ndarray) -> None:
    """Two still shots: whatever the cut's frame falls on, both spans read 0."""
    shots = (window(source, 100, 20, W, H), window(source, 900, 100, W, H))
    for cut in range(24, 31):
        signal = Motion()
        for frame in frames(lambda t, c=cut: shots[round(t * 25) >= c], 25.0, 51):  # type: ignore[misc]
            signal.push(frame)
        for start, end in ((0, cut), (cut, 51)):
            assert signal.close(Span(start, end, 0, 0, start / 25, end / 25))["motion"] == pytest.approx(0.0, abs=0.01)


def test_too_little_to_measure_is_none(source: np.ndarray) -> None:
    nothing = dict.fromkeys(("motion", "motion_p95", "motion_residual", "camera_motion", "camera_speed"))
    assert measure(pan(source, 5.0), count=1) == nothing
    assert measure(lambda _: np.zeros((16, 24, 3), np.uint8)) == nothing


@pytest.mark.parametrize("size", [(32, 32), (256, 33), (40, 256), (63, 65)])
def test_odd_sizes_and_hard_flashes_are_measured_without_harm(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    width, height = size
    pictures = [rng.integers(0, 256, (height, width, 3), np.uint8), np.zeros((height, width, 3), np.uint8)]
    assert mean_of(lambda t: pictures[round(t * 25) % 2]) >= 0.0


def test_a_mover_on_a_plain_ground_does_not_carry_the_ground_along() -> None:
    """Nothing changes in a ground without structure or noise, so it counts as at rest, but for what lies around the mover."""
    box = window(texture(80, 80, 4), 10, 10, 36, 36)

    def draw(time: float) -> np.ndarray:
        picture = np.full((H, W, 3), 90, np.uint8)
        picture[50:86, round(20 + 60 * time) :][:, :36] = box
        return picture

    true = 100 * 60 / DIAGONAL * 36 * 36 / (W * H)
    assert true < mean_of(draw) < 3.5 * true


BARS = {
    "letterbox": (0.0, 1 / 8, 0.0, 1 / 8),
    "uneven": (0.0, 10 / 144, 0.0, 24 / 144),
    "pillarbox": (1 / 8, 0.0, 1 / 8, 0.0),
    "window": (1 / 16, 1 / 8, 1 / 8, 1 / 12),
}


def barred(draw: Draw, crop: Crop, size: tuple[int, int] = (W, H)) -> tuple[Draw, Draw]:
    """What ``draw`` shows within the bars: with them around it, and alone."""
    left, top, right, bottom = crop.box(*size)

    def with_bars(time: float) -> np.ndarray:
        picture = np.zeros((size[1], size[0], 3), np.uint8)
        picture[top:bottom, left:right] = draw(time)[top:bottom, left:right]
        return picture

    return with_bars, lambda time: draw(time)[top:bottom, left:right]


@pytest.mark.parametrize("bars", BARS)
@pytest.mark.parametrize(("dx", "dy", "kind"), [(1.0, 0.0, "pan"), (0.0, 1.0, "tilt")])
@pytest.mark.parametrize("percent", [3.0, 30.0])
def test_black_bars_change_nothing(percent: float, dx: float, dy: float, kind: str, bars: str) -> None:
    source, crop = texture(500, 400, 6), Crop(*BARS[bars])
    step = percent / 100 * DIAGONAL
    with_bars, alone = barred(lambda t: window(source, 20 + dx * step * t, 20 + dy * step * t, W, H), crop)
    one, other = measure(with_bars, crop=crop), measure(alone)
    assert one["camera_motion"] == other["camera_motion"] == kind
    assert one["motion"] == pytest.approx(other["motion"], rel=0.05)
    assert one["motion_p95"] == pytest.approx(other["motion_p95"], rel=0.08)
    assert one["camera_speed"] == pytest.approx(other["camera_speed"], rel=0.05)
    assert one["motion_residual"] == pytest.approx(other["motion_residual"], abs=0.05)


def test_letters_in_a_bar_do_not_count_as_picture(source: np.ndarray) -> None:
    crop = Crop(*BARS["letterbox"])
    with_bars, alone = barred(pan(source, 10.0), crop)

    def subtitled(time: float) -> np.ndarray:
        return cv2.putText(with_bars(time), "WORDS", (90, 140), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (230, 230, 230), 1)

    one, other = measure(subtitled, crop=crop), measure(alone)
    assert one["camera_motion"] == "pan"
    assert one["motion"] == pytest.approx(other["motion"], rel=0.05)
    assert one["camera_speed"] == pytest.approx(other["camera_speed"], rel=0.05)


def test_all_black_is_no_motion_and_tells_nothing_of_the_camera() -> None:
    found = measure(lambda _: np.zeros((H, W, 3), np.uint8))
    assert found == {
        "motion": 0.0, "motion_p95": 0.0, "motion_residual": None, "camera_motion": None, "camera_speed": None
    }  # fmt: skip


def test_value_does_not_depend_on_threads_or_on_what_came_before(source: np.ndarray) -> None:
    threads = cv2.getNumThreads()
    try:
        values = []
        for number in (1, 3, 8):
            cv2.setNumThreads(number)
            values.append(mean_of(pan(source, 150.0), count=26))
    finally:
        cv2.setNumThreads(threads)
    assert len(set(values)) == 1
    signal = Motion()
    for frame in frames(pan(source, 400.0), 25.0, 25):
        signal.push(frame)
    for frame in frames(pan(source, 150.0), 25.0, 26, first=25):
        signal.push(frame)
    alone = Motion()
    for frame in frames(pan(source, 150.0), 25.0, 26, first=25):
        alone.push(frame)
    span = Span(25, 51, 0, 0, 1.0, 2.04)
    assert signal.close(span) == alone.close(span)
