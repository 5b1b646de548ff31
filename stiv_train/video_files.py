"""Generated videos to files: mp4, gif, animated webp and png, alone or many in one picture.

Room: stiv_train. In: frames (T, H, W, 3) or videos (N, T, H, W, 3), uint8 RGB, and frames per second. Out: a file that is whole or
not there at all: it is written under another name beside it and renamed.

Legend: N videos, T frames, H rows, W columns; R, K rows and columns of a grid.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from schemas.errors import StorageError, UsageError

VIDEO_ENDINGS = (".mp4", ".gif", ".webp")
ENDINGS = (*VIDEO_ENDINGS, ".png")
_CRF = 12
"""x264 quality: small generated videos are looked at closely, and weigh little."""
_GAP = 2
_SEEN = 96
"""Longer side in pixels up to which pictures are enlarged."""
_GAP_GREY = 128


def check_target(path: Path, endings: Sequence[str] = ENDINGS) -> None:
    """Say at once what would fail only after minutes of sampling.

    Raises:
        UsageError: the file name's ending is none of ``endings``.
        StorageError: the folder cannot be made or written to.
    """
    if path.suffix.lower() not in endings:
        raise UsageError(
            f"`{path}` does not say what to write: its ending is `{path.suffix}`.",
            fix=f"End it with {' or '.join(endings)}.",
        )
    if path.is_dir():
        raise UsageError(f"`{path}` is a folder.", fix="Name a file.")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Make the folder and see that it can be written to.

    Raises:
        StorageError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The folder `{folder}` cannot be made: {error.strerror}.", fix="Choose another place for --out."
        ) from None
    if not os.access(folder, os.W_OK):
        raise StorageError(f"This user may not write to `{folder}`.", fix="Choose another place for --out.")


def write_video(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write one video (T, H, W, 3) by its ending; a ``.png`` shows the frames side by side.

    H.264 wants even sides: an odd one gets its last row or column twice. A video of one frame is a still in every format.

    Raises:
        UsageError: the ending is unknown. StorageError: it cannot be written.
    """
    ending = path.suffix.lower()
    if ending == ".png":
        write_pictures(path, frames[None])
    elif ending == ".mp4":
        from curation.golden.encode import encode  # PyAV: needed for this format only

        rows, columns = frames.shape[1] % 2, frames.shape[2] % 2
        even = np.pad(frames, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")
        encode(even, path, fps, crf=_CRF, container_options={"movflags": "faststart"})
    elif ending in (".gif", ".webp"):
        write_bytes(path, _animated(frames, fps, ending))
    else:
        raise UsageError(f"`{path}`: there is no writer for `{ending}`.", fix=f"End it with {' or '.join(ENDINGS)}.")


def write_grid(path: Path, videos: Iterable[np.ndarray], fps: float, columns: int | None = None) -> None:
    """Write N videos (T, H, W, 3) as one; a ``.png`` has a row for each and a column per frame."""
    together = np.stack(list(videos))
    if path.suffix.lower() == ".png":
        write_pictures(path, together)
    else:
        write_video(path, tile(together, columns), fps)


def write_pictures(path: Path, videos: np.ndarray) -> None:
    """Write videos (N, T, H, W, 3) as one png: a row for each, a column per frame. Tiny ones are enlarged, pixel by pixel, to be seen."""
    times = max(1, _SEEN // max(videos.shape[2:4]))
    videos = videos.repeat(times, 2).repeat(times, 3)
    count, frames = videos.shape[:2]
    stills = videos.reshape(count * frames, 1, *videos.shape[2:])
    handle = io.BytesIO()
    Image.fromarray(tile(stills, frames)[0]).save(handle, "PNG")
    write_bytes(path, handle.getvalue())


def tile(videos: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Videos (N, T, H, W, 3) in one (T, R·H + gaps, K·W + gaps, 3), row by row; K is the root of N, rounded up, where not given."""
    count, frames, height, width, _ = videos.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = -(-count // columns)
    size = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP)
    sheet = np.full((frames, *size, 3), _GAP_GREY, np.uint8)
    for index, video in enumerate(videos):
        top, left = index // columns * (height + _GAP), index % columns * (width + _GAP)
        sheet[:, top : top + height, left : left + width] = video
    return sheet


def _animated(frames: np.ndarray, fps: float, ending: str) -> bytes:
    """A gif or a webp that repeats for ever. Pillow merges equal neighbours into one longer frame."""
    # Times of frames are whole milliseconds (gif: hundredths of a second): round each end, so that errors do not add up.
    unit = 10 if ending == ".gif" else 1
    ends = [round((i + 1) * 1000 / fps / unit) * unit for i in range(len(frames))]
    lengths = [max(unit, end - start) for start, end in zip([0, *ends], ends, strict=False)]
    first, *rest = (Image.fromarray(frame) for frame in frames)
    handle = io.BytesIO()
    if ending == ".gif":
        first.save(handle, "GIF", save_all=True, append_images=rest, duration=lengths, loop=0, disposal=1)
    else:
        first.save(handle, "WEBP", save_all=True, append_images=rest, duration=lengths, loop=0, lossless=True)
    return handle.getvalue()


def write_bytes(path: Path, data: bytes) -> None:
    """Create or replace a file in one step.

    Raises:
        StorageError: it cannot be written.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"`{path}` cannot be written: {error.strerror or error}.", fix="Choose a folder that can be written to."
        ) from error
