"""Decoding a sample: exactly the frames of a full decode, scaled and cropped as said; what does not decode is said to be broken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from curation.golden.draw import texture, window
from curation.golden.encode import encode
from stiv_train.data import decoding
from stiv_train.data.buckets import needed_frames
from stiv_train.data.decoding import BrokenClip, cover, read_sample

WIDTH, HEIGHT, COUNT = 96, 64, 50

ENCODINGS: dict[str, dict[str, Any]] = {
    "b-frames": {"gop": 12},
    "b-pyramid": {"gop": 20, "options": {"preset": "medium", "bf": "8", "x264-params": "b-pyramid=normal:ref=4"}},
    "open groups": {"gop": 12, "options": {"preset": "medium", "x264-params": "open-gop=1:bframes=3"}},
    "intra refresh": {"gop": 20, "options": {"x264-params": "intra-refresh=1"}},
    "one group": {"gop": 1000},
    "hevc": {"codec": "libx265", "gop": 12},
    "vp9": {"codec": "libvpx-vp9", "gop": 12},
    "uneven stamps": {"gop": 12, "pts": [n * 40 + n % 3 * 7 for n in range(COUNT)]},
    "with sound": {"gop": 12, "audio": True},
}


def moving() -> Iterator[np.ndarray]:
    big = texture(WIDTH + 16 + 2 * COUNT, HEIGHT + 16, 1)
    return (window(big, 8 + i * 1.5, 8, WIDTH, HEIGHT) for i in range(COUNT))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    encode(moving(), path, 12, gop=12)
    return path.read_bytes()


def every_frame(path: Path, size: int) -> np.ndarray:
    """All frames by plain PyAV from the first, covered and cropped at the centre. (T, size, size, 3) uint8."""
    flags = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    height, width = cover(HEIGHT, WIDTH, size, size)
    left = (width - size) // 2
    with av.open(str(path)) as container:
        planes = [
            f.reformat(width, height, "gbrp", interpolation=int(flags)).to_ndarray() for f in container.decode(video=0)
        ]
    return np.stack(planes)[:, :size, left : left + size]


@pytest.mark.parametrize("name", ENCODINGS)
def test_frames_are_those_of_a_full_decode(name: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    encode(moving(), path, 12, **ENCODINGS[name])
    blob, truth = path.read_bytes(), every_frame(path, 32)
    assert len(truth) == COUNT
    for frames, stride in ((1, 3), (4, 3), (8, 1), (5, 7)):
        for start in (0, 1, 11, 12, 13, 17, COUNT - needed_frames(frames, stride)):
            out = np.zeros((frames, 32, 32, 3), np.uint8)
            read_sample(blob, out, start=start, stride=stride)
            assert np.array_equal(out, truth[start : start + needed_frames(frames, stride) : stride]), (
                frames,
                stride,
                start,
            )


def test_only_what_is_needed_is_decoded(clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded from the first frame")

    monkeypatch.setattr(decoding, "_one_by_one", never)
    first: list[int] = []
    begin = decoding._first_packet
    monkeypatch.setattr(decoding, "_first_packet", lambda *given: first.append(begin(*given)) or first[-1])
    for start in (0, 11, 12, 35, 40):
        read_sample(clip, np.empty((2, 16, 16, 3), np.uint8), start=start, stride=3)
    assert first == [0, 0, 12, 24, 36]  # the codec keyframe before each


def test_frames_without_usable_stamps_are_counted(clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, counted = np.empty((2, 4, 16, 16, 3), np.uint8)
    read_sample(clip, usual, start=20, stride=3)

    def refuse(*_: object) -> None:
        raise decoding._NotByStamps

    monkeypatch.setattr(decoding, "_sparingly", refuse)
    read_sample(clip, counted, start=20, stride=3)
    assert np.array_equal(usual, counted)
    with pytest.raises(BrokenClip, match="only 50 frames of it decode; 51 are needed"):
        read_sample(clip, counted, start=41, stride=3)


@pytest.mark.parametrize(
    ("crop", "left", "red"), [((0.5, 0.0), 0.0, 1.0), ((0.5, 0.5), 32.0, 0.5), ((0.5, 1.0), 64.0, 0.0)]
)
def test_scaled_to_cover_then_cropped(crop: tuple[float, float], left: float, red: float, tmp_path: Path) -> None:
    picture = np.empty((64, 128, 3), np.uint8)
    picture[:, :64], picture[:, 64:] = (225, 45, 40), (50, 85, 230)
    encode([picture] * 4, tmp_path / "halves.mp4", 8, crf=4)
    out = np.empty((2, 32, 32, 3), np.uint8)
    cut = read_sample((tmp_path / "halves.mp4").read_bytes(), out, start=1, stride=2, crop=crop)
    assert (cut.height, cut.width, cut.top, cut.left) == (64, 128, 0.0, left)
    reddish = out[..., 0] > out[..., 2]
    assert abs(reddish.mean() - red) < 0.05
    if red:
        assert np.abs(out[0, 16, 2].astype(int) - (225, 45, 40)).max() <= 3
    if red < 1:
        assert np.abs(out[1, 16, -3].astype(int) - (50, 85, 230)).max() <= 3


@pytest.mark.parametrize("size", [(64, 96), (100, 40), (17, 200), (64, 64)])
def test_any_bucket_is_filled_without_stretching(size: tuple[int, int], clip: bytes) -> None:
    out = np.zeros((1, *size, 3), np.uint8)
    cut = read_sample(clip, out, start=0, stride=1, crop=(1.0, 1.0))
    assert (out.reshape(-1, 3).max(axis=1) > 0).mean() > 0.99
    scale = max(size[0] / HEIGHT, size[1] / WIDTH)
    assert abs(cut.top + size[0] / scale - HEIGHT) < 1.5 / scale
    assert abs(cut.left + size[1] / scale - WIDTH) < 1.5 / scale


def test_short_and_damaged_clips_are_broken(clip: bytes) -> None:
    out = np.empty((4, 16, 16, 3), np.uint8)
    with pytest.raises(BrokenClip, match="it has 50 frames; 53 are needed"):
        read_sample(clip, out, start=49, stride=1)
    garbage = np.random.default_rng(0).bytes(len(clip) // 3)
    middle = len(clip) // 2
    damaged = clip[:middle] + garbage + clip[middle + len(garbage) :]
    for blob in (b"", garbage, clip[: len(clip) // 3], damaged):
        with pytest.raises(BrokenClip):
            read_sample(blob, out, start=30, stride=3)


def test_strictly_most_damage_is_noticed(clip: bytes) -> None:
    whole = np.empty((8, 16, 16, 3), np.uint8)
    read_sample(clip, whole, start=10, stride=3)
    wrong = {True: 0, False: 0}
    for at in range(1000, 10_000, 300):
        damaged = clip[:at] + bytes(byte ^ 0x55 for byte in clip[at : at + 4]) + clip[at + 4 :]
        for strict in wrong:
            out = np.empty_like(whole)
            with contextlib.suppress(BrokenClip):
                read_sample(damaged, out, start=10, stride=3, strict=strict)
                wrong[strict] += not np.array_equal(out, whole)
    assert wrong[True] < wrong[False] / 2  # the rest decodes to other pictures without an error


def test_nothing_but_the_bytes_is_opened(clip: bytes, tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes(clip)
    out = np.empty((1, 16, 16, 3), np.uint8)
    for text in (f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/other.mp4\n", f"ffconcat version 1.0\nfile {tmp_path}/other.mp4\n"):
        with pytest.raises(BrokenClip):
            read_sample(text.encode(), out, start=0, stride=1)
