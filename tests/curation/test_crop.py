"""`crop_bars`: an export without the source's black bars, in the orientation in which it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from curation.clip_form import box_without_bars
from curation.cutting import ClipToCut, cut_clip
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.golden.spans import timed
from schemas.recipe import Export

CROP = Export(cut="auto", crop_bars=True, crf=8)
FPS, COUNT = 25, 12
Bars = tuple[int, int, int, int]


def barred(width: int, height: int, bars: Bars) -> Iterator[np.ndarray]:
    """Upright pictures that move, under bars at the (top, bottom, left, right)."""
    top, bottom, left, right = bars
    big = texture(width + 2 * COUNT + 16, height + 16, 3)
    for n in range(COUNT):
        picture = window(big, 8 + 2 * n, 8, width, height).copy()
        picture[:top] = picture[height - bottom :] = 0
        picture[:, :left] = picture[:, width - right :] = 0
        yield picture


def clip_of(path: Path, bars: Bars) -> ClipToCut:
    """All frames of a file."""
    source = timed(path)
    return source.clip(0, len(source.pts), faultless=False, bars=bars)


def luma(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as mp4:
        return [frame.to_ndarray(format="gray").astype(np.float64) for frame in mp4.decode(video=0)]


def upright_luma(path: Path, rotation: int) -> list[np.ndarray]:
    return [np.rot90(picture, -(rotation // 90)) for picture in luma(path)]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(float(np.mean((one - other) ** 2)), 1e-10)))


CASES: dict[str, tuple[tuple[int, int], Bars, dict[str, Any]]] = {
    "letterbox": ((320, 240), (30, 30, 0, 0), {}),
    "pillarbox": ((320, 180), (0, 0, 40, 40), {}),
    "both": ((320, 240), (16, 20, 24, 28), {}),
    "odd": ((320, 240), (31, 29, 7, 5), {}),
    "one_side": ((320, 240), (0, 50, 0, 0), {}),
    "turned_90": ((180, 320), (40, 30, 0, 0), {"rotation": 90}),
    "turned_180": ((320, 180), (20, 10, 6, 0), {"rotation": 180}),
    "turned_270": ((180, 320), (41, 27, 9, 3), {"rotation": 270}),
    "full_chroma": ((320, 180), (11, 13, 0, 0), {"pix_fmt": "yuv444p"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_bars_are_gone_and_the_picture_is_untouched(kind: str, tmp_path: Path) -> None:
    (width, height), bars, options = CASES[kind]
    turns = options.get("rotation", 0) // 90
    source = tmp_path / "source.mp4"
    encode((np.rot90(frame, turns) for frame in barred(width, height, bars)), source, FPS, crf=8, gop=COUNT, **options)
    clip = clip_of(source, bars)
    assert (clip.width, clip.height) == (width, height)
    result = cut_clip(clip, CROP, tmp_path / "out.mp4")
    box = box_without_bars(width, height, *bars)
    assert box is not None
    x, y, box_width, box_height = box
    assert (result.how, result.width, result.height, result.num_frames) == ("encode", box_width, box_height, COUNT)
    shown = upright_luma(source, options.get("rotation", 0))
    for before, after in zip(shown, luma(tmp_path / "out.mp4"), strict=True):
        assert after.shape == (box_height, box_width)
        assert psnr(before[y : y + box_height, x : x + box_width], after) > 38
        for edge in (after[0], after[-1], after[:, 0], after[:, -1]):
            assert edge.mean() > 30, "a bar is left"


def test_a_cropped_clip_may_shrink_as_well(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    encode(barred(320, 240, (30, 30, 0, 0)), source, FPS)
    result = cut_clip(clip_of(source, (30, 30, 0, 0)), CROP.model_copy(update={"short_side": 90}), tmp_path / "out.mp4")
    assert (result.width, result.height) == (160, 90)
    assert min(float(picture[0].mean()) for picture in luma(tmp_path / "out.mp4")) > 30


@pytest.mark.parametrize("rotation", [0, 90])
def test_bars_of_wide_pixels_are_cut_in_displayed_pixels(rotation: int, tmp_path: Path) -> None:
    stored = (240, 240)
    source = tmp_path / "source.mp4"
    turns = rotation // 90
    # 240 stored columns are shown as 320: upright the picture is 320 × 240, or 240 × 320 where it is turned.
    bars = (0, 0, 30, 30) if rotation == 0 else (30, 30, 0, 0)
    encode((np.rot90(f, turns) for f in barred(*stored, bars)), source, FPS, sar=Fraction(4, 3), rotation=rotation)
    clip = clip_of(source, tuple(4 * bar // 3 for bar in bars))  # type: ignore[arg-type]
    result = cut_clip(clip, CROP, tmp_path / "out.mp4")
    assert (result.width, result.height) == ((240, 240))
    for picture in luma(tmp_path / "out.mp4"):
        assert min(edge.mean() for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1])) > 30


def test_without_bars_nothing_is_cropped_and_a_copy_stays_a_copy(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    encode(barred(320, 180, (0, 0, 0, 0)), source, FPS, gop=COUNT)
    clip = clip_of(source, (0, 0, 0, 0))
    result = cut_clip(clip, CROP, tmp_path / "out.mp4")
    assert (result.how, result.width, result.height) == ("copy", 320, 180)


def test_the_same_crop_gives_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    encode(barred(320, 240, (31, 29, 7, 5)), source, FPS)
    for name in ("one.mp4", "two.mp4"):
        cut_clip(clip_of(source, (31, 29, 7, 5)), CROP, tmp_path / name)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


@given(*[st.integers(1, 400)] * 2, *[st.integers(0, 120)] * 4)
@settings_of_hypothesis(max_examples=300, deadline=None)
def test_the_box_lies_within_the_bars(width: int, height: int, top: int, bottom: int, left: int, right: int) -> None:
    box = box_without_bars(width, height, top, bottom, left, right)
    inner_width, inner_height = width - left - right, height - top - bottom
    if box is None:
        assert top + bottom + left + right == 0 or min(inner_width, inner_height) < 18
        return
    x, y, box_width, box_height = box
    assert x % 2 == y % 2 == box_width % 2 == box_height % 2 == 0
    assert left <= x <= left + 1
    assert top <= y <= top + 1
    assert inner_width - 2 <= box_width <= width - right - x
    assert inner_height - 2 <= box_height <= height - bottom - y
