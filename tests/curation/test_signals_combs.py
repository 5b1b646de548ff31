"""Interlacing combs against drawn fields, and against what looks like them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.decode import open_source
from curation.frames import Span, frame_of
from curation.golden import draw, scenes
from curation.golden.encode import encode
from curation.golden.scenes_picture import dithered, striped, telecined
from curation.golden.timeline import Shot
from curation.signals import combs
from curation.signals.combs import Combs

SIZES = [(320, 180), (640, 360), (1280, 720)]


def share(shot: Shot, fps: float = 10.0, rotation: int = 0) -> float:
    """comb_share of a shot, its pictures taken as native planes, half of them."""
    signal, view = Combs(), shot.make(shot.length)
    for index in range(shot.length):
        luma = cv2.cvtColor(view(index), cv2.COLOR_RGB2GRAY)
        upright = np.rot90(luma, -rotation // 90)
        scale = 256 / max(luma.shape)
        size = (round(upright.shape[1] * scale), round(upright.shape[0] * scale))
        small = cv2.resize(np.ascontiguousarray(upright), size, interpolation=cv2.INTER_AREA)
        frame = frame_of(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), index, index / fps, rotation=rotation)
        frame.luma = luma if index % 2 else None
        signal.push(frame)
    value = signal.close(Span(0, shot.length, 0, 0, 0.0, shot.length / fps))["comb_share"]
    assert value is not None
    return value


def test_a_comb_is_seen_at_any_resolution_and_not_without_interlacing() -> None:
    for size in SIZES:
        for speed in (2.0, 5.0, 12.0):
            shot = scenes.pan(size, 5, 8, speed)
            assert share(scenes.comb(shot)) == 1.0, (size, speed)
            assert share(shot) == 0.0, (size, speed)


def test_every_kind_of_motion_combs() -> None:
    size = (640, 360)
    for shot in (scenes.pan(size, 6, 8, 0, 5.0), scenes.zoom(size, 6, 8, 0.02), scenes.shake(size, 6, 8, 5.0)):
        assert share(scenes.comb(shot)) >= 0.75
        assert share(shot) == 0.0


def test_combs_lie_along_stored_rows() -> None:
    assert share(scenes.comb(scenes.pan((640, 360), 7, 8, 5.0)), rotation=90) == 1.0


def test_a_combed_thing_in_front_of_a_camera_at_rest() -> None:
    ground, thing = draw.texture(640, 360, 8), draw.texture(160, 240, 9)

    def passing(index: int) -> np.ndarray:
        picture = ground.copy()
        picture[60:300, 40 + 12 * index : 200 + 12 * index] = thing
        return picture

    shot = Shot(8, lambda _: passing)
    assert share(scenes.comb(shot)) == 1.0
    assert share(shot) == 0.0


def test_grain_hides_no_comb_and_makes_none() -> None:
    shot = scenes.pan((640, 360), 10, 8, 5.0)
    assert share(scenes.grain(scenes.comb(shot), 3, 3.0)) == 1.0
    for strength in (3.0, 10.0, 20.0):
        assert share(scenes.grain(shot, 3, strength)) == 0.0
    flat = Shot(8, lambda _: lambda index: np.full((360, 640, 3), 120, np.uint8))
    assert share(scenes.grain(flat, 3, 20.0)) == 0.0


@pytest.mark.parametrize("period", [2, 3, 4, 6])
def test_stripes_are_no_combs(period: int) -> None:
    """Blinds at rest, blinds before which something moves, and a shirt that goes by."""
    size = (640, 360)
    assert share(striped(scenes.still(size, 11, 8), period)) == 0.0
    assert share(striped(scenes.pan(size, 11, 8, 5.0), period)) == 0.0
    stripes = striped(scenes.still((900, 360), 11, 1), period).make(1)(0)
    assert share(Shot(8, lambda _: lambda index: stripes[:, 10 * index : 10 * index + 640])) == 0.0


def test_stripes_would_be_combs_but_for_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combs, "ORDERED", 2.0)
    with pytest.raises(AssertionError):
        test_stripes_are_no_combs(2)


@pytest.mark.parametrize("cells", [2, 4, 8])
def test_dither_is_no_comb(cells: int) -> None:
    """Nor does it hide combs: those of a picture that is not dithered are still there."""
    shot = scenes.pan((640, 360), 5, 8, 4.0)
    assert share(dithered(shot, cells)) == 0.0
    assert share(scenes.comb(shot)) == 1.0


def test_dither_would_be_combs_but_for_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combs, "ACROSS", 2.0)
    with pytest.raises(AssertionError):
        test_dither_is_no_comb(2)


def test_combs_of_a_picture_at_rest_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interlaced material at rest shows none, so what looks like it is drawn there."""
    frozen = scenes.comb(scenes.pan((640, 360), 12, 2, 6.0)).make(1)(0)
    rest = Shot(8, lambda _: lambda index: frozen)
    assert share(rest) == 0.0
    monkeypatch.setattr(combs, "CHANGED", 0.0)
    assert share(rest) == 1.0


