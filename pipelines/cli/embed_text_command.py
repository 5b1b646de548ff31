"""`stiv embed-text`: what a frozen text encoder says of all captions, computed once for the trainer."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli import common
from pipelines.cli.common import AsJson, CorpusArg, Offline
from pipelines.cli.train_commands import PANEL, CaptionsName, SelectSql, TrainRecipeFile, TrainSets, train_extra
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.train_recipe import TrainRecipe
    from stiv_train.embed_text import Embedded, EmbedSummary

LINE_EVERY_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("embed-text", rich_help_panel=PANEL)(embed_text)


def embed_text(
    corpus: CorpusArg,
    recipe: TrainRecipeFile = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder to make or to add to, on a local or mounted disk. Default: the recipe's text.precomputed.",
        ),
    ] = None,
    select: SelectSql = None,
    captions: CaptionsName = None,
    set_: TrainSets = None,
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            metavar="float16|bfloat16",
            help="How values are stored. float16 is eight times finer; bfloat16 holds values beyond 65,504.",
        ),
    ] = "float16",
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Run the recipe's frozen text encoder once over every caption that training can draw, so that training need not.

    Give the recipe, --select, --captions and --set of the training. Captions that are in FOLDER already stay as they are; run it again
    when the corpus has grown, or after Ctrl-C, and only what is missing is computed.

    [bold]Examples[/]

      stiv embed-text CORPUS --recipe configs/train/stiv_t2v_256.yaml --out text_conditions

      stiv train CORPUS --recipe configs/train/stiv_t2v_256.yaml --set text.precomputed=text_conditions --out RUN
    """
    from curation.corpus import Corpus
    from pipelines.recipe_files import load_train_recipe

    if dtype not in ("float16", "bfloat16"):
        raise UsageError(f"There is no type `{dtype}` to store values in.", fix="Choose float16 or bfloat16.")
    named = [] if captions is None else [f"data.captions={common.check_name(captions)}"]
    effective = load_train_recipe(recipe, [*(set_ or ()), *named])
    folder = _folder(out, effective)
    with train_extra():
        from stiv_train import embed_text as job

        with _progress(quiet=as_json) as on_progress:
            summary = job.embed_text(
                Corpus.open(corpus), effective, folder, select=select, dtype=dtype, on_progress=on_progress
            )
    if as_json:
        common.print_json(asdict(summary))
    else:
        _say(summary)
    if summary.stopped:
        raise common.Stopped("" if as_json else "Stopped. Run the same command again to go on.")


def _folder(out: str | None, recipe: TrainRecipe) -> str:
    folder = out or recipe.text.precomputed
    if folder is None:
        raise UsageError(
            "Where should the conditions go?", fix="Give --out FOLDER, or set `text.precomputed` in the recipe."
        )
    return folder


def _say(summary: EmbedSummary) -> None:
    say = common.out_console.print
    if summary.encoded:
        pace = summary.encoded / max(summary.seconds, 1e-9)
        say(f"Encoded {summary.encoded:,} captions, {summary.bytes / 1e6:,.1f} MB, {pace:,.1f} a second.")
    else:
        say("Nothing was missing.")
    say(f"{summary.folder} holds {summary.captions:,} captions.", markup=False)
    if not summary.stopped:
        say(f"Next: stiv train … --set text.precomputed={shlex.quote(summary.folder)}", markup=False)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Embedded], None]]:
    """A live bar where there is a terminal, a line now and then where there is none."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = common.out_console
    columns = (TextColumn("encoding captions"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    lines = not quiet and not console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=quiet or lines) as progress:
        task = progress.add_task("", total=None, pace="")
        said = time.monotonic()

        def show(event: Embedded) -> None:
            nonlocal said
            pace = f"{event.encoded / event.seconds:,.1f}/s" if event.seconds > 0 else ""
            progress.update(task, completed=event.done, total=event.total, pace=pace)
            if lines and time.monotonic() - said >= LINE_EVERY_S:
                said = time.monotonic()
                console.print(line(event), markup=False)

        yield show


def line(event: Embedded) -> str:
    """Where it stands, in one line of text."""
    from pipelines.apps.words import elapsed

    left = event.seconds / event.done * (event.total - event.done) if event.done else None
    return f"{event.done:,}/{event.total:,} captions · {event.encoded / max(event.seconds, 1e-9):,.1f} a second" + (
        f" · {elapsed(left)} left" if left is not None else ""
    )
