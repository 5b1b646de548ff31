"""The videos that `benchmarks/duplicates.py` searches: copies of golden and real clips, and clips that only resemble each other.

All golden ones follow from a seed, and no two seeds share a picture. Files that are there are kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from curation.golden import draw, scenes, set_shapes
from curation.golden.encode import encode
from curation.golden.set_copies import COPIES, Copy
from curation.golden.set_shots import any_shot
from curation.golden.timeline import Timeline
from curation.golden.write import write_golden
from curation.scan import scan_source
from schemas.recipe import Scan

FPS = 25.0
LONGEST = 80
"""Frames of a real clip that are copied."""
FAMILIES = {"g": "golden", "s": "shapes", "r": "real"}
"""First letter of an original's name, and what it is."""
RECOLOURED = "recoloured"


def recoloured(pictures: Sequence[np.ndarray], _: float) -> list[np.ndarray]:
    """The same in every respect but hue: the chroma plane is turned by 120 degrees. This is another clip, not a copy."""
    cos, sin = -0.5, 3**0.5 / 2
    out = []
    for picture in pictures:
        planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb).astype(np.float32)
        cr, cb = planes[..., 1] - 128, planes[..., 2] - 128
        planes[..., 1], planes[..., 2] = 128 + cos * cr - sin * cb, 128 + sin * cr + cos * cb
        out.append(cv2.cvtColor(np.clip(np.rint(planes), 0, 255).astype(np.uint8), cv2.COLOR_YCrCb2RGB))
    return out


KINDS = {**COPIES, RECOLOURED: Copy(recoloured, {"crf": 26})}


def make_copies(folder: Path, seed: int, golden: int, shapes: int, videos: Path | None) -> None:
    """`<name>.mp4` and `<name>.<kind>.mp4` for every original."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, fps, frames in [*_golden(seed, golden), *_shapes(seed, shapes), *_real(videos)]:
        base = folder / f"{name}.mp4"
        if not base.exists():
            encode(frames(), base, fps, crf=18)
        with av.open(str(base)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        for kind, copy in KINDS.items():
            path = folder / f"{name}.{kind}.mp4"
            if not path.exists():
                encode(copy.make(pictures, fps), path, fps, **copy.encoding)


def _golden(seed: int, count: int) -> Iterator[tuple[str, float, Any]]:
    for i in range(1000 * seed, 1000 * seed + count):
        rng = np.random.default_rng([5, i])
        shot = any_shot(9_000_000 + i, int(rng.integers(65, 100)), rng)
        yield f"g{i:02d}", FPS, Timeline((shot,)).frames


def _shapes(seed: int, count: int) -> Iterator[tuple[str, float, Any]]:
    """Spread over shapes, colours and directions."""
    videos = set_shapes.videos(seed, 5 * count)
    for i in range(0, 5 * count, 5):
        yield f"s{i:03d}", videos[i].fps, videos[i].frames


def _real(videos: Path | None) -> Iterator[tuple[str, float, Any]]:
    """Up to four clips of each video, as the scan cuts them."""
    for path in sorted(videos.iterdir()) if videos else []:
        if path.suffix not in (".webm", ".mp4", ".avi", ".mkv", ".flv"):
            continue
        with tempfile.TemporaryFile() as pictures:
            clips = [c for c in scan_source(path, "s" * 32, Scan(), pictures).clips if c["num_frames"] >= 60]
        for number in sorted({round(k) for k in np.linspace(0, len(clips) - 1, min(4, len(clips)))}):
            clip = clips[number]
            yield f"r_{path.stem}_{number}", min(clip["fps"], 60.0), lambda path=path, clip=clip: _frames(path, clip)


def _frames(path: Path, clip: dict[str, Any]) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for count, frame in enumerate(container.decode(video=0)):
            if count >= min(clip["end_frame"], clip["start_frame"] + LONGEST):
                return
            if count >= clip["start_frame"]:
                picture = frame.to_ndarray(format="rgb24")
                scale = min(1.0, 640 / max(picture.shape))
                size = [max(2, round(side * scale / 2) * 2) for side in picture.shape[1::-1]]
                yield cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def make_distinct(folder: Path, seed: int, each: int, videos: Path | None) -> None:
    """Clips of which none is a copy of another: golden shots, real videos, and clips that resemble each other: dark, nearly flat, and
    cards with a line of text; and as many others."""
    write_golden(folder, ("demo", "shots"), seed=seed)
    size, length = (320, 180), 60
    for i in range(1000 * seed, 1000 * seed + each):
        rng = np.random.default_rng([6, i])
        shift = float(rng.uniform(0.3, 1.5))
        words = " ".join(WORDS[k % len(WORDS)] for k in (i, i + 1 + i // len(WORDS), i + 7))
        ground = (40, 50, 90)  # not black, or all but the line would be taken for bars
        card = draw.text_box(np.full((180, 320, 3), ground, np.uint8), (20, 60, 280, 60), words, ground=ground)
        kinds = {
            "dark": scenes.pan(size, 8_000_000 + i, length, shift, mean=14, std=6),
            "flat": scenes.pan(size, 8_100_000 + i, length, shift, mean=130, std=7),
            "plain": any_shot(8_200_000 + i, length, rng),
        }
        shown = {kind: Timeline((shot,)).frames() for kind, shot in kinds.items()}
        for kind, frames in {**shown, "card": [card] * length}.items():
            path = folder / f"{kind}_{i:02d}.mp4"
            if not path.exists():
                encode(frames, path, FPS, crf=18)
    for path in sorted(videos.iterdir()) if videos else []:
        link = folder / f"real_{path.name}"
        if path.is_file() and path.suffix not in (".json", ".md") and not link.exists():
            link.symlink_to(path.resolve())


WORDS = "THE LAST FIRST DAY NIGHT OF SEA STONE CHAPTER ONE TWO SEVEN RIVER BLUE SONG ROAD HOUSE WINTER".split()


def make_shapes(folder: Path, seed: int, count: int) -> None:
    """The golden set `shapes`: any 72 clips hold every shape, colour and direction once, on one of four grounds."""
    write_golden(folder, ("shapes",), seed=seed, shapes=count)


def origin(name: str) -> str:
    """What clips must share for a merge to be right: the drawing, or the film (Big Buck Bunny comes in three files)."""
    stem = Path(name.partition(".")[0]).name
    if stem.startswith("corrupt"):
        return "corrupt"  # one drawing, damaged in several ways
    return "bbb" if "bbb" in stem else stem.removesuffix("_copy")


def said_of(name: str) -> tuple[str, ...]:
    """Shape and colour of a clip of the set `shapes`, by its name."""
    return tuple(Path(name).name.split("_")[2:4])
