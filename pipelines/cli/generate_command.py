"""`stiv generate`: videos from a trained run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli import common
from pipelines.cli.common import AsJson, Offline
from schemas.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from stiv_train.generate import OnStep
    from stiv_train.prompt_files import PromptLine

_SLUG = 40


@dataclass(frozen=True)
class _Wanted:
    """One video to make."""

    prompt: str
    seed: int
    image: Path | None


def generate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder of `stiv train`.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|FOLDER",
            help="One video, or a grid: a file that ends in .mp4, .gif, .webp or .png (frames side by side). Many: a folder, with prompts.jsonl beside the videos.",
        ),
    ],
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", metavar="TEXT", help="What to show. May be repeated.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="Many prompts: .txt with one a line, or .csv or .jsonl with `prompt` and, if wanted, `seed` and `image` (relative to the file).",
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            metavar="PICTURE",
            help="First frame, for a model trained with conditioning.task=ti2v. Scaled to cover the video's size, its centre taken.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="N", help="Videos of each prompt, with seeds K, K+1, …")
    ] = 1,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            max=2**62,
            metavar="K",
            help="Of the noise: the same prompt, seed and size give the same video.",
        ),
    ] = 0,
    frames: Annotated[
        int | None, typer.Option("--frames", min=1, metavar="N", help="Default: as trained. 1 makes a still.")
    ] = None,
    height: Annotated[
        int | None, typer.Option("--height", min=1, metavar="PIXELS", help="Default: as trained.")
    ] = None,
    width: Annotated[int | None, typer.Option("--width", min=1, metavar="PIXELS", help="Default: as trained.")] = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", min=0.1, max=1000, help="Frames per second. Default: the speed of the training clips."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            "--guidance",
            metavar="S",
            help="How strictly the prompt is followed; 1 is without guidance. Default: the recipe's.",
        ),
    ] = None,
    image_guidance: Annotated[
        float | None,
        typer.Option(
            "--image-guidance",
            metavar="S",
            help="Guide by the picture on its own, in a third pass (STIV's best: 1.5); much of it freezes the video.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Solver steps. Default: the recipe's.")] = None,
    solver: Annotated[
        str | None,
        typer.Option("--solver", metavar="euler|heun", help="heun: two passes a step. Default: the recipe's."),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option("--step", metavar="STEP", help="Checkpoint of this training step. Default: the newest."),
    ] = None,
    no_ema: Annotated[
        bool, typer.Option("--no-ema", help="Use the last weights rather than their average, which is mostly better.")
    ] = False,
    grid: Annotated[
        bool,
        typer.Option(
            "--grid", help="Put all into one file: videos side by side; as .png a row for each, a column per frame."
        ),
    ] = False,
    ending: Annotated[
        str, typer.Option("--format", metavar="mp4|gif|webp|png", help="Of the files in a folder.")
    ] = "mp4",
    device: Annotated[
        str, typer.Option("--device", metavar="auto|cpu|cuda", help="auto: a GPU where there is one.")
    ] = "auto",
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Make videos from prompts with a trained model.

    [bold]Examples[/]

      stiv generate RUN --prompt "A red circle moves to the left across a plain black background." --out circle.mp4

      stiv generate RUN --prompts prompts.txt --count 4 --out videos/

      stiv generate RUN --prompt "A dog runs." --prompt "A dog sleeps." --grid --guidance 5 --out dogs.webp

      stiv generate RUN --prompt "The dog runs." --image dog.png --seed 3 --out dog.gif
    """
    from pipelines.cli.train_commands import train_extra

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"There is no device `{device}`.", fix="Choose auto, cpu or cuda.")
    if solver not in (None, "euler", "heun"):
        raise UsageError(f"There is no solver `{solver}`.", fix="Choose euler or heun.")
    with train_extra():
        from stiv_train.generate import Generator
        from stiv_train.pictures import read_picture
        from stiv_train.run_folder import Run

        wanted = _wanted(prompt, prompts, image, seed, count)
        if image_guidance is not None and not any(w.image for w in wanted):
            raise UsageError(
                "--image-guidance guides by a first frame, and none is given.",
                fix="Give one with --image, or in the file of --prompts; or leave out --image-guidance.",
            )
        files = _files(wanted, out, ending, grid)
        opened = Run.open(run)
        pictures = {path: read_picture(path) for path in {w.image for w in wanted} if path is not None}
        generator = Generator(opened, device, step=step, ema=not no_ema)
        sampling = generator.sampling(guidance=guidance, image_guidance=image_guidance, steps=steps, solver=solver)
        with _progress(quiet=as_json) as on_step:
            videos = generator.each(
                [w.prompt for w in wanted],
                seeds=[w.seed for w in wanted],
                images=[pictures[w.image] if w.image is not None else None for w in wanted],
                frames=frames,
                height=height,
                width=width,
                sampling=sampling,
                on_step=on_step,
            )
            _write(videos, files, fps or generator.fps, grid)
        made = _listed(wanted, files, out, grid)
    if as_json:
        common.print_json({"run": run, "step": generator.step, "fps": fps or generator.fps, "videos": made})
    else:
        what = f"{len(wanted)} videos" if len(wanted) > 1 else "1 video"
        common.out_console.print(f"{what} of step {generator.step:,}: {out}", markup=False)


