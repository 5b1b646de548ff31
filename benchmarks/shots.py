"""How well are shot transitions found, and at what cost? Prints tables; needs no network.

    python benchmarks/shots.py [--videos ../shared/videos] [--golden DIR] [--seed 0]

Real videos come from a folder with a ``manifest.json`` of true cuts (left out when absent); generated ones are written to DIR, or
to a temporary folder. Every file is decoded once, at 256 pixels on the long side, and each frame is shown to every finder: ours,
and PySceneDetect's AdaptiveDetector and ContentDetector at their defaults, which are told frame numbers that count frames.

Scoring: a true cut is found by a detection within 2 frames; a gradual transition (fade, dissolve) by one anywhere in its span, or
within 2 frames of it, and more of them there count once. Detections that overlap a place marked ambiguous, or a fade at the very
start or end of a generated file, count neither way. A false detection counts against cuts or against gradual ones by what it
claims to be; PySceneDetect's are all points, so all count against cuts. Time is that of the calling thread, decoding left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported; as in the engine's workers

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from scenedetect import FrameTimecode, SceneDetector
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from curation.decode import open_source
from curation.frames import Frame
from curation.golden.write import write_golden
from curation.shots import ShotFinder
from curation.shots.nominate import Nominators
from schemas.recipe import Shots

TOLERANCE = 2
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Place:
    """A true or found transition: first and last frame it may be seen at (a cut: twice the first frame of the new shot)."""

    first: int
    last: int
    gradual: bool

    def meets(self, other: Place) -> bool:
        return self.first <= other.last + TOLERANCE and other.first <= self.last + TOLERANCE


@dataclass
class Counts:
    """What became of true and found transitions; index 0 cuts, 1 gradual ones."""

    true: list[int] = field(default_factory=lambda: [0, 0])
    hit: list[int] = field(default_factory=lambda: [0, 0])
    false: list[int] = field(default_factory=lambda: [0, 0])
    seconds: float = 0.0
    frames: int = 0

    def add(self, other: Counts) -> None:
        for mine, its in ((self.true, other.true), (self.hit, other.hit), (self.false, other.false)):
            mine[0] += its[0]
            mine[1] += its[1]
        self.seconds += other.seconds
        self.frames += other.frames


@dataclass
class Video:
    """A file and its truth."""

    path: Path
    truth: list[Place]
    ignored: list[Place]


class Ours:
    """Our finder."""

    def __init__(self) -> None:
        self._finder = ShotFinder(Shots())

    def push(self, frame: Frame) -> list[Place]:
        return [_place(t.start_frame, t.end_frame) for t in self._finder.push(frame)]

    def flush(self) -> list[Place]:
        return [_place(t.start_frame, t.end_frame) for t in self._finder.flush()]


class Nominations:
    """The detectors inside our finder alone, for their share of the time; finds nothing."""

    def __init__(self) -> None:
        self._nominators = Nominators(Shots())

    def push(self, frame: Frame) -> list[Place]:
        self._nominators.push(frame.index, frame.small)
        return []

    def flush(self) -> list[Place]:
        return []


class Theirs:
    """One of PySceneDetect's detectors."""

    def __init__(self, make: Callable[[], SceneDetector]) -> None:
        self._detector = make()
        self._code = self._clock = FrameTimecode(0, 25.0)

    def push(self, frame: Frame) -> list[Place]:
        self._code = FrameTimecode(frame.index, self._clock)
        return [_place(c.frame_num, c.frame_num) for c in self._detector.process_frame(self._code, frame.small)]

    def flush(self) -> list[Place]:
        return [_place(c.frame_num, c.frame_num) for c in self._detector.post_process(self._code)]


Finder = Ours | Nominations | Theirs
TIMED_ONLY = "nominators alone"
FINDERS: dict[str, Callable[[], Finder]] = {
    "ours": Ours,
    "AdaptiveDetector": lambda: Theirs(AdaptiveDetector),
    "ContentDetector": lambda: Theirs(ContentDetector),
    TIMED_ONLY: Nominations,
}


def _place(start: int, end: int) -> Place:
    """From a half-open span; a cut's is empty."""
    return Place(start, max(start, end - 1), end > start)


