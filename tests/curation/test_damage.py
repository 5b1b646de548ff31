"""Damage: what the decoder conceals is counted, what follows an error is not trusted, and threads do not show."""

import io
import itertools
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curation.decode import SourceReader, open_source
from curation.golden import scenes
from curation.golden.encode import encode
from curation.golden.timeline import Cut, Timeline
from curation.golden.write import write_golden
from curation.opening import SourceFailure
from curation.scan import scan_source
from schemas.errors import ErrorCode
from schemas.recipe import Scan

VIDEOS = Path(__file__).parents[3] / "shared" / "videos"
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="the real videos are not beside this checkout")

SIZE = (320, 180)
LINE = Timeline((scenes.pan(SIZE, 1, 75, 2.0), scenes.pan(SIZE, 2, 75, -1, 1)), (Cut(),))
GOP = 25
OPEN = {"bframes": 3, "options": {"x264-params": "open-gop=1:threads=1:scenecut=0"}}
KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "open_groups.mp4": OPEN,
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg2.ts": {"codec": "mpeg2video"},
}


def pictures(path: Path) -> dict[int, np.ndarray]:
    """Time stamp → luma of every frame, by one thread and without the engine."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        return {f.pts: f.to_ndarray(format="gray").astype(int) for f in container.decode(video=0) if f.pts is not None}


def flipped(path: Path, number: int, seed: int, out: Path) -> Path:
    """The file with five bits flipped in the middle of one packet, counted in decoding order."""
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    pos, size = packets[number]
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(5):
        data[pos + rng.randrange(min(24, size // 2), size)] ^= 1 << rng.randrange(8)
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_every_wrong_frame_is_counted_and_none_after_the_recovery_point(tmp_path: Path, kind: str) -> None:
    good = tmp_path / kind
    encode(LINE.frames(), good, 25, **{"gop": GOP, **KINDS[kind]})
    sound = pictures(good)
    order = sorted(sound)
    total = 0
    for seed, number in enumerate((51, 54, 58)):
        bad = flipped(good, number, seed, tmp_path / f"{seed}{kind}")
        wrong = {order.index(pts) for pts, picture in pictures(bad).items() if np.abs(picture - sound[pts]).max() > 8}
        with open_source(bad) as reader:
            frames = sum(1 for _ in reader.decoded())
            failure = reader.failure()
            marked = {i for first, stop in reader.tally.damaged for i in range(first, stop)}
        assert frames == 150
        assert wrong <= marked
        total += len(wrong)
        # From the recovery point on all is well; nor is anything before the group of pictures called damaged.
        assert not marked & {*range(48), *range(75, 150)}
        assert failure is not None
        assert failure[0] == ErrorCode.DAMAGED
        assert f"{len(marked)} of 150 frames" in failure[1]
    assert total > 20


def test_flipped_bits_in_hevc_are_noticed_as_far_as_its_decoder_can_tell(tmp_path: Path) -> None:
    """Which is not always: the arithmetic decoder makes a picture of most bits. Never is a frame before the flip called damaged."""
    good = tmp_path / "a.mp4"
    encode(LINE.frames(), good, 25, codec="libx265", gop=GOP, crf=28, options={"preset": "medium"})
    noticed = 0
    for number in range(40, 76, 2):
        with open_source(flipped(good, number, number, tmp_path / "b.mp4")) as reader:
            frames = sum(1 for _ in reader.decoded())
            marked = {i for first, stop in reader.tally.damaged for i in range(first, stop)}
        assert 140 <= frames <= 150
        assert not marked & {*range(20), *range(76, 150)}
        noticed += bool(marked)
    assert noticed >= 3


@pytest.mark.parametrize("options", ["open-gop=1:bframes=4", "open-gop=0:bframes=0"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_sound_hevc_is_not_called_damaged_wherever_it_begins(tmp_path: Path, options: str, suffix: str) -> None:
    whole = tmp_path / f"a{suffix}"
    params = f"{options}:keyint=25:pools=none:frame-threads=1:log-level=error"
    encode(LINE.frames(), whole, 25, codec="libx265", options={"x265-params": params})
    for first in (0, 50, 60):
        path = remuxed(whole, tmp_path / f"b{suffix}", partial(int.__le__, first))
        with open_source(path) as reader:
            assert sum(1 for _ in reader.decoded()) >= 75
            assert (reader.tally.damaged_frames, reader.tally.errors) == (0, 0)


def scan(path: Path, threads: int = 1) -> tuple[Any, ...]:
    stills = io.BytesIO()
    try:
        result = scan_source(path, "s", Scan(), stills, threads=threads)
    except SourceFailure as failure:
        return failure.code, failure.message
    return result.source, result.transitions, result.clips, stills.getvalue()


@needs_videos
@pytest.mark.parametrize(
    "name",
    [
        "bitflips_middle.mp4",
        "zeroed_block.mp4",
        "upstream_corrupted.mp4",
        "truncated.flv",
        "truncated.mkv",
        "truncated.webm",
        "truncated_index_first.mp4",
        "truncated_index_lost.mp4",
        "truncated_no_index.avi",
        "truncated_100_bytes.avi",
    ],
)
def test_threads_do_not_show_in_broken_real_files(name: str) -> None:
    one = scan(VIDEOS / "bad" / name)
    assert scan(VIDEOS / "bad" / name, 2) == one
    assert scan(VIDEOS / "bad" / name, 4) == one


def test_threads_do_not_show_in_broken_golden_files(tmp_path: Path) -> None:
    names = ["corrupt_bit_flips", "corrupt_truncated_mkv", "corrupt_audio_only"]
    write_golden(tmp_path, ("corrupt",), names=names)
    for path in sorted(tmp_path.glob("corrupt_*.m*")):
        one = scan(path)
        assert scan(path, 4) == one, path.name


def test_threads_do_not_show_in_flipped_av1(tmp_path: Path) -> None:
    """With several threads its decoder leaves frames out without a word."""
    good = tmp_path / "a.mp4"
    encode(LINE.frames(), good, 25, codec="libsvtav1", gop=GOP, crf=30)
    codes = []
    for number in (31, 39, 43, 149):
        bad = flipped(good, number, number, tmp_path / "b.mp4")
        one = scan(bad)
        assert scan(bad, 2) == one, number
        codes.append(one[0]["error_code"])
    assert codes.count("damaged") >= 2


def test_clips_say_how_many_damaged_frames_they_hold(tmp_path: Path) -> None:
    good = tmp_path / "a.mp4"
    encode(LINE.frames(), good, 25, gop=GOP)
    source, _, clips, _ = scan(flipped(good, 54, 0, tmp_path / "b.mp4"))
    assert (source["status"], source["error_code"]) == ("partial", "damaged")
    assert 10 < source["damaged_frames"] < 30
    assert sum(clip["damaged_frames"] for clip in clips) > 0
    assert [c["damaged_frames"] for c in clips if c["end_frame"] <= 48 or c["start_frame"] >= 75] == [0]


def remuxed(
    source: Path, out: Path, keep: Callable[[int], bool], shift: Callable[[int], int] = lambda pts: pts
) -> Path:
    """A copy with only some packets, counted in decoding order, and perhaps other time stamps."""
    with av.open(str(source)) as container, av.open(str(out), "w") as target:
        stream = container.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in container.demux(stream) if p.size):
            if keep(number):
                packet.pts, packet.dts = shift(packet.pts), shift(packet.dts)
                packet.stream = copy
                target.mux(packet)
    return out


@pytest.fixture
def steady(tmp_path: Path) -> Path:
    """MPEG-4, whose decoder does not complain about a missing frame, 25 frames a second. The header counts missing frames as well."""
    path = tmp_path / "steady.avi"
    encode(LINE.frames(), path, 25, codec="mpeg4", gop=GOP)
    return path


def test_lost_frames_leave_a_hole_and_damage_up_to_the_next_keyframe(steady: Path, tmp_path: Path) -> None:
    path = remuxed(steady, tmp_path / "hole.avi", lambda number: not 55 <= number < 65)
    source, _, clips, _ = scan(path)
    assert (source["num_frames"], source["announced_frames"]) == (140, 150)
    assert (source["status"], source["error_code"], source["timestamp_faults"]) == ("partial", "damaged", 1)
    assert "lost at 1 place" in source["error"]
    assert source["damaged_frames"] == 10  # what was 65 to 74
    assert sum(clip["damaged_frames"] for clip in clips) > 0


def test_hole_that_ends_at_a_keyframe_damages_nothing(steady: Path, tmp_path: Path) -> None:
    source, *_ = scan(remuxed(steady, tmp_path / "hole.avi", lambda number: not 65 <= number < 75))
    assert (source["status"], source["timestamp_faults"], source["damaged_frames"]) == ("partial", 1, 0)


@pytest.mark.parametrize(("name", "faults"), [("paused.mkv", 1), ("paused.mp4", 0)])
def test_pause_of_a_recording_damages_nothing_in_any_container(tmp_path: Path, name: str, faults: int) -> None:
    """One group of pictures that goes on after two seconds. Matroska counts no frames, so that the gap is noted, but no more."""
    path = tmp_path / name
    encode(LINE.frames(), path, 25, gop=1000, pts=[40 * i + (2000 if i >= 60 else 0) for i in range(150)])
    source, _, clips, _ = scan(path)
    assert (source["status"], source["damaged_frames"], source["timestamp_faults"]) == ("ok", 0, faults)
    assert not any(clip["damaged_frames"] for clip in clips)


def test_pauses_and_variable_rates_are_no_damage(tmp_path: Path) -> None:
    """A header that counts as many frames as there are, or a stream whose frames come as they like, promises nothing more."""
    paused = tmp_path / "paused.mp4"
    encode(LINE.frames(), paused, 25, gop=GOP, pts=[40 * i + (2000 if i >= 60 else 0) for i in range(150)])
    variable = tmp_path / "variable.mkv"
    steps = np.cumsum([(20, 40, 110, 400)[i % 4] for i in range(150)])
    encode(LINE.frames(), variable, 25, gop=GOP, pts=[int(pts) for pts in steps])
    for path in (paused, variable):
        source, *_ = scan(path)
        assert (source["status"], source["timestamp_faults"], source["damaged_frames"]) == ("ok", 0, 0), path.name
        assert source["variable_fps"]


def _left_out(path: Path, codec: str = "libx264") -> Path:
    """25 frames a second, but for three that look like the one before, which an encoder left out. The AVI has empty chunks for them."""
    if path.suffix == ".avi":
        whole = path.with_stem("whole")
        encode(LINE.frames(), whole, 25, gop=1000, codec=codec)
        return remuxed(whole, path, lambda number: number not in (30, 61, 62))
    kept = [i for i in range(150) if i not in (30, 61, 62)]
    frames = (frame for i, frame in enumerate(LINE.frames()) if i in kept)
    encode(frames, path, 25, gop=GOP, pts=[40 * i for i in kept], codec=codec)
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "faults"),
    [
        (".mp4", "libx264", 0),
        (".mkv", "libx264", 2),
        (".ts", "libx264", 2),
        (".webm", "libvpx-vp9", 2),
        (".mkv", "libx265", 2),
        (".avi", "mpeg4", 2),
        (".mp4", "mpeg4", 0),
    ],
)
def test_repeated_frames_that_were_left_out_are_no_damage(tmp_path: Path, suffix: str, codec: str, faults: int) -> None:
    """Where the header does not count, or counts the empty chunks of an AVI, lost frames would look the same: the gaps are noted."""
    source, _, clips, _ = scan(_left_out(tmp_path / f"a{suffix}", codec))
    assert (source["status"], source["damaged_frames"], source["decode_errors"]) == ("ok", 0, 0)
    assert source["timestamp_faults"] == faults
    assert not any(clip["damaged_frames"] for clip in clips)


def test_edit_list_and_left_out_frames_together_are_no_damage(tmp_path: Path) -> None:
    """As a cut without an encode of such a file leaves behind: the header counts what the edit list leaves out."""
    whole = _left_out(tmp_path / "a.mp4")
    with av.open(str(whole)) as container:
        skipped = round(Fraction(3, 5) / container.streams.video[0].time_base)
    source, *_ = scan(remuxed(whole, tmp_path / "cut.mp4", lambda _: True, lambda pts: pts - skipped))
    assert source["announced_frames"] > source["num_frames"]
    assert (source["status"], source["damaged_frames"]) == ("ok", 0)


class Silent:
    """Stands before a container whose decoder keeps the frame of one packet to itself, as some do with several threads."""

    def __init__(self, container: Any, kept: float) -> None:
        self._container, self._kept = container, kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *args: Any) -> Iterator[Any]:
        for packet in self._container.demux(*args):
            yield SilentPacket(packet, self._kept)


class SilentPacket:
    def __init__(self, packet: Any, kept: float) -> None:
        self._packet, self._kept = packet, kept

    def __bytes__(self) -> bytes:
        return bytes(self._packet)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packet, name)

    def decode(self) -> list[Any]:
        return [frame for frame in self._packet.decode() if abs(frame.time - self._kept) > 0.01]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("variable", [False, True])
def test_a_packet_that_gives_no_frame_is_an_error_whoever_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, variable: bool
) -> None:
    """One frame of a whole file: no hole, and no more than what a header may be wrong by. With a hole it would have been seen before."""
    import curation.decode
    from curation.opening import open_container

    path = tmp_path / f"a{suffix}"
    pts = [40 * i + ((i + 2) % 3 * 8 if variable else 0) for i in range(150)]
    encode(LINE.frames(), path, 25, gop=GOP, pts=pts, options={"x264-params": "scenecut=0:threads=1"})
    kept = pts[60] / 1000
    monkeypatch.setattr(curation.decode, "open_container", lambda p: Silent(open_container(p), kept))
    with open_source(path) as reader:
        assert sum(1 for _ in reader.decoded()) == 149
        failure = reader.failure()
        marked = {i for first, stop in reader.tally.damaged for i in range(first, stop)}
    assert failure is not None
    assert failure[0] == ErrorCode.DAMAGED
    assert reader.tally.errors == 1
    assert {62, 70} <= marked <= {*range(55, 75)}


def test_packets_that_the_demuxer_calls_corrupt_count(tmp_path: Path) -> None:
    """A transport stream that lost packets in the middle of a frame: its counters tell."""
    path = tmp_path / "a.ts"
    encode(LINE.frames(), path, 25, gop=GOP)
    data = path.read_bytes()
    middle = len(data) // 2 // 188 * 188
    path.write_bytes(data[:middle] + data[middle + 5 * 188 :])
    source, *_ = scan(path)
    assert source["status"] == "partial"
    assert source["decode_errors"] > 0
    assert 0 < source["damaged_frames"] < 60


def test_header_that_lies_about_its_length(tmp_path: Path) -> None:
    """More than there is: cut short. Less than there is: all is read."""
    path = tmp_path / "a.mkv"
    encode(LINE.frames(), path, 25, gop=GOP)
    data = bytearray(path.read_bytes())
    at = data.index(b"\x44\x89\x88") + 3  # Duration: an 8-byte float in milliseconds
    for factor, status in ((3.0, "partial"), (0.3, "ok")):
        data[at : at + 8] = np.array([6000.0 * factor], ">f8").tobytes()
        path.write_bytes(data)
        source, *_ = scan(path)
        assert source["num_frames"] == 150
        assert source["status"] == status
        assert source["error_code"] == ("truncated" if factor > 1 else None)


def _still(suffix: str, path: Path) -> None:
    from PIL import Image

    frames = [Image.fromarray(np.full((48, 64, 3), 40 * i, np.uint8)) for i in range(1 if "one" in suffix else 5)]
    frames[0].save(path, save_all=len(frames) > 1, append_images=frames[1:], duration=200)


@pytest.mark.parametrize(
    ("name", "frames", "code"),
    [
        ("animated.gif", 5, None),
        ("animated.png", 5, None),
        ("one.gif", 1, None),
        ("one.png", None, ErrorCode.STILL_IMAGE),
        ("animated.webp", None, ErrorCode.UNSUPPORTED),
        ("one.webp", None, ErrorCode.STILL_IMAGE),
        ("one.jpg", None, ErrorCode.STILL_IMAGE),
    ],
)
def test_pictures_and_animations(tmp_path: Path, name: str, frames: int | None, code: ErrorCode | None) -> None:
    _still(name, tmp_path / name)
    found = scan(tmp_path / name)
    if code is None:
        assert found[0]["num_frames"] == frames
        assert found[0]["status"] == "ok"
    else:
        assert found[0] == code
        assert "the file is a" in found[1]


def test_edit_list_that_leaves_frames_out_is_no_loss(tmp_path: Path) -> None:
    """As a cut without an encode leaves it behind: stored from the keyframe on, shown from a later instant."""
    whole = tmp_path / "whole.mp4"
    encode(LINE.frames(), whole, 25, gop=1000)
    with av.open(str(whole)) as container:
        skipped = round(2 / container.streams.video[0].time_base)
    path = remuxed(whole, tmp_path / "cut.mp4", lambda _: True, lambda pts: pts - skipped)
    source, *_ = scan(path)
    assert (source["announced_frames"], source["num_frames"]) == (150, 100)
    assert (source["status"], source["error"]) == ("ok", None)


# The ledger ----------------------------------------------------------------------------------------------------------


class Counted:
    """Stands before a container, and counts the frames that its packets give and the seeks that it makes."""

    opened = 0
    frames = 0

    def __init__(self, container: Any) -> None:
        Counted.opened += 1
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *args: Any) -> Iterator[Any]:
        for packet in self._container.demux(*args):
            yield Packet(packet)


class Packet:
    def __init__(self, packet: Any) -> None:
        self._packet = packet

    def __bytes__(self) -> bytes:
        return bytes(self._packet)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packet, name)

    def decode(self) -> list[Any]:
        frames = self._packet.decode()
        if self._packet.stream.type == "video":
            Counted.frames += len(frames)
        return frames


def ledger(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any] | None:
    """The row of a scan, checked against what the decoder gave; None for a file that cannot be used."""
    import curation.decode
    from curation.opening import open_container

    Counted.opened = Counted.frames = 0
    monkeypatch.setattr(curation.decode, "open_container", lambda p: Counted(open_container(p)))
    found = scan(path)
    if len(found) == 2:
        return None
    source = found[0]
    assert Counted.opened == 1, path.name
    assert Counted.frames == source["frames_decoded"] + source["frames_run_up"], path.name
    assert source["frames_run_up"] == 0
    assert source["frames_decoded"] <= 1.02 * source["num_frames"], path.name
    return source


def test_golden_files_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["odd_variable_rate", "odd_tone", "odd_ten_bit", "odd_mpeg4", "odd_one_frame", "odd_vp9", "odd_rotated_90"]
    write_golden(tmp_path, ("odd",), names=names)
    files = [p for p in sorted(tmp_path.iterdir()) if p.suffix != ".json"]
    assert len(files) == len(names)
    assert all(ledger(path, monkeypatch) for path in files)


def test_the_ledger_shows_what_is_decoded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    encode(LINE.frames(), path, 25, gop=GOP)
    real = SourceReader._first_frames

    def twice(reader: SourceReader) -> Any:
        """Look at the beginning, then start anew."""
        assert len(list(itertools.islice(reader._decode_packets(), 10))) == 10
        reader._container.seek(0)
        reader._packets = reader._read_packets(reader._container.demux())
        return real(reader)

    monkeypatch.setattr(SourceReader, "_first_frames", twice)
    source, *_ = scan(path)
    assert (source["num_frames"], source["frames_run_up"]) == (150, 0)
    assert source["frames_decoded"] == 160 > 1.02 * source["num_frames"]


@needs_videos
@pytest.mark.slow
def test_real_files_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [p for p in sorted(VIDEOS.rglob("*")) if p.is_file() and p.suffix not in (".json", ".md")]
    assert sum(ledger(path, monkeypatch) is not None for path in files) >= 25


# Fields --------------------------------------------------------------------------------------------------------------------


class Bitstream:
    """Bits as H.264 writes them (Rec. ITU-T H.264, 7.2 and 9.1)."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, *values: tuple[int, int]) -> "Bitstream":
        self.bits += "".join(f"{value:0{count}b}" for count, value in values)
        return self

    def ue(self, *values: int) -> "Bitstream":
        self.bits += "".join("0" * ((v + 1).bit_length() - 1) + f"{v + 1:b}" for v in values)
        return self

    def aligned(self) -> "Bitstream":
        self.bits += "0" * (-len(self.bits) % 8)
        return self

    def unit(self, kind: int) -> bytes:
        self.u((1, 1)).aligned()
        plain = bytes(int(self.bits[i : i + 8], 2) for i in range(0, len(self.bits), 8))
        kept, zeros = bytearray(), 0
        for byte in plain:
            if zeros >= 2 and byte <= 3:
                kept.append(3)
                zeros = 0
            kept.append(byte)
            zeros = 0 if byte else zeros + 1
        return b"\0\0\0\1" + bytes([kind]) + bytes(kept)


