"""Every signal of a picture with black bars equals that of the same picture without; and none depends on resolution or rate."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from curation.frames import Span, frame_of
from curation.golden import draw, scenes
from curation.golden.scenes_picture import overlaid, pulled
from curation.golden.timeline import Shot
from curation.signals import SignalSet
from curation.signals.samples import Clock

SIZE = (640, 264)
TOLERANCE: dict[str, dict[str, float]] = {
    "sharpness": {"rel": 0.1},
    "sharpness_min": {"rel": 0.1},
    "brightness": {"rel": 0.02},
    "contrast": {"rel": 0.03},
    "clipped_highlights": {"abs": 0.005},
    "clipped_shadows": {"abs": 0.01},
    "colourfulness": {"rel": 0.05},
    "black_share": {"abs": 0.0},
    "static_share": {"abs": 0.0},
    "duplicate_share": {"abs": 0.0},
    "effective_fps": {"rel": 0.001},
    "comb_share": {"abs": 0.0},
    "blockiness": {"abs": 0.05},
    "overlay_share": {"rel": 0.2},
    "still_consistency": {"abs": 0.04},
    "aesthetic_photo": {"rel": 0.03},
}
"""How near a barred picture's value must be to the bare one's."""


def values_of(shot: Shot, fps: float) -> dict[str, Any]:
    """All signals of a shot, taken as the pass does: small planes of at most 256 px, native luma twice a second."""
    signals, view, clock = SignalSet(), shot.make(shot.length), Clock(SignalSet.luma_rate)
    for index in range(shot.length):
        rgb = view(index)
        height, width = rgb.shape[:2]
        scale = min(1.0, 256 / max(width, height))
        small = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
        bgr = cv2.resize(np.ascontiguousarray(rgb[..., ::-1]), small, interpolation=cv2.INTER_AREA)
        luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) if clock.due(index / fps) else None
        frame = frame_of(bgr, index, index / fps, luma=luma, display_size=(width, height), full_range=True)
        signals.push(frame)
    return signals.close(Span(0, shot.length, 0, 0, 0.0, shot.length / fps))


def barred(shot: Shot, top: int, bottom: int, left: int, right: int) -> Shot:
    def frame(picture: np.ndarray, _: int) -> np.ndarray:
        return cv2.copyMakeBorder(picture, top, bottom, left, right, cv2.BORDER_CONSTANT)

    return shot.through(frame)


def spoilt(shot: Shot) -> Shot:
    """With some of everything: a blown-out field, a black one, a subtitle."""

    def paint(picture: np.ndarray, _: int) -> np.ndarray:
        picture = picture.copy()
        picture[100:140, 60:160], picture[60:120, 400:480] = 255, 0
        return picture

    return overlaid(shot.through(paint), [(180, 210, 280, 24)], ["HERE IS A LINE OF TEXT"])


@pytest.fixture(scope="module")
def shots() -> dict[str, Shot]:
    pan = scenes.pan(SIZE, 5, 60, 7.0)
    return {
        "spoilt": spoilt(pan),
        "combed": scenes.comb(pan),
        "repeating": pulled(scenes.pan(SIZE, 6, 30, 14.0), 12.5, 25),
        "half frozen": Shot(60, lambda _: (lambda view: lambda index: view(min(index, 30)))(pan.make(60))),
        "black for a while": pan.through(lambda picture, index: picture if index < 30 else np.zeros_like(picture)),
    }


@pytest.mark.parametrize("name", ["spoilt", "combed", "repeating", "half frozen", "black for a while"])
@pytest.mark.parametrize("bars", [(48, 48, 0, 0), (0, 0, 96, 96), (30, 60, 0, 0)])
def test_bars_change_no_score(shots: dict[str, Shot], name: str, bars: tuple[int, int, int, int]) -> None:
    bare, framed = values_of(shots[name], 25.0), values_of(barred(shots[name], *bars), 25.0)
    found = [framed[f"bar_{side}"] for side in ("top", "bottom", "left", "right")]
    assert found == pytest.approx(list(bars), abs=2)
    for signal, tolerance in TOLERANCE.items():
        if bare[signal] is None:
            assert framed[signal] is None, signal
        else:
            assert framed[signal] == pytest.approx(bare[signal], **tolerance), signal
    for place in "abc":
        hashes = bare[f"phash_{place}"], framed[f"phash_{place}"]
        if None not in hashes:
            assert (hashes[0] ^ hashes[1]).bit_count() <= 8
    assert framed["orientation"] == bare["orientation"]


def test_bars_would_change_scores_if_they_were_left_in(shots: dict[str, Shot], monkeypatch: pytest.MonkeyPatch) -> None:
    from curation.signals import Bars
    from curation.signals.crop import NO_BARS

    monkeypatch.setattr(Bars, "crop", lambda self, span: NO_BARS)
    bare, framed = values_of(shots["spoilt"], 25.0), values_of(barred(shots["spoilt"], 48, 48, 0, 0), 25.0)
    for signal in ("brightness", "contrast", "clipped_shadows", "aesthetic_photo", "overlay_share"):
        assert framed[signal] != pytest.approx(bare[signal], **TOLERANCE[signal]), signal


def drawn_at(size: tuple[int, int], fps: float) -> Shot:
    """Two and a half seconds of one scene, whatever the size and rate: half the picture's width a second, with a logo."""
    width, height = size
    source = draw.texture(1280 * 9 // 4, 800, 11)
    source = cv2.resize(source, (width * 9 // 4, height * 10 // 9), interpolation=cv2.INTER_AREA)
    step = 0.45 * width / fps

    def make(_: int) -> Any:
        return lambda index: draw.window(source, 6 + step * index, 6, width, height)

    box = (round(0.8 * width), round(0.05 * height), round(0.16 * width), round(0.08 * height))
    return overlaid(Shot(round(2.5 * fps), make), [box], ["LOGO"])


ALIKE: dict[str, dict[str, float]] = {
    "brightness": {"rel": 0.02},
    "contrast": {"rel": 0.03},
    "colourfulness": {"rel": 0.06},
    "clipped_highlights": {"abs": 0.002},
    "clipped_shadows": {"abs": 0.002},
    "black_share": {"abs": 0.0},
    "static_share": {"abs": 0.0},
    "duplicate_share": {"abs": 0.0},
    "comb_share": {"abs": 0.0},
    "blockiness": {"abs": 0.08},
    "still_consistency": {"abs": 0.06},
    "overlay_share": {"abs": 0.006},
    "aesthetic_photo": {"rel": 0.06},
}
"""How near the values of one scene must be at any size and rate."""


@pytest.mark.parametrize(
    ("size", "fps"), [((320, 180), 25.0), ((1280, 720), 25.0), ((640, 360), 12.0), ((640, 360), 50.0)]
)
def test_size_and_rate_change_no_score(size: tuple[int, int], fps: float) -> None:
    first, second = values_of(drawn_at((640, 360), 25.0), 25.0), values_of(drawn_at(size, fps), fps)
    for signal, tolerance in ALIKE.items():
        assert second[signal] == pytest.approx(first[signal], **tolerance), signal
    assert second["effective_fps"] == pytest.approx(fps, rel=0.01)
    # Shrinking makes sharper, so that sharpness of one size cannot be that of another; each is sharp.
    assert min(first["sharpness"], second["sharpness"]) > 0.6
    for place in "abc":
        assert (first[f"phash_{place}"] ^ second[f"phash_{place}"]).bit_count() <= 10
