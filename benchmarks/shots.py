"""How well are shot transitions found, and at what cost? Prints tables in Markdown; needs no network.

    python benchmarks/shots.py [--videos ../shared/videos] [--golden 0 7 11 21] [--keep DIR] [--backends]

Real videos come from a folder with a ``manifest.json`` of true cuts (left out when absent); generated ones are written to DIR, or
to a temporary folder, one set for each seed. Every file is decoded once, at 256 pixels on the long side, and each frame is shown to
every finder: ours, and PySceneDetect's detectors at their defaults, which are told frame numbers that count frames. With
``--backends`` also the backends of ours that ask a network.

Scoring: a true cut is found by a detection within 2 frames; a gradual transition (fade, dissolve) by one anywhere in its span, or
within 2 frames of it, and more of them there count once. Detections that overlap a place marked ambiguous, or a fade at the very
start or end of a generated file, count neither way. A false detection counts against the kind that it claims to be; PySceneDetect's
are all points, so all count against cuts. Intervals: 95 % by bootstrap, whole videos drawn with replacement 1,000 times. Time is
that of the calling thread, decoding left out; PySceneDetect's is without making the BGR picture that it needs.
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
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scenedetect import FrameTimecode, SceneDetector
from scenedetect.detectors import (
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    ThresholdDetector,
)

from curation.decode import open_source
from curation.frames import Frame, Transition
from curation.golden.write import write_golden
from curation.shots import ShotFinder
from schemas.recipe import Shots

TOLERANCE = 2
RESAMPLES = 1000
KINDS = ("cut", "fade", "dissolve")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Place:
    """A true or found transition: first and last frame it may be seen at (a cut: twice the first frame of the new shot)."""

    first: int
    last: int
    kind: str

    def meets(self, other: Place) -> bool:
        return self.first <= other.last + TOLERANCE and other.first <= self.last + TOLERANCE


@dataclass
class Counts:
    """What became of true and found transitions of each kind."""

    true: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    hit: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    false: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    wrong: list[str] = field(default_factory=list)
    """What was missed or found falsely, in words."""
    seconds: float = 0.0
    frames: int = 0


@dataclass
class Video:
    """A file and its truth."""

    path: Path
    truth: list[Place]
    ignored: list[Place]


class Ours:
    """One of our finders."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def push(self, frame: Frame, bgr: np.ndarray) -> list[Place]:
        return [_found(t) for t in self._finder.push(frame)]

    def flush(self) -> list[Place]:
        return [_found(t) for t in self._finder.flush()]


class Theirs:
    """One of PySceneDetect's detectors."""

    def __init__(self, detector: SceneDetector) -> None:
        self._detector = detector
        self._code = self._clock = FrameTimecode(0, 25.0)

    def push(self, frame: Frame, bgr: np.ndarray) -> list[Place]:
        self._code = FrameTimecode(frame.index, self._clock)
        return [_point(c.frame_num) for c in self._detector.process_frame(self._code, bgr)]

    def flush(self) -> list[Place]:
        return [_point(c.frame_num) for c in self._detector.post_process(self._code)]


Finder = Ours | Theirs
OURS = "adaptive+histogram"
THEIRS = (AdaptiveDetector, ContentDetector, HistogramDetector, ThresholdDetector, HashDetector)
POINTS = tuple(kind.__name__ for kind in THEIRS)
"""Finders that return points, whatever the transition."""


def finders(backends: bool) -> dict[str, Callable[[], Finder]]:
    """Name and maker of each finder."""
    made: dict[str, Callable[[], Finder]] = {OURS: lambda: Ours(ShotFinder(Shots()))}
    if backends:
        from curation.shots.backends import make_finder
        from models.shots.transnet import TransNet

        network = TransNet()
        for name in ("transnetv2", "ensemble"):
            settings = Shots.model_validate({"backend": name})
            made[name] = partial(lambda chosen: Ours(make_finder(chosen, network)), settings)
    return made | {kind.__name__: partial(lambda chosen: Theirs(chosen()), kind) for kind in THEIRS}


def _place(start: int, end: int, kind: str) -> Place:
    """From a half-open span; a cut's is empty."""
    return Place(start, max(start, end - 1), kind)


def _found(transition: Transition) -> Place:
    return _place(transition.start_frame, transition.end_frame, transition.kind)


def _point(frame: int) -> Place:
    return Place(frame, frame, "cut")


def score(video: Video, found: list[Place]) -> Counts:
    """Match detections with the truth, cuts first, each detection at most once."""
    counts, free = Counts(), list(found)
    for place in sorted(video.truth, key=lambda p: (p.kind != "cut", p.first)):
        counts.true[place.kind] += 1
        gradual = place.kind != "cut"
        met = sorted(
            (f for f in free if f.meets(place)),
            key=lambda f: ((f.kind != "cut") != gradual, f.kind != place.kind, abs(f.first - place.first)),
        )
        if met:
            counts.hit[place.kind] += 1
            for used in met if gradual else met[:1]:
                free.remove(used)
        else:
            counts.wrong.append(f"{video.path.name}: missed {place.kind} {place.first}–{place.last}")
    for place in free:
        if not any(place.meets(ignored) for ignored in video.ignored):
            counts.false[place.kind] += 1
            counts.wrong.append(f"{video.path.name}: false {place.kind} {place.first}–{place.last}")
    return counts