def fields(path: Path, frames: int, lost: int | None = None) -> Path:
    """A 64 × 64 video of which each field is a packet of its own, its samples stored as they are. ``lost``: a frame without packets."""
    profile, one = Bitstream().u((8, 77), (8, 0), (8, 30)).ue(0, 0, 0, 0, 2), (1, 1)
    sets = profile.u((1, 0)).ue(3, 1).u((1, 0), (1, 0), one, (1, 0), (1, 0)).unit(0x67)
    sets += (
        Bitstream()
        .ue(0, 0)
        .u((1, 0), (1, 0))
        .ue(0, 0, 0)
        .u((1, 0), (2, 0))
        .ue(0, 0, 0)
        .u((1, 0), (1, 0), (1, 0))
        .unit(0x68)
    )

    def field(n: int, bottom: int) -> bytes:
        bits = Bitstream().ue(0, 7, 0).u((4, 0), one, (1, bottom))
        if not bottom:
            bits.ue(n % 2)
        bits.u((4, bottom), (1, 0) if bottom else (2, 0)).ue(0)
        for block in range(8):
            bits.ue(25).aligned()
            bits.u(
                *((8, (40 + n * 3 + block * 5 + bottom) % 200 + 20) for _ in range(256)),
                *((8, 128) for _ in range(128)),
            )
        return bits.unit(0x61 if bottom else 0x65)

    raw = path.with_suffix(".h264")
    raw.write_bytes(b"".join(b"\0\0\0\1\x09\x10" + (sets if not b else b"") + field(n, b) for n in range(frames) for b in (0, 1)))  # fmt: skip
    with av.open(str(raw)) as container, av.open(str(path), "w") as target:
        track = target.add_stream_from_template(container.streams.video[0], opaque=True)
        track.time_base = Fraction(1, 90000)
        for i, packet in enumerate(p for p in container.demux(video=0) if p.size):
            if i // 2 == lost:
                continue
            new: Any = av.Packet(bytes(packet))
            new.pts = new.dts = i * 1800
            new.time_base, new.duration, new.is_keyframe, new.stream = track.time_base, 1800, i % 2 == 0, track
            target.mux(new)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_fields_that_are_packets_of_their_own_are_no_damage(tmp_path: Path, suffix: str) -> None:
    with open_source(fields(tmp_path / f"a{suffix}", 20)) as reader:
        stamps = [pts for _, _, pts in reader.decoded()]
    assert len(stamps) == 20
    assert reader.failure() is None
    assert reader.tally.errors == reader.tally.damaged_frames == 0
