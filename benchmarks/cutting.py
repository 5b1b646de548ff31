"""What a clip costs, copied and encoded, against bare decoding and bare x264; and whether its first and last frame are right.

    python benchmarks/cutting.py [--heights 720 1080] [--rounds 3] [--seconds 15] [--clip-s 5] [--videos FOLDER]

Draws video in each codec and each kind of group of pictures, a codec keyframe every second, cuts it into clips in each mode and prints
CPU milliseconds, children included: per frame, and for copies per clip as well, since a copy costs about as much for a short clip as for a
long one. So the ratio of the two depends on the length; it is measured for clips of two seconds (the shortest that the default recipe
makes) and of ``--clip-s``. With ``--videos`` real files follow: one clip from each of their codec keyframes (at most eight) that can be
copied. All modes run in turn in every round; medians are printed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from floors import bare_x264, decode, draw_video, frames_between, medians

from curation.cutting import ClipToCut, CutError, cut_clip
from curation.decode import SourceReader
from curation.golden.spans import Timed
from curation.opening import quiet_decoder
from schemas.recipe import Export

COPY, ENCODE = (
    Export(cut=mode, short_side=4320, copy_keyframe_interval_s=60.0) for mode in ("copy", "encode")
)  # fmt: skip
SHORT_S = 2.0
REPEATS = 5
"""Copies of a clip in one measurement: one alone is too short for the clock."""
X264, X265 = {"x264-params": "scenecut=0:b-adapt=0"}, "pools=none:frame-threads=1:log-level=error:scenecut=0:b-adapt=0"
DRAWN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "H.264": (".mp4", {}),
    "H.264, MPEG-TS": (".ts", {}),
    "H.264, open groups": (".mp4", {"bframes": 4, "options": {"x264-params": X264["x264-params"] + ":open-gop=1:b-pyramid=normal"}}),
    "HEVC": (".mp4", {"codec": "libx265", "options": {"x265-params": X265 + ":open-gop=0"}}),
    "HEVC, open groups": (".mp4", {"codec": "libx265", "bframes": 4, "options": {"x265-params": X265 + ":open-gop=1"}}),
    "VP9": (".webm", {"codec": "libvpx-vp9", "crf": 34}),
    "AV1": (".mkv", {"codec": "libsvtav1", "crf": 34, "options": {"preset": "10", "svtav1-params": "lp=1"}}),
}  # fmt: skip
"""Container and encoder of each drawn video. Open groups have four leading frames before each keyframe but the first."""
HEAD = (
    "| source | clips × frames | decode | x264 | encode | encode / (decode + x264) | copy | copy, ms a clip: 2 s, longest | encode / copy: 2 s | longest | copy: first, last | encode: first, last |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Source(Timed):
    keys: list[int]
    """Frame numbers of the codec keyframes."""
    faultless: bool

    @property
    def fps(self) -> float:
        return len(self.pts) / float((self.end_pts - self.pts[0]) * self.probe.time_base)

    def clip(self, start: int, end: int, **changes: Any) -> ClipToCut:
        return super().clip(start, end, faultless=self.faultless, **changes)


def read_source(path: Path) -> Source:
    with SourceReader(path) as reader:
        pts = [stamp for _, _, stamp in reader.decoded()]
        probe, tally = reader.probe, reader.tally
    end = tally.end_pts
    assert end is not None
    with av.open(str(path)) as container:
        packets = container.demux(container.streams[probe.stream_index])
        stamps = {p.pts for p in packets if p.is_keyframe and p.pts is not None}
    keys = [n for n, stamp in enumerate(pts) if stamp in stamps]
    return Source(path, probe, pts, end, keys, not (tally.damaged or tally.errors or tally.mended_stamps))


def copyable(source: Source, keys: list[int], clip_s: float, folder: Path) -> list[ClipToCut]:
    """One clip from each of some codec keyframes, one after the other, without overlap, that a copy takes from its first frame."""
    clips: list[ClipToCut] = []
    free = 0
    for key in keys:
        end = min(len(source.pts), key + round(clip_s * source.fps))
        if key < free or end - key < source.fps or len(clips) == 8:
            continue
        try:
            done = cut_clip(source.clip(key, end), COPY, folder / "try.mp4")
        except CutError:
            continue
        if done.start_frame == key:
            # Both modes shall export the same frames.
            clips.append(source.clip(key, done.end_frame))
            free = end
    return clips


def pictures(path: Path, numbers: set[int]) -> dict[int, np.ndarray]:
    found: dict[int, np.ndarray] = {}
    with av.open(str(path)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            if n in numbers:
                found[n] = frame.to_ndarray(format="yuv420p")
    return found


def ends(clips: list[ClipToCut], source: Source, mode: str, folder: Path) -> str:
    """How the first and the last exported frames compare with the source's: the worst PSNR of all clips, or `exact`."""
    wanted = {n for clip in clips for n in (clip.start_frame, clip.end_frame - 1)}
    truth = pictures(source.path, wanted)
    worst = [np.inf, np.inf]
    for clip in clips:
        count = clip.end_frame - clip.start_frame
        shown = pictures(folder / f"{mode}-{clip.clip_id}.mp4", {0, count - 1})
        for side, (at, number) in enumerate([(0, clip.start_frame), (count - 1, clip.end_frame - 1)]):
            error = float(np.mean((shown[at].astype(np.float64) - truth[number]) ** 2))
            worst[side] = min(worst[side], 10 * np.log10(255**2 / error) if error else np.inf)
    return ", ".join("exact" if np.isinf(value) else f"{value:.1f} dB" for value in worst)


