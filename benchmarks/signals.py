"""Every signal against the truth, on video whose truth is known because it was drawn.

    python benchmarks/signals.py [--seeds 0 7] [--videos FOLDER] [--text]

Scans the golden sets `signals` and `picture` and the videos of ``signals_drawn.py`` whole, one clip per video, and compares each column
with the value under its name in the video's truth: how many videos, mean and largest error, and the video with the largest. Words (what
the camera does) are counted right or wrong. Then scales that must rise or fall with their cause (blur, quantiser, …), as measured, and
whether they do; and how far hashes of copies and of different pictures lie apart. It ends with an error where a scale turns back, or a
signal has no row. With FOLDER the same columns of real videos are listed, which have no truth, for a look.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from signals_drawn import videos as drawn_here

from curation.golden.encode import encode
from curation.golden.video import GoldenVideo
from curation.golden.videos import catalogue
from curation.opening import quiet_decoder
from curation.scan import scan_source
from schemas.recipe import Scan, Shots
from schemas.tables import SIGNAL_COLUMNS

ONE_CLIP = Scan(shots=Shots(backend="fixed", fixed_s=60.0, min_s=0.2, max_s=60.0))
"""The whole video as one clip."""
SETS = ("signals", "picture")

Truth = dict[str, Any]


def _bar(side: int) -> Callable[[Any, Truth], Any]:
    return lambda widths, _: widths[side]


def _residual(_: Any, truth: Truth) -> float | None:
    """Nothing is left where the camera alone moves."""
    return 0.0 if truth.get("motion", 0.0) > 0 else None


DERIVED: dict[str, tuple[tuple[str, Callable[[Any, Truth], Any]], ...]] = {
    "luma_mean": (("brightness", lambda level, _: level / 255),),
    "luma_std": (("contrast", lambda level, _: level / 127.5),),
    "letters_share": (("text_area", lambda share, _: share),),
    "bars": tuple((f"bar_{side}", _bar(n)) for n, side in enumerate(("top", "bottom", "left", "right"))),
    # The golden set moves at constant speeds.
    "motion": (("motion_p95", lambda speed, _: speed), ("motion_residual", _residual)),
}
"""Truth that is not named as a column, or tells of others as well: the columns, and their values (None: not told)."""


@dataclass(frozen=True)
class Scale:
    """A relation that goes one way."""

    cause: str
    column: str
    rises: bool
    slack: float
    """A step back that is not counted, in the signal's unit."""
    only: Truth = field(default_factory=dict)
    """Truth of the videos that differ in nothing else."""


SCALES = (
    Scale("blur_sigma", "sharpness", False, 0.005, {"upscaled": 1.0}),
    Scale("blur_sigma", "sharpness_min", False, 0.005, {"upscaled": 1.0}),
    Scale("blur_sigma", "aesthetic_photo", False, 0.05, {"upscaled": 1.0, "width": 640}),
    Scale("upscaled", "sharpness", False, 0.005, {"blur_sigma": 0.0}),
    Scale("quantiser", "blockiness", True, 0.02),
    Scale("saturation", "colourfulness", True, 0.0),
    Scale("replaced", "still_consistency", False, 0.02),
)
HASHES = ("phash_a", "phash_b", "phash_c")
NAMES = [c.name for c in SIGNAL_COLUMNS]


@dataclass
class Found:
    """What was measured, by column."""

    errors: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    words: dict[str, list[tuple[bool, str]]] = field(default_factory=lambda: defaultdict(list))
    scales: list[list[tuple[float, float]]] = field(default_factory=lambda: [[] for _ in SCALES])
    """(cause, signal) of each video of each scale."""
    hashes: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """(what the video shows, its hash)."""

    def note(self, file: str, truth: Truth, clip: dict[str, Any]) -> None:
        for column, value in _truth_of(truth):
            measured = clip.get(column)
            if column not in clip or column not in (*NAMES, "text_area"):
                continue
            if isinstance(value, (str, bool)) or value is None or measured is None:
                self.words[column].append((measured == value, f"{file}: {measured}, not {value}"))
            else:
                self.errors[column].append((float(measured) - float(value), f"{file}: {measured:.4g}, not {value:.4g}"))
        for scale, points in zip(SCALES, self.scales, strict=True):
            same = all(truth.get(name) == value for name, value in scale.only.items())
            if same and truth.get(scale.cause) is not None and clip[scale.column] is not None:
                points.append((float(truth[scale.cause]), clip[scale.column]))
        for column in HASHES:
            if "copy_of" in truth and clip[column] is not None:
                self.hashes[column].append((truth["copy_of"], clip[column]))


def _truth_of(truth: Truth) -> Iterator[tuple[str, Any]]:
    """(column, value) for all that a video's truth tells."""
    for key, value in truth.items():
        yield key, value
        for column, told in DERIVED.get(key, ()):
            if column not in truth and (other := told(value, truth)) is not None:
                yield column, other


