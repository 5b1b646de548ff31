"""The command that takes sources out of a corpus for good. Room: pipelines."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.cli import common
from pipelines.cli.common import AsJson, CorpusArg
from schemas.errors import UsageError

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.forgetting import Forgetting
    from pipelines.apps.forget_runs import RunSaw
    from pipelines.apps.forget_text import Told


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forget", rich_help_panel="Make a corpus")(forget)


def forget(
    corpus: CorpusArg,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="URI|ID|PATTERN",
            help="A source's path, its path relative to the input, its id, or a pattern such as 'folder/*'. May be repeated.",
        ),
    ] = None,
    list_: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="A text file with one such name per line.")
    ] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option(
            "--runs",
            metavar="FOLDER",
            help="A run of `stiv train`, or a folder of them: say which saw it. May be repeated.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take sources out of a corpus everywhere: tables, stills, shards, kept answers, records. This cannot be undone.

    The same content is not taken in again, under whatever name: the corpus keeps its hash. What was killed half-way is finished
    by the same command, or by `stiv forget CORPUS`.

    [bold]Examples[/]

      stiv forget CORPUS --source videos/dog.mp4 --dry-run

      stiv forget CORPUS --source 'uploads/user17/*' --runs training/ --yes
    """
    from curation.corpus import Corpus
    from curation.forgetting import begin, begun, finish
    from curation.lock import hold

    opened = Corpus.open(corpus)
    wanted = [*(source or ()), *(_lines(list_) if list_ is not None else ())]
    console = common.err_console if as_json else common.out_console
    if dry_run:
        _say(_foresee(opened, wanted, runs), console, as_json=as_json, done=False)
        return
    with hold(opened.store, "stiv forget"):
        cut_short = begun(opened.store)
        if cut_short is not None:
            console.print("Finishing what was begun before.")
            finish(opened, cut_short)
            wanted = [text for text in wanted if not any(item.meant_by(text) for item in cut_short.items)]
        if cut_short is not None and not wanted:
            told = _finished(opened, cut_short, runs)
        else:
            told = _foresee(opened, wanted, runs)
            if told.forgetting is not None:
                if not yes:
                    _say(told, console, as_json=False, done=False)
                    _confirm()
                finish(opened, begin(opened, told.forgetting))
    _say(told, console, as_json=as_json, done=True)


def _foresee(corpus: Corpus, wanted: list[str], runs: list[str] | None) -> Told:
    """What forgetting these would do.

    Raises:
        UsageError: nothing was named, or something named is not in the corpus.
    """
    from curation.forget_find import find, not_found
    from curation.forgetting import foresee, measure
    from curation.forgotten import Forgotten
    from pipelines.apps.forget_text import Told

    if not wanted:
        raise UsageError("Say what to forget.", fix="Give --source or --list.")
    found = find(corpus, wanted)
    before = Forgotten.read(corpus.store)
    already = {
        text: before.of(text) or before.of(os.path.abspath(text.removeprefix("file://"))) for text in found.unknown
    }
    if unknown := [text for text, stones in already.items() if not stones]:
        raise not_found(corpus, unknown)
    stones = [stone for some in already.values() for stone in some]
    forgetting = foresee(corpus, found.items, _now()) if found.items else None
    ids = {stone.source_id for stone in stones if stone.source_id is not None}
    return Told(
        corpus.store.uri,
        forgetting,
        None if forgetting is None else measure(corpus, forgetting),
        found.same_content,
        stones,
        _runs(runs, ids, forgetting),
    )


def _finished(corpus: Corpus, forgetting: Forgetting, runs: list[str] | None) -> Told:
    """What can be said of a forgetting that a killed command had begun: how much it was is not known any more."""
    from pipelines.apps.forget_text import Told

    return Told(corpus.store.uri, forgetting, None, (), (), _runs(runs, set(), forgetting))


def _runs(folders: list[str] | None, ids: set[str], forgetting: Forgetting | None) -> list[RunSaw] | None:
    if not folders:
        return None
    from pipelines.apps.forget_runs import runs_that_saw
    from pipelines.cli.train_commands import train_extra

    with train_extra():
        clips = set() if forgetting is None else forgetting.all_clips
        return runs_that_saw(folders, ids if forgetting is None else ids | forgetting.source_ids, clips)


def _say(told: Told, console: Console, *, as_json: bool, done: bool) -> None:
    from pipelines.apps.forget_text import print_extent, print_next

    if as_json:
        common.print_json(told.as_json(done=done))
        return
    print_extent(told, console, done=done)
    if done and told.forgetting is not None:
        print_next(told, console)


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"`{path}` cannot be read: {error}.", fix="Give a UTF-8 text file with one source per line."
        ) from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UsageError(f"`{path}` names no source.", fix="Write one source per line.")
    return found


def _confirm() -> None:
    """Ask on the terminal. Standard input is closed for every command, so it is the terminal itself that is asked.

    Raises:
        UsageError: there is no terminal, or this is a background job, which would be stopped by asking.
        Stopped: the answer is not yes.
    """
    nobody = UsageError("This cannot be undone, and there is nobody to ask.", fix="Look at --dry-run, then give --yes.")
    if not sys.stderr.isatty():
        raise nobody
    try:
        with Path("/dev/tty").open(encoding="utf-8", errors="replace") as terminal:
            if os.tcgetpgrp(terminal.fileno()) != os.getpgrp():
                raise nobody
            common.err_console.print("This cannot be undone. Forget them? [y/N] ", markup=False, end="")
            answer = terminal.readline().strip().lower()
    except OSError:
        raise nobody from None
    if answer not in ("y", "yes"):
        raise common.Stopped("Nothing was changed.")
