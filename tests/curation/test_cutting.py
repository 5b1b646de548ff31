"""Cutting clips: the exported frames are exactly the source's, copied or encoded, whatever the source looks like.

The drawn sources carry each frame's number as bright and dark blocks, so that a test reads back which frames an export shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from curation import copy_check, cutting
from curation.clip_form import fitted_size
from curation.cutting import ClipToCut, CutError, cut_clip
from curation.decode import SourceReader
from curation.golden.encode import encode
from curation.golden.numbered import number_of, numbered
from curation.golden.spans import Timed, timed
from curation.sound import write_sound
from schemas.recipe import Export

VIDEOS = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
WIDTH, HEIGHT = 160, 96
ENCODE = Export(cut="encode")
COPY = Export(copy_keyframe_interval_s=4.0)
X264 = {"preset": "veryfast", "sc_threshold": "0"}  # keyframes only where a test wants them


# Sources and what is read from them


@dataclass(frozen=True)
class Facts(Timed):
    """One decode of a file from its beginning, with one thread."""

    prints: list[bytes]
    numbers: list[int]
    luma: list[float]

    @property
    def times(self) -> list[float]:
        return [float(pts * self.probe.time_base) for pts in self.pts]


def fingerprint(frame: av.VideoFrame) -> bytes:
    """Hash of a frame's planes, without the padding of their rows (of planes with one byte a sample)."""
    digest = hashlib.blake2b()
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        digest.update(rows[:, : plane.width].tobytes())
    return digest.digest()


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


def check_export(
    source: Facts, clip: ClipToCut, settings: Export, out: Path, *, numbered: bool = True
) -> tuple[Facts, Any]:
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
    ends = [*source.times, float(source.end_pts * source.probe.time_base)]
    assert export.probe.announced_s == pytest.approx(ends[result.end_frame] - first, abs=1e-4)
    assert result.fps == pytest.approx(result.num_frames / export.probe.announced_s, rel=1e-3)
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


def draw(
    folder: Path, name: str, count: int = 60, fps: float = 25, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any
) -> Facts:
    """A numbered source of that upright size; drawn once, read again each time."""
    path = folder / name
    if not path.exists():
        turns = options.get("rotation", 0) // 90
        if options.get("codec", "libx264") == "libx264":
            options = {"options": X264} | options
        encode((np.rot90(frame, turns) for frame in numbered(count, *size)), path, fps, **options)
    source = facts_of(path)
    assert source.numbers == [n % 256 for n in range(count)]
    return source


def keyframes_of(source: Facts) -> list[int]:
    """Frame numbers of the codec keyframes, as the container has them."""
    with av.open(str(source.path)) as container:
        stream = container.streams[source.probe.stream_index]
        return sorted(source.pts.index(p.pts) for p in container.demux(stream) if p.is_keyframe and p.pts in source.pts)


def stored_after_but_shown_before(source: Facts, key: int) -> bool:
    """Whether the keyframe with that frame number has leading frames."""
    with av.open(str(source.path)) as container:
        stamps = [p.pts for p in container.demux(container.streams[source.probe.stream_index]) if p.size]
    return any(pts < source.pts[key] for pts in stamps[stamps.index(source.pts[key]) :])


