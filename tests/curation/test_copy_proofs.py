"""What headers prove of a stream copy without a decoder, and sources made to deceive them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curation import copy_check
from curation.copy_check import reordering
from curation.cutting import CutError, CutResult, cut_clip
from curation.decode import SourceReader
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.golden.packets import rewrite, stored_in
from curation.golden.spans import Timed
from curation.hevc_references import leaves_all_behind
from curation.keyframes import promises_all, stands_alone
from schemas.recipe import Export

WIDTH, HEIGHT, FPS, COUNT, GOP = 320, 192, 25, 100, 25
COPY = Export(cut="copy", copy_keyframe_interval_s=4.0)
X265 = "pools=none:frame-threads=1:log-level=error:scenecut=0:b-adapt=0"
VP9 = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "aq-mode": "0"}
SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "h264": ("a.mp4", {"bframes": 3, "options": {"sc_threshold": "0"}}),
    "h264_ts": ("a.ts", {"bframes": 3, "options": {"sc_threshold": "0"}}),
    "h264_flv": ("a.flv", {"bframes": 3, "options": {"sc_threshold": "0"}}),
    "h264_open": ("o.mp4", {"bframes": 4, "options": {"x264-params": "open-gop=1:scenecut=0:b-adapt=0:b-pyramid=normal"}}),
    "h264_open_fields": (  # headers do not prove what frames of two fields need
        "p.mp4", {"bframes": 4, "options": {"x264-params": "open-gop=1:scenecut=0:b-adapt=0:b-pyramid=normal:interlaced=1"}}),
    "hevc": ("c.mkv", {"codec": "libx265", "bframes": 3, "options": {"x265-params": X265 + ":open-gop=0"}}),
    "hevc_ts": ("c.ts", {"codec": "libx265", "bframes": 3, "options": {"x265-params": X265 + ":open-gop=0"}}),
    "hevc_open": ("d.mp4", {"codec": "libx265", "bframes": 4, "options": {"x265-params": X265 + ":open-gop=1"}}),
    "hevc_open_no_leading": ("e.mp4", {"codec": "libx265", "bframes": 0, "options": {"x265-params": X265 + ":open-gop=1"}}),
    "vp9": ("f.webm", {"codec": "libvpx-vp9", "options": VP9}),
    "av1": ("h.mkv", {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}}),
    "av1_resized": ("i.mkv", {"codec": "libsvtav1", "options": {"preset": "10", "svtav1-params": "lp=1:resize-mode=2"}}),
}  # fmt: skip


@dataclass(frozen=True)
class Source(Timed):
    sizes: list[tuple[int, int]]
    prints: list[bytes]
    """Hashes of the frames' pixels."""
    keys: list[int]
    """Frame numbers of the codec keyframes."""


def read(path: Path) -> Source:
    pts, sizes, prints = [], [], []
    with SourceReader(path) as reader:
        for frame, _, stamp in reader.decoded():
            pts.append(stamp)
            sizes.append((frame.width, frame.height))
            rows = [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frame.planes]
            prints.append(hashlib.sha256(b"".join(plane.tobytes() for plane in rows)).digest())
    assert reader.tally.end_pts is not None
    _, stored = stored_in(path)
    return Source(
        path, reader.probe, pts, reader.tally.end_pts, sizes, prints, [pts.index(t) for _, t, key in stored if key]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


def source_of(kind: str, folder: Path) -> Source:
    name, options = SOURCES[kind]
    if not (folder / name).exists():
        big = texture(WIDTH + 2 * COUNT + 16, HEIGHT + 16, 5)
        frames = (window(big, 8 + 2 * n, 8, WIDTH, HEIGHT) for n in range(COUNT))
        encode(frames, folder / name, FPS, gop=GOP, **options)
    return read(folder / name)


def check(source: Source, start: int, end: int, out: Path) -> CutResult:
    """Copy a span, and compare every frame of it with the source's."""
    result = cut_clip(source.clip(start, end), COPY, out)
    export = read(out)
    assert export.prints == source.prints[result.start_frame : result.end_frame]
    return result


@pytest.mark.parametrize(
    "kind",
    ["h264", "h264_ts", "h264_flv", "h264_open", "hevc", "hevc_ts", "hevc_open", "hevc_open_no_leading", "vp9", "av1"],
)
def test_a_copy_decodes_nothing_that_headers_tell(kind: str, folder: Path, tmp_path: Path) -> None:
    source = source_of(kind, folder)
    assert len(source.keys) >= 4
    for start in source.keys[:3]:
        result = check(source, start, COUNT, tmp_path / "out.mp4")
        assert (result.frames_decoded, result.width, result.height) == (0, WIDTH, HEIGHT)


def test_where_headers_do_not_tell_the_beginning_is_decoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy_check, "told_form", lambda *_: None)
    # Two are held back before the first comes out.
    for kind, decoded in [("h264", 3), ("hevc", 3), ("vp9", 1), ("av1", 1)]:
        source = source_of(kind, folder)
        assert check(source, source.keys[1], COUNT, tmp_path / "out.mp4").frames_decoded == decoded


