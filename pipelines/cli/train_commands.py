"""Commands that train: the data plan, training, and the ledger of what was seen. Making videos is in `generate_command`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli import common
from pipelines.cli.common import AsJson, CorpusArg, Offline
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.train_recipe import TrainRecipe
    from stiv_train.loop import Summary

PANEL = "Train"
_ROOMS = ("schemas", "curation", "models", "pipelines", "stiv_train")

TrainRecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        "-r",
        metavar="FILE",
        help="Training recipe in YAML or JSON; `stiv recipe show --kind train` prints one to start from. Without one: the defaults, which are STIV's; with --resume the run's.",
    ),
]
TrainSets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting, such as train.batch=32 or model.preset=B. May be repeated.",
    ),
]
SelectSql = Annotated[
    str | None,
    typer.Option(
        "--select",
        metavar="SQL",
        help='Train on clips for which this is true, such as "motion > 0.5 AND sharpness > 0.3": an expression over the columns of `clips_all` (docs/tables.md). Stands in place of the recipe\'s data.select.',
    ),
]
CaptionsName = Annotated[
    str | None,
    typer.Option(
        "--captions", metavar="NAME", help="Take captions from this variant in place of those exported with the clips."
    ),
]
RunArg = Annotated[str, typer.Argument(metavar="RUN", help="Run folder of `stiv train`.")]


def register(app: typer.Typer) -> None:
    """Add the commands, in the order of the work."""
    from pipelines.cli.generate_command import generate

    app.command("data-plan", rich_help_panel=PANEL)(data_plan)
    app.command("train", rich_help_panel=PANEL)(train)
    app.command("generate", rich_help_panel=PANEL)(generate)
    app.command("ledger", rich_help_panel=PANEL)(ledger)


@contextmanager
def train_extra() -> Iterator[None]:
    """Turn a missing library of the trainer into an error that names the extra.

    Raises:
        UsageError: a module that is not ours is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _ROOMS or not missing:
            raise
        raise UsageError(
            f"This needs `{missing}`, which is not installed.", fix="Install it with: pip install 'stiv[train]'"
        ) from None


def data_plan(
    corpus: CorpusArg,
    recipe: TrainRecipeFile = None,
    select: SelectSql = None,
    captions: CaptionsName = None,
    set_: TrainSets = None,
    as_json: AsJson = False,
) -> None:
    """Say what would be trained on: which clips in which bucket, what is held out, what is left out and why. Writes nothing.

    [bold]Examples[/]

      stiv data-plan CORPUS --recipe configs/train/shapes_demo.yaml

      stiv data-plan CORPUS --select "motion > 0.5 AND sharpness > 0.3" --set data.weight="aesthetic_photo / 5"
    """
    from curation.corpus import Corpus
    from pipelines.apps.data_plan_text import print_data_plan
    from stiv_train.data.plan import build_plan
    from stiv_train.data.plan_report import plan_report

    effective = _recipe(recipe, set_, captions)
    report = plan_report(build_plan(Corpus.open(corpus), effective, select), effective)
    if as_json:
        common.print_json(report)
    else:
        print_data_plan(report, common.out_console)


