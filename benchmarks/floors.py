"""What the benchmarks of cutting share: drawn video, CPU seconds with those of child processes, and the bare costs to compare with."""

from __future__ import annotations

import resource
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import av
import numpy as np

from curation.encoder import ffmpeg_binary
from curation.golden.draw import texture, window
from curation.golden.encode import encode

FPS, SHOT_S = 25, 5


def cpu_seconds() -> float:
    """User and system time of this process and of the children it has waited for."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def cost(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = cpu_seconds()
    work()
    return cpu_seconds() - start


def medians(jobs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each job; every round runs all of them once, so that a busy machine hits all alike."""
    costs: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, work in jobs.items():
            costs[name].append(cost(work))
    return {name: statistics.median(values) for name, values in costs.items()}


def draw_video(path: Path, height: int, seconds: int) -> Path:
    """Moving textures with a little noise, 16:9, a hard cut every five seconds, a codec keyframe every second, 3 B-frames."""
    width = height * 16 // 9

    def frames() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        noise = [rng.integers(-4, 5, (height, width, 1)).astype(np.int16) for _ in range(8)]
        for shot in range(-(-seconds // SHOT_S)):
            big = texture(width + 16 + 4 * SHOT_S * FPS, height + 16, shot)
            for n in range(min(SHOT_S, seconds - shot * SHOT_S) * FPS):
                yield np.clip(window(big, 8 + 4 * n, 8, width, height) + noise[n % 8], 0, 255).astype(np.uint8)

    encode(frames(), path, FPS, gop=FPS, bframes=3, crf=20)
    return path


def decode(path: Path, threads: int = 1) -> int:
    """Decode a whole file with PyAV and look at nothing: the floor of any analysis. Gives the number of frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE" if threads == 1 else "AUTO"
        stream.codec_context.thread_count = threads
        return sum(1 for _ in container.decode(stream))


def write_raw(path: Path, out: Path, start: int, end: int) -> tuple[int, int]:
    """Frames of a file as raw yuv420p, for :func:`bare_x264`; (width, height)."""
    size = (0, 0)
    with av.open(str(path)) as container, out.open("wb") as raw:
        for n, frame in enumerate(container.decode(video=0)):
            if n >= end:
                break
            if n >= start:
                raw.write(frame.to_ndarray(format="yuv420p").tobytes())
                size = (frame.width, frame.height)
    return size


def bare_x264(raw: Path, size: tuple[int, int], fps: float, preset: str = "veryfast", crf: int = 20) -> None:
    """Encode raw frames with ffmpeg alone, one thread, a keyframe a second, to nowhere."""
    subprocess.run(
        [
            ffmpeg_binary(), "-v", "error", "-threads", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{size[0]}x{size[1]}",
            "-r", f"{fps}", "-i", str(raw), "-c:v", "libx264", "-threads", "1", "-preset", preset, "-crf", str(crf),
            "-g", str(max(1, round(fps))), "-f", "null", "-",
        ],
        check=True,
    )  # fmt: skip