def real_videos(folder: Path) -> Iterator[Video]:
    """The annotated files of a manifest; its ``start`` and ``end`` are first and last frame."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["videos"]:
        if entry["cuts"] is None:
            continue
        truth = [
            _point(c["frame"])
            if c["kind"] == "hard"
            else Place(c["start"], c["end"], "dissolve" if c["kind"] == "dissolve" else "fade")
            for c in entry["cuts"]
        ]
        ignored = [Place(a["start"], a["end"], "fade") for a in entry.get("ambiguous") or []]
        yield Video(folder / entry["file"], truth, ignored)


def golden_videos(folder: Path, seed: int) -> Iterator[Video]:
    """Generated files, with spans half open."""
    description = json.loads(write_golden(folder, sets=("shots",), seed=seed).read_text(encoding="utf-8"))
    videos: dict[str, dict[str, Any]] = description["videos"]
    for file, entry in videos.items():
        if "shots" in entry["sets"]:
            truth, edges = (
                [_place(c["start_frame"], c["end_frame"], c["kind"]) for c in entry[key]] for key in ("cuts", "edges")
            )
            yield Video(folder / file, truth, edges)


def run(video: Video, makers: dict[str, Callable[[], Finder]]) -> dict[str, Counts]:
    """Decode once and let every finder see every frame."""
    running = {name: make() for name, make in makers.items()}
    found: dict[str, list[Place]] = {name: [] for name in makers}
    seconds = dict.fromkeys(makers, 0.0)
    frames = 0
    with open_source(video.path) as source:
        for frame in source.frames():
            frames += 1
            bgr = frame.bgr()
            for name, finder in running.items():
                begin = time.thread_time()
                found[name] += finder.push(frame, bgr)
                seconds[name] += time.thread_time() - begin
    result = {}
    for name, finder in running.items():
        begin = time.thread_time()
        found[name] += finder.flush()
        result[name] = score(video, found[name])
        result[name].seconds, result[name].frames = seconds[name] + time.thread_time() - begin, frames
    return result


def _sums(videos: list[Counts]) -> np.ndarray:
    """(videos, 3, kinds): true, hit, false."""
    return np.array([[[c[k] for k in KINDS] for c in (v.true, v.hit, v.false)] for v in videos], np.int64)


def _cut_f1(sums: np.ndarray) -> np.ndarray:
    """F1 of cuts; ``sums`` is (..., 3, kinds), summed over videos. 1 where there is nothing to find and nothing was found."""
    true, hit, false = (sums[..., k, 0] for k in range(3))
    total = true + hit + false
    return np.where(total > 0, 2 * hit / np.maximum(total, 1), 1.0)


def _gradual_recall(sums: np.ndarray) -> np.ndarray:
    true, hit = sums[..., 0, 1:].sum(-1), sums[..., 1, 1:].sum(-1)
    return np.where(true > 0, hit / np.maximum(true, 1), 1.0)


def _interval(sums: np.ndarray, measure: Callable[[np.ndarray], np.ndarray]) -> str:
    """``value (low–high)`` over videos drawn with replacement."""
    draws = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(measure(sums[draws].sum(axis=1)), [2.5, 97.5])
    return f"{float(measure(sums.sum(axis=0))):.3f} ({low:.3f}–{high:.3f})"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"


def tables(title: str, videos: Iterator[Video], makers: dict[str, Callable[[], Finder]]) -> None:
    """Print one table by kind and one with intervals and time, and what our own finder got wrong."""
    results: dict[str, list[Counts]] = {name: [] for name in makers}
    for video in videos:
        for name, counts in run(video, makers).items():
            results[name].append(counts)
    frames = sum(counts.frames for counts in results[OURS])
    print(f"\n### {title}: {len(results[OURS])} videos, {frames} frames\n")
    print("| finder | kind | true | found | false | precision | recall | F1 |\n|---|---|--:|--:|--:|--:|--:|--:|")
    for name, all_counts in results.items():
        for number, kind in enumerate(KINDS):
            true, hit, false = (int(v) for v in _sums(all_counts).sum(axis=0)[:, number])
            scores = f"{_share(hit, hit + false)} | {_share(hit, true)} | {_share(2 * hit, true + hit + false)}"
            if kind != "cut" and name in POINTS:  # it claims cuts only
                scores = f"– | {_share(hit, true)} | –"
            print(f"| {name} | {kind} | {true} | {hit} | {false} | {scores} |")
    print("\n| finder | F1 of cuts (95 %) | recall of gradual ones (95 %) | ms a frame |\n|---|--:|--:|--:|")
    for name, all_counts in results.items():
        sums, each = _sums(all_counts), 1000 * sum(c.seconds for c in all_counts) / max(1, frames)
        print(f"| {name} | {_interval(sums, _cut_f1)} | {_interval(sums, _gradual_recall)} | {each:.3f} |")
    wrong = [line for counts in results[OURS] for line in counts.wrong]
    print(f"\nWhat {OURS} got wrong: {'; '.join(wrong) or 'nothing'}.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--videos", type=Path, default=ROOT.parent / "shared" / "videos", help="folder with a manifest.json"
    )
    parser.add_argument("--golden", type=int, nargs="*", default=[0], help="seeds of the generated video")
    parser.add_argument("--keep", type=Path, help="folder for generated video; kept, and used again")
    parser.add_argument("--backends", action="store_true", help="also our backends that ask a network")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    makers = finders(args.backends)
    if (args.videos / "manifest.json").exists():
        tables(f"Real videos in {args.videos.name}", real_videos(args.videos), makers)
    else:
        print(f"No manifest.json in {args.videos}: real videos are left out.")
    if args.golden:
        with tempfile.TemporaryDirectory() as scratch:
            folder = args.keep or Path(scratch)
            videos = (video for seed in args.golden for video in golden_videos(folder / str(seed), seed))
            tables(f"Generated videos, seeds {', '.join(map(str, args.golden))}", videos, makers)


if __name__ == "__main__":
    main()
