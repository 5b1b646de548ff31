"""Repeated frames and the rate a clip really has, against shots that were drawn at one rate and shown at another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.decode import open_source
from curation.frames import Span, frame_of
from curation.golden import draw, scenes
from curation.golden.encode import encode
from curation.golden.scenes_picture import pulled
from curation.golden.timeline import Shot
from curation.signals import repeats
from curation.signals.crop import NO_BARS, Crop
from curation.signals.repeats import Repeats

SIZE = (320, 180)
CODECS: dict[str, dict[str, Any]] = {
    "x264": {"crf": 23},
    "mpeg4": {"codec": "mpeg4", "crf": None, "options": {"b": "800000"}},
}


def drawn(shot: Shot) -> Iterable[np.ndarray]:
    view = shot.make(shot.length)
    return (view(i) for i in range(shot.length))


def measured(shot: Shot, fps: float, path: Path, codec: str = "x264", **options: Any) -> dict[str, float | None]:
    """Both values of a shot, after it was encoded."""
    suffix = ".avi" if codec == "mpeg4" else ".mp4"
    encode(drawn(shot), path.with_suffix(suffix), fps, **CODECS[codec], **options)
    signal, frame, end = Repeats(), None, 0.0
    with open_source(path.with_suffix(suffix)) as reader:
        for frame in reader.frames():
            signal.push(frame)
            end = frame.time
    assert frame is not None
    return signal.close(Span(0, frame.index + 1, 0, 0, 0.0, end))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("drawn_at", "shown_at"), [(25, 60), (24, 30), (15, 30), (24, 60), (30, 30), (60, 60)])
def test_pulled_up_shots_have_the_rate_they_were_drawn_at(
    drawn_at: int, shown_at: int, codec: str, tmp_path: Path
) -> None:
    shot = scenes.pan(SIZE, 5, 2 * drawn_at, 60 / drawn_at)
    shown = shot if drawn_at == shown_at else pulled(shot, drawn_at, shown_at)
    values = measured(shown, shown_at, tmp_path / "v", codec)
    assert values["effective_fps"] == pytest.approx(drawn_at, rel=0.03)
    assert values["duplicate_share"] == pytest.approx(1 - drawn_at / shown_at, abs=0.02)


def test_grain_and_a_shaking_camera_change_nothing(tmp_path: Path) -> None:
    grainy = scenes.grain(scenes.pan(SIZE, 6, 50, 2.0), 7, 4.0)
    assert measured(pulled(grainy, 25, 60), 60, tmp_path / "a")["effective_fps"] == pytest.approx(25, rel=0.03)
    assert measured(grainy, 25, tmp_path / "b")["duplicate_share"] == 0.0
    # Chance may bring a shaking camera back to where it was.
    shaking = scenes.shake(SIZE, 8, 50, 4.0)
    assert measured(pulled(shaking, 25, 50), 50, tmp_path / "c")["effective_fps"] == pytest.approx(25, rel=0.05)


def hand_held(rate: float, seconds: int = 3) -> Shot:
    return scenes.handheld((640, 360), 20, round(seconds * rate), 1.5, rate, pan=1.5)


COARSE: dict[str, Any] = {"crf": 28, "options": {"preset": "veryfast"}}


@pytest.mark.parametrize(("drawn_at", "shown_at"), [(25, 60), (24, 30), (15, 30), (25, 50), (24, 60)])
@pytest.mark.parametrize("make", [hand_held, lambda rate: scenes.shake((640, 360), 21, 3 * rate, 2.0)])
def test_coarse_coding_hides_no_pull_up(
    drawn_at: int, shown_at: int, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeats that were coded anew with large steps, or new pictures with small ones: the pattern tells, or nobody can."""
    monkeypatch.setitem(CODECS, "x264", COARSE)
    found = measured(pulled(make(drawn_at), drawn_at, shown_at), shown_at, tmp_path / "v")["effective_fps"]
    unclear = make is hand_held and (drawn_at, shown_at) in ((24, 60), (25, 50))
    assert found == pytest.approx(drawn_at, rel=0.01) or (unclear and found is None)


