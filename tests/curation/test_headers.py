"""What a file says of itself and cannot be, or means otherwise: mirrored pictures, several streams, absurd rates, sound by a video's name."""

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from curation.decode import open_source
from curation.golden.encode import encode
from curation.opening import SourceFailure
from schemas.errors import ErrorCode


def noise(count: int) -> list[np.ndarray]:
    base = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(base, i, axis=1) for i in range(count)]


def failure_of(path: Path) -> tuple[ErrorCode, str] | None:
    with open_source(path) as reader:
        assert sum(1 for _ in reader.decoded()) > 0
        return reader.failure()


@pytest.mark.parametrize(
    ("rows", "refused"), [((-1, 0, 0, 1), True), ((1, 0, 0, -1), True), ((0, 1, 1, 0), True), ((-1, 0, 0, -1), False)]
)
def test_mirrored_pictures_are_refused(tmp_path: Path, rows: tuple[int, int, int, int], refused: bool) -> None:
    """Left and right, up and down, across a diagonal: no turn shows them as a player would. Both at once are a turn."""
    path = tmp_path / "a.mp4"
    encode(noise(3), path, 25, rotation=90)
    a, b, c, d = (number << 16 for number in rows)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # version and flags, times, track, duration, layer, volume: then the matrix
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    if not refused:
        with open_source(path) as reader:
            assert reader.probe.rotation == 180
        return
    with pytest.raises(SourceFailure, match="mirrored") as caught:
        open_source(path)
    assert caught.value.code == ErrorCode.UNSUPPORTED


def _two_streams(path: Path, first: int, second: int, marked: int | None) -> None:
    """A Matroska file with two video streams of so many frames, 64 and 128 pixels wide, of which one may be marked as the default."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for number, width in enumerate((64, 128)):
            stream: Any = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            stream.disposition = Disposition.default if number == marked else Disposition(0)
            streams.append(stream)
        for index in range(max(first, second)):
            for stream, count in zip(streams, (first, second), strict=True):
                if index < count:
                    picture = np.full((48, stream.width, 3), index * 3 % 255, np.uint8)
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    frame.pts = index
                    container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("first", "second", "marked", "width"),
    [(1, 50, None, 128), (1, 50, 0, 128), (50, 1, 1, 64), (50, 50, None, 64), (50, 50, 1, 128), (40, 50, None, 64)],
)
def test_the_stream_that_a_player_shows_is_read(
    tmp_path: Path, first: int, second: int, marked: int | None, width: int
) -> None:
    """Not a thumbnail that comes before it and is not marked as one."""
    _two_streams(tmp_path / "a.mkv", first, second, marked)
    with open_source(tmp_path / "a.mkv") as reader:
        assert reader.probe.width == width
        assert reader.probe.stream_index == (width == 128)
        assert sum(1 for _ in reader.decoded()) == (first if width == 64 else second)


def test_rates_and_time_stamps_that_cannot_be_are_told(tmp_path: Path) -> None:
    """A header that shows all frames of a film within a millisecond, and one that leaves half of them out besides."""
    path = tmp_path / "a.avi"
    encode(noise(50), path, 25, codec="mpeg4")
    data = bytearray(path.read_bytes())
    at = data.index(b"strh") + 8
    data[at + 20 : at + 28] = struct.pack("<2I", 1, 1_000_000)  # dwScale, dwRate
    path.write_bytes(data)
    assert failure_of(path) == (ErrorCode.BAD_TIMESTAMPS, "50 frames at 1,000,000 a second cannot be")

    path = tmp_path / "a.mp4"
    encode(noise(96), path, 24, bframes=3)
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 4
    assert struct.unpack(">2I", data[at + 4 : at + 12])[1] == 96
    data[at + 12 : at + 16] = struct.pack(">I", 1)  # all steps but for one tick
    path.write_bytes(data)
    failure = failure_of(path)
    assert failure is not None
    assert failure[0] == ErrorCode.BAD_TIMESTAMPS


@pytest.mark.parametrize(
    ("suffix", "codec", "kind"),
    [(".mp3", "libmp3lame", "MP3"), (".wav", "pcm_s16le", "WAV"), (".flac", "flac", "FLAC"), (".aac", "aac", "AAC")],
)
def test_audio_files_under_another_name_are_told(tmp_path: Path, suffix: str, codec: str, kind: str) -> None:
    sound = tmp_path / f"a{suffix}"
    with av.open(str(sound), "w") as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
        sample = "s16" if codec in ("pcm_s16le", "flac") else "fltp"
        for index in range(50):
            silence = np.zeros((1, 1024), np.int16 if sample == "s16" else np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format=sample, layout="mono")
            frame.sample_rate, frame.pts = 48_000, 1024 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    sound.rename(tmp_path / "a.mp4")
    with pytest.raises(SourceFailure, match=f"{kind} audio, without a video stream") as caught:
        open_source(tmp_path / "a.mp4")
    assert caught.value.code == ErrorCode.NO_VIDEO_STREAM


@pytest.mark.parametrize("tag", ["00:00:nan", "-1:00:00", "00:00:-5", "00:00:inf", "99999999999:00:00", "never"])
def test_a_length_that_makes_no_sense_is_not_believed(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "a.mkv"
    encode(noise(10), path, 25)
    data = path.read_bytes()
    at = data.index(b"00:00:00", data.index(b"DURATION"))
    path.write_bytes(data[:at] + tag.encode().ljust(18) + data[at + 18 :])
    with open_source(path) as reader:
        assert sum(1 for _ in reader.decoded()) == 10
