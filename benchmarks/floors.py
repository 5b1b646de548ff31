"""What the benchmarks of cutting share: drawn video, CPU seconds with those of child processes, and the bare costs to compare with."""

from __future__ import annotations

import math
import resource
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType, VideoFrame

from curation.clip_form import Timing, keyframe_due, x264_options
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from schemas.recipe import Export

FPS, SHOT_S = 25, 5
EXPORT = Export()


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


def draw_video(path: Path, height: int, seconds: int, **how: Any) -> Path:
    """Moving textures with a little noise, 16:9, a hard cut every five seconds, a codec keyframe every second; H.264 with 3 B-frames,
    or ``how`` (see ``curation.golden.encode``)."""
    width = height * 16 // 9

    def frames() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        noise = [rng.integers(-4, 5, (height, width, 1)).astype(np.int16) for _ in range(8)]
        for shot in range(-(-seconds // SHOT_S)):
            big = texture(width + 16 + 4 * SHOT_S * FPS, height + 16, shot)
            for n in range(min(SHOT_S, seconds - shot * SHOT_S) * FPS):
                yield np.clip(window(big, 8 + 4 * n, 8, width, height) + noise[n % 8], 0, 255).astype(np.uint8)

    encode(frames(), path, FPS, gop=FPS, **({"bframes": 3, "crf": 20} | how))
    return path


def decode(path: Path, threads: int = 1) -> int:
    """Decode a whole file with PyAV and look at nothing: the floor of any analysis. Gives the number of frames."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE" if threads == 1 else "AUTO"
        stream.codec_context.thread_count = threads
        return sum(1 for _ in container.decode(stream))


def frames_between(path: Path, start: int, end: int) -> list[VideoFrame]:
    """Decoded frames ``start`` to ``end`` of a file as 4:2:0 in memory, for :func:`bare_x264`."""
    with av.open(str(path)) as container:
        return [frame.reformat(format="yuv420p") for frame in islice(container.decode(video=0), start, end)]


def bare_x264(frames: Sequence[VideoFrame], fps: float, settings: Export = EXPORT) -> int:
    """x264 and nothing else, with the settings of the export: frames from memory, one thread, the packets are thrown away. Gives the
    number of bytes."""
    scale = 1000
    timing = Timing(len(frames), len(frames) * scale, round(fps * scale))
    due = keyframe_due(timing, settings)
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    context.thread_count, context.thread_type = 1, "NONE"
    context.framerate, context.time_base = Fraction(timing.fps).limit_denominator(10_000), Fraction(1, timing.timescale)
    context.options = {name: str(value) for name, value in x264_options(timing, settings).items()}
    written, keyframe = 0, -math.inf
    for n, frame in enumerate(frames):
        frame.pts, frame.time_base = n * scale, context.time_base
        key = n / timing.fps - keyframe >= due
        frame.pict_type = PictureType.I if key else PictureType.NONE
        keyframe = n / timing.fps if key else keyframe
        written += sum(packet.size for packet in context.encode(frame))
    return written + sum(packet.size for packet in context.encode(None))