def test_coarse_coding_would_hide_pull_ups_but_for_the_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "PATTERNED", 1.0)
    with pytest.raises(AssertionError):
        test_coarse_coding_hides_no_pull_up(25, 60, hand_held, tmp_path, monkeypatch)


@pytest.mark.parametrize("preset", ["veryfast", "ultrafast", "medium"])
@pytest.mark.parametrize("fps", [30, 60])
def test_coarse_coding_makes_no_pull_up(fps: int, preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "x264", {"crf": 28, "options": {"preset": preset}})
    for name, shot in (("a", hand_held(fps, 2)), ("b", scenes.zoom((640, 360), 9, 2 * fps, 0.004))):
        values = measured(shot, fps, tmp_path / name)
        assert values["effective_fps"] == pytest.approx(fps, rel=0.01)


def test_a_pull_up_of_a_pull_up_is_not_called_what_it_was_between(tmp_path: Path) -> None:
    """24 in 30 in 60: a pattern of 30 fits well, but a fifth of its new pictures are none."""
    thirty = pulled(scenes.pan(SIZE, 5, 48, 2.5), 24, 30)
    found = measured(pulled(thirty, 30, 60), 60, tmp_path / "v")["effective_fps"]
    assert found is None or found == pytest.approx(24, rel=0.03)


def test_one_dropped_frame_does_not_hide_the_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "x264", COARSE)
    shot = pulled(hand_held(25), 25, 50)
    view, kept = shot.make(shot.length), [i for i in range(shot.length) if i != 71]
    some = Shot(len(kept), lambda _: lambda index: view(kept[index]))
    values = measured(some, 50, tmp_path / "v", pts=[20 * i for i in kept])
    assert values["effective_fps"] == pytest.approx(25, rel=0.03)


@pytest.mark.parametrize("rows", [0, 90, 126])
def test_black_bars_change_nothing(rows: int) -> None:
    """Steps count over what moves. Over all of the picture they would be half, or less than a third, and too small to tell."""
    view = pulled(scenes.pan((256, 144), 12, 50, 0.6), 25, 50).make(100)
    high = 144 + 2 * rows
    pictures = []
    for index in range(100):
        picture = np.zeros((high, 256, 3), np.uint8)
        picture[rows : rows + 144] = view(index)
        pictures.append(picture)
    share = rows / high
    values = close(pictures, 50.0, Crop(top=share, bottom=share))
    assert values["effective_fps"] == pytest.approx(25, rel=0.01)
    assert values["duplicate_share"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (1280, 720)])
def test_resolution_does_not_matter(size: tuple[int, int], tmp_path: Path) -> None:
    shot = scenes.pan(size, 9, 30, 0.008 * size[0])
    assert measured(pulled(shot, 24, 30), 30, tmp_path / "v")["effective_fps"] == pytest.approx(24, rel=0.03)


def test_variable_rate_counts_pictures_by_time(tmp_path: Path) -> None:
    """25 pictures a second, of which every other one is shown again 10 ms before the next."""
    shot, pts = scenes.pan(SIZE, 10, 50, 2.5), []
    for picture in range(50):
        pts += [40 * picture] + ([40 * picture + 30] if picture % 2 else [])
    view = shot.make(50)
    order = [p for p in range(50) for _ in range(1 + p % 2)]
    twice = Shot(len(order), lambda _: lambda index: view(order[index]))
    values = measured(twice, 25, tmp_path / "v", pts=pts)
    assert values["effective_fps"] == pytest.approx(25, rel=0.03)
    assert values["duplicate_share"] == pytest.approx(1 / 3, abs=0.02)


def test_pictures_at_rest_have_no_answer(tmp_path: Path) -> None:
    nothing = {"duplicate_share": None, "effective_fps": None}
    assert measured(scenes.still(SIZE, 11, 60), 30, tmp_path / "a") == nothing
    assert measured(scenes.still(SIZE, 11, 60), 30, tmp_path / "b", "mpeg4") == nothing
    assert measured(scenes.pan(SIZE, 11, 60, 0.02), 30, tmp_path / "c") == nothing


