"""Videos to files: what is read back is what was written, and a failure leaves nothing."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from curation.golden import encode as golden_encode
from schemas.errors import StorageError, UsageError
from stiv_train import video_files


def clip(frames: int = 6, height: int = 32, width: int = 48) -> np.ndarray:
    """A bright square that moves 4 pixels a frame over a smooth ground."""
    video = np.zeros((frames, height, width, 3), np.uint8)
    video[..., 2] = np.linspace(40, 90, width, dtype=np.uint8)
    for t in range(frames):
        video[t, 8:20, 4 * t : 4 * t + 12] = (220, 60, 40)
    return video


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


def read_mp4(path: Path) -> tuple[np.ndarray, float, str, str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        assert stream.average_rate is not None
        return (
            np.stack(frames),
            float(stream.average_rate),
            stream.codec_context.name,
            str(stream.codec_context.pix_fmt),
        )


def test_mp4_is_h264_with_the_frames_and_rate_given(tmp_path: Path) -> None:
    video = clip()
    video_files.write_video(tmp_path / "x.mp4", video, 16 / 3)
    back, fps, codec, pixels = read_mp4(tmp_path / "x.mp4")
    assert back.shape == video.shape
    assert fps == pytest.approx(16 / 3, rel=1e-4)
    assert (codec, pixels) == ("h264", "yuv420p")
    # Chroma at half size blurs the square's border: compare the luma-like mean, and the flat inside.
    assert psnr(back.mean(-1), video.mean(-1)) > 25
    assert np.abs(back[0, 10:18, 2:10].astype(int) - (220, 60, 40)).max() < 12


def test_odd_sides_gain_a_row_and_a_column(tmp_path: Path) -> None:
    video = clip(height=31, width=45)
    video_files.write_video(tmp_path / "x.mp4", video, 8)
    back, *_ = read_mp4(tmp_path / "x.mp4")
    assert back.shape == (6, 32, 46, 3)
    assert psnr(back[:, :31, :45].mean(-1), video.mean(-1)) > 25


@pytest.mark.parametrize("ending", [".gif", ".webp"])
def test_animated_pictures(tmp_path: Path, ending: str) -> None:
    video = clip()
    path = tmp_path / f"x{ending}"
    video_files.write_video(path, video, 16 / 3)
    with Image.open(path) as picture:
        back, lengths = [], []
        for frame in ImageSequence.Iterator(picture):
            back.append(np.asarray(frame.convert("RGB")))
            lengths.append(frame.info["duration"])
    assert len(back) == len(video)
    assert sum(lengths) == pytest.approx(1000 * 6 * 3 / 16, abs=10)
    assert psnr(np.stack(back), video) > (60 if ending == ".webp" else 30)  # a gif has 256 colours


def test_png_has_a_row_for_each_video_and_a_column_per_frame(tmp_path: Path) -> None:
    videos = np.stack([clip(), clip()[::-1]])
    video_files.write_grid(tmp_path / "x.png", videos, 8)
    sheet = np.asarray(Image.open(tmp_path / "x.png"))
    # Twice their size: small pictures are enlarged to be seen.
    assert sheet.shape == (2 * 64 + 2, 6 * 96 + 5 * 2, 3)
    np.testing.assert_array_equal(sheet[66::2, 98:194:2], videos[1, 1])
    np.testing.assert_array_equal(sheet[67::2, 99:194:2], videos[1, 1])
    video_files.write_video(tmp_path / "y.png", np.repeat(videos[0], 4, 1), 8)
    assert np.asarray(Image.open(tmp_path / "y.png")).shape == (128, 298, 3)


def test_grid_of_videos_plays_them_together(tmp_path: Path) -> None:
    videos = np.stack([clip() + np.uint8(k) for k in range(5)])
    sheet = video_files.tile(videos)
    assert sheet.shape == (6, 2 * 34 - 2, 3 * 50 - 2, 3)
    for index in range(5):
        top, left = 34 * (index // 3), 50 * (index % 3)
        np.testing.assert_array_equal(sheet[:, top : top + 32, left : left + 48], videos[index])
    video_files.write_grid(tmp_path / "x.mp4", videos, 8, columns=5)
    assert read_mp4(tmp_path / "x.mp4")[0].shape == (6, 32, 248, 3)


@pytest.mark.parametrize("ending", video_files.ENDINGS)
def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(video_files.os, "fsync", full)
    monkeypatch.setattr(golden_encode.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        video_files.write_video(path, clip(), 8)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", video_files.ENDINGS)
def test_a_new_file_takes_the_name_of_the_old_one_in_one_step(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        video_files.write_video(path, clip(), 8)
        assert reader.read() == b"old"
    assert path.read_bytes() != b"old"


def test_wrong_targets_are_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.mp4 or \.gif"):
        video_files.check_target(tmp_path / "x.avi")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        video_files.check_target(tmp_path / "file" / "x.mp4")
    video_files.check_target(tmp_path / "new" / "x.MP4")
    assert (tmp_path / "new").is_dir()
