"""Cutting clips: the exported frames are exactly the source's, copied or encoded, whatever the source looks like.

The drawn sources carry each frame's number as bright and dark blocks, so that a test reads back which frames an export shows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import cutting, encoder
from curation.cutting import ClipToCut, CutError, cut_clip
from curation.decode import SourceReader
from curation.encoder import fitted_size, pipe_format
from curation.golden.encode import encode
from curation.remux import decoding_times, fingerprint, plan_copy
from curation.sound import write_sound
from curation.spans import SourceSpan
from curation.timescale import ticks, timescale_of
from schemas.errors import UsageError
from schemas.recipe import Export

VIDEOS = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
COLUMNS, ROWS = 4, 2
WIDTH, HEIGHT = 160, 96
ENCODE = Export(copy_allowed=False)
COPY = Export(copy_keyframe_interval_s=4.0)


# Sources and what is read from them


def numbered(count: int, width: int = WIDTH, height: int = HEIGHT) -> Iterator[np.ndarray]:
    """Frames with their number in binary, over a texture that moves (so that frames refer to each other)."""
    texture = cv2.GaussianBlur(np.random.default_rng(7).integers(0, 256, (height, width), np.uint8), (0, 0), 1.5)
    for n in range(count):
        gray = np.roll(texture, (n, 2 * n), (0, 1)) // 6
        for bit in range(COLUMNS * ROWS):
            y, x = divmod(bit, COLUMNS)
            block = gray[y * height // ROWS : (y + 1) * height // ROWS, x * width // COLUMNS : (x + 1) * width // COLUMNS]
            block += 170 if n >> bit & 1 else 20
        yield np.repeat(gray[:, :, None], 3, axis=2)


def number_of(gray: np.ndarray) -> int:
    """The number in an upright picture."""
    height, width = gray.shape
    number = 0
    for bit in range(COLUMNS * ROWS):
        y, x = divmod(bit, COLUMNS)
        middle = gray[
            int((y + 0.25) * height / ROWS) : int((y + 0.75) * height / ROWS),
            int((x + 0.25) * width / COLUMNS) : int((x + 0.75) * width / COLUMNS),
        ]
        number |= int(middle.mean() > 115) << bit
    return number


@dataclass(frozen=True)
class Facts:
    """One decode of a file from its beginning, with one thread."""

    path: Path
    probe: Any
    pts: list[int]
    end_pts: int
    prints: list[bytes]
    numbers: list[int]
    luma: list[float]

    @property
    def times(self) -> list[float]:
        return [float(pts * self.probe.time_base) for pts in self.pts]


def facts_of(path: Path) -> Facts:
    pts, prints, numbers, luma = [], [], [], []
    with SourceReader(path) as reader:
        for frame, _, stamp in reader.decoded():
            gray = np.rot90(frame.reformat(format="gray").to_ndarray(), -(reader.probe.rotation // 90))
            pts.append(stamp)
            prints.append(fingerprint(frame))
            numbers.append(number_of(gray))
            luma.append(float(gray.mean()))
        assert reader.tally.end_pts is not None
        return Facts(path, reader.probe, pts, reader.tally.end_pts, prints, numbers, luma)


def clip_of(source: Facts, start: int, end: int) -> ClipToCut:
    probe = source.probe
    start_pts, end_pts = source.pts[start], (source.pts + [source.end_pts])[end]
    base, aspect = probe.time_base, probe.sample_aspect_ratio
    start_s, end_s = float(start_pts * base), float(end_pts * base)
    return ClipToCut(
        clip_id="c",
        path=source.path,
        stream_index=probe.stream_index,
        time_base=f"{base.numerator}/{base.denominator}",
        start_pts=start_pts,
        end_pts=end_pts,
        start_frame=start,
        end_frame=end,
        start_s=start_s,
        end_s=end_s,
        rotation=probe.rotation,
        width=probe.width,
        height=probe.height,
        sample_aspect_ratio=f"{aspect.numerator}:{aspect.denominator}",
        pixel_format=probe.pixel_format,
        codec=probe.codec,
        fps=(end - start) / (end_s - start_s),
    )


def check_export(source: Facts, clip: ClipToCut, settings: Export, out: Path, *, numbered: bool = True) -> tuple[Facts, Any]:
    """Cut, then hold the file against what was returned and against the source."""
    result = cut_clip(clip, settings, out)
    export = facts_of(out)
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")] == []
    assert result.end_frame - result.start_frame == result.num_frames == len(export.pts)
    assert clip.start_frame <= result.start_frame < result.end_frame <= clip.end_frame
    assert (result.width, result.height) == (export.probe.width, export.probe.height)
    assert (export.probe.rotation, export.probe.sample_aspect_ratio, export.probe.pixel_format) == (0, 1, "yuv420p")
    assert export.pts[0] == 0
    first = source.times[result.start_frame]
    expected = [time - first for time in source.times[result.start_frame : result.end_frame]]
    np.testing.assert_allclose(export.times, expected, atol=1e-5)
    duration = float(export.end_pts * export.probe.time_base)
    assert result.fps == pytest.approx(result.num_frames / duration, rel=0.02)
    if numbered:
        assert export.numbers == [n % 256 for n in range(result.start_frame, result.end_frame)]
    if result.how == "copy":
        assert export.prints == source.prints[result.start_frame : result.end_frame]
        assert first - clip.start_s <= settings.copy_start_tolerance_s
    else:
        assert (result.start_frame, result.end_frame) == (clip.start_frame, clip.end_frame)
    if settings.audio == "drop":
        assert b"elst" not in out.read_bytes()
    return export, result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


def draw(folder: Path, name: str, count: int = 60, fps: float = 25, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> Facts:
    path = folder / name
    if not path.exists():
        encode(numbered(count, *size), path, fps, **options)
    source = facts_of(path)
    assert source.numbers == [n % 256 for n in range(count)]
    return source


# Encoding

X264 = {"preset": "veryfast"}
VFR = [0, 40, 80, 90, 100, 260, 300, 333, 366, 400, 900, 940, 1000, 1001, 1040, 1500]
SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "b_frames": ("b.mp4", {"gop": 24, "bframes": 3}),
    "open_gop": ("open.mp4", {"gop": 20, "bframes": 3, "options": X264 | {"x264-params": "open-gop=1:b-pyramid=normal:scenecut=0"}}),
    "intra_refresh": ("refresh.mp4", {"gop": 20, "options": X264 | {"x264-params": "intra-refresh=1:scenecut=0"}}),
    "late_start": ("late.mp4", {"pts": [830 + 40 * n for n in range(60)], "gop": 15}),
    "vfr_mkv": ("vfr.mkv", {"count": len(VFR), "pts": VFR, "gop": 6, "bframes": 2}),
    "vfr_mp4": ("vfr.mp4", {"count": len(VFR), "pts": VFR, "gop": 6, "bframes": 2}),
    "turned_90": ("t90.mp4", {"rotation": 90}),
    "turned_180": ("t180.mp4", {"rotation": 180}),
    "turned_270": ("t270.mp4", {"rotation": 270}),
    "wide_pixels": ("wide.mp4", {"sar": Fraction(4, 3)}),
    "tall_pixels": ("tall.mp4", {"sar": Fraction(8, 9)}),
    "wide_turned": ("wideturned.mp4", {"sar": Fraction(4, 3), "rotation": 90}),
    "ten_bits": ("deep.mkv", {"pix_fmt": "yuv420p10le"}),
    "deep_rgb": ("deeprgb.mkv", {"codec": "ffv1", "pix_fmt": "gbrp10le"}),
    "rgb": ("rgb.avi", {"codec": "ffv1", "pix_fmt": "bgra"}),
    "grey": ("grey.mkv", {"codec": "ffv1", "pix_fmt": "gray"}),
    "grey_h264": ("grey.mp4", {"pix_fmt": "gray"}),
    "alpha": ("alpha.mov", {"codec": "prores_ks", "pix_fmt": "yuva444p10le"}),
    "odd": ("odd.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p", "size": (161, 97)}),
    "odd_turned": ("oddturned.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p", "size": (161, 97), "rotation": 90}),
    "sampling_411": ("411.mkv", {"codec": "ffv1", "pix_fmt": "yuv411p"}),
    "full_range": ("full.mp4", {"full_range": True, "pix_fmt": "yuvj420p"}),
    "avi_b_frames": ("b.avi", {"codec": "mpeg4", "gop": 12, "bframes": 2}),
    "avi_h264": ("h264.avi", {"gop": 12, "bframes": 2}),
    "flv": ("x.flv", {"gop": 12, "bframes": 2}),
    "ts": ("x.ts", {"gop": 12, "bframes": 2}),
    "mpeg2": ("m2.ts", {"codec": "mpeg2video", "gop": 12, "bframes": 2}),
    "mpeg2_program": ("m2.mpg", {"codec": "mpeg2video", "gop": 12, "bframes": 2}),
    "mjpeg": ("mj.avi", {"codec": "mjpeg", "pix_fmt": "yuvj422p"}),
    "vp8": ("vp8.webm", {"codec": "libvpx", "gop": 20, "options": {"b": "1M", "deadline": "realtime", "cpu-used": "8"}}),
    "hevc": ("hevc.mp4", {"codec": "libx265", "gop": 20, "bframes": 3}),
    "long_base": ("base.mkv", {"fps": 23.976}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_an_encode_has_exactly_the_frames_of_the_span(kind: str, folder: Path, tmp_path: Path) -> None:
    name, options = SOURCES[kind]
    source = draw(folder, name, **options)
    count = len(source.pts)
    for start, end in [(0, 5), (count // 3, count // 3 + 9), (count - 4, count)]:
        export, result = check_export(source, clip_of(source, start, end), ENCODE, tmp_path / "out.mp4")
        assert result.how == "encode"
        assert (export.probe.width, export.probe.height) == fitted_size(source.probe.width, source.probe.height, 720)
        assert export.probe.color_range == "tv"
        # Full range, grey and RGB are brought to limited range, the others keep their levels.
        assert export.luma == pytest.approx(source.luma[start:end], abs=2.0)
        assert export.probe.color_matrix == (source.probe.color_matrix if source.probe.color_matrix != "gbr" else "bt709")
