"""Samples per second of the training loader against a bare PyAV loop over the same samples; time to the first batch when resumed.

    python benchmarks/loader.py [--corpus DIR] [--frames 20] [--size 256] [--stride 3] [--processes 2] [--samples 320] [--rounds 5]

Without --corpus, moving 640 × 360 video is generated and curated first. All ways read the same byte ranges of the same tars, sample the
same frames, scale them to the same size and use the same number of processes; a round runs one after the other, files warm.

bare      open, seek to the codec keyframe, decode to the last sampled frame, `reformat` to RGB, crop; what it makes is thrown away
assembly  the loader's own reading and decoding in plain processes, thrown away as well: what remains to the loader is its machinery
loader    batches in order, in this process
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
from av.video.reformatter import Interpolation

from curation.corpus import Corpus
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.variants import need
from schemas.train_recipe import Bucket, Data, Train, TrainRecipe
from stiv_train.data.assembly import Work, assemble, draw
from stiv_train.data.buckets import needed_frames
from stiv_train.data.decoding import cover
from stiv_train.data.loader import Works, make_loader
from stiv_train.data.order import Order
from stiv_train.data.plan import DataPlan, build_plan
from stiv_train.data.reading import ShardReader

VIDEOS, SECONDS, FPS, WIDTH, HEIGHT = 40, 6, 24, 640, 360
RESUMED_AFTER = 1000


def generate(folder: Path) -> Path:
    """A corpus of panning textures."""
    for number in range(VIDEOS):
        count = SECONDS * FPS
        big = texture(WIDTH + 16 + 4 * count, HEIGHT + 16, number)
        frames = (window(big, 8 + i * (1 + number % 6) / 2, 8, WIDTH, HEIGHT) for i in range(count))
        encode(frames, folder / "videos" / f"{number:03d}.mp4", FPS)
    command = [sys.executable, "-c", "from pipelines.cli.main import main; main()"]
    command += [
        "curate",
        str(folder / "videos"),
        "--out",
        str(folder / "corpus"),
        "--executor",
        "inline",
        "--no-report",
    ]
    command += ["--set", "select.blurred=off", "--set", "select.unaesthetic=off"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "corpus"


def bare(works: list[Work], folder: Path) -> None:
    """The loop anyone would write with PyAV."""
    for work in works:
        bucket = work.bucket
        for n, shard in enumerate(work.shard):
            spare = work.num_frames[n] - needed_frames(bucket.frames, work.stride)
            start, _ = draw(work, n, spare)
            wanted = {start + work.stride * i for i in range(bucket.frames)}
            with open(folder / f"{shard}.tar", "rb") as tar:
                tar.seek(work.byte_offset[n])
                blob = tar.read(work.byte_size[n])
            pictures = []
            with av.open(io.BytesIO(blob)) as container:
                stream = container.streams.video[0]
                stream.thread_type, stream.codec_context.thread_count = "NONE", 1
                rate, base = stream.average_rate, stream.time_base
                container.seek(round(start / rate / base), stream=stream)
                for frame in container.decode(stream):
                    index = round(frame.pts * base * rate)
                    if index in wanted:
                        height, width = cover(frame.height, frame.width, bucket.height, bucket.width)
                        rgb = frame.reformat(width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1)
                        top, left = (height - bucket.height) // 2, (width - bucket.width) // 2
                        pictures.append(rgb.to_ndarray()[top : top + bucket.height, left : left + bucket.width])
                    if index >= max(wanted):
                        break
            assert len(pictures) == bucket.frames


def assembly(works: list[Work], reader: ShardReader) -> None:
    for work in works:
        assert not assemble(work, reader).broken


def in_processes(function: Callable[..., None], works: list[Work], processes: int, argument: object) -> float:
    """Seconds that a function takes for all work, each process its share."""
    fork = multiprocessing.get_context("fork")
    began = time.perf_counter()
    children = [fork.Process(target=function, args=(works[i::processes], argument)) for i in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    return time.perf_counter() - began


def cpu_seconds() -> float:
    """Of this process and its ended children."""
    return sum(os.times()[:4])


def through_loader(plan: DataPlan, corpus: Corpus, recipe: TrainRecipe, steps: int, processes: int) -> float:
    began = time.perf_counter()
    with make_loader(plan, corpus, recipe, start_step=0, stop_step=steps, workers=processes) as loader:
        samples = sum(len(batch.pixels) for batch in loader)
        took = time.perf_counter() - began
    assert samples == steps * recipe.train.batch
    return took


def first_batch(plan: DataPlan, corpus: Corpus, recipe: TrainRecipe, start: int, processes: int) -> float:
    began = time.perf_counter()
    with make_loader(plan, corpus, recipe, start_step=start, stop_step=start + 100, workers=processes) as loader:
        next(iter(loader))
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--shards", default="default")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--stride", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    bucket = Bucket(frames=arguments.frames, height=arguments.size, width=arguments.size)
    data = Data(shards=arguments.shards, buckets=(bucket,), stride=arguments.stride)
    recipe = TrainRecipe(data=data, train=Train(batch=arguments.batch))
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Corpus.open(arguments.corpus or generate(Path(scratch)))
        assert corpus.store.local is not None, "the bare loop reads local tars"
        plan = build_plan(corpus, recipe)
        variant = need(corpus, "shards", arguments.shards)
        steps = arguments.samples // arguments.batch
        works = list(Works(plan, recipe, Order(plan, 0), 0, range(steps), 0, 1))
        folder, processes = corpus.store.local / variant.path, arguments.processes
        ways: dict[str, Callable[[], float]] = {
            "bare": lambda: in_processes(bare, works, processes, folder),
            "assembly": lambda: in_processes(assembly, works, processes, ShardReader(corpus.store, variant)),
            "loader": lambda: through_loader(plan, corpus, recipe, steps, processes),
        }
        names = list(ways)
        for way in ways.values():  # warms files
            way()
        took: dict[str, list[float]] = {name: [] for name in ways}
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(arguments.rounds):
            for name in names if number % 2 == 0 else names[::-1]:
                before = cpu_seconds()
                took[name].append(ways[name]())
                cpu[name].append(cpu_seconds() - before)
        print(
            f"{plan.table.num_rows} clips; samples of {arguments.frames} × {arguments.size}², stride {arguments.stride}; "
            f"{processes} processes; {steps * arguments.batch} samples a round, median of {arguments.rounds}"
        )
        print(f"{'':10} {'samples/s':>10} {'against bare':>13} {'lowest':>7} {'highest':>8} {'CPU ms/sample':>14}")
        for name in names:
            ratios = sorted(b / t for b, t in zip(took["bare"], took[name], strict=True))
            samples = steps * arguments.batch
            print(
                f"{name:10} {samples / statistics.median(took[name]):>10.1f} {statistics.median(ratios):>13.2f} "
                f"{ratios[0]:>7.2f} {ratios[-1]:>8.2f} {1000 * statistics.median(cpu[name]) / samples:>14.1f}"
            )
        resumed = -(-RESUMED_AFTER // arguments.batch)
        for name, start in (("fresh", 0), (f"resumed after {RESUMED_AFTER} samples", resumed)):
            seconds = [first_batch(plan, corpus, recipe, start, processes) for _ in range(arguments.rounds)]
            print(f"first batch {name}: {statistics.median(seconds):.2f} s (most {max(seconds):.2f})")


if __name__ == "__main__":
    main()