def _wanted(prompt: list[str] | None, file: Path | None, image: Path | None, seed: int, count: int) -> list[_Wanted]:
    from stiv_train.prompt_files import PromptLine, read_prompts

    lines: list[PromptLine] = [PromptLine(text) for text in prompt or ()]
    if file is not None:
        lines += read_prompts(file)
    if not lines:
        raise UsageError("There is no prompt.", fix='Give --prompt "…" (may be repeated) or --prompts FILE.')
    return [
        _Wanted(line.prompt, (seed if line.seed is None else line.seed) + k, line.image or image)
        for line in lines
        for k in range(count)
    ]


def _files(wanted: list[_Wanted], out: Path, ending: str, grid: bool) -> list[Path]:
    """Where each video goes; for a grid the one file. Says at once what cannot be written."""
    from stiv_train.video_files import ENDINGS, check_folder, check_target

    if f".{ending}" not in ENDINGS:
        raise UsageError(f"There is no format `{ending}`.", fix="Choose mp4, gif, webp or png.")
    if grid or (len(wanted) == 1 and not out.is_dir() and out.suffix):
        check_target(out)
        return [out]
    if len(wanted) > 1 and out.suffix and not out.is_dir():
        raise UsageError(
            f"`{out}` is one file, and {len(wanted)} videos are asked for.",
            fix="Name a folder, or put them together with --grid.",
        )
    check_folder(out)
    return [out / f"{index:04d}-{_slug(w.prompt)}-{w.seed}.{ending}" for index, w in enumerate(wanted)]


def _slug(text: str) -> str:
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split()
    return "-".join(words)[:_SLUG].strip("-") or "video"


def _write(videos: Iterator[np.ndarray], files: list[Path], fps: float, grid: bool) -> None:
    from stiv_train.video_files import write_grid, write_video

    if grid:
        write_grid(files[0], videos, fps)
        return
    for path, video in zip(files, videos, strict=True):
        write_video(path, video, fps)


def _listed(wanted: list[_Wanted], files: list[Path], out: Path, grid: bool) -> list[dict[str, Any]]:
    """What was made, also as ``prompts.jsonl`` in a folder: a file that --prompts reads."""
    made = [
        {
            "file": str(files[0 if grid else index]),
            "prompt": w.prompt,
            "seed": w.seed,
            "image": str(w.image.resolve()) if w.image is not None else None,
        }
        for index, w in enumerate(wanted)
    ]
    if out.is_dir():
        from stiv_train.video_files import write_bytes

        lines = [json.dumps({**facts, "file": Path(str(facts["file"])).name}, ensure_ascii=False) for facts in made]
        write_bytes(out / "prompts.jsonl", "".join(line + "\n" for line in lines).encode())
    return made


@contextmanager
def _progress(*, quiet: bool) -> Iterator[OnStep | None]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("sampling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=common.err_console, transient=True, disable=quiet) as progress:
        task = progress.add_task("sampling", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
