"""Every signal against the truth, on video whose truth is known because it was drawn.

    python benchmarks/signals.py [--seeds 0 7] [--videos FOLDER] [--text]

Scans the golden sets `signals` and `picture` whole, one clip per video, and compares each column with the value under its name in the
video's truth: how many videos, mean and largest error, and the video with the largest. Words (what the camera does) are counted
right or wrong. Then scales that must rise or fall with their cause (blur, quantiser), as measured. With FOLDER the same columns of
real videos are listed, which have no truth, for a look.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation.golden.videos import SETS
from curation.golden.write import write_golden
from curation.opening import quiet_decoder
from curation.scan import scan_source
from schemas.recipe import Scan, Shots
from schemas.tables import SIGNAL_COLUMNS

ROOT = Path(__file__).resolve().parent.parent
ONE_CLIP = Scan(shots=Shots(backend="fixed", fixed_s=60.0, min_s=0.2, max_s=60.0))
"""The whole video as one clip."""

DERIVED: dict[str, tuple[str, Callable[[Any], float]]] = {
    "luma_mean": ("brightness", lambda level: level / 255),
    "luma_std": ("contrast", lambda level: level / 127.5),
    "letters_share": ("text_area", float),
}
"""Truth that is not named as a column: the column, and its value."""

SCALES = (("blur_sigma", "sharpness"), ("upscaled", "sharpness"), ("crf", "blockiness"), ("qscale", "blockiness"))
"""(cause, column) whose relation is monotonic."""

NAMES = [c.name for c in SIGNAL_COLUMNS if not c.name.startswith("phash")]


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
    from schemas.recipe import Text

    global _DETECTOR
    _DETECTOR = _DETECTOR or TextDetector(long_side=Text().long_side, min_score=Text().min_score)
    areas = []
    for _, offset, size in clip["stills"][: Text().stills]:
        stills.seek(offset)
        areas.append(_DETECTOR.area(cv2.imdecode(np.frombuffer(stills.read(size), np.uint8), cv2.IMREAD_COLOR)))
    return sum(areas) / len(areas)


_DETECTOR: Any = None


def golden(seeds: list[int], text: bool) -> None:
    """Print the tables for generated video."""
    errors: dict[str, list[tuple[float, str]]] = defaultdict(list)
    words: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    scales: dict[tuple[str, str], list[tuple[float, float, str]]] = defaultdict(list)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            wanted = tuple(name for name in ("signals", "picture") if name in SETS)
            videos = json.loads(write_golden(Path(folder), sets=wanted, seed=seed).read_text(encoding="utf-8"))[
                "videos"
            ]
            for file, truth in videos.items():
                clip = measure(Path(folder, file), text)
                if clip is None:
                    print(f"no clip: {file}")
                    continue
                for key, value in truth.items():
                    column, value = (DERIVED[key][0], DERIVED[key][1](value)) if key in DERIVED else (key, value)
                    measured = clip.get(column)
                    if column not in clip or column not in (*NAMES, "text_area"):
                        continue
                    if isinstance(value, (str, bool)) or value is None or measured is None:
                        words[column].append((measured == value, f"{file}: {measured}, not {value}"))
                    else:
                        errors[column].append(
                            (float(measured) - float(value), f"{file}: {measured:.4g}, not {value:.4g}")
                        )
                for cause, column in SCALES:
                    if cause in truth and clip.get(column) is not None:
                        scales[cause, column].append((float(truth[cause]), clip[column], file))
    print("| signal | videos | mean error | largest error | where |\n|---|---|---|---|---|")
    for column, found in sorted(errors.items()):
        worst = max(found, key=lambda e: abs(e[0]))
        mean = sum(abs(e) for e, _ in found) / len(found)
        print(f"| `{column}` | {len(found)} | {mean:.3g} | {abs(worst[0]):.3g} | {worst[1]} |")
    print("\n| signal | right | of | wrong |\n|---|---|---|---|")
    for column, told in sorted(words.items()):
        wrong = "; ".join(where for right, where in told if not right)
        print(f"| `{column}` | {sum(right for right, _ in told)} | {len(told)} | {wrong} |")
    print("\n| cause | signal | values, in order of the cause |\n|---|---|---|")
    for (cause, column), points in scales.items():
        print(f"| {cause} | `{column}` | " + ", ".join(f"{c:g}: {v:.3g}" for c, v, _ in sorted(points)) + " |")


def real(folder: Path, text: bool) -> None:
    """List the signals of real files, which have no truth."""
    shown = [n for n in NAMES if not n.startswith("bar_") or n == "bar_share"] + (["text_area"] if text else [])
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
    golden(args.seeds, args.text)
    if args.videos:
        real(args.videos, args.text)


if __name__ == "__main__":
    main()
