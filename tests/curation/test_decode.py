"""Opening and decoding: exact counts, honest time stamps, refusals, damage."""

import json
import os
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from curation.child import sha256_of
from curation.decode import open_source
from curation.golden.encode import encode
from curation.opening import SourceFailure
from curation.probe import video_stream
from curation.segments import WHOLE, Piece
from schemas.errors import ErrorCode

VIDEOS = Path(__file__).parents[3] / "shared" / "videos"
needs_videos = pytest.mark.skipif(not VIDEOS.is_dir(), reason="the real videos are not beside this checkout")


def noise(count: int, width: int = 64, height: int = 48, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(base, i, axis=1) for i in range(count)]


def read(path: Path, threads: int = 1):  # type: ignore[no-untyped-def]
    with open_source(path, threads) as reader:
        frames = [(f.index, f.pts, f.time, f.bgr().shape, f.luma is not None) for f in reader.frames()]
        return reader, frames


def test_counts_rate_and_sampling(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(noise(50), path, 25)
    reader, frames = read(path)
    assert [f[0] for f in frames] == list(range(50))
    assert reader.fps == pytest.approx(25.0)
    assert not reader.variable_fps
    assert reader.failure() is None
    assert [i for i, f in enumerate(frames) if f[4]] == [0, 16, 27, 42]  # native luma at about two a second
    assert reader.tally.end_pts == frames[-1][1] + frames[1][1] - frames[0][1]


def test_variable_rate_is_told_by_time_stamps(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(
        noise(20),
        path,
        25,
        pts=[i * 40 if i < 10 else 400 + (i - 10) * 120 for i in range(20)],
        time_base=Fraction(1, 1000),
    )
    reader, frames = read(path)
    assert reader.variable_fps
    assert frames[10][2] == pytest.approx(0.4, abs=0.01)
    assert frames[19][2] == pytest.approx(1.48, abs=0.01)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceFailure, match="named pipe") as caught:
        open_source(tmp_path / "pipe.mp4")
    assert caught.value.code is ErrorCode.UNSUPPORTED
    with pytest.raises(OSError, match="named pipe"):
        sha256_of(tmp_path / "pipe.mp4")


def test_a_cover_is_called_a_cover() -> None:
    class Streams(list[SimpleNamespace]):
        video: list[SimpleNamespace]

    streams = Streams([SimpleNamespace(type="audio"), SimpleNamespace(type="video", disposition=0x0400)])
    streams.video = [streams[1]]
    with pytest.raises(SourceFailure, match=r"no video stream, only a cover picture and audio$"):
        video_stream(SimpleNamespace(streams=streams))  # type: ignore[arg-type]


def test_small_frame_has_256_on_the_long_side(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(noise(3, 640, 360), path, 25)
    _, frames = read(path)
    assert frames[0][3] == (144, 256, 3)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_picture_is_upright(tmp_path: Path, turn: int) -> None:
    """A picture with a bright left half, stored turned: the small frame shows the left half bright again."""
    upright = np.zeros((96, 160, 3), np.uint8)
    upright[:, :80] = 255
    stored = np.rot90(upright, turn // 90)  # turned counter-clockwise, to be made upright by a clockwise turn
    path = tmp_path / "a.mp4"
    encode([np.ascontiguousarray(stored)] * 3, path, 25, rotation=turn)
    with open_source(path) as reader:
        frame = next(iter(reader.frames()))
        assert (reader.probe.width, reader.probe.height) == (160, 96)
        assert reader.probe.rotation == turn
        small = frame.bgr().astype(int)
        assert small[:, : small.shape[1] // 3].mean() > 200
        assert small[:, -small.shape[1] // 3 :].mean() < 50


def test_anamorphic_pixels_are_made_square(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    encode(noise(3, 64, 48), path, 25, sar=Fraction(2, 1))
    reader, frames = read(path)
    assert (reader.probe.width, reader.probe.height) == (128, 48)
    assert frames[0][3][:2] == (48, 128)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.mp4", b"", ErrorCode.EMPTY_FILE),
        ("text.mp4", b"just words, many of them. " * 100, ErrorCode.UNREADABLE),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n", ErrorCode.UNSUPPORTED),
        ("concat.mp4", b"ffconcat version 1.0\nfile /etc/hostname\n", ErrorCode.UNSUPPORTED),
        ("picture.mp4", b"\xff\xd8\xff\xe0" + b"\x00" * 100, ErrorCode.STILL_IMAGE),
        (
            "sound.avi",
            b"RIFF\x64\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00" + b"\x00" * 200,
            ErrorCode.NO_VIDEO_STREAM,
        ),
    ],
)
def test_what_is_no_video_is_refused_with_a_fitting_code(
    tmp_path: Path, name: str, content: bytes, code: ErrorCode
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceFailure) as caught:
        open_source(tmp_path / name)
    assert caught.value.code == code


def test_a_name_that_looks_like_a_protocol_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encode(noise(3), tmp_path / "a.mp4", 25)
    os.rename("a.mp4", "http:x.mp4")
    assert len(read(Path("http:x.mp4"))[1]) == 3


def test_too_large_frames_are_refused(tmp_path: Path) -> None:
    encode(noise(2), tmp_path / "a.mp4", 25)
    with pytest.raises(SourceFailure, match="max_pixels"):
        open_source(tmp_path / "a.mp4", max_pixels=1000)


def test_truncated_file_is_partial(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    encode(noise(100), path, 25)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    reader, frames = read(path)
    failure = reader.failure()
    assert 0 < len(frames) < 100
    assert failure is not None
    assert failure[0] == ErrorCode.TRUNCATED


EXPECTED = {
    "audio_only.mp4": "no_video_stream",
    "bitflips_middle.mp4": "damaged",
    "header_only.mp4": "no_frames",
    "header_zeroed.mp4": "unreadable",
    "image_renamed.mp4": "still_image",
    "json_renamed.webm": "unreadable",
    "odd name [x] #1, it's $ok & 100%.mp4": None,
    "one_frame.mp4": None,
    "random_bytes.mp4": "unreadable",
    "text_renamed.mp4": "unreadable",
    "tiny_all_black.mp4": None,
    "truncated.flv": "truncated",
    "truncated.mkv": "truncated",
    "truncated.webm": "truncated",
    "truncated_100_bytes.avi": "unreadable",
    "truncated_index_first.mp4": "truncated",
    "truncated_index_lost.mp4": "unreadable",
    "truncated_no_index.avi": "truncated",
    "upstream_corrupted.mp4": "damaged",
    "webm_renamed.mp4": None,
    "zero_byte.mkv": "empty_file",
    "zero_byte.mp4": "empty_file",
    "zeroed_block.mp4": "damaged",
}


@needs_videos
@pytest.mark.parametrize("name", EXPECTED)
def test_broken_real_files_get_the_code_that_fits(name: str) -> None:
    try:
        reader, _ = read(VIDEOS / "bad" / name)
        failure = reader.failure()
        code = str(failure[0]) if failure else None
    except SourceFailure as error:
        code = str(error.code)
    assert code == EXPECTED[name]


@needs_videos
def test_real_files_count_and_turn_as_annotated() -> None:
    videos = json.loads((VIDEOS / "manifest.json").read_text())["videos"]
    assert len(videos) >= 16
    for video in videos:
        with open_source(VIDEOS / video["file"]) as reader:
            count = sum(1 for _ in reader.decoded())
            assert count == video["frames"], video["file"]
            assert reader.failure() is None, video["file"]
            assert (-reader.probe.rotation) % 360 == video["rotation"] % 360
            assert reader.fps == pytest.approx(video["fps"], rel=0.01)


def test_sound_comes_by_in_the_same_pass(tmp_path: Path) -> None:
    """All of it, from the first packet on; for a piece only what is around it."""
    path = tmp_path / "a.mp4"
    encode(noise(150), path, 25, gop=25, audio=True)

    def heard(piece: Piece) -> list[float]:
        starts: list[float] = []
        with open_source(path, piece=piece) as reader:
            reader.listen(lambda packet: starts.append(float(packet.pts * packet.time_base)) if packet.size else None)
            assert sum(1 for _ in reader.decoded()) > 0
        return starts

    whole = heard(WHOLE)
    assert min(whole) <= 0.0
    assert max(whole) > 5.9
    assert len(whole) == len(set(whole))
    part = heard(Piece(2.0, 3.0))
    assert part == [start for start in whole if 1.59 < start <= 3.4]
