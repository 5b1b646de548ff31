"""Blockiness against coders with known quantisers, with and without their own cure for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from curation.decode import open_source
from curation.frames import Span, frame_of
from curation.golden import draw, scenes
from curation.golden.encode import encode
from curation.signals.blocks import Blocks, blockiness, grid_steps

PAN = 10


def coded(path: Path, size: tuple[int, int] = (640, 360), fps: float = 10, **options: Any) -> float:
    """blockiness of a short pan after an encoder."""
    view = scenes.pan(size, 5, PAN, size[1] / 100).make(PAN)
    encode((view(i) for i in range(PAN)), path, fps, **options)
    signal = Blocks()
    with open_source(path) as reader:
        for frame in reader.frames():
            signal.push(frame)
    value = signal.close(Span(0, PAN, 0, 0, 0.0, PAN / fps))["blockiness"]
    assert value is not None
    return value


def mpeg4(quantiser: int) -> dict[str, Any]:
    return {"codec": "mpeg4", "crf": None, "options": {"qmin": str(quantiser), "qmax": str(quantiser), "b": "80000000"}}


def jpeg(luma: np.ndarray, quality: int) -> np.ndarray:
    data = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def of(luma: np.ndarray) -> float:
    offsets = grid_steps(luma)
    assert offsets is not None
    return blockiness(offsets)


@pytest.fixture(scope="module")
def luma() -> np.ndarray:
    return cv2.cvtColor(draw.texture(1280, 720, 6), cv2.COLOR_RGB2GRAY)


def test_x264_has_no_blocks_but_where_it_is_told_not_to_smooth_them(tmp_path: Path) -> None:
    for crf in (18, 28, 38):
        assert coded(tmp_path / f"{crf}.mp4", crf=crf) < 0.1
    assert coded(tmp_path / "bare.mp4", crf=36, options={"x264-params": "no-deblock=1"}) > 0.3


def test_blockiness_grows_with_the_quantiser(tmp_path: Path) -> None:
    values = [coded(tmp_path / f"{q}.avi", **mpeg4(q)) for q in (2, 4, 8, 16, 31)]
    assert values == sorted(values)
    assert values[0] < 0.25
    assert values[2] > 0.3
    assert values[4] > 1.0


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (1280, 720)])
def test_blockiness_does_not_depend_on_resolution_or_rate(size: tuple[int, int], tmp_path: Path) -> None:
    for fps in (12, 50):
        assert coded(tmp_path / f"{fps}.avi", size, fps, **mpeg4(12)) == pytest.approx(0.88, abs=0.1)


def test_uncoded_pictures_have_none(luma: np.ndarray) -> None:
    assert of(luma) < 0.06
    rng = np.random.default_rng(4)
    assert of(np.clip(rng.normal(120, 20, (360, 640)), 0, 255).astype(np.uint8)) < 0.05
    assert of(np.full((360, 640), 90, np.uint8)) == 0.0
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8), (360, 1))
    assert of(ramp) < 0.1


def test_a_cropped_grid_is_found_at_its_offset(luma: np.ndarray) -> None:
    blocky = jpeg(luma, 10)
    whole = of(blocky)
    assert whole > 0.7
    for x, y in ((3, 0), (5, 6), (1, 7)):
        assert of(np.ascontiguousarray(blocky[y:, x:])) == pytest.approx(whole, rel=0.15)


def test_a_grid_of_sixteen_is_found(luma: np.ndarray) -> None:
    small = jpeg(cv2.resize(luma, (640, 360), interpolation=cv2.INTER_AREA), 8)
    doubled = cv2.resize(small, (1280, 720), interpolation=cv2.INTER_LINEAR)
    assert of(doubled) > 0.3


def test_a_grid_that_was_scaled_is_gone(luma: np.ndarray) -> None:
    assert of(cv2.resize(jpeg(luma, 10), (1000, 562), interpolation=cv2.INTER_AREA)) < 0.1


def test_things_with_straight_edges_are_no_blocks() -> None:
    """Windows of a house, tiles of a wall: edges at equal distances, but not at those of blocks."""
    for pitch in (20, 30, 44, 60):
        picture = np.full((360, 640), 150, np.uint8)
        for x in range(7, 640, pitch):
            for y in range(5, 360, pitch):
                picture[y : y + pitch // 2, x : x + pitch // 2] = 60
        assert of(picture) < 0.1, pitch


def test_bars_change_nothing_and_tiny_pictures_are_unknown(luma: np.ndarray) -> None:
    blocky = jpeg(luma, 10)
    values = []
    for top in (0, 88, 90):
        signal, barred = Blocks(), blocky.copy()
        barred[:top], barred[720 - top :] = 0, 0
        signal.push(frame_of(np.zeros((144, 256, 3), np.uint8), luma=barred, full_range=True))
        values.append(signal.close(Span(0, 1, 0, 0, 0.0, 1.0))["blockiness"])
    assert values[1:] == pytest.approx([values[0]] * 2, rel=0.1)
    assert grid_steps(luma[:60]) is None
