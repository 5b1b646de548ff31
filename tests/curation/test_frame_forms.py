"""Whether all frames of a stream have one form, as headers tell: of VP9 and AV1 in every frame, of H.264 and HEVC in parameter sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.av1_frames import one_form as av1_one_form
from curation.cutting import CutError, cut_clip
from curation.decode import open_source
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.golden.packets import rewrite, stored_in
from curation.golden.spans import timed
from curation.nal_units import header_units, is_sequence_set
from curation.pipe_formats import PC
from curation.told_forms import told_form
from curation.vp9_frames import one_form as vp9_one_form
from schemas.recipe import Export

WIDTH, HEIGHT, FPS, COUNT, GOP = 320, 192, 25, 75, 25
COPY = Export(cut="copy", copy_keyframe_interval_s=4.0)
READERS = {"vp9": vp9_one_form, "av1": av1_one_form}
CODECS: dict[str, tuple[str, dict[str, Any]]] = {
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "aq-mode": "0"}}),
    "av1": ("b.mkv", {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}}),
    "h264": ("c.mp4", {"bframes": 3, "options": {"sc_threshold": "0"}}),
    "hevc": ("d.mkv", {"codec": "libx265", "bframes": 3, "options": {"x265-params": "pools=none:frame-threads=1:log-level=error:open-gop=0"}}),
}  # fmt: skip


def drawn(codec: str, path: Path, size: tuple[int, int], count: int, gop: int) -> list[tuple[bytes, int, bool]]:
    """The packets of a video that is made at ``path``."""
    big = texture(size[0] + 2 * count + 16, size[1] + 16, 5)
    encode((window(big, 8 + 2 * n, 8, *size) for n in range(count)), path, FPS, gop=gop, **CODECS[codec][1])
    return stored_in(path)[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[bytes]]]:
    """Twelve packets of each codec, small."""
    folder, made = tmp_path_factory.mktemp("small"), {}
    for codec, (name, _) in CODECS.items():
        made[codec] = folder / name, [data for data, _, _ in drawn(codec, folder / name, (64, 64), 12, 6)]
    return made


def test_vp9_whose_size_changes_between_keyframes_is_not_copied(tmp_path: Path) -> None:
    data = [packet for packet, _, _ in drawn("vp9", tmp_path / "even.webm", (WIDTH, HEIGHT), COUNT, COUNT)]
    assert vp9_one_form(data)
    data[40] = made_smaller(data[40])
    rewrite(tmp_path / "even.webm", tmp_path / "uneven.webm", data)
    with open_source(tmp_path / "uneven.webm") as reader:
        sizes = [(frame.width, frame.height) for frame, _, _ in reader.decoded()]
    assert sizes == [(WIDTH, HEIGHT)] * 40 + [(WIDTH // 2, HEIGHT // 2)] * 35
    assert vp9_one_form(data[:40])
    with pytest.raises(CutError, match="size of the picture changes"):
        cut_clip(timed(tmp_path / "uneven.webm").clip(0, COUNT), COPY, tmp_path / "out.mp4")


def made_smaller(packet: bytes) -> bytes:
    """A frame of VP9 that refers to frames of twice its size: its header gives half the size, the rest stays as it is."""
    head, body = header_of(packet)
    return written(head[:30] + f"000{WIDTH // 2 - 1:016b}{HEIGHT // 2 - 1:016b}" + head[31:], body)


def made_hidden(packet: bytes) -> bytes:
    """A frame of VP9 that is only referred to."""
    head, body = header_of(packet)
    return written(head[:6] + "0" + head[7] + "0" + head[8:], body)


def written(head: str, body: bytes) -> bytes:
    head += "0" * (-len(head) % 8)
    return bytes(int(head[i : i + 8], 2) for i in range(0, len(head), 8)) + body


def header_of(packet: bytes) -> tuple[str, bytes]:
    """(bits of the uncompressed header (6.2), the rest) of a shown frame of VP9 with references; bit 30 says it is of the first one's size."""
    bits = "".join(f"{byte:08b}" for byte in packet[:64])
    assert (bits[:8], bits[30]) == ("10000110", "1")
    at = 31

    def skip(one: int, zero: int) -> None:
        nonlocal at
        at += one if bits[at] == "1" else zero

    skip(33, 1)  # render_size
    at += 1
    skip(1, 3)  # interpolation_filter
    at += 4 + 9  # contexts, level and sharpness of the loop filter
    changes = bits[at : at + 2] == "11"
    skip(2, 1)
    for _ in range(6 * changes):
        skip(8, 1)
    at += 8
    for _ in range(3):
        skip(6, 1)  # deltas of the quantiser
    assert bits[at] == "0", "no segments"
    at += 1
    skip(2, 1)  # rows of tiles
    at += 16
    return bits[:at], packet[-(-at // 8) :]


def test_hidden_frames_count_as_well(tmp_path: Path) -> None:
    data = [packet for packet, _, _ in drawn("vp9", tmp_path / "a.webm", (WIDTH, HEIGHT), COUNT, GOP)]

    def together(*frames: bytes) -> bytes:
        index = bytes([0xC8 | len(frames) - 1])
        return b"".join(frames) + index + b"".join(len(f).to_bytes(2, "little") for f in frames) + index

    hidden = made_hidden(data[1])
    assert vp9_one_form([data[0], together(hidden, data[2])])
    assert vp9_one_form([data[0], together(hidden, b"\x88")]), "an existing frame is shown"
    for wrong in (
        together(data[1], data[2]),  # two are shown
        together(hidden),
        together(hidden, made_smaller(data[2])),
        together(hidden, data[2])[:-6] + b"\xff" + together(hidden, data[2])[-5:],
        data[1] + together(hidden, data[2]),
    ):
        assert not vp9_one_form([data[0], wrong])


@pytest.mark.parametrize("kind", READERS)
def test_only_whole_groups_of_one_form_are_known_as_such(kind: str, tmp_path: Path) -> None:
    stored = drawn(kind, tmp_path / CODECS[kind][0], (WIDTH, HEIGHT), COUNT, GOP)
    data, keys = [packet for packet, _, _ in stored], [n for n, (_, _, key) in enumerate(stored) if key]
    known = READERS[kind]
    assert known(data)
    assert known(data[keys[1] :])
    assert not known(data[1:])
    assert not known([])
    assert not known([data[0], b"", data[1]])
    assert not known([data[0], data[1][:1]])
    assert not known([data[0], b"\xff" * 40])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.integers(0, 11), st.integers(0, 11), st.integers(1, 255))
def test_whatever_is_taken_for_one_form_decodes_to_one(
    small: dict[str, tuple[Path, list[bytes]]], kind: str, packet: int, byte: int, change: int
) -> None:
    """Damage in headers: either they are no longer understood, or a decoder sees no other size than the first."""
    path, data = small[kind]
    damaged = bytearray(data[packet])
    damaged[byte % len(damaged)] ^= change
    changed = [*data[:packet], bytes(damaged), *data[packet + 1 :]]
    if not READERS[kind](changed):
        return
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context: Any = stream.codec_context
        context.thread_type, context.thread_count = "NONE", 1
        sizes = set()
        for one in changed:
            try:
                sizes |= {(frame.width, frame.height) for frame in context.decode(av.Packet(one))}
            except av.error.FFmpegError:
                continue
    assert len(sizes) <= 1


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["h264", "hevc"]), st.integers(0, 60), st.integers(1, 255))
def test_a_form_that_is_told_is_what_decoders_find(
    small: dict[str, tuple[Path, list[bytes]]], kind: str, byte: int, change: int
) -> None:
    """Parameter sets that were changed: what is still understood is read as FFmpeg reads it."""
    path, data = small[kind]
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    assert extradata is not None
    first = next(unit for unit in header_units(kind, extradata) if is_sequence_set(kind, unit))
    damaged = bytearray(extradata)
    damaged[extradata.index(first) + byte % len(first)] ^= change
    form = told_form(kind, bytes(damaged), data)
    if form is None or not form.plain:
        return
    context: Any = av.CodecContext.create(kind, "r")
    context.extradata, context.thread_count = bytes(damaged), 1
    try:
        shown = [frame for packet in (av.Packet(data[0]), None) for frame in context.decode(packet)]
    except av.error.FFmpegError:
        return
    for frame in shown:
        assert (frame.width, frame.height, frame.format.name) == (form.width, form.height, "yuv420p")
        assert frame.color_range != PC
