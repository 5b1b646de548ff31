"""`cut: auto | copy | encode`, what a copy must prove before it counts, and the two ways to x264."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curation import cutting
from curation.copy_check import CopyRefused, Stored, check_copy
from curation.cutting import CutError, cut_clip
from curation.decode import SourceReader
from curation.finished import CUT_COLUMNS, cut_settings
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.golden.spans import Timed
from curation.spans import Ledger, SourceSpan
from schemas.ids import fingerprint
from schemas.recipe import Export
from schemas.tables import TABLES

WIDTH, HEIGHT, FPS, COUNT, GOP = 320, 180, 25, 100, 25
AUTO, COPY, ENCODE = (Export(cut=mode) for mode in ("auto", "copy", "encode"))


def pan(count: int = COUNT, width: int = WIDTH, height: int = HEIGHT) -> Iterator[np.ndarray]:
    big = texture(width + 2 * count + 16, height + 16, 5)
    return (window(big, 8 + 2 * n, 8, width, height) for n in range(count))


@dataclass(frozen=True)
class Source(Timed):
    pictures: list[np.ndarray]
    """(1.5 h, w) planes of each frame as stored."""


def read(path: Path) -> Source:
    pts, pictures = [], []
    with SourceReader(path) as reader:
        for frame, _, stamp in reader.decoded():
            pts.append(stamp)
            pictures.append(frame.to_ndarray())
        assert reader.tally.end_pts is not None
        return Source(path, reader.probe, pts, reader.tally.end_pts, pictures)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Four closed groups of a second each, with B-frames."""
    path = tmp_path_factory.mktemp("modes") / "closed.mp4"
    encode(pan(), path, FPS, gop=GOP, bframes=3, options={"preset": "veryfast", "sc_threshold": "0"})
    return read(path)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 10 * np.log10(255**2 / max(error, 1e-10))


@pytest.mark.parametrize(
    ("settings", "how"), [(AUTO, "copy"), (COPY, "copy"), (ENCODE, "encode")], ids=["auto", "copy", "encode"]
)
def test_each_mode_does_what_it_says(settings: Export, how: str, closed: Source, tmp_path: Path) -> None:
    result = cut_clip(closed.clip(25, 100), settings, tmp_path / "out.mp4")
    assert (result.how, result.start_frame, result.end_frame, result.num_frames) == (how, 25, 100, 75)
    export = read(tmp_path / "out.mp4")
    assert len(export.pictures) == 75
    for n in (0, 40, 74):
        if how == "copy":
            np.testing.assert_array_equal(export.pictures[n], closed.pictures[25 + n])
        else:
            assert psnr(export.pictures[n], closed.pictures[25 + n]) > 36


REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "turned": ({"rotation": 90}, {}, "stored turned"),
    "deep": ({"pixel_format": "yuv420p10le"}, {}, "pixel format is yuv420p10le"),
    "wide_pixels": ({"sample_aspect_ratio": "4:3"}, {}, "not square"),
    "large": ({}, {"short_side": 90}, "larger than `short_side`"),
    "keyframes": ({}, {"copy_keyframe_interval_s": 0.5}, "too far apart"),
    "bars": ({"bars": (10, 10, 0, 0)}, {"crop_bars": True}, "black bars"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_copy_mode_never_encodes_and_says_why(kind: str, closed: Source, tmp_path: Path) -> None:
    clip, settings, said = REFUSALS[kind]
    with pytest.raises(CutError, match=f"cannot be copied: .*{said}"):
        cut_clip(closed.clip(25, 75, **clip), COPY.model_copy(update=settings), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_span_that_starts_too_long_before_a_keyframe_is_refused(closed: Source, tmp_path: Path) -> None:
    with pytest.raises(CutError, match="no codec keyframe lies at its start"):
        cut_clip(closed.clip(26, 100), COPY, tmp_path / "out.mp4")
    assert cut_clip(closed.clip(26, 100), AUTO, tmp_path / "out.mp4").how == "encode"
    late = cut_clip(closed.clip(38, 100), COPY, tmp_path / "out.mp4")
    assert (late.start_frame, late.how) == (50, "copy")


def test_a_clip_with_bars_is_copied_where_they_may_stay(closed: Source, tmp_path: Path) -> None:
    barred = closed.clip(25, 100, bars=(10, 10, 0, 0))
    assert cut_clip(barred, AUTO, tmp_path / "out.mp4").how == "copy"
    cropped = cut_clip(barred, AUTO.model_copy(update={"crop_bars": True}), tmp_path / "out.mp4")
    assert (cropped.how, cropped.width, cropped.height) == ("encode", 320, 160)


# What a copy proves


def test_a_copy_decodes_only_what_its_proof_needs(closed: Source, tmp_path: Path) -> None:
    clip = closed.clip(0, 100)
    cut_clip(clip, COPY, tmp_path / "known.mp4")
    for faultless, decoded in [(True, 0), (False, 1 + GOP)]:
        result = cut_clip(replace(clip, faultless=faultless), COPY, tmp_path / "out.mp4")
        assert result.frames_decoded == decoded
        assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "known.mp4").read_bytes()
    one = cut_clip(closed.clip(0, 25, faultless=False), COPY, tmp_path / "one.mp4")
    assert one.frames_decoded == one.num_frames <= GOP


def test_an_encode_decodes_little_more_than_its_span(closed: Source, tmp_path: Path) -> None:
    result = cut_clip(closed.clip(30, 60), ENCODE, tmp_path / "out.mp4")
    assert 30 <= result.frames_decoded <= 5 + 30 + 1


def _ticks(path: Path) -> list[int]:
    with av.open(str(path)) as mp4:
        return sorted(p.pts for p in mp4.demux(video=0) if p.size and p.pts is not None)


def test_the_proof_notices_what_is_wrong(closed: Source, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    cut_clip(closed.clip(0, 100), COPY, out)
    shown = _ticks(out)
    with av.open(str(out)) as mp4:
        found = [(p.pos, p.size, bytes(p)) for p in mp4.demux(video=0) if p.size]
        extradata = mp4.streams.video[0].codec_context.extradata
    same = Stored(extradata, [data for _, _, data in found])
    clip = closed.clip(0, 100)
    source = SourceSpan(clip.path, clip.stream_index, clip.start_pts, clip.end_pts, 100)

    def check(shown: Sequence[int], *, faultless: bool, ledger: Ledger | None = None) -> tuple[int, int]:
        more = {"same": same, "source": source, "faultless": faultless, "alone": True}
        return check_copy(out, shown, ledger or Ledger(), **more)

    for faultless, decoded in [(False, 1 + GOP), (True, 0)]:
        ledger = Ledger()
        assert check(shown, faultless=faultless, ledger=ledger) == (WIDTH, HEIGHT)
        assert ledger.frames == decoded
        for wrong in (shown[:-1], [*shown, shown[-1] + 1], [*shown[:-1], shown[-1] + 1]):
            with pytest.raises(CopyRefused, match="keep their times"):
                check(wrong, faultless=faultless)
    intact = out.read_bytes()
    for at in (0, 76, len(found) - 1):  # the first frame, one in the last group, the last
        position, size, _ = found[at]
        assert position is not None
        out.write_bytes(intact[: position + 4] + bytes(size - 4) + intact[position + size :])
        for faultless in (False, True):
            with pytest.raises(CopyRefused, match="decode"):
                check(shown, faultless=faultless)
    # A byte that is wrong in the middle, where nothing is decoded, is no longer what the scan decoded: every frame is compared.
    position, size, _ = found[40]
    assert position is not None
    for changed, refused in ((b"x", True), (intact[position + size - 1 : position + size], False)):
        out.write_bytes(intact[: position + size - 1] + changed + intact[position + size :])
        for faultless in (False, True):
            with (
                pytest.raises(CopyRefused, match=r"other pictures|not decode") if refused else contextlib.nullcontext()
            ):
                check(shown, faultless=faultless)


def joined(out: Path, codec: str, sizes: Sequence[tuple[int, int]], options: dict[str, str]) -> Source:
    """A video that changes its size in the middle of a shot, as parameter sets within the stream allow: one encode after the other."""
    count = 25
    parts = [out.with_name(f"{n}{out.suffix}") for n in range(len(sizes))]
    for part, size in zip(parts, sizes, strict=True):
        encode(pan(count, *size), part, FPS, codec=codec, gop=count, bframes=0, options=options)
    with av.open(str(out), "w") as target:
        track = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as container:
                stream = container.streams.video[0]
                track = track or target.add_stream_from_template(stream)
                track.time_base = stream.time_base
                for packet in container.demux(stream):
                    if packet.size:
                        shift = round(number * count / FPS / stream.time_base)
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, track
                        target.mux(packet)
    return read(out)


@pytest.mark.parametrize("faultless", [True, False])
@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mkv", "libx264", {"preset": "veryfast", "x264-params": "repeat-headers=1:scenecut=0"}),
        ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    ],
)
def test_a_copy_has_one_size(name: str, codec: str, options: dict[str, str], faultless: bool, tmp_path: Path) -> None:
    """Neither its first frames nor its last tell."""
    large, small = (WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)
    source = joined(tmp_path / name, codec, (large, small, large), options)
    shapes = [(picture.shape[1], picture.shape[0] * 2 // 3) for picture in source.pictures]
    assert shapes == [large] * 25 + [small] * 25 + [large] * 25
    with pytest.raises(CutError, match=r"size of the picture changes|parameter sets change"):
        cut_clip(source.clip(0, 75, faultless=faultless), COPY, tmp_path / "out.mp4")
    assert cut_clip(source.clip(0, 25, faultless=faultless), COPY, tmp_path / "out.mp4").how == "copy"


def test_a_copy_that_fails_its_proof_is_encoded(
    closed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise CopyRefused("the test says so")

    monkeypatch.setattr("curation.remux.check_copy", refuse)
    assert cut_clip(closed.clip(25, 75), AUTO, tmp_path / "out.mp4").how == "encode"
    with pytest.raises(CutError, match="the test says so"):
        cut_clip(closed.clip(25, 75), COPY, tmp_path / "none.mp4")


# Two ways to x264


def test_the_short_way_to_x264_gives_what_the_long_way_gives(
    closed: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = closed.clip(10, 70)
    short = cut_clip(clip, ENCODE, tmp_path / "short.mp4")
    monkeypatch.setattr(cutting, "needs_only_encoding", lambda *_: False)
    long = cut_clip(clip, ENCODE, tmp_path / "long.mp4")
    assert short == long
    facts, pictures = [], []
    for name in ("short.mp4", "long.mp4"):
        export = read(tmp_path / name)
        pictures.append(export.pictures)
        with av.open(str(tmp_path / name)) as mp4:
            stream = mp4.streams.video[0]
            keys = sorted(p.pts for p in mp4.demux(stream) if p.size and p.is_keyframe)
            context = stream.codec_context
            facts.append((keys, export.pts, export.end_pts, stream.time_base, stream.duration, context.sample_aspect_ratio,
                          context.color_range, context.colorspace, context.color_primaries, context.color_trc, context.profile))  # fmt: skip
    assert facts[0] == facts[1]
    quality = [np.mean([psnr(a, b) for a, b in zip(p, closed.pictures[10:70], strict=True)]) for p in pictures]
    assert quality[0] == pytest.approx(quality[1], abs=0.3)
    assert facts[0][0][0] == 0
    assert len(facts[0][0]) == 3, "a keyframe each second"


def test_pictures_that_must_change_take_the_long_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short: list[str] = []
    real = cutting.InnerEncoder

    def noted(*arguments: Any) -> Any:
        short.append("x")
        return real(*arguments)

    monkeypatch.setattr(cutting, "InnerEncoder", noted)
    cases: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
        ({}, {}, True),
        ({}, {"short_side": 64}, False),
        ({}, {"audio": "keep"}, True),
        ({"audio": True}, {"audio": "keep"}, False),
        ({"rotation": 180}, {}, False),
        ({"sar": Fraction(4, 3)}, {}, False),
        ({"full_range": True, "pix_fmt": "yuvj420p"}, {}, False),
        ({"pix_fmt": "yuv422p"}, {}, False),
    ]
    for n, (options, changes, expected) in enumerate(cases):
        short.clear()
        encode(pan(8, 160, 96), tmp_path / f"{n}.mp4", FPS, **options)
        source = read(tmp_path / f"{n}.mp4")
        cut_clip(source.clip(1, 7), ENCODE.model_copy(update=changes), tmp_path / "out.mp4")
        assert bool(short) == expected, (options, changes)


# Bookkeeping


def test_the_index_has_a_column_for_all_that_came_of_a_cut() -> None:
    assert set(CUT_COLUMNS) < set(TABLES["shards"].names)


def test_clips_are_not_taken_over_from_another_way_of_cutting() -> None:
    prints = {fingerprint(cut_settings(Export(cut=mode, crop_bars=crop))) for mode in ("auto", "copy", "encode") for crop in (False, True)}  # type: ignore[arg-type]  # fmt: skip
    assert len(prints) == 6
    assert fingerprint(cut_settings(Export(shard_mb=1))) == fingerprint(cut_settings(Export()))


# Every copy, decoded whole

VIDEOS = Path(__file__).resolve().parents[2].parent / "shared" / "videos"
REAL = sorted(p.name for p in VIDEOS.glob("*.*") if p.suffix in (".mp4", ".mkv", ".webm", ".flv", ".avi"))
LENIENT = COPY.model_copy(update={"copy_keyframe_interval_s": 60.0, "copy_start_tolerance_s": 5.0})


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_every_copy_of_real_files_is_bit_for_bit_the_source(name: str, tmp_path: Path) -> None:
    """From every codec keyframe, with ends that fall anywhere in a group: all of each copy is decoded and compared."""
    pts, prints = [], []
    with SourceReader(VIDEOS / name) as reader:
        for frame, _, stamp in reader.decoded():
            pts.append(stamp)
            prints.append(hash(frame.to_ndarray().tobytes()))
        assert reader.tally.end_pts is not None
        source = Source(VIDEOS / name, reader.probe, pts, reader.tally.end_pts, [])
    with av.open(str(source.path)) as container:
        stream = container.streams[source.probe.stream_index]
        keys = sorted(pts.index(p.pts) for p in container.demux(stream) if p.is_keyframe and p.pts in pts)
    settings = LENIENT.model_copy(update={"short_side": 4320})
    copied = 0
    for n, key in enumerate(keys[:12]):
        start, end = max(0, key - 2 * (n % 2)), min(len(pts), key + 70 + 7 * n)
        if end - start < 5:
            continue
        try:
            result = cut_clip(source.clip(start, end), settings, tmp_path / "out.mp4")
        except CutError as error:
            assert "cannot be copied" in str(error)  # noqa: PT017
            continue
        copied += 1
        export = read(tmp_path / "out.mp4")
        got = [hash(picture.tobytes()) for picture in export.pictures]
        assert got == prints[result.start_frame : result.end_frame]
    print(f"{name}: {copied} of {min(12, len(keys))} spans copied")
