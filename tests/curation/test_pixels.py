"""Small pictures: which rows of a high frame they are made of, and that every pixel format and a change of size go well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from curation import pixels
from curation.decode import open_source
from curation.golden.encode import encode
from curation.pixels import FrameMaker, rows_apart


def maker(tmp_path: Path, size: tuple[int, int], rotation: int = 0) -> FrameMaker:
    path = tmp_path / f"{size[0]}x{size[1]}_{rotation}.mp4"
    encode([np.zeros((size[1], size[0], 3), np.uint8)], path, 25, rotation=rotation, options={"preset": "ultrafast"})
    with open_source(path) as reader:
        return FrameMaker(reader.probe)


def picture(size: tuple[int, int]) -> np.ndarray:
    """(h, w) uint8: smooth waves of 20 to 230."""
    x, y = np.meshgrid(np.arange(size[0]) / size[0], np.arange(size[1]) / size[1])
    return np.round(125 + 60 * np.sin(9 * x + 2) + 45 * np.cos(14 * y)).astype(np.uint8)


def frame_of(luma: np.ndarray, pixel_format: str = "yuv420p") -> VideoFrame:
    # One thread: with more, swscale's answer for 10 bits is not the same each time.
    return VideoFrame.from_ndarray(luma, format="gray").reformat(format=pixel_format, threads=1)


def small(made: FrameMaker, frame: VideoFrame) -> np.ndarray:
    return made.make(frame, 0, 0, with_luma=False).gray.astype(float)


@pytest.mark.parametrize(("rows", "every"), [(100, 1), (360, 1), (480, 2), (720, 3), (1080, 4), (2160, 9)])
def test_high_frames_are_thinned(rows: int, every: int) -> None:
    assert rows_apart(rows, 144) == every
    assert every == 1 or rows / every >= pixels.LEAST_ROWS * 144


@pytest.mark.parametrize(
    "pixel_format",
    [
        "yuv420p",
        "yuvj420p",
        "yuv422p",
        "yuv444p",
        "yuv420p10le",
        "yuv410p",
        "nv12",
        "yuva420p",
        "gbrp",
        "gray",
        "rgb24",
    ],
)
@pytest.mark.parametrize("size", [(1920, 1080), (1280, 722), (854, 480)])
def test_some_rows_give_the_picture_that_all_rows_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixel_format: str, size: tuple[int, int]
) -> None:
    frame = frame_of(picture(size), pixel_format)
    some = small(maker(tmp_path, size), frame)
    monkeypatch.setattr(pixels, "rows_apart", lambda rows, small_rows: 1)
    every = small(maker(tmp_path, size), frame)
    assert some.shape == every.shape
    assert np.abs(some - every).mean() < 0.6
    assert abs(float(some.mean() - every.mean())) < 0.1
    assert np.abs(some - every).max() < 4


def test_rows_between_are_not_read(tmp_path: Path) -> None:
    """Rows 2, 6, 10, … of 1080 make the picture. Reading all of them would show the others, and cost twice the time."""
    luma = np.full((1080, 1920), 235, np.uint8)
    luma[2::4] = 16
    assert small(maker(tmp_path, (1920, 1080)), frame_of(luma)).max() <= 16


def test_a_turned_picture_is_thinned_by_its_stored_rows(tmp_path: Path) -> None:
    turned = small(maker(tmp_path, (1920, 1080), rotation=90), frame_of(picture((1920, 1080))))
    upright = small(maker(tmp_path, (1920, 1080)), frame_of(picture((1920, 1080))))
    assert np.array_equal(turned, np.rot90(upright, -1))


def test_size_and_format_may_change_on_the_way(tmp_path: Path) -> None:
    made = maker(tmp_path, (1280, 720))
    first = small(made, frame_of(picture((1280, 720))))
    for size, pixel_format in (((640, 360), "yuv420p"), ((1920, 1080), "yuv422p"), ((400, 300), "yuv444p")):
        later = small(made, frame_of(picture(size), pixel_format))
        assert later.shape == first.shape
        assert np.abs(later - first).mean() < 3
    assert np.array_equal(small(made, frame_of(picture((1280, 720)))), first)


def test_rows_may_lie_further_apart_on_the_way(tmp_path: Path) -> None:
    near = frame_of(picture((1920, 1080)))
    planes = np.full((1620, 2048), 128, np.uint8)
    planes[:1080, :1920] = np.frombuffer(memoryview(near.planes[0]), np.uint8).reshape(1080, 1920)
    wide = VideoFrame.from_numpy_buffer(planes, "yuv420p", width=1920)
    near.colorspace, near.color_range = wide.colorspace, wide.color_range
    assert wide.planes[0].line_size != near.planes[0].line_size
    made = maker(tmp_path, (1920, 1080))
    first, later, last = (small(made, frame) for frame in (near, wide, near))
    assert np.array_equal(first, later)
    assert np.array_equal(first, last)


def test_one_frame_does_not_show_through_the_next(tmp_path: Path) -> None:
    made = maker(tmp_path, (1920, 1080))
    first = made.make(frame_of(picture((1920, 1080))), 0, 0, with_luma=False).gray
    kept = first.copy()
    made.make(frame_of(np.full((1080, 1920), 200, np.uint8)), 1, 1, with_luma=False)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(("color_range", "shown"), [(ColorRange.MPEG, 255), (ColorRange.JPEG, 235)])
@pytest.mark.parametrize("size", [(640, 360), (1920, 1080)])
def test_the_range_of_levels_is_heeded(
    tmp_path: Path, size: tuple[int, int], color_range: ColorRange, shown: int
) -> None:
    frame = VideoFrame(*size, "yuv420p")
    for plane, level in zip(frame.planes, (235, 128, 128), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    frame.color_range = color_range
    assert np.abs(small(maker(tmp_path, size), frame) - shown).max() <= 1
