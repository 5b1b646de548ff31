"""What the scan costs beside a bare decode, PySceneDetect, and the same analysis done as one pass per signal.

    python benchmarks/scan.py [--sizes 360 720 1080] [--codecs h264 hevc vp9] [--videos FOLDER] [--rounds 5] [--dear] [--long]

Makes camera-like video (moving textures with grain, cuts, dissolves, sound) in each size and codec, adds the real files of FOLDER
where there are any. Bare decoding (the floor) and the scan take turns within one process, as the engine's own processes scan many
files: two processes differ by a tenth in what decoding alone costs them. The other ways run in processes of their own. CPU seconds
are those of the whole process (all threads, user and system) around the work: start-up and imports are outside. Printed are medians:
the floor in CPU-ms per frame, the others as a ratio to the floor of the same round, and the scan's cost above the floor.
``--dear`` lists the network and the text detector apart; ``--long`` scans ten minutes of 1080p with one job and with two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FPS = 30
WAYS = ("floor", "scan", "passes", "scenedetect")
DEAR = ("transnetv2", "ensemble", "text")
SIZES = (360, 720, 1080)
SECONDS = 20
"""Of each video: four shots of five seconds, about what real files have (seven in those that were looked at)."""


# What a worker process does --------------------------------------------------------------------------------------------


def floor(path: Path, threads: int) -> int:
    """Bare decode with PyAV; nothing is done with the frames."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO" if threads != 1 else "NONE"
        stream.codec_context.thread_count = threads
        return sum(1 for _ in container.decode(stream))


def scan(path: Path, threads: int, backend: str | None = None) -> int:
    """The engine's scan with default settings: shots, all signals, stills."""
    from curation.scan import scan_source
    from schemas.recipe import Scan, Shots

    settings = Scan() if backend is None else Scan(shots=Shots(backend=backend))  # type: ignore[arg-type]
    network = None
    if backend is not None:
        from models.shots.transnet import TransNet

        network = TransNet()
    with tempfile.TemporaryFile() as stills:
        result = scan_source(path, "s" * 32, settings, stills, threads=threads, network=network)
    print(json.dumps({k: round(v, 4) for k, v in result.seconds.items()}), file=sys.stderr)
    return int(result.source["num_frames"])


def passes(path: Path, threads: int) -> int:
    """The same analysis, but each consumer decodes the file for itself, as one script per score does."""
    from curation.decode import open_source
    from curation.pixels import FrameMaker
    from curation.shots.finder import ShotFinder
    from curation.signals import SignalSet
    from schemas.recipe import Scan

    settings = Scan()
    frames = 0
    consumers: list[Callable[[Any], Any]] = [ShotFinder(settings.shots).push]
    consumers += [signal.push for signal in SignalSet().frame_signals.values()]
    for consume in consumers:
        with open_source(path, threads) as reader:
            frames = 0
            for frame in reader.frames():
                consume(frame)
                frames += 1
    with open_source(path, threads) as reader:
        maker = FrameMaker(reader.probe)
        tick = None
        for raw, _, pts in reader.decoded():
            now = int(pts * reader.probe.time_base)
            if now != tick:
                tick = now
                maker.jpeg(maker.shrunk(raw, settings.stills.short_side), settings.stills.quality)
    return frames


def scenedetect(path: Path, threads: int) -> int:
    """PySceneDetect alone: ``detect`` with AdaptiveDetector at its defaults. It chooses its own threads."""
    from scenedetect import AdaptiveDetector, detect

    detect(str(path), AdaptiveDetector())
    return 0


def text(path: Path, threads: int) -> int:
    """The text detector on three stills of the file, as the features stage looks at three of each clip."""
    import cv2
    import numpy as np

    from curation.decode import open_source
    from curation.pixels import FrameMaker
    from models.text_detector.detector import TextDetector
    from schemas.recipe_learned import Text

    settings = Text()
    detector = TextDetector(long_side=settings.long_side, min_score=settings.min_score)
    with open_source(path, threads) as reader:
        maker = FrameMaker(reader.probe)
        shots = [maker.jpeg(maker.shrunk(raw, 512), 90) for raw, index, _ in reader.decoded() if index in (10, 60, 110)]
    pictures = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in shots]
    begin = time.process_time()
    for picture in pictures:
        detector.area(picture)
    return -round(1e6 * (time.process_time() - begin) / max(1, len(shots)))


