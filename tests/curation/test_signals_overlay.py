"""Logos and subtitles over moving pictures, and moving pictures without any."""

from __future__ import annotations

import numpy as np
import pytest

from curation.frames import Span, frame_of
from curation.golden import draw, scenes
from curation.golden.scenes_picture import overlaid
from curation.golden.timeline import Shot
from curation.signals import overlay
from curation.signals.crop import NO_BARS, Crop
from curation.signals.overlay import Overlay

SIZE = (256, 144)
LOGO: list[draw.Box] = [(206, 8, 40, 14)]
LINE: list[draw.Box] = [(48, 124, 160, 12)]
LINES = ["HERE IS A LINE OF TEXT", "AND HERE IS ANOTHER ONE"]


def share(shot: Shot, fps: float = 10.0, crop: Crop = NO_BARS) -> float | None:
    signal, view = Overlay(), shot.make(shot.length)
    for index in range(shot.length):
        signal.push(frame_of(np.ascontiguousarray(view(index)[..., ::-1]), index, index / fps))
    return signal.close(Span(0, shot.length, 0, 0, 0.0, shot.length / fps), crop)["overlay_share"]


def known(shot: Shot, fps: float = 10.0, crop: Crop = NO_BARS) -> float:
    value = share(shot, fps, crop)
    assert value is not None
    return value


def pan(fps: float = 10.0, size: tuple[int, int] = SIZE, seed: int = 5) -> Shot:
    """Four seconds at a quarter of the picture a second."""
    return scenes.pan(size, seed, round(4 * fps), 0.25 * size[0] / fps)


@pytest.mark.parametrize("fps", [12.0, 25.0, 50.0])
def test_a_logo_is_as_large_as_it_is_at_any_rate(fps: float) -> None:
    assert known(overlaid(pan(fps), LOGO, ["LOGO"]), fps) == pytest.approx(draw.area_share(LOGO, *SIZE), rel=0.4)
    assert known(pan(fps), fps) < 0.001


def test_portrait_pictures_too() -> None:
    box: list[draw.Box] = [(90, 10, 44, 14)]
    shot = overlaid(pan(size=(144, 256)), box, ["LOGO"])
    assert known(shot) == pytest.approx(draw.area_share(box, 144, 256), rel=0.4)


def test_more_letters_are_more_overlay() -> None:
    boxes: list[list[draw.Box]] = [
        [],
        LINE,
        [*LINE, (48, 104, 160, 12)],
    ]
    values = [known(overlaid(pan(), some, LINES[:1])) if some else known(pan()) for some in boxes]
    assert values == sorted(values)
    assert values[0] < 0.001
    assert values[2] > values[1] + 0.02 > 0.06


def test_subtitles_that_change_every_two_seconds_count_like_one_that_stays() -> None:
    stays, changes = (known(overlaid(pan(), LINE, LINES, every=every)) for every in (0, 20))
    assert stays == pytest.approx(LINE[0][2] * LINE[0][3] / (SIZE[0] * SIZE[1]), rel=0.4)
    assert changes == pytest.approx(stays, rel=0.35)


def test_a_line_that_is_up_half_of_the_time_counts_half() -> None:
    with_line = overlaid(pan(), LINE, LINES[:1])
    first, second = with_line.make(40), pan().make(40)
    half = Shot(40, lambda _: lambda index: first(index) if index < 20 else second(index))
    assert known(half) == pytest.approx(known(with_line) / 2, rel=0.3)


@pytest.mark.parametrize("seed", range(5, 9))
def test_moving_pictures_alone_have_none(seed: int) -> None:
    for shot in (pan(seed=seed), scenes.shake(SIZE, seed, 40, 10.0), scenes.grain(pan(seed=seed), seed, 5.0)):
        assert known(shot) < 0.002


@pytest.mark.parametrize("rate", [0.01, 0.02, -0.01])
def test_the_middle_of_a_zoom_is_no_overlay(rate: float) -> None:
    assert (share(scenes.zoom(SIZE, 9, 40, rate)) or 0.0) < 0.011


def test_a_horizon_in_a_pan_is_no_overlay() -> None:
    def horizon(picture: np.ndarray, _: int) -> np.ndarray:
        picture = picture.copy()
        picture[90:], picture[60:63] = draw.level(picture[90:], 0.4), 240
        return picture

    assert known(pan().through(horizon)) < 0.001


def test_with_a_camera_at_rest_nobody_can_tell() -> None:
    assert share(scenes.still(SIZE, 6, 40)) is None
    assert share(overlaid(scenes.still(SIZE, 6, 40), LOGO, ["LOGO"])) is None
    ground = draw.texture(*SIZE, 6)

    def passing(index: int) -> np.ndarray:
        """Something crosses a third of a picture at rest."""
        picture = ground.copy()
        picture[20:124, 5 * index : 5 * index + 80] = draw.texture(80, 104, 7)
        return picture

    assert share(Shot(35, lambda _: passing)) is None


def test_a_picture_at_rest_would_be_all_overlay_but_for_that_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "FIELDS", 0.0)
    with pytest.raises(AssertionError):
        test_with_a_camera_at_rest_nobody_can_tell()


def test_bars_and_their_edges_are_no_overlay() -> None:
    def letterbox(picture: np.ndarray, _: int) -> np.ndarray:
        return draw.bars(picture, top=20, bottom=20)

    bare, barred = pan(), pan().through(letterbox)
    crop = Crop(top=20 / 144, bottom=20 / 144)
    assert known(barred, crop=crop) < 0.002
    inside: list[draw.Box] = [(48, 100, 160, 12)]
    shown = known(overlaid(bare, inside, LINES[:1]).through(letterbox), crop=crop)
    assert shown == pytest.approx(known(overlaid(bare, inside, LINES[:1])) * 144 / 104, rel=0.2)


def test_too_few_samples_are_unknown() -> None:
    assert share(scenes.pan(SIZE, 5, 8, 6.0)) is None
    assert share(scenes.pan((16, 10), 5, 40, 1.0)) is None