def measure(path: Path, text: bool) -> dict[str, Any] | None:
    """The signals of the longest clip of a file."""
    with tempfile.TemporaryFile() as stills:
        result = scan_source(path, "s" * 32, ONE_CLIP, stills)
        if not result.clips:
            return None
        clip = max(result.clips, key=lambda c: c["num_frames"])
        if text:
            clip["text_area"] = _text_area(clip, stills)
        return clip


def _text_area(clip: dict[str, Any], stills: Any) -> float:
    from models.text_detector.detector import TextDetector
    from schemas.recipe_learned import Text

    global _DETECTOR
    _DETECTOR = _DETECTOR or TextDetector(long_side=Text().long_side, min_score=Text().min_score)
    areas = []
    for _, offset, size in clip["stills"][: Text().stills]:
        stills.seek(offset)
        areas.append(_DETECTOR.area(cv2.imdecode(np.frombuffer(stills.read(size), np.uint8), cv2.IMREAD_COLOR)))
    return sum(areas) / len(areas)


_DETECTOR: Any = None


def golden(seeds: list[int], text: bool) -> Found:
    """Measure all generated video."""
    found = Found()
    for video in itertools.chain.from_iterable(_videos(seed) for seed in seeds):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, video.file)
            encode(video.frames(), path, video.fps, **video.encoding)
            clip = measure(path, text)
        if clip is None:
            print(f"no clip: {video.file}")
            continue
        found.note(video.file, video.describe(), clip)
    return found


def _videos(seed: int) -> list[GoldenVideo]:
    return [video for video in catalogue(seed) if set(SETS) & set(video.sets)] + drawn_here(seed)


def show(found: Found) -> list[str]:
    """Print the tables; what is wrong with them."""
    print("| signal | videos | mean error | largest error | where |\n|---|---|---|---|---|")
    for column, errors in sorted(found.errors.items()):
        worst = max(errors, key=lambda e: abs(e[0]))
        mean = sum(abs(e) for e, _ in errors) / len(errors)
        print(f"| `{column}` | {len(errors)} | {mean:.3g} | {abs(worst[0]):.3g} | {worst[1]} |")
    print("\n| signal | right | of | wrong |\n|---|---|---|---|")
    for column, told in sorted(found.words.items()):
        wrong = "; ".join(where for right, where in told if not right)
        print(f"| `{column}` | {sum(right for right, _ in told)} | {len(told)} | {wrong} |")
    print("\n| cause | signal | must | mean of the signal, in order of the cause | does |\n|---|---|---|---|---|")
    complaints = []
    for scale, points in zip(SCALES, found.scales, strict=True):
        means = {c: float(np.mean([v for other, v in points if other == c])) for c in sorted({c for c, _ in points})}
        back = turning_back(scale, means)
        listed = ", ".join(f"{cause:g}: {value:.3g}" for cause, value in means.items())
        print(
            f"| {scale.cause} | `{scale.column}` | {'rise' if scale.rises else 'fall'} | {listed} | {back or 'yes'} |"
        )
        complaints += [f"{scale.column} by {scale.cause}: {back}"] if back else []
    print("\n| hash | bits between copies: mean, most | between others: mean, fewest |\n|---|---|---|")
    for column, known in sorted(found.hashes.items()):
        bits: dict[bool, list[int]] = {True: [], False: []}
        for (a, one), (b, other) in itertools.combinations(known, 2):
            bits[a == b].append((one ^ other).bit_count())
        same, others = bits[True], bits[False]
        print(f"| `{column}` | {np.mean(same):.1f}, {max(same)} | {np.mean(others):.1f}, {min(others)} |")
    shown = {*found.errors, *found.words, *found.hashes, *(scale.column for scale in SCALES)}
    return complaints + [f"{column}: no row" for column in NAMES if column not in shown]


def turning_back(scale: Scale, means: dict[float, float]) -> str:
    """Where a scale goes the wrong way, in words; empty where it does not."""
    sign = 1 if scale.rises else -1
    return "; ".join(
        f"not from {a:g} to {b:g}"
        for (a, one), (b, other) in itertools.pairwise(means.items())
        if sign * (other - one) < -scale.slack
    )


def real(folder: Path, text: bool) -> None:
    """List the signals of real files, which have no truth."""
    hidden = (*HASHES, "bar_top", "bar_bottom", "bar_left", "bar_right")
    shown = [n for n in NAMES if n not in hidden] + (["text_area"] if text else [])
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".mp4", ".mkv", ".webm", ".avi", ".flv")):
        clip = measure(path, text)
        if clip is not None:
            cells = [f"{n} {clip[n]:.3g}" if isinstance(clip[n], float) else f"{n} {clip[n]}" for n in shown]
            print(f"{path.name}: " + ", ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--videos", type=Path, help="folder with real videos, to list what is measured of them")
    parser.add_argument("--text", action="store_true", help="the text detector on three stills of each, too")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    quiet_decoder()
    complaints = show(golden(args.seeds, args.text))
    if args.videos:
        real(args.videos, args.text)
    sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