def train(
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="RUN", help="Run folder to make, or with --resume to go on with.")
    ],
    corpus: Annotated[
        str | None,
        typer.Argument(
            metavar="CORPUS", help="The corpus folder, with exported shards. With --resume: default the run's."
        ),
    ] = None,
    recipe: TrainRecipeFile = None,
    select: SelectSql = None,
    captions: CaptionsName = None,
    set_: TrainSets = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the newest checkpoint of RUN, to the same weights that an undisturbed run would have reached. The recipe is the run's; --set may change what does not change the result, such as data.workers or train.save_every; train.steps too where optim.decay is constant.",
        ),
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="RUN",
            help="Start from the averaged weights of another run: image to video, low to high resolution, text to text and image.",
        ),
    ] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on a corpus' shards. Logs, validates, saves checkpoints; end it with Ctrl-C or SIGTERM, go on with --resume.

    The first Ctrl-C or SIGTERM finishes the step at hand, saves and exits with 130; a second one ends it at once. Several
    processes: torchrun --nproc-per-node 8 -m pipelines.cli.main train CORPUS --out RUN.

    [bold]Examples[/]

      stiv train CORPUS --recipe configs/train/shapes_demo.yaml --out RUN

      stiv train --out RUN --resume --set data.workers=4

      stiv train CORPUS --recipe configs/train/stiv_ti2v_256.yaml --init RUN --out RUN2 --select "motion > 0.5"
    """
    from pipelines.train_progress import TrainProgress

    if resume and init is not None:
        raise UsageError("--init starts a run, --resume goes on with one.", fix="Leave out one of them.")
    if not resume and corpus is None:
        raise UsageError("A new run needs a corpus.", fix=f"stiv train CORPUS --out {shlex.quote(out)}")
    quiet = os.environ.get("RANK", "0") != "0"  # beside torchrun's first process: it speaks for all
    with train_extra():
        from stiv_train import loop
        from stiv_train.run_folder import Run

        effective: TrainRecipe | None = None
        if not resume:
            Run.check_new(out)
            effective = _recipe(recipe, set_, captions)
        elif recipe is not None or set_ or captions:
            effective = _recipe(recipe, set_, captions, Run.open(out).recipe.model_dump(mode="json"))
        try:
            with TrainProgress(common.err_console if as_json else common.out_console, quiet=quiet) as progress:
                summary = loop.train(
                    corpus, effective, out, select=select, resume=resume, init=init, on_event=progress.handle
                )
        except KeyboardInterrupt:  # before the loop took over, or the second one: the newest checkpoint stands
            raise common.Stopped(_where_to_go_on(out)) from None
    if as_json and not quiet:
        common.print_json(_facts(summary))
    elif not quiet:
        _say(summary)
    if summary.stopped:
        raise common.Stopped("" if as_json or quiet else f"Go on with: {_resume(out)}")


def ledger(
    run: RunArg,
    step: Annotated[
        int | None,
        typer.Option("--step", min=1, metavar="N", help="Which clips did this step see? Steps count from 1."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="URI|ID", help="Which steps saw this source (path or id) or this clip (id)?"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which clips a training step saw, or which steps saw a source.

    [bold]Examples[/]

      stiv ledger RUN --step 1200

      stiv ledger RUN --source videos/dog.mp4
    """
    from pipelines.apps.ledger_text import print_source, print_step, source_facts, step_facts

    if (step is None) == (source is None):
        raise UsageError("Ask either for a step or for a source.", fix="Give --step N or --source URI.")
    with train_extra():
        from stiv_train.ledger import clips_of_step, steps_of_source
        from stiv_train.run_folder import Run

        opened = Run.open(run)
        if step is not None:
            clips = clips_of_step(opened, step)
            if as_json:
                common.print_json(step_facts(step, clips))
            else:
                print_step(step, clips, common.out_console)
        elif source is not None:
            # The plan knows sources by their whole path; on the command line a relative one is at hand.
            here = Path(source.removeprefix("file://"))
            name = os.path.abspath(here) if here.exists() else source
            seen = steps_of_source(opened, name)
            if as_json:
                common.print_json(source_facts(source, seen.clips, seen.steps))
            else:
                print_source(source, seen.clips, seen.steps, common.out_console)


def _recipe(
    path: Path | None, sets: list[str] | None, captions: str | None, base: Mapping[str, Any] | None = None
) -> TrainRecipe:
    from pipelines.recipe_files import load_train_recipe

    named = [] if captions is None else [f"data.captions={common.check_name(captions)}"]
    return load_train_recipe(path, [*(sets or ()), *named], base)


def _facts(summary: Summary) -> dict[str, Any]:
    return {
        "run": str(summary.run),
        "step": summary.step,
        "steps": summary.steps,
        "stopped": summary.stopped,
        "loss": summary.loss,
        "validation": [{"step": step, "loss": loss} for step, loss in summary.validation],
        "broken": summary.broken,
        "seconds": round(summary.seconds, 2),
    }


def _say(summary: Summary) -> None:
    """What came of it, and what to run next."""
    say = common.out_console.print
    say(summary.text(), markup=False)
    if summary.validation:
        (first, before), (last, after) = summary.validation[0], summary.validation[-1]
        say(
            f"Validation loss: {before:.4f} at step {first:,}"
            + (f", {after:.4f} at step {last:,}." if last > first else ".")
        )
    if summary.broken:
        say(f"{summary.broken:,} broken samples were left out: {summary.run / 'quarantine.jsonl'}", markup=False)
    if not summary.stopped:
        run = shlex.quote(str(summary.run))
        say(f'Next: stiv generate {run} --prompt "…" --out video.mp4', markup=False)


def _where_to_go_on(out: str) -> str:
    if (Path(out) / "run.json").is_file():
        return f"Interrupted. All up to the newest checkpoint is kept. Go on with: {_resume(out)}"
    return "Interrupted before the first step; nothing was kept. Run the same command again."


def _resume(out: str) -> str:
    return f"stiv train --out {shlex.quote(out)} --resume"