def test_coming_to_rest_is_not_repeating() -> None:
    """Half of the time nothing moves; the other half has as many pictures as frames."""
    view = scenes.pan((256, 144), 12, 60, 2.0).make(60)
    values = close([view(min(i, 59)) for i in range(120)], 30.0)
    assert values["duplicate_share"] == 0.0
    assert values["effective_fps"] == pytest.approx(30, rel=0.03)


@pytest.mark.parametrize("at", [2, 4, 56])
def test_a_title_that_appears_near_an_end_makes_no_repeats(at: int) -> None:
    """The picture is at rest there, but for the title, and moves elsewhere."""
    view = scenes.pan((256, 144), 12, 60, 2.0).make(60)
    way = [max(0, i - 20) if at < 30 else min(i, 39) for i in range(60)]
    pictures = [view(w).copy() for w in way]
    for picture in pictures[at:]:
        picture[100:130, 20:160] = 235
    values = close(pictures, 30.0)
    assert values["duplicate_share"] == 0.0
    assert values["effective_fps"] == pytest.approx(30, rel=0.03)


def test_flashes_make_no_repeats() -> None:
    view = scenes.pan((256, 144), 13, 60, 2.0).make(60)
    flashed = [np.full_like(view(i), 255) if i % 5 == 2 else view(i) for i in range(60)]
    assert close(flashed, 30.0)["duplicate_share"] == 0.0


def test_flashes_would_make_repeats_without_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "CEILING", 255.0)
    with pytest.raises(AssertionError):
        test_flashes_make_no_repeats()


def test_uneven_coding_is_not_repeating() -> None:
    """A slow picture of which every sixth frame is coded anew: steps between are small, but of every size."""
    rng = np.random.default_rng(5)
    ways = np.cumsum(rng.uniform(0.2, 0.8, 60))
    texture = draw.texture(320, 156, 14)
    grains = rng.normal(0, 6.0, (10, 144, 256, 1))
    pictures = [
        np.clip(np.rint(draw.window(texture, 6 + way, 6, 256, 144) + grains[i // 6]), 0, 255).astype(np.uint8)
        for i, way in enumerate(ways)
    ]
    assert close(pictures, 30.0)["duplicate_share"] in (0.0, None)


def test_uneven_coding_would_be_repeating_without_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "BETWEEN", 0.0)
    with pytest.raises(AssertionError):
        test_uneven_coding_is_not_repeating()


def test_a_change_of_geometry_is_no_step() -> None:
    signal = Repeats()
    for index, size in enumerate([(256, 144)] * 3 + [(144, 256)] * 3):
        signal.push(frame_of(np.zeros((size[1], size[0], 3), np.uint8), index, index / 30))
    assert len(signal._samples) == 4


def close(pictures: list[np.ndarray], fps: float, crop: Crop = NO_BARS) -> dict[str, float | None]:
    signal = Repeats()
    for index, picture in enumerate(pictures):
        signal.push(frame_of(np.ascontiguousarray(picture[..., ::-1]), index, index / fps))
    return signal.close(Span(0, len(pictures), 0, 0, 0.0, len(pictures) / fps), crop)


def test_a_telecined_phone_video_has_24() -> None:
    path = Path(__file__).parents[3] / "shared/videos/flipping_a_pancake.mkv"
    if not path.exists():
        pytest.skip("the development videos are not here")
    signal, count = Repeats(), 0
    with open_source(path) as reader:
        for frame in reader.frames():
            signal.push(frame)
            count = frame.index + 1
    values = signal.close(Span(0, count, 0, 0, 0.0, count / 30))
    assert values["effective_fps"] == pytest.approx(24, rel=0.03)
    assert values["duplicate_share"] == pytest.approx(0.2, abs=0.02)
