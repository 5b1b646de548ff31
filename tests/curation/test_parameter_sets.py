"""H.264 and HEVC whose parameter sets change within the stream: what is exported shows what was scanned."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curation.assemble import misfit
from curation.cutting import ClipToCut, CutError, cut_clip
from curation.decode import SourceReader
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.golden.packets import rewrite
from curation.golden.spans import Timed
from curation.keyframes import sets_from_header
from curation.known_sets import KnownSets
from curation.nal_units import header_units, leading_sets, length_size, units
from curation.scan import scan_source
from curation.tally import Tally
from schemas.recipe import Export, Scan

WIDTH, HEIGHT, FPS, COUNT, GOP = 160, 96, 25, 50, 25
X264, X265 = "scenecut=0", "pools=none:frame-threads=1:log-level=error:scenecut=0:open-gop=0"
OTHER = {"h264": ":chroma-qp-offset=12", "hevc": ":cbqpoffs=12:crqpoffs=12"}
"""Tells itself in the picture parameter set alone."""
COPY, ENCODE, AUTO = (Export(cut=cut, copy_keyframe_interval_s=4.0) for cut in ("copy", "encode", "auto"))


def drawn(path: Path, codec: str, params: str = "", size: tuple[int, int] = (WIDTH, HEIGHT), bframes: int = 0) -> Path:
    big = texture(WIDTH + 2 * COUNT + 16, HEIGHT + 16, 5)
    frames = (window(big, 8 + 2 * n, 8, *size) for n in range(COUNT))
    name, base = {"h264": ("libx264", X264), "hevc": ("libx265", X265)}[codec]
    options = {f"x26{4 if codec == 'h264' else 5}-params": base + params}
    encode(frames, path, FPS, codec=name, gop=GOP, bframes=bframes, options=options)
    return path


def put_together(parts: Iterable[tuple[Path, int]], out: Path, *, once: bool = False) -> Path:
    """Streams one after the other, as the first is described, each from its nth keyframe on. ``once``: a later one's parameter sets
    stand in its first packet."""
    track, due, stored = None, 0.0, -100_000
    with av.open(str(out), "w") as target:
        for number, (part, from_key) in enumerate(parts):
            with av.open(str(part)) as container:
                stream = container.streams.video[0]
                assert stream.time_base is not None
                track = track or target.add_stream_from_template(stream, opaque=True)
                packets = [p for p in container.demux(stream) if p.size]
                key = [n for n, p in enumerate(packets) if p.is_keyframe][from_key]
                packets = [p for p in packets[key:] if (p.pts or 0) >= (packets[key].pts or 0)]
                shift = round(due / stream.time_base) - (packets[0].pts or 0)
                due += len(packets) / FPS
                for at, packet in enumerate(packets):
                    data = bytes(packet)
                    if once and number and not at:
                        codec, extradata = stream.codec_context.codec.canonical_name, stream.codec_context.extradata
                        data = b"".join(struct.pack(">I", len(u)) + u for u in header_units(codec, extradata)) + data
                    new: Any = av.Packet(data)
                    new.pts = (packet.pts or 0) + shift
                    new.dts = max(stored + 1, (packet.pts if packet.dts is None else packet.dts) + shift)
                    stored = new.dts
                    new.time_base, new.is_keyframe, new.stream = stream.time_base, packet.is_keyframe, track
                    target.mux(new)
    return out


def pictures(path: Path) -> list[np.ndarray]:
    """(3h/2, w) yuv420p, decoded from the beginning."""
    with SourceReader(path) as reader:
        return [frame.to_ndarray(format="yuv420p") for frame, _, _ in reader.decoded()]


def clip_of(path: Path, start: int, end: int, *, faultless: bool = True) -> tuple[ClipToCut, SourceReader]:
    with SourceReader(path) as reader:
        stamps = [pts for _, _, pts in reader.decoded()]
    assert reader.failure() is None
    timed = Timed(path, reader.probe, stamps, reader.tally.end_pts or 0)
    clip = timed.clip(start, end, faultless=faultless, seekable=reader.tally.seekable)
    return clip, reader


def chroma_off(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    assert len(one) == len(other)
    return float(np.mean([np.abs(a[HEIGHT:].astype(int) - b[HEIGHT:].astype(int)).mean() for a, b in zip(one, other, strict=True)]))  # fmt: skip


@pytest.mark.parametrize(("codec", "suffix"), [("h264", ".mkv"), ("h264", ".mp4"), ("hevc", ".mkv")])
def test_sets_that_come_once_are_not_lost_by_seeking(tmp_path: Path, codec: str, suffix: str) -> None:
    parts = (drawn(tmp_path / "a.mp4", codec), 0), (drawn(tmp_path / "b.mp4", codec, OTHER[codec]), 0)
    path = put_together(parts, tmp_path / f"once{suffix}", once=True)
    truth = pictures(path)
    assert all(np.array_equal(a, b) for a, b in zip(truth[COUNT:], pictures(tmp_path / "b.mp4"), strict=True))
    clip, reader = clip_of(path, COUNT + GOP, 2 * COUNT)
    assert (reader.tally.foreign_sets, reader.tally.bare_keyframes, reader.tally.seekable) == (True, True, False)
    with pytest.raises(CutError, match="parameter sets come once"):
        cut_clip(clip, COPY, tmp_path / "out.mp4")
    assert cut_clip(clip, AUTO, tmp_path / "out.mp4").how == "encode"
    assert chroma_off(pictures(tmp_path / "out.mp4"), truth[COUNT + GOP :]) < 1
    cut_clip(replace(clip, seekable=True), ENCODE, tmp_path / "out.mp4")
    assert chroma_off(pictures(tmp_path / "out.mp4"), truth[COUNT + GOP :]) > 5, "what the table says is needed"
    with pytest.raises(CutError, match="parameter sets change"):
        cut_clip(replace(clip_of(path, COUNT, 2 * COUNT)[0], seekable=True), COPY, tmp_path / "out.mp4")


def test_the_table_says_so(tmp_path: Path) -> None:
    parts = (drawn(tmp_path / "a.mp4", "h264"), 0), (drawn(tmp_path / "b.mp4", "h264", OTHER["h264"]), 0)
    put_together(parts, tmp_path / "once.mp4", once=True)
    for name, seekable in (("a.mp4", True), ("once.mp4", False)):
        with (tmp_path / "stills").open("w+b") as stills:
            result = scan_source(tmp_path / name, "s" * 32, Scan(), stills)
        assert (result.source["status"], result.source["seekable"]) == ("ok", seekable)


def test_segments_of_such_a_source_do_not_fit() -> None:
    def answer(number: int, **more: Any) -> dict[str, Any]:
        counted = {"frames": 10, "first_pts": 10 * number, "last_pts": 10 * number + 9, "gaps": [(1, 9)], **more}
        tally = Tally().as_json() | counted
        before, after = (None if number == 0 else 10 * number - 1), (None if number else 10)
        header = {"time_base": "1/25", "rate": "25", "frames": 20, "seconds": None}
        seams = {"seam_before": None, "seam_after": None, "pts_before": before, "pts_after": after}
        return {"source": {"bytes": 1}, "segment": {"tally": tally, "header": header, **seams}}

    assert misfit([answer(0, foreign_sets=True), answer(1)]) is None
    assert misfit([answer(0, bare_keyframes=True), answer(1, bare_keyframes=True)]) is None
    assert "parameter sets" in (misfit([answer(0, foreign_sets=True), answer(1, bare_keyframes=True)]) or "")


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("faultless", [True, False])
def test_sets_that_change_under_one_number_are_not_copied(tmp_path: Path, codec: str, faultless: bool) -> None:
    repeated = ":repeat-headers=1" + (":annexb=1" if codec == "h264" else "")
    parts = [(drawn(tmp_path / f"{n}.ts", codec, repeated + more), 0) for n, more in enumerate(["", OTHER[codec]])]
    path = put_together(parts, tmp_path / "both.ts")
    truth = pictures(path)
    for start, end in ((COUNT, 2 * COUNT), (GOP, COUNT + GOP)):
        clip, reader = clip_of(path, start, end, faultless=faultless)
        assert reader.tally.foreign_sets
        assert reader.tally.seekable, "each keyframe brings its own"
        with pytest.raises(CutError, match="parameter sets change"):
            cut_clip(clip, COPY, tmp_path / "out.mp4")
        cut_clip(clip, AUTO, tmp_path / "out.mp4")
        assert chroma_off(pictures(tmp_path / "out.mp4"), truth[start:end]) < 1
    assert cut_clip(clip_of(path, 0, COUNT, faultless=faultless)[0], COPY, tmp_path / "out.mp4").how == "copy"


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
@pytest.mark.parametrize("faultless", [True, False])
def test_another_size_from_a_recovery_point_on_is_not_copied(tmp_path: Path, suffix: str, faultless: bool) -> None:
    """A keyframe that is no IDR picture may bring another sequence parameter set, too."""
    first = drawn(tmp_path / "a.ts", "h264", ":repeat-headers=1:annexb=1")
    open_groups = ":repeat-headers=1:annexb=1:open-gop=1:b-adapt=0:b-pyramid=none:sps-id=1"
    second = drawn(tmp_path / "b.ts", "h264", open_groups, (WIDTH // 2, HEIGHT // 2), bframes=2)
    path = put_together([(first, 0), (second, 1)], tmp_path / f"both{suffix}")
    clip, _ = clip_of(path, 0, COUNT + 10, faultless=faultless)
    with pytest.raises(CutError, match="parameter sets come once"):
        cut_clip(clip, COPY, tmp_path / "out.mp4")
    with pytest.raises(CutError, match="parameter sets change"):
        cut_clip(replace(clip, seekable=True), COPY, tmp_path / "out.mp4")


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
def test_sets_before_the_first_slice_are_found(tmp_path: Path, codec: str, suffix: str) -> None:
    repeated = ":repeat-headers=1" + (":annexb=1" if codec == "h264" and suffix == ".ts" else "")
    path = drawn(tmp_path / f"a{suffix}", codec, repeated)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata
        size = length_size(codec, extradata)
        for packet in container.demux(stream):
            if packet.size:
                found = list(leading_sets(codec, bytes(packet), size))
                kinds = (7, 8) if codec == "h264" else (32, 33, 34)
                named = [
                    u
                    for u in units(bytes(packet), size)
                    if (u[0] & 0x1F if codec == "h264" else u[0] >> 1 & 0x3F) in kinds
                ]
                assert found == named
                assert bool(found) == packet.is_keyframe
                assert set(found) <= set(header_units(codec, extradata))


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_rubbish_has_no_sets(codec: str, size: int | None) -> None:
    for data in (b"", b"\x00", b"\x00\x00\x01", b"\x00\x00\x00\x01", b"\x00\x00\x00\x09\x01", b"\xff" * 40):
        assert list(leading_sets(codec, data, size)) == []


def sets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return list(header_units("h264", container.streams.video[0].codec_context.extradata))


def apart(*found: bytes) -> bytes:
    return b"".join(b"\0\0\1" + unit for unit in found)


def test_a_set_in_a_frame_that_is_left_out_is_not_lost(tmp_path: Path) -> None:
    """A leading frame brings other picture parameters, which stay in force; the copy would never see them."""
    (other,) = (unit for unit in sets_of(drawn(tmp_path / "b.mp4", "h264", OTHER["h264"])) if unit[0] & 31 == 8)
    open_groups = ":repeat-headers=1:annexb=1:open-gop=1:b-adapt=0:b-pyramid=none"
    path, out = drawn(tmp_path / "a.ts", "h264", open_groups, bframes=4), tmp_path / "changed.ts"
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        key = [n for n, p in enumerate(packets) if p.is_keyframe][1]
        assert (packets[key + 1].pts or 0) < (packets[key].pts or 0)
        found = [list(units(bytes(packet), None)) for packet in packets]
    leading = found[key + 1]
    leading.insert(next(i for i, unit in enumerate(leading) if unit[0] & 31 == 1), other)
    rewrite(path, out, [b"\0" + apart(*some) for some in found])
    for name, refused in ((path, False), (out, True)):
        clip, reader = clip_of(name, GOP, COUNT)
        assert reader.tally.foreign_sets is refused
        if refused:
            with pytest.raises(CutError, match="parameter sets change"):
                cut_clip(clip, COPY, tmp_path / "out.mp4")
        else:
            assert cut_clip(clip, COPY, tmp_path / "out.mp4").how == "copy"


def test_a_keyframe_is_bare_that_does_not_bring_all_sets(tmp_path: Path) -> None:
    sps, pps = sets_of(drawn(tmp_path / "a.mp4", "h264"))
    other = next(unit for unit in sets_of(drawn(tmp_path / "b.mp4", "h264", OTHER["h264"])) if unit[0] & 31 == 8)
    for header, found, is_key, foreign, bare in [
        ([sps, pps], [sps, pps], True, False, False),
        ([sps, pps], [sps, other], True, True, False),
        ([sps, pps], [sps], True, False, True),
        ([sps, pps], [other], False, True, False),
        ([], [sps, pps], True, True, False),
        ([], [sps], True, True, True),
        ([sps], [sps, pps], True, True, True),  # of a number that the header does not know: no keyframe need repeat it
    ]:
        tally, packet = Tally(), av.Packet(apart(*found, b"\x41ab"))
        packet.is_keyframe = is_key
        KnownSets("h264", apart(*header) if header else None).look(packet, tally)  # type: ignore[arg-type]
        assert (tally.foreign_sets, tally.bare_keyframes) == (foreign, bare), (header, found)


def test_only_the_headers_own_sets_may_come(tmp_path: Path) -> None:
    sps, pps = sets_of(drawn(tmp_path / "a.mp4", "h264"))
    other = next(unit for unit in sets_of(drawn(tmp_path / "b.mp4", "h264", OTHER["h264"])) if unit[0] & 31 == 8)
    for header, found, expected in [
        ([sps, pps], [sps, pps, b"\x65ab"], True),
        ([sps, pps], [b"\x65ab"], True),
        ([sps, pps], [other, b"\x65ab"], False),
        ([sps, pps], [b"\x65ab", other], False),  # behind a slice
        ([sps, pps, other], [b"\x65ab"], False),  # two of one number
    ]:
        assert sets_from_header("h264", apart(*header), [apart(*found)]) is expected


def test_a_zero_behind_a_set_in_a_header_is_none_of_it() -> None:
    avcc = b"\x01\x4d\x00\x1e\xff\xe1\x00\x04\x67ab\x00\x01\x00\x03\x68c\x00"
    assert list(header_units("h264", avcc)) == [b"\x67ab", b"\x68c"]