def cut_all(clips: list[ClipToCut], settings: Export, folder: Path, times: int = 1) -> int:
    """Cut every clip; the number of frames exported."""
    return sum(
        cut_clip(clip, settings, folder / f"{settings.cut}-{clip.clip_id}.mp4").num_frames
        for _ in range(times)
        for clip in clips
    )


def row(name: str, source: Source, keys: list[int], clip_s: float, rounds: int, folder: Path) -> str:
    clips, short = (copyable(source, keys, length, folder) for length in (clip_s, SHORT_S))
    if not clips:
        return f"| {name} | nothing that can be copied | | | | | | | | | | |"
    longest = max(clips, key=lambda clip: clip.end_frame - clip.start_frame)
    in_memory = frames_between(source.path, longest.start_frame, longest.end_frame)
    made = medians(
        {
            "decode": partial(decode, source.path),
            "x264": partial(bare_x264, in_memory, source.fps),
            "encode": partial(cut_all, clips, ENCODE, folder),
            "short": partial(cut_all, short, COPY, folder, REPEATS),
            "copy": partial(cut_all, clips, COPY, folder, REPEATS),
        },
        rounds,
    )
    frames, frames_short = (sum(clip.end_frame - clip.start_frame for clip in some) for some in (clips, short))
    each = {
        "decode": len(source.pts),
        "x264": len(in_memory),
        "encode": frames,
        "short": frames_short * REPEATS,
        "copy": frames * REPEATS,
    }
    ms = {job: 1000 * made[job] / each[job] for job in made}
    a_clip = [ms["short"] * frames_short / len(short), ms["copy"] * frames / len(clips)]
    return (
        f"| {name} {source.probe.width}×{source.probe.height} | {len(clips)} × {frames / len(clips):.0f} | "
        + " | ".join(f"{ms[job]:.2f}" for job in ("decode", "x264", "encode"))
        + f" | {ms['encode'] / (ms['decode'] + ms['x264']):.2f} | {ms['copy']:.2f} | {a_clip[0]:.0f}, {a_clip[1]:.0f}"
        + f" | {ms['encode'] / ms['short']:.1f} | **{ms['encode'] / ms['copy']:.1f}** | "
        + f"{ends(clips, source, 'copy', folder)} | {ends(clips, source, 'encode', folder)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heights", type=int, nargs="+", default=[720, 1080], help="of the drawn videos")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=15, help="length of each drawn video")
    parser.add_argument("--clip-s", type=float, default=5.0, help="longest clip")
    parser.add_argument("--videos", type=Path, help="folder with real files")
    arguments = parser.parse_args()
    quiet_decoder()
    print("CPU milliseconds per frame where not said, one thread, children included.\n\n" + HEAD, flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for height in arguments.heights:
            for name, (suffix, how) in DRAWN.items():
                path = draw_video(folder / f"drawn{suffix}", height, arguments.seconds, **how)
                source = read_source(path)
                # The first group is never an open one.
                print(row(name, source, source.keys[1:], arguments.clip_s, arguments.rounds, folder), flush=True)
        for path in sorted(arguments.videos.iterdir()) if arguments.videos else []:
            if path.suffix in (".mp4", ".mkv", ".webm", ".mov", ".flv", ".avi", ".ts"):
                source = read_source(path)
                print(row(path.name, source, source.keys, arguments.clip_s, arguments.rounds, folder), flush=True)


if __name__ == "__main__":
    main()