def sound_of(path: Path) -> tuple[np.ndarray, float, int] | None:
    """(samples of the first channel, time of the first in seconds, rate)."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        frames = list(container.decode(container.streams.audio[0]))
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        assert frames[0].time is not None
        return samples, frames[0].time, frames[0].sample_rate


def replace_settings(settings: Export, **changes: Any) -> Export:
    return settings.model_copy(update=changes)


# Encoding

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
        export, result = check_export(source, source.clip(start, end), ENCODE, tmp_path / "out.mp4")
        assert result.how == "encode"
        assert (export.probe.width, export.probe.height) == fitted_size(source.probe.width, source.probe.height, 720)
        # Full range, grey and RGB are brought to limited range, which is what players take for granted without a tag.
        assert export.probe.color_range in ("tv", None)
        assert export.luma == pytest.approx(source.luma[start:end], abs=2.0)
        rgb = source.probe.pixel_format.startswith(("bgr", "gbr"))
        assert export.probe.color_matrix == ("bt709" if rgb else source.probe.color_matrix)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [((160, 96), 48, (80, 48)), ((97, 161), 63, (62, 102)), ((160, 96), 97, (160, 96))],
)
def test_an_encode_shrinks_to_the_short_side(
    size: tuple[int, int], short_side: int, expected: tuple[int, int], folder: Path, tmp_path: Path
) -> None:
    source = draw(folder, f"s{size[0]}.mkv", 12, size=size, codec="ffv1", pix_fmt="yuv444p")
    settings = replace_settings(ENCODE, short_side=short_side)
    export, _ = check_export(source, source.clip(3, 9), settings, tmp_path / "out.mp4")
    assert (export.probe.width, export.probe.height) == expected


def test_an_odd_row_or_column_is_cut_off_not_squeezed(folder: Path, tmp_path: Path) -> None:
    source = draw(folder, "odd.mkv", size=(161, 97), codec="ffv1", pix_fmt="yuv420p")
    cut_clip(source.clip(5, 6), replace_settings(ENCODE, crf=1), tmp_path / "out.mp4")
    with av.open(str(source.path)) as old, av.open(str(tmp_path / "out.mp4")) as new:
        stored = [frame.to_ndarray(format="gray") for frame in old.decode(video=0)][5]
        exported = next(new.decode(video=0)).to_ndarray(format="gray")
    assert np.abs(stored[:96, :160].astype(int) - exported).mean() < 1


def test_rgb_keeps_its_colours(tmp_path: Path) -> None:
    colour = np.array([200, 30, 60], np.uint8)
    encode((np.full((64, 64, 3), colour) for _ in range(4)), tmp_path / "red.avi", 25, codec="ffv1", pix_fmt="bgra")
    source = facts_of(tmp_path / "red.avi")
    cut_clip(source.clip(0, 4), ENCODE, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as mp4:
        shown = next(mp4.decode(video=0)).reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    assert np.abs(shown.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("pts", [None, [33 * n + (400 if n > 20 else 0) for n in range(60)]])
def test_keyframes_of_an_encode_are_never_further_apart_than_asked(
    pts: list[int] | None, folder: Path, tmp_path: Path
) -> None:
    source = draw(folder, "steady.mp4" if pts is None else "jump.mkv", 60, fps=30000 / 1001, pts=pts)
    settings = replace_settings(ENCODE, keyframe_interval_s=0.5)
    check_export(source, source.clip(2, 60), settings, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as mp4:
        keys = [float(p.pts * p.time_base) for p in mp4.demux(video=0) if p.is_keyframe and p.size]
    gaps = np.diff(keys)
    # Only a single gap between two frames may be longer than the interval.
    assert max(gaps) <= (0.5 if pts is None else 0.5 + 0.4) + 1e-6
    assert np.mean(gaps) > 0.4


def test_the_same_clip_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    source = draw(folder, "tone.mp4", 75, gop=25, audio=True)
    for settings in (ENCODE, COPY, replace_settings(ENCODE, audio="keep"), replace_settings(COPY, audio="keep")):
        written = []
        for name in ("one.mp4", "two.mp4"):
            cut_clip(source.clip(25, 75), settings, tmp_path / name)
            written.append((tmp_path / name).read_bytes())
        assert written[0] == written[1]


# Copying

COPIED: dict[str, tuple[str, dict[str, Any]]] = {
    "h264": ("c264.mp4", {"gop": 25, "bframes": 3}),
    "h264_pyramid": ("cpyr.mkv", {"gop": 25, "bframes": 8, "options": X264 | {"x264-params": "b-pyramid=normal:b-adapt=0"}}),
    "h264_one_reference": ("cref.mp4", {"gop": 25, "bframes": 3, "options": X264 | {"x264-params": "ref=1:b-pyramid=none"}}),
    "h264_flv": ("c264.flv", {"gop": 25, "bframes": 2}),
    "h264_ts": ("c264.ts", {"gop": 25, "bframes": 2}),
    "h264_late": ("clate.mp4", {"gop": 25, "bframes": 2, "pts": [830 + 40 * n for n in range(100)]}),
    "h264_vfr": ("cvfr.mp4", {"gop": 25, "bframes": 3, "pts": [40 * n + n * n % 31 for n in range(100)]}),
    "hevc": ("c265.mkv", {"codec": "libx265", "gop": 25, "bframes": 3, "options": {"x265-params": "pools=none:frame-threads=1:log-level=error:open-gop=0"}}),
    "vp9": ("c.webm", {"codec": "libvpx-vp9", "gop": 25}),
    "av1": ("cav1.mkv", {"codec": "libsvtav1", "gop": 25, "options": {"preset": "12", "svtav1-params": "lp=1"}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", COPIED)
def test_a_copy_has_bit_for_bit_the_frames_it_says(kind: str, folder: Path, tmp_path: Path) -> None:
    name, options = COPIED[kind]
    source = draw(folder, name, 100, **options)
    for start, end in [(0, 50), (25, 77), (25, 78), (25, 79), (25, 80), (18, 90), (50, 100)]:
        clip = source.clip(start, end)
        _, result = check_export(source, clip, COPY, tmp_path / "out.mp4")
        assert result.how == "copy"
        assert result.start_frame == (25 if start == 18 else start)
        assert result.end_frame > end - 12  # at most a run of B-frames is lost
        if kind == "hevc":  # as Apple's players want it
            with av.open(str(tmp_path / "out.mp4")) as mp4:
                assert mp4.streams.video[0].codec_context.codec_tag == "hvc1"
        if end == 100 or kind in ("vp9", "av1"):
            assert result.end_frame == end


def test_other_readers_see_the_same_frames_of_a_copy(folder: Path, tmp_path: Path) -> None:
    source = draw(folder, "c264.mp4", 100, gop=25, bframes=3)
    _, result = check_export(source, source.clip(25, 90), COPY, tmp_path / "out.mp4")
    reader = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    numbers = []
    while (read := reader.read())[0]:
        numbers.append(number_of(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY)))
    reader.release()
    assert numbers == list(range(result.start_frame, result.end_frame))


OPEN_GOP = {
    "h264": ("libx264", X264 | {"x264-params": "open-gop=1:b-pyramid=normal:scenecut=0:b-adapt=0"}),
    "hevc": ("libx265", {"x265-params": "pools=none:frame-threads=1:log-level=error:open-gop=1:scenecut=0:b-adapt=0"}),
}


@pytest.mark.parametrize("codec", OPEN_GOP)
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_leading_frames_of_an_open_group_are_left_out(codec: str, container: str, folder: Path, tmp_path: Path) -> None:
    encoder_name, options = OPEN_GOP[codec]
    source = draw(folder, f"open{codec}.{container}", 100, codec=encoder_name, gop=25, bframes=4, options=options)
    keys = keyframes_of(source)
    stored_before = [key for key in keys[1:] if stored_after_but_shown_before(source, key)]
    assert stored_before, "the source has no open group of pictures"
    for key in stored_before:
        clip = source.clip(key - 3, min(100, key + 40))
        _, result = check_export(source, clip, COPY, tmp_path / "out.mp4")
        assert (result.how, result.start_frame) == ("copy", key)


def test_a_recovery_point_that_is_no_clean_start_is_not_copied(folder: Path, tmp_path: Path) -> None:
    name, options = SOURCES["intra_refresh"]
    source = draw(folder, name, **options)
    keys = keyframes_of(source)
    assert len(keys) > 1, "the container does not call recovery points keyframes"
    _, result = check_export(source, source.clip(keys[1], 60), COPY, tmp_path / "out.mp4")
    assert result.how == "encode"


def test_a_copy_never_starts_before_its_span_or_too_late(folder: Path, tmp_path: Path) -> None:
    source = draw(folder, "c264.mp4", 100, gop=25, bframes=3)  # 25 frames a second: keyframes at 0, 25, 50, 75
    for start, copied in [(25, True), (26, False), (37, False), (38, True), (45, True)]:
        clip = source.clip(start, 100)
        _, result = check_export(
            source, clip, replace_settings(COPY, copy_start_tolerance_s=0.48), tmp_path / "out.mp4"
        )
        assert result.how == ("copy" if copied else "encode")
        assert result.start_frame == (-(-start // 25) * 25 if copied else start)


REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "forbidden": ("c264.mp4", {"gop": 25, "bframes": 3, "count": 100}, {"cut": "encode"}),
    "keyframes_far_apart": ("c264.mp4", {"gop": 25, "bframes": 3, "count": 100}, {"copy_keyframe_interval_s": 0.9}),
    "too_large": ("c264.mp4", {"gop": 25, "bframes": 3, "count": 100}, {"short_side": 90}),
    "turned": ("t90.mp4", {"rotation": 90}, {}),
    "wide_pixels": ("wide.mp4", {"sar": Fraction(4, 3)}, {}),
    "ten_bits": ("deep.mkv", {"pix_fmt": "yuv420p10le"}, {}),
    "full_range": ("full.mp4", {"full_range": True, "pix_fmt": "yuvj420p"}, {}),
    "full_range_vp9": ("full.webm", {"full_range": True, "codec": "libvpx-vp9"}, {}),
    "codec": ("vp8.webm", SOURCES["vp8"][1], {}),
    "avi": ("b.avi", SOURCES["avi_b_frames"][1], {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_not_be_copied_is_encoded(kind: str, folder: Path, tmp_path: Path) -> None:
    name, options, changes = REFUSED[kind]
    source = draw(folder, name, **options)
    _, result = check_export(source, source.clip(0, 50), replace_settings(COPY, **changes), tmp_path / "out.mp4")
    assert result.how == "encode"


def test_a_copy_that_would_lose_too_much_is_encoded(folder: Path, tmp_path: Path) -> None:
    options = X264 | {"x264-params": "b-adapt=0:b-pyramid=normal"}
    source = draw(folder, "runs.mp4", 100, gop=50, bframes=15, options=options)
    _, result = check_export(source, source.clip(0, 31), COPY, tmp_path / "out.mp4")
    assert result.how == "encode"


def test_a_copy_that_does_not_start_afresh_is_compared_with_the_source(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder_name, options = OPEN_GOP["h264"]
    # Headers do not prove what frames of two fields need.
    fields = options | {"x264-params": options["x264-params"] + ":interlaced=1"}
    opened = draw(folder, "openfields.mp4", 100, codec=encoder_name, gop=25, bframes=4, options=fields)
    closed = draw(folder, "c264.mp4", 100, gop=25, bframes=3)
    key = next(key for key in keyframes_of(opened)[1:] if stored_after_but_shown_before(opened, key))
    other = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    monkeypatch.setattr(copy_check, "sought_frames", lambda *_: iter([(other, 0)] * 100))
    _, result = check_export(opened, opened.clip(key, 100), COPY, tmp_path / "out.mp4")
    assert result.how == "encode"
    _, result = check_export(closed, closed.clip(25, 100), COPY, tmp_path / "out.mp4")
    assert result.how == "copy"


# Sound


def test_sound_is_dropped_unless_asked_for(folder: Path, tmp_path: Path) -> None:
    source = draw(folder, "tone.mp4", 75, gop=25, audio=True)
    clip = source.clip(25, 70)
    for base in (ENCODE, COPY):
        check_export(source, clip, base, tmp_path / "mute.mp4")
        assert sound_of(tmp_path / "mute.mp4") is None
        _, result = check_export(source, clip, replace_settings(base, audio="keep"), tmp_path / "loud.mp4")
        assert result.how == ("copy" if base is COPY else "encode")
        sound = sound_of(tmp_path / "loud.mp4")
        assert sound is not None
        samples, first_s, rate = sound
        assert first_s == pytest.approx(0, abs=0.025)
        assert len(samples) / rate == pytest.approx(result.num_frames / result.fps, abs=0.05)
        spectrum = np.abs(np.fft.rfft(samples[rate // 4 : rate]))
        assert np.argmax(spectrum) * rate / (rate - rate // 4) == pytest.approx(440, abs=3)


def test_a_silent_source_stays_silent(folder: Path, tmp_path: Path) -> None:
    source = draw(folder, "c264.mp4", 100, gop=25, bframes=3)
    for base in (ENCODE, COPY):
        check_export(source, source.clip(0, 50), replace_settings(base, audio="keep"), tmp_path / "out.mp4")
        assert sound_of(tmp_path / "out.mp4") is None


@pytest.mark.parametrize(
    ("start", "end"), [(0, Fraction(1)), (Fraction(1, 3), Fraction(7, 5)), (Fraction(2), Fraction(5))]
)
def test_the_sound_of_a_span_starts_and_ends_to_the_sample(
    start: Fraction, end: Fraction, folder: Path, tmp_path: Path
) -> None:
    draw(folder, "tone.avi", 75, codec="mpeg4", audio=True)  # three seconds of 440 Hz, uncompressed
    sound = write_sound(folder / "tone.avi", Fraction(start), end, tmp_path / "s.pcm")
    assert sound is not None
    assert (sound.rate, sound.channels) == (48_000, 1)
    at = np.arange(round(start * 48_000), round(end * 48_000))
    wave = np.where(at < 3 * 48_000, np.rint(8000 * np.sin(2 * np.pi * 440 * at / 48_000)), 0)
    np.testing.assert_array_equal(np.fromfile(sound.path, "<i2"), wave)


# Failures


def test_a_source_with_other_frames_than_scanned_is_refused(folder: Path, tmp_path: Path) -> None:
    source = draw(folder, "b.mp4", gop=24, bframes=3)
    clip = replace(source.clip(10, 30), end_frame=31)
    with pytest.raises(CutError, match=r"20 frames .* but 21"):
        cut_clip(clip, COPY, tmp_path / "x.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_seek_that_misleads_falls_back_to_the_beginning(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = draw(folder, "b.mp4", gop=24, bframes=3)
    real = cutting.frames_of.__globals__["sought_frames"]

    def short(*arguments: Any) -> Iterator[Any]:
        yield from list(real(*arguments))[1:]

    monkeypatch.setitem(cutting.frames_of.__globals__, "sought_frames", short)
    check_export(source, source.clip(30, 50), ENCODE, tmp_path / "out.mp4")


# Real files

REAL = [
    "googlework_short.mp4", "bikes.mp4", "flipping_a_pancake.mkv", "lecture_hall.flv", "rotated_1s.mp4", "traffic_camera_vfr.mp4",
    "vtest.avi", "bbb_square_vp9.webm", "portrait_subtitles_zh.mp4", "bbb_trailer.webm", "brightness_change_xvid.avi",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not VIDEOS.is_dir(), reason="the test videos are not there")
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_cut_exactly(name: str, tmp_path: Path) -> None:
    source = facts_of(VIDEOS / name)
    count = len(source.pts)
    rng = np.random.default_rng(3)
    spans = [(0, min(count, 40)), (max(0, count - 40), count)]
    spans += [tuple(sorted(int(n) for n in rng.choice(count, 2, replace=False))) for _ in range(2)]
    spans += [(key, min(count, key + 60)) for key in keyframes_of(source)[:3]]
    for start, end in spans:
        clip = source.clip(start, min(end, start + 80))
        for settings in (ENCODE, replace_settings(COPY, copy_keyframe_interval_s=20)):
            export, result = check_export(source, clip, settings, tmp_path / "out.mp4", numbered=False)
            if result.how == "encode":
                assert export.luma == pytest.approx(source.luma[result.start_frame : result.end_frame], abs=2.0)


@pytest.mark.parametrize("cut", ["copy", "encode"])
def test_fine_clocks_and_long_clips(tmp_path: Path, cut: Any) -> None:
    """More ticks to the end than the mp4 writer takes for a packet's length."""
    path, scale = tmp_path / "a.mp4", 10_000_000
    pictures = (np.full((48, 64, 3), i % 200, np.uint8) for i in range(220))
    encode(pictures, path, 1, gop=1, pts=[i * scale for i in range(220)], time_base=Fraction(1, scale))
    source = timed(path)
    assert (source.probe.time_base, source.end_pts) == (Fraction(1, scale), 220 * scale)
    result = cut_clip(source.clip(0, 220), Export(cut=cut, copy_keyframe_interval_s=4.0), tmp_path / "out.mp4")
    assert (result.how, result.num_frames) == (cut, len(source.pts))
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert made.duration == pytest.approx(220 * av.time_base)
