"""Peak memory of a scan against the length of the video, and against the number of files scanned before: it must not grow.

    python benchmarks/memory.py [--minutes 1 10] [--scans 1 10] [--size 1920x1080]

Makes one minute of moving textured video with a cut every six seconds, repeats its packets to the wanted lengths, and scans each
length in a process of its own; then the first length several times in a row in one process, as a worker scans file after file.
Prints the peak resident size (``ru_maxrss``), CPU time and clips of each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from curation.golden.draw import texture, window
from curation.golden.encode import encode

FPS = 30
SHOT_S = 6

SCAN = """
import json, os, resource, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import cv2
cv2.setNumThreads(1)
from pathlib import Path
from curation.scan import scan_source
from schemas.recipe import Scan
for _ in range(int(sys.argv[3])):
    with open(sys.argv[2], "w+b") as stills:
        result = scan_source(Path(sys.argv[1]), "s" * 32, Scan(), stills)
use = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"peak_mb": use.ru_maxrss / 1024, "cpu_s": use.ru_utime + use.ru_stime,
                  "frames": result.source["num_frames"], "clips": len(result.clips), "seconds": result.seconds}))
"""


def minute(width: int, height: int) -> Iterator[np.ndarray]:
    """One minute of pans over textures, a new one every few seconds."""
    for shot in range(60 // SHOT_S):
        big = texture(width + 8 + SHOT_S * FPS * 4, height + 8, shot)
        for i in range(SHOT_S * FPS):
            yield window(big, 4 + i * 4, 4, width, height)


def repeat(source: Path, out: Path, times: int, seconds: int = 60) -> None:
    """Write the packets of a video several times in a row."""
    with av.open(str(out), "w") as target:
        stream = None
        step = 0
        for number in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(video)
                assert video.time_base is not None
                step = round(Fraction(seconds) / video.time_base)
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts = (packet.pts or 0) + number * step
                    packet.dts = packet.dts + number * step
                    packet.stream = stream
                    target.mux(packet)


def scan(video: Path, folder: str, times: int) -> dict[str, Any]:
    """Scan a video so many times in a fresh process; the facts of the last scan and of the process."""
    command = [sys.executable, "-c", SCAN, str(video), str(Path(folder, "stills")), str(times)]
    facts: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--scans", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--size", default="1920x1080")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        one = Path(folder, "one.mp4")
        encode(minute(width, height), one, FPS, crf=23, options={"preset": "ultrafast"})
        print(f"{'minutes':>8} {'scans':>6} {'frames':>8} {'clips':>6} {'peak MB':>8} {'CPU ms/frame':>13}")
        longer, again = [(n, 1) for n in arguments.minutes], [(arguments.minutes[0], n) for n in arguments.scans]
        for minutes, scans in dict.fromkeys(longer + again):
            video = Path(folder, f"{minutes}.mp4")
            if not video.exists():
                repeat(one, video, minutes)
            facts = scan(video, folder, scans)
            print(
                f"{minutes:>8} {scans:>6} {facts['frames']:>8} {facts['clips']:>6} {facts['peak_mb']:>8.0f} "
                f"{1000 * facts['cpu_s'] / facts['frames'] / scans:>13.2f}   "
                + ", ".join(f"{k} {v:.1f}" for k, v in facts["seconds"].items() if "." not in k),
                flush=True,
            )


if __name__ == "__main__":
    main()