def score(video: Video, found: list[Place]) -> Counts:
    """Match detections with the truth, cuts first, each detection at most once."""
    counts, free = Counts(), list(found)
    for place in sorted(video.truth, key=lambda p: (p.gradual, p.first)):
        counts.true[place.gradual] += 1
        met = sorted(
            (f for f in free if f.meets(place)), key=lambda f: (f.gradual != place.gradual, abs(f.first - place.first))
        )
        if met:
            counts.hit[place.gradual] += 1
            for used in met if place.gradual else met[:1]:
                free.remove(used)
    for place in free:
        if not any(place.meets(ignored) for ignored in video.ignored):
            counts.false[place.gradual] += 1
    return counts


def real_videos(folder: Path) -> Iterator[Video]:
    """The annotated files of a manifest; its ``start`` and ``end`` are first and last frame."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["videos"]:
        if entry["cuts"] is None:
            continue
        truth = [
            Place(c["frame"], c["frame"], False) if c["kind"] == "hard" else Place(c["start"], c["end"], True)
            for c in entry["cuts"]
        ]
        ignored = [Place(a["start"], a["end"], True) for a in entry.get("ambiguous") or []]
        yield Video(folder / entry["file"], truth, ignored)


def golden_videos(folder: Path, seed: int) -> Iterator[Video]:
    """Generated files, with spans half open."""
    description = json.loads(write_golden(folder, sets=("shots",), seed=seed).read_text(encoding="utf-8"))
    videos: dict[str, dict[str, Any]] = description["videos"]
    for file, entry in videos.items():
        if "shots" in entry["sets"]:
            truth = [_place(c["start_frame"], c["end_frame"]) for c in entry["cuts"]]
            yield Video(folder / file, truth, [_place(e["start_frame"], e["end_frame"]) for e in entry["edges"]])


def run(video: Video) -> dict[str, Counts]:
    """Decode once and let every finder see every frame."""
    finders = {name: make() for name, make in FINDERS.items()}
    found: dict[str, list[Place]] = {name: [] for name in FINDERS}
    seconds = dict.fromkeys(FINDERS, 0.0)
    frames = 0
    with open_source(video.path) as source:
        for frame in source.frames():
            frames += 1
            for name, finder in finders.items():
                begin = time.thread_time()
                found[name] += finder.push(frame)
                seconds[name] += time.thread_time() - begin
    result = {}
    for name, finder in finders.items():
        begin = time.thread_time()
        found[name] += finder.flush()
        result[name] = score(video, found[name])
        result[name].seconds, result[name].frames = seconds[name] + time.thread_time() - begin, frames
    return result


def _line(file: str, name: str, counts: Counts) -> str:
    cells = []
    for kind in (0, 1):
        true, hit, false = counts.true[kind], counts.hit[kind], counts.false[kind]
        precision = f"{hit / (hit + false):6.3f}" if hit + false else "     –"
        recall = f"{hit / true:6.3f}" if true else "     –"
        f1 = f"{2 * hit / (true + hit + false):6.3f}" if true + hit + false else "     –"
        cells.append(f"{true:5d} {hit:4d} {false:5d} {precision} {recall} {f1}")
    each = 1000 * counts.seconds / max(1, counts.frames)
    return f"{file:28.28} {name:17} {cells[0]}  |{cells[1]}  | {each:6.3f}"


def table(title: str, videos: Iterator[Video]) -> None:
    """Print the results of each file, and their total."""
    columns = " true  hit false  prec.   rec.     F1"
    print(f"\n{title}\n{'':46} {'cuts':37} |{' gradual':37}  |     ms")
    print(f"{'file':28} {'finder':17}{columns}  |{columns}  | /frame")
    total = {name: Counts() for name in FINDERS}
    for video in videos:
        for name, counts in run(video).items():
            total[name].add(counts)
            if name != TIMED_ONLY:
                print(_line(video.path.name, name, counts), flush=True)
    for name, counts in total.items():
        print(
            f"{'TOTAL':28} {name:17} {'':78} {1000 * counts.seconds / max(1, counts.frames):6.3f}"
            if name == TIMED_ONLY
            else _line("TOTAL", name, counts)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--videos", type=Path, default=ROOT.parent / "shared" / "videos", help="folder with a manifest.json"
    )
    parser.add_argument("--golden", type=Path, help="folder for generated video; kept, and used again")
    parser.add_argument("--seed", type=int, default=0, help="seed of the generated video")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if (args.videos / "manifest.json").exists():
        table(f"Real videos in {args.videos}", real_videos(args.videos))
    else:
        print(f"No manifest.json in {args.videos}: real videos are left out.")
    with tempfile.TemporaryDirectory() as scratch:
        table(f"Generated videos, seed {args.seed}", golden_videos(args.golden or Path(scratch), args.seed))


if __name__ == "__main__":
    main()