def test_text_is_no_comb() -> None:
    def page(index: int) -> np.ndarray:
        picture = np.full((360, 640, 3), 240, np.uint8)
        for line in range(30):
            words = "the quick brown fox jumps over the lazy dog"
            cv2.putText(picture, words, (10, 12 * line - 2 * index), cv2.FONT_HERSHEY_PLAIN, 0.8, (10, 10, 10), 1)
        return picture

    assert share(Shot(8, lambda _: page)) == 0.0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8, 0.95, 1.0])
def test_there_are_no_more_pixels_in_runs_than_the_first_look_says(share: float) -> None:
    rng = np.random.default_rng(1)
    for rows in (5, 6, 7, 64):
        either = np.where(rng.random((rows, 400)) < share, 255, 0).astype(np.uint8)
        runs = cv2.morphologyEx(either, cv2.MORPH_OPEN, combs._DOWN)
        assert cv2.countNonZero(runs) <= combs._most_in_runs(either)
    if share == 0.05:
        assert combs._most_in_runs(either) < 0.05 * cv2.countNonZero(either)


def test_tiny_planes_and_single_frames() -> None:
    assert share(scenes.pan((30, 20), 13, 8, 1.0)) == 0.0
    signal = Combs()
    signal.push(frame_of(np.zeros((20, 30, 3), np.uint8), luma=np.zeros((20, 30), np.uint8)))
    assert signal.close(Span(0, 1, 0, 0, 0.0, 1.0)) == {"comb_share": None}


def test_combs_survive_x264(tmp_path: Path) -> None:
    for name, shot in (
        ("combed", scenes.comb(scenes.pan((640, 360), 14, 30, 4.0))),
        ("not", scenes.pan((640, 360), 14, 30, 4.0)),
    ):
        view = shot.make(30)
        encode((view(i) for i in range(30)), tmp_path / f"{name}.mp4", 25, crf=26)
        signal = Combs()
        with open_source(tmp_path / f"{name}.mp4") as reader:
            for frame in reader.frames():
                signal.push(frame)
        assert signal.close(Span(0, 30, 0, 0, 0.0, 1.2))["comb_share"] == (1.0 if name == "combed" else 0.0)


@pytest.mark.parametrize("phase", range(5))
def test_telecine_combs_in_two_frames_of_five_wherever_it_begins(tmp_path: Path, phase: int) -> None:
    """Instants at even distances would see the same one or two of the five again and again."""
    shot = telecined(scenes.pan((320, 180), 15, 144, 4.0), phase)
    view, path = shot.make(shot.length), tmp_path / "a.mp4"
    encode((view(i) for i in range(shot.length)), path, Fraction(30000, 1001), crf=16)
    signal = Combs()
    with open_source(path) as reader:
        for frame in reader.frames():
            signal.push(frame)
    assert signal.close(Span(0, shot.length, 0, 0, 0.0, 6.0))["comb_share"] == pytest.approx(0.4, abs=0.15)