@pytest.mark.parametrize(
    "change", [{"reorder": None}, {"reorder": 1}, {"plain": False}], ids=lambda change: next(iter(change))
)
def test_a_form_that_leaves_something_open_is_looked_at(
    change: dict[str, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = copy_check.told_form
    source = source_of("h264", folder)

    def otherwise(*arguments: Any) -> Any:
        form = told(*arguments)
        assert form is not None
        assert form.reorder == 2
        return replace(form, **change)

    monkeypatch.setattr(copy_check, "told_form", otherwise)
    assert check(source, 0, COUNT, tmp_path / "out.mp4").frames_decoded == 3


def test_a_decoder_that_holds_back_too_little_is_watched_longer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of("h264", folder)
    monkeypatch.setattr(copy_check, "reordering", lambda times: 5)
    assert check(source, 0, COUNT, tmp_path / "out.mp4").frames_decoded == 8


@pytest.mark.parametrize(
    ("times", "depth"), [([0, 1, 2], 0), ([0, 3, 1, 2], 1), ([0, 8, 4, 2, 1, 3, 6, 5, 7], 3), ([0], 0)]
)
def test_reordering_counts_what_is_stored_before_and_shown_after(times: list[int], depth: int) -> None:
    assert reordering(times) == depth


# Open groups of pictures


def test_an_open_group_is_compared_up_to_the_next_keyframe_and_its_leading_frames(folder: Path, tmp_path: Path) -> None:
    source = source_of("h264_open_fields", folder)
    key, second = source.keys[1], source.keys[2]
    result = check(source, key, COUNT, tmp_path / "out.mp4")
    assert result.start_frame == key
    run_up, leading, compared = key - source.keys[0], 4, second + 1 - key
    assert result.frames_decoded <= run_up + leading + 2 * compared + 1
    assert result.num_frames > compared + GOP


def test_a_difference_before_the_next_keyframe_is_noticed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of("h264_open_fields", folder)
    key, second = source.keys[1], source.keys[2]
    real = copy_check.sought_frames
    for wrong, refused in [(0, True), (second - key, True), (second - key + 1, False)]:

        def altered(*arguments: Any, wrong: int = wrong) -> Iterator[Any]:
            for n, (frame, pts) in enumerate(real(*arguments)):
                yield (av.VideoFrame(WIDTH, HEIGHT, "yuv420p") if n == wrong else frame), pts

        monkeypatch.setattr(copy_check, "sought_frames", altered)
        if refused:
            with pytest.raises(CutError, match="would show other pictures"):
                cut_clip(source.clip(key, COUNT), COPY, tmp_path / "out.mp4")
        else:
            cut_clip(source.clip(key, COUNT), COPY, tmp_path / "out.mp4")


def test_a_promise_that_is_not_kept_is_found_out(tmp_path: Path) -> None:
    """Intra refresh whose recovery points claim to need no frames before them."""
    honest, lying = tmp_path / "honest.mkv", tmp_path / "lying.mkv"
    big = texture(WIDTH + 2 * COUNT + 16, HEIGHT + 16, 5)
    frames = (window(big, 8 + 2 * n, 8, WIDTH, HEIGHT) for n in range(COUNT))
    encode(frames, honest, FPS, gop=GOP, options={"x264-params": "intra-refresh=1:scenecut=0"})
    extradata, stored = stored_in(honest)
    key = next(n for n, (_, _, key) in enumerate(stored) if key and n)
    assert not promises_all("h264", extradata, stored[key][0])

    def lie(data: bytes) -> bytes:
        at = data.find(b"\x06\x06", 4)  # a unit with supplemental information, of which the first is a recovery point
        return data if at < 0 else data[: at + 3] + b"\xc4" + bytes(data[at + 2] - 1) + data[at + 3 + data[at + 2] :]

    rewrite(honest, lying, [lie(data) for data, _, _ in stored])
    assert promises_all("h264", extradata, stored_in(lying)[1][key][0])
    source = read(lying)
    with pytest.raises(CutError, match="would show other pictures"):
        cut_clip(source.clip(source.keys[1], COUNT), COPY, tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("sei", "expected"),
    [
        (b"\x06\x06\x01\xc4", True),  # no delay, exact, whole
        (b"\x06\x06\x01\x84", False),  # not exact
        (b"\x06\x06\x01\xe4", False),  # broken link
        (b"\x06\x06\x01\x50", False),  # one frame later
        (b"\x06\x05\x02ab\x06\x01\xc4", True),
        (b"\x06\xff\x01\x02ab\x06\x01\xc4", True),
        (b"\x06\x06", False),
        (b"\x06\x06\xff", False),
        (b"\x06\x05\x09ab", False),
    ],
)  # fmt: skip
def test_recovery_points_that_promise_all(sei: bytes, expected: bool) -> None:
    assert promises_all("h264", None, b"\x00\x00\x01" + sei + b"\x80\x00\x00\x01\x41aa") is expected


def test_an_open_group_that_is_shown_later_only_does_not_stand_alone(folder: Path, tmp_path: Path) -> None:
    """FFmpeg's decoder would hold back the frames before its recovery point, of which a copy would lose them."""
    source = source_of("h264_open", folder)
    extradata, stored = stored_in(source.path)
    late = [data.replace(b"\x06\x06\x01\xc4", b"\x06\x06\x01\x51") for data, _, _ in stored]  # one frame later
    at = [n for n, (_, _, key) in enumerate(stored) if key][1]
    assert late[at] != stored[at][0]
    left_out = [data for data, pts, _ in stored[at:] if pts < stored[at][1]]
    for keyframe, alone in ((stored[at][0], True), (late[at], False)):
        following = [data for data, pts, _ in stored[at + 1 :] if pts > stored[at][1]]
        assert stands_alone("h264", extradata, [keyframe, *following], left_out) is alone
    path = tmp_path / "late.mp4"
    rewrite(source.path, path, late)
    changed = read(path)
    assert changed.prints == source.prints
    for key in changed.keys[1:]:
        with pytest.raises(CutError):
            cut_clip(changed.clip(key, COUNT), COPY, tmp_path / "out.mp4")


def test_an_open_hevc_group_stands_alone_only_as_its_headers_say(folder: Path) -> None:
    source = source_of("hevc_open", folder)
    extradata, stored = stored_in(source.path)
    at = [n for n, (_, _, key) in enumerate(stored) if key][1]
    keyframe, time = stored[at][:2]
    leading = [data for data, pts, _ in stored[at + 1 : at + GOP] if pts < time]
    trailing = [data for data, pts, _ in stored[at + 1 : at + GOP] if pts > time]
    assert len(leading) == 4
    assert stands_alone("hevc", extradata, [keyframe, *trailing], leading)

    def kind(data: bytes, number: int) -> bytes:
        return data[:4] + bytes([data[4] & 0x81 | number << 1]) + data[5:]

    for wrong in (
        (
            extradata,
            keyframe,
            [*leading[:-1], kind(leading[-1], 1)],
            trailing[0],
        ),  # a leading frame that calls itself a trailing one
        (extradata, keyframe, leading, trailing[1]),  # refers to more than the keyframe
        (extradata, keyframe, leading, leading[0]),
        (extradata, kind(keyframe, 1), leading, trailing[0]),
        (extradata, keyframe, leading, keyframe),
        (extradata, keyframe, leading, trailing[0][:8]),
        (None, keyframe, leading, trailing[0]),
        (extradata[:40] if extradata else None, keyframe, leading, trailing[0]),  # parameter sets are missing
    ):
        assert not leaves_all_behind(*wrong)
    assert leaves_all_behind(extradata, kind(keyframe, 19), leading, trailing[1]), "an IDR picture resets everything"


# Sizes that change


def test_a_size_that_the_container_tells_is_kept(folder: Path, tmp_path: Path) -> None:
    """As in 1080 rows of 1088: FFmpeg's decoder of H.264 takes the container's word for what is to be cut off."""
    data = bytearray(source_of("h264", folder).path.read_bytes())
    at = data.find(b"avc1", data.find(b"stsd")) + 28
    assert data[at : at + 4] == WIDTH.to_bytes(2, "big") + HEIGHT.to_bytes(2, "big")
    data[at + 2 : at + 4] = (HEIGHT - 8).to_bytes(2, "big")
    path = tmp_path / "cropped.mp4"
    path.write_bytes(data)
    source = read(path)
    assert set(source.sizes) == {(WIDTH, HEIGHT - 8)}
    result = cut_clip(source.clip(0, COUNT, sample_aspect_ratio="1:1", height=HEIGHT - 8), COPY, tmp_path / "out.mp4")
    assert (result.width, result.height) == (WIDTH, HEIGHT - 8)
    assert read(tmp_path / "out.mp4").prints == source.prints


def test_av1_whose_size_changes_is_not_copied(folder: Path, tmp_path: Path) -> None:
    source = source_of("av1_resized", folder)
    assert len(set(source.sizes)) > 3
    with pytest.raises(CutError, match="size of the picture changes"):
        cut_clip(source.clip(0, COUNT), COPY, tmp_path / "out.mp4")