WORK: dict[str, Callable[[Path, int], int]] = {
    "floor": floor,
    "scan": scan,
    "passes": passes,
    "scenedetect": scenedetect,
    "transnetv2": lambda path, threads: scan(path, threads, "transnetv2"),
    "ensemble": lambda path, threads: scan(path, threads, "ensemble"),
    "text": text,
}


def worker(ways: list[str], path: Path, threads: int, warm: Path, rounds: int) -> None:
    """Print a list of {cpu_s, frames, peak_mb} for each way of looking at one file, the ways in turn, after a first turn on a short file."""
    import resource

    import cv2

    from curation.opening import quiet_decoder

    quiet_decoder()
    cv2.setNumThreads(1)
    for way in ways:
        WORK[way](warm, threads)
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            begin = time.process_time()
            frames = WORK[way](path, threads)
            spent = time.process_time() - begin
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            rows[way].append({"cpu_s": spent, "frames": frames, "peak_mb": peak})
    print(json.dumps(rows))


# What the parent does --------------------------------------------------------------------------------------------------


Rows = dict[str, list[dict[str, float]]]


def measure(ways: list[str], path: Path, threads: int, warm: Path, rounds: int = 1) -> Rows:
    """Run some ways in turn in a fresh process."""
    command = [sys.executable, __file__, "--worker", ",".join(ways), str(path), str(threads), str(warm), str(rounds)]
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **quiet})
    if done.returncode:
        raise SystemExit(f"{', '.join(ways)} on {path.name} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def camera_like(height: int) -> Iterator[Any]:
    """Pans, zooms and shakes over textures with grain, with a dissolve and cuts between them."""
    from curation.golden import scenes
    from curation.golden.timeline import Cut, Dissolve, Timeline

    size = (height * 16 // 9 // 2 * 2, height)
    each = SECONDS * FPS // 4
    speed = height / 360
    shots = (
        scenes.pan(size, 1, each - 6, 1.7 * speed, 0.3 * speed),
        scenes.zoom(size, 2, each - 6, 0.002),
        scenes.shake(size, 3, each, 1.5 * speed),
        scenes.pan(size, 4, each, -3.1 * speed),
    )
    return Timeline(
        tuple(scenes.grain(s, 9 + i, 2.0) for i, s in enumerate(shots)), (Dissolve(12), Cut(), Cut())
    ).frames()


def make(folder: Path, height: int, codec: str) -> Path:
    """One video of a size and codec; made once. Encoders at a medium effort, so that decoding costs what it costs in the wild."""
    from curation.golden.encode import encode

    path = folder / f"{codec}_{height}.{'webm' if codec == 'vp9' else 'mp4'}"
    if not path.exists():
        print(f"making {path.name} …", file=sys.stderr)
        encoder, crf, options = {
            "h264": ("libx264", 21, {"preset": "medium"}),
            "hevc": ("libx265", 24, {"preset": "fast"}),
            "vp9": ("libvpx-vp9", 30, {}),
        }[codec]
        scratch = path.with_suffix(".part" + path.suffix)
        frames = camera_like(height)
        encode(frames, scratch, FPS, codec=encoder, crf=crf, gop=2 * FPS, options=options, audio=True)
        scratch.rename(path)
    return path


def line(path: Path, rows: Rows) -> str:
    """One row of the table."""
    frames = rows["floor"][0]["frames"]
    base = [1000 * r["cpu_s"] / frames for r in rows["floor"]]
    cells = [f"{path.name:34.34}", f"{statistics.median(base):6.2f}"]
    for way in WAYS[1:]:
        ratio = [r["cpu_s"] / b["cpu_s"] for r, b in zip(rows[way], rows["floor"], strict=False)]
        cells.append(f"{statistics.median(ratio):6.2f} ({min(ratio):.2f}–{max(ratio):.2f})")
    above = [1000 * (r["cpu_s"] - b["cpu_s"]) / frames for r, b in zip(rows["scan"], rows["floor"], strict=True)]
    cells.append(f"{statistics.median(above):6.2f} ({min(above):.2f}–{max(above):.2f})")
    cells.append(f"{max(r['peak_mb'] for r in rows['scan']):5.0f}")
    return "| " + " | ".join(cells) + " |"


def table(files: list[Path], threads: int, rounds: int, warm: Path) -> None:
    print(f"\nthreads {threads}, median of {rounds} rounds (lowest–highest)")
    print(
        "| file | floor, ms/frame | scan / floor | one pass per signal / floor | PySceneDetect / floor | scan above floor, ms/frame | peak MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for path in files:
        rows = measure(["floor", "scan"], path, threads, warm, rounds)
        for way in WAYS[2:]:  # far from any limit, and slow: one round
            rows |= measure([way], path, threads, warm)
        print(line(path, rows), flush=True)


def dear(files: list[Path], rounds: int, warm: Path) -> None:
    print(
        "\n| file | scan with transnetv2, ms/frame above floor | with ensemble | text, CPU-ms a still |\n|---|---|---|---|"
    )
    for path in files:
        cells = []
        for way in DEAR:
            rows = measure(["floor", way], path, 1, warm, min(rounds, 3))
            values = [
                -own["frames"] / 1000 if way == "text" else 1000 * (own["cpu_s"] - base["cpu_s"]) / base["frames"]
                for base, own in zip(rows["floor"], rows[way], strict=True)
            ]
            cells.append(f"{statistics.median(values):.2f}")
        print(f"| {path.name} | " + " | ".join(cells) + " |", flush=True)


def long(folder: Path, rounds: int) -> None:
    """Ten minutes of 1080p (the short one, repeated), one job against two: wall time of the whole scan stage."""
    from memory import repeat

    ten = folder / "long" / "ten_minutes.mp4"
    if not ten.exists():
        ten.parent.mkdir(exist_ok=True)
        repeat(make(folder, 1080, "h264"), ten, 600 // SECONDS, SECONDS)
    print("\n| jobs | wall s | against one job |\n|---|---|---|")
    ratios, walls = [], []
    for _ in range(rounds):
        wall = {}
        for jobs in (1, 2):
            with tempfile.TemporaryDirectory() as out:
                stiv = [sys.executable, "-m", "pipelines.cli.main"]
                _quiet([*stiv, "plan", str(ten.parent), "--out", f"{out}/corpus"])
                begin = time.monotonic()
                _quiet([*stiv, "scan", f"{out}/corpus", "--executor", "inline", "--jobs", str(jobs)])
                wall[jobs] = time.monotonic() - begin
        ratios.append(wall[2] / wall[1])
        walls.append(wall)
    for jobs in (1, 2):
        print(
            f"| {jobs} | {statistics.median(w[jobs] for w in walls):.1f} | {statistics.median(ratios) if jobs == 2 else 1:.2f} |"
        )


def _quiet(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--worker", nargs=5, metavar=("WAYS", "PATH", "THREADS", "WARM", "ROUNDS"), help=argparse.SUPPRESS
    )
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, choices=SIZES)
    parser.add_argument("--codecs", nargs="*", default=["h264", "hevc", "vp9"], choices=["h264", "hevc", "vp9"])
    parser.add_argument("--videos", type=Path, default=ROOT.parent / "shared" / "videos", help="folder with real files")
    parser.add_argument("--made", type=Path, help="folder for the videos it makes; kept, and used again")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dear", action="store_true", help="the network and the text detector, apart")
    parser.add_argument("--long", action="store_true", help="ten minutes of 1080p on one core and on two")
    args = parser.parse_args()
    if args.worker:
        ways, path, threads, warm, rounds = args.worker
        return worker(ways.split(","), Path(path), int(threads), Path(warm), int(rounds))
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.made or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        files = [make(folder, height, codec) for height in args.sizes for codec in args.codecs]
        warm = make(folder, 360, "h264")
        real = [p for p in sorted(args.videos.glob("*")) if p.suffix in (".mp4", ".mkv", ".webm", ".avi", ".flv")]
        table(files + real, args.threads, args.rounds, warm)
        if args.dear:
            dear(files or [warm], args.rounds, warm)
        if args.long:
            long(folder, min(args.rounds, 3))


if __name__ == "__main__":
    main()
