"""Likeness of samples a second apart, against shots that stay one thing and shots that do not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from curation.frames import Span, frame_of
from curation.golden import draw, scenes
from curation.golden.timeline import Cut, Dissolve, Shot, Timeline
from curation.signals.consistency import Consistency
from curation.signals.crop import NO_BARS, Crop

SIZE = (256, 144)


def least(frames: Shot | Iterable[np.ndarray], fps: float = 10.0, crop: Crop = NO_BARS) -> float:
    if isinstance(frames, Shot):
        view = frames.make(frames.length)
        frames = (view(i) for i in range(frames.length))
    signal, count = Consistency(), 0
    for index, picture in enumerate(frames):
        signal.push(frame_of(np.ascontiguousarray(picture[..., ::-1]), index, index / fps))
        count = index + 1
    value = signal.close(Span(0, count, 0, 0, 0.0, count / fps), crop)["still_consistency"]
    assert value is not None
    return value


@pytest.mark.parametrize("seed", range(4))
def test_steady_shots_agree(seed: int) -> None:
    still = scenes.still(SIZE, seed, 30)
    assert least(still) > 0.99
    assert least(scenes.grain(still, seed, 6.0)) > 0.9
    assert least(scenes.shake(SIZE, seed, 30, 6.0)) > 0.75


@pytest.mark.parametrize("fps", [10.0, 25.0, 50.0])
def test_a_pan_costs_little_until_it_shows_something_else(fps: float) -> None:
    pan = [least(scenes.pan(SIZE, 3, round(3 * fps), part * SIZE[0] / fps), fps) for part in (0.05, 0.1, 0.5)]
    assert pan[0] > 0.85
    assert pan[1] > 0.7
    assert pan[2] < 0.4


@pytest.mark.parametrize("size", [(256, 144), (144, 256), (256, 108), (64, 36)])
def test_any_size(size: tuple[int, int]) -> None:
    assert least(scenes.pan(size, 3, 30, 0.05 * size[0] / 10)) > 0.85
    halves = (scenes.still(size, 4, 15), scenes.still(size, 5, 15))
    assert least(Timeline(halves, (Cut(),)).frames()) < 0.4


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_that_nobody_noticed_is_low(seed: int) -> None:
    shots = (scenes.pan(SIZE, seed, 15, 0.5), scenes.still(SIZE, 100 + seed, 15))
    assert least(Timeline(shots, (Cut(),)).frames()) < 0.4


def test_a_slow_dissolve_lies_between() -> None:
    values = []
    for seed in range(6):
        shots = (scenes.still(SIZE, seed, 10), scenes.still(SIZE, 100 + seed, 10))
        values.append(least(Timeline(shots, (Dissolve(30),)).frames()))
        cut = least(Timeline(shots, (Cut(),)).frames())
        assert cut < values[-1] < 0.85
    assert 0.3 < float(np.median(values)) < 0.7


def test_another_colour_alone_lowers_it() -> None:
    still = scenes.still(SIZE, 8, 30)
    turned = still.through(lambda picture, index: picture if index < 15 else np.ascontiguousarray(picture[..., ::-1]))
    assert least(turned) < 0.75


def test_a_change_of_light_costs_some() -> None:
    dimmed = scenes.still(SIZE, 8, 30).through(lambda picture, index: draw.level(picture, 1 - 0.01 * index))
    assert 0.6 < least(dimmed) < 0.98


def test_flat_pictures() -> None:
    flat = Shot(30, lambda _: lambda index: np.full((144, 256, 3), 120, np.uint8))
    assert least(flat) == pytest.approx(1.0)
    view = scenes.still(SIZE, 9, 30).make(30)
    assert least([view(i) if i < 15 else np.full((144, 256, 3), 120, np.uint8) for i in range(30)]) == 0.0


def test_bars_do_not_make_shots_alike() -> None:
    """Two shots behind the same bars are still two shots."""
    shots = (scenes.still(SIZE, 1, 15), scenes.still(SIZE, 102, 15))
    frames = [draw.bars(f, left=64, right=64) for f in Timeline(shots, (Cut(),)).frames()]
    crop = Crop(left=0.25, right=0.25)
    assert least(frames, crop=crop) < 0.35
    assert least(frames) > least(frames, crop=crop)


def test_one_sample_says_nothing() -> None:
    signal = Consistency()
    signal.push(frame_of(np.zeros((144, 256, 3), np.uint8)))
    assert signal.close(Span(0, 1, 0, 0, 0.0, 0.1)) == {"still_consistency": None}
