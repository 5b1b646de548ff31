"""Sharpness, bars, light and the photographic score against pictures whose properties are known from how they were
drawn."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from curation.frames import Frame, Span
from curation.frames import frame_of as small_frame
from curation.golden.draw import bars as draw_bars
from curation.golden.draw import blur, level, texture, upscale
from curation.golden.encode import encode
from curation.signals import SignalSet, sharpness
from curation.signals.aesthetic import aesthetic_photo
from curation.signals.bars import Bars
from curation.signals.light import Light, LightMeter, edge_spread
from curation.signals.sharpness import sharpness as sharpness_of

SIGNED = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return texture(1280, 720, 7)


def luma_of(rgb: np.ndarray, full_range: bool = True) -> np.ndarray:
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return gray if full_range else np.rint(16 + gray.astype(np.float32) * 219 / 255).astype(np.uint8)


def frame_of(
    rgb: np.ndarray,
    index: int = 0,
    *,
    full_range: bool = True,
    rotation: int = 0,
    display_size: tuple[int, int] | None = None,
) -> Frame:
    """A frame at two per second whose stored picture is ``rgb``; ``small`` is made as displayed."""
    shown = display_size or (rgb.shape[1::-1] if rotation in (0, 180) else rgb.shape[:2])
    scale = min(1.0, 256 / max(shown))
    upright = np.rot90(rgb, -rotation // 90)
    small = cv2.resize(upright, (round(shown[0] * scale), round(shown[1] * scale)), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small[..., ::-1])
    luma = luma_of(rgb, full_range)
    return small_frame(
        bgr,
        index,
        index / 2,
        luma=luma,
        rotation=rotation,
        display_size=(int(shown[0]), int(shown[1])),
        full_range=full_range,
    )


def signals_of(*pictures: np.ndarray) -> dict[str, Any]:
    signals = SignalSet()
    for index, rgb in enumerate(pictures):
        signals.push(frame_of(rgb, index))
    return signals.close(Span(0, len(pictures), 0, 0, 0.0, len(pictures) / 2))


def sharp(rgb: np.ndarray, full_range: bool = True) -> float:
    value = sharpness_of(luma_of(rgb, full_range), 0 if full_range else 16)
    assert value is not None
    return value


def number(value: Any) -> float:
    assert value is not None
    return float(value)


# Sharpness


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (1280, 720), (1920, 1080), (720, 1280)])
def test_native_detail_is_sharp_at_any_resolution(size: tuple[int, int]) -> None:
    assert sharp(texture(*size, 11)) > 0.7


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (1920, 1080)])
def test_blurred_and_enlarged_are_clearly_less_sharp(size: tuple[int, int]) -> None:
    native = texture(*size, 12)
    assert sharp(upscale(native, 2)) < 0.25
    assert sharp(upscale(native, 3)) < 0.05
    assert sharp(blur(native, 1.0)) < 0.1
    assert sharp(blur(native, 2.0)) < 0.02


def test_a_measure_on_the_shrunken_picture_could_not_tell(picture: np.ndarray) -> None:
    """Why the plane must be native: at 256 px the enlarged picture has as much fine detail as the original."""
    small = [cv2.resize(p, (256, 144), interpolation=cv2.INTER_AREA) for p in (picture, upscale(picture, 2))]
    native, enlarged = (sharp(p) for p in small)
    assert enlarged > 0.8 * native


def test_more_blur_is_never_sharper(picture: np.ndarray) -> None:
    values = [sharp(picture)] + [sharp(blur(picture, s)) for s in (0.5, 0.7, 1.0, 1.5, 2.5)]
    assert values == sorted(values, reverse=True)
    for sigma in (4.0, 8.0, 12.0):
        assert sharp(blur(picture, sigma)) < 0.01


def test_more_blur_is_never_sharper_after_x264(tmp_path: Path) -> None:
    """Where the blur has taken the coarser detail too, rounding and coding errors are all there is to compare."""
    source = texture(680, 380, 21)
    values = []
    for sigma in (0.7, 1.5, 3.0, 6.0, 12.0):
        pictures = [blur(np.ascontiguousarray(source[i : i + 360, 2 * i : 2 * i + 640]), sigma) for i in range(12)]
        encode(pictures, tmp_path / "blurred.mp4", 25, crf=18)
        values.append(number(sharpness_of(decoded_luma(tmp_path / "blurred.mp4"), 0)))
    assert all(more < less + 0.02 for less, more in itertools.pairwise(values))
    assert max(values[1:]) < 0.05


def test_contrast_light_and_range_hardly_matter(picture: np.ndarray) -> None:
    for other in (level(picture, 0.35, 70), level(picture, 0.6), level(picture, 0.6, 95)):
        assert sharp(other) == pytest.approx(sharp(picture), abs=0.12)
    assert sharp(picture, full_range=False) == pytest.approx(sharp(picture), abs=0.05)


def test_noise_does_not_sharpen(picture: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    soft = blur(picture, 1.5)
    noisy = np.clip(np.rint(soft + rng.normal(0, 4, soft.shape)), 0, 255).astype(np.uint8)
    assert sharp(noisy) < 0.1
    for strength in (2.0, 6.0, 14.0):
        flat = np.clip(np.rint(120 + rng.normal(0, strength, (720, 1280))), 0, 255).astype(np.uint8)
        assert sharpness_of(flat, 0) is None


def test_noise_would_sharpen_if_it_were_taken_for_structure(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharpness, "_OVER_NOISE", 0.0)
    monkeypatch.setattr(sharpness, "_LEAST_ENERGY", 0.0)
    with pytest.raises(AssertionError):
        test_noise_does_not_sharpen(picture)


def test_flat_and_tiny_planes_have_no_sharpness() -> None:
    assert sharpness_of(np.full((720, 1280), 90, np.uint8), 0) is None
    assert sharpness_of(np.zeros((720, 1280), np.uint8), 0) is None
    assert sharpness_of(np.full((20, 300), 90, np.uint8), 0) is None
    ramp = np.tile(np.linspace(20, 230, 1280).astype(np.uint8), (720, 1))
    assert sharpness_of(ramp, 0) in (None, pytest.approx(0.0, abs=0.3))


def test_bars_do_not_sharpen(picture: np.ndarray) -> None:
    soft = blur(picture, 2.0)
    for barred in (draw_bars(soft, top=100, bottom=100), draw_bars(soft, left=300, right=300)):
        assert sharp(barred) < 0.05
    # Three tiles fill this picture from bar to bar.
    low = np.ascontiguousarray(soft[:360, :640])
    assert sharp(draw_bars(low, top=30, bottom=30)) < 0.05


def test_a_picture_with_a_blurred_background_is_sharp(picture: np.ndarray) -> None:
    subject = blur(picture, 3.0)
    subject[:, 500:1000] = picture[:, 500:1000]
    assert sharp(subject) > 0.6


def decoded_luma(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        *_, last = container.decode(video=0)
        return last.reformat(format="gray").to_ndarray()


def test_the_least_sharp_second_is_found_and_one_odd_sample_is_not(picture: np.ndarray) -> None:
    soft = blur(picture, 2.0)
    for soft_samples, least in ((0, 0.6), (1, 0.25), (2, 0.0), (6, 0.0)):
        pictures = [picture] * 4 + [soft] * soft_samples + [picture] * 4
        values = signals_of(*pictures)
        assert number(values["sharpness_min"]) >= least
        assert number(values["sharpness_min"]) <= number(values["sharpness"])
        if soft_samples >= 2:
            assert number(values["sharpness_min"]) < 0.05
    assert signals_of(picture)["sharpness_min"] == signals_of(picture)["sharpness"]


def test_native_against_enlarged_after_x264(tmp_path: Path) -> None:
    source = texture(700, 400, 21)
    pictures = [source[i : i + 360, 2 * i : 2 * i + 640] for i in range(12)]
    values = []
    for name, change in (
        ("native", lambda p: p),
        ("enlarged", lambda p: upscale(p, 2)),
        ("third", lambda p: upscale(p, 3)),
    ):
        path = tmp_path / f"{name}.mp4"
        encode([np.ascontiguousarray(change(p)) for p in pictures], path, 25, crf=20)
        values.append(number(sharpness_of(decoded_luma(path), 0)))
    assert values[0] > 0.65
    assert values[1] < 0.35
    assert values[2] < 0.15


# Bars


def found(frames: list[Frame]) -> tuple[SIGNED, float]:
    """((top, bottom, left, right), share)."""
    signal = Bars()
    for frame in frames:
        signal.push(frame)
    values = signal.close(Span(0, len(frames), 0, 0, 0.0, len(frames) / 2))
    top, bottom, left, right = (round(number(values[f"bar_{s}"])) for s in ("top", "bottom", "left", "right"))
    return (top, bottom, left, right), number(values["bar_share"])


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("size", [(80, 80, 0, 0), (0, 0, 80, 80), (81, 79, 0, 0), (60, 60, 100, 100), (0, 80, 0, 0)])
def test_bars_are_found_within_two_pixels(picture: np.ndarray, size: SIGNED, full_range: bool) -> None:
    top, bottom, left, right = size
    pictures = [draw_bars(np.roll(picture, 50 * i, axis=1), top, bottom, left, right) for i in range(4)]
    measured, share = found([frame_of(p, i, full_range=full_range) for i, p in enumerate(pictures)])
    assert measured == pytest.approx(size, abs=2)
    assert share == pytest.approx(1 - (720 - top - bottom) * (1280 - left - right) / (720 * 1280), abs=0.01)


def test_no_bars_are_found_where_there_are_none(picture: np.ndarray) -> None:
    assert found([frame_of(picture)]) == ((0, 0, 0, 0), 0.0)


def test_dark_scenes_have_no_bars(picture: np.ndarray) -> None:
    rng = np.random.default_rng(8)
    y, x = np.mgrid[0:720, 0:1280]
    # A lamp in the night: a bright disc, and light that falls off around it until nothing is left.
    lamp = np.exp(-(((x - 500) / 200.0) ** 2 + ((y - 420) / 120.0) ** 2))[..., None]
    night = level(picture * lamp, 1.0)
    stars = np.zeros_like(picture)
    stars[rng.integers(150, 600, 60), rng.integers(200, 1000, 60)] = 200
    title = np.zeros_like(picture)
    cv2.putText(title, "a title on black", (300, 400), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (255, 255, 255), 3)
    for dark in (night, stars, title):
        assert found([frame_of(dark, i) for i in range(3)])[0] == (0, 0, 0, 0)


def test_a_dark_scene_between_bars_keeps_them(picture: np.ndarray) -> None:
    """The lit samples show the bars; a sample that is dark at the edge makes them no larger."""
    dim = level(picture, 1.0)
    dim[:300] = 0
    pictures = [draw_bars(p, top=80, bottom=80) for p in (picture, dim, picture)]
    assert found([frame_of(p, i) for i, p in enumerate(pictures)])[0] == pytest.approx((80, 80, 0, 0), abs=2)


def test_bars_that_come_and_go_are_no_bars(picture: np.ndarray) -> None:
    pictures = [draw_bars(picture, top=80), picture]
    assert found([frame_of(p, i) for i, p in enumerate(pictures)])[0] == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("rotation", "expected"), [(0, (90, 40, 0, 0)), (90, (0, 0, 40, 90)), (180, (40, 90, 0, 0)), (270, (0, 0, 90, 40))]
)
def test_bars_turn_with_the_picture(picture: np.ndarray, rotation: int, expected: SIGNED) -> None:
    stored = draw_bars(picture, top=90, bottom=40)
    upright = np.rot90(stored, -rotation // 90)
    seen = found([frame_of(np.ascontiguousarray(upright))])[0]
    assert seen == pytest.approx(expected, abs=2)
    assert found([frame_of(stored, rotation=rotation)])[0] == seen


def test_bars_are_in_displayed_pixels(picture: np.ndarray) -> None:
    stored = cv2.resize(picture, (720, 576), interpolation=cv2.INTER_AREA)
    frame = frame_of(draw_bars(stored, left=45, right=45), display_size=(1024, 576))
    assert found([frame])[0] == pytest.approx((0, 0, 64, 64), abs=2)


def test_black_clips_have_unknown_bars() -> None:
    values = signals_of(np.zeros((360, 640, 3), np.uint8))
    assert values["bar_share"] is None
    assert values["bar_top"] is None


def test_letterbox_of_a_real_film() -> None:
    path = Path(__file__).parents[3] / "shared/videos/tears_of_steel_letterbox.mp4"
    if not path.exists():
        pytest.skip("the development videos are not here")
    frames: list[Frame] = []
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index >= 60:
                break
            if index % 15 == 0:
                frames.append(frame_of(frame.to_ndarray(format="rgb24"), len(frames)))
    assert found(frames)[0] == pytest.approx((93, 94, 0, 0), abs=2)


@pytest.mark.parametrize(
    ("size", "rotation", "shown", "expected"),
    [
        ((640, 360), 0, None, "landscape"),
        ((640, 360), 90, None, "portrait"),
        ((360, 640), 0, None, "portrait"),
        ((372, 360), 0, None, "square"),
        ((384, 360), 0, None, "landscape"),
        ((720, 576), 0, (1024, 576), "landscape"),
        ((480, 480), 0, (640, 480), "landscape"),
    ],
)
def test_orientation_is_that_of_the_displayed_picture(
    size: tuple[int, int], rotation: int, shown: tuple[int, int] | None, expected: str
) -> None:
    signal = Bars()
    signal.push(frame_of(texture(*size, 15), rotation=rotation, display_size=shown))
    assert signal.close(Span(0, 1, 0, 0, 0.0, 0.5))["orientation"] == expected


def test_orientation_leaves_the_bars_out(picture: np.ndarray) -> None:
    """A phone's upright film between two black pillars is a portrait."""
    values = signals_of(draw_bars(picture, left=438, right=438))
    assert values["orientation"] == "portrait"
    assert signals_of(draw_bars(picture, left=280, right=280))["orientation"] == "square"
    assert signals_of(np.zeros((360, 640, 3), np.uint8))["orientation"] == "landscape"


# Light and colour


def test_light_follows_its_definitions() -> None:
    half = np.zeros((144, 256, 3), np.uint8)
    half[:, 128:] = 255
    values = signals_of(half)
    # The left half is taken for a bar, as it is one.
    assert values["bar_left"] == 128
    halves = np.full((144, 256, 3), 51, np.uint8)
    halves[:, 128:] = 204
    values = signals_of(halves)
    assert values["brightness"] == pytest.approx(0.5, abs=0.005)
    assert values["contrast"] == pytest.approx(0.6, abs=0.01)
    assert values["colourfulness"] == pytest.approx(0.0, abs=0.01)


def test_colourfulness_is_m3_of_hasler_and_suesstrunk() -> None:
    rng = np.random.default_rng(4)
    # Fields of one colour each, as colour is kept at half the resolution.
    rgb = rng.integers(30, (226, 120, 90), (9, 16, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    rg, yb = r - g, (r + g) / 2 - b
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert signals_of(rgb)["colourfulness"] == pytest.approx(expected, rel=0.05)


def test_bars_do_not_darken(picture: np.ndarray) -> None:
    plain, barred = signals_of(picture[100:620]), signals_of(draw_bars(picture, top=100, bottom=100))
    for name in ("brightness", "contrast", "colourfulness"):
        assert barred[name] == pytest.approx(plain[name], rel=0.03)


def test_edges_gather_at_a_subject() -> None:
    assert edge_spread(np.full((144, 256), 80, np.uint8)) == 1.0
    assert edge_spread(luma_of(texture(256, 144, 5))) > 0.6
    subject = np.full((144, 256), 80, np.uint8)
    subject[50:90, 100:160] = luma_of(texture(60, 40, 5))
    assert edge_spread(subject) < 0.1


# The photographic score


def test_lost_highlights_lower_the_score() -> None:
    """Two pictures of the same mean and contrast: a smooth one, and one half of which is blown out."""
    light = Light(
        brightness=0.5, contrast=0.4, colourfulness=30.0, clipped_highlights=0.0, clipped_shadows=0.0, spread=0.7
    )
    for kind in ("clipped_highlights", "clipped_shadows"):
        whole, blown = (aesthetic_photo(replace(light, **{kind: c}), 0.9) for c in (0.0, 0.5))
        assert blown == pytest.approx(whole * 0.5**0.25)
    half = np.full((144, 256, 3), 128, np.uint8)
    half[:, :128] = 255
    meter = LightMeter()
    meter.push(frame_of(half))
    measured = meter.measure(Span(0, 1, 0, 0, 0.0, 0.5))
    assert measured is not None
    assert measured.clipped_highlights == pytest.approx(0.5, abs=0.01)
    assert measured.clipped_shadows == 0.0


def test_clipped_shares_are_what_was_clipped(picture: np.ndarray) -> None:
    spoilt = np.clip(picture, 20, 235)
    spoilt[:180], spoilt[-72:] = 0, 255
    values = signals_of(np.ascontiguousarray(np.flipud(spoilt)))
    assert values["clipped_highlights"] == pytest.approx(72 / 540, abs=0.01)
    # The quarter in black lies at the lower rim with a straight edge: it is a bar, and no shadow.
    assert values["bar_bottom"] == pytest.approx(180, abs=2)
    assert values["clipped_shadows"] == pytest.approx(0.0, abs=0.01)
    spoilt[:180], spoilt[100:280] = 90, 0
    assert signals_of(spoilt)["clipped_shadows"] == pytest.approx(0.25, abs=0.01)


def test_sound_pictures_score_above_spoilt_ones(picture: np.ndarray) -> None:
    score = {
        name: number(signals_of(rgb)["aesthetic_photo"])
        for name, rgb in {
            "sound": picture,
            "gray": np.repeat(luma_of(picture)[..., None], 3, axis=2),
            "dull": level(picture, 0.25, 90),
            "dark": level(picture, 0.15),
            "blurred": blur(picture, 6.0),
            "blown": level(picture, 2.0, 160),
            "black": np.zeros_like(picture),
            "white": np.full_like(picture, 255),
            "flat": np.full_like(picture, 110),
        }.items()
    }
    assert score["sound"] > 6.5
    assert 3.0 < score["gray"] < score["sound"] - 0.5
    assert score["dull"] < score["sound"] - 1.5
    for spoilt in ("black", "white", "flat", "blown", "blurred"):
        assert score[spoilt] < 2.5, spoilt
    assert score["dark"] < score["sound"] - 2


def test_each_fault_lowers_the_score_by_degrees(picture: np.ndarray) -> None:
    for faults in (
        [level(picture, g, 118 * (1 - g)) for g in (1.0, 0.6, 0.3, 0.1)],
        [blur(picture, s) for s in (0.5, 0.8, 1.2, 2.0)],
        [level(picture, g) for g in (0.7, 0.4, 0.2, 0.05)],
        [level(picture, 1.0, o) for o in (0, 70, 110, 130)],
    ):
        scores = [number(signals_of(p)["aesthetic_photo"]) for p in faults]
        assert scores == sorted(scores, reverse=True), scores
        assert scores[0] > scores[-1] + 1
