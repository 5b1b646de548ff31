"""Commands that write a corpus: curate, and each stage on its own."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.apps.words import plural
from pipelines.cli import common
from pipelines.cli.common import (
    AsJson,
    CorpusArg,
    ExecutorName,
    Jobs,
    Name,
    Offline,
    RayAddress,
    RecipeFile,
    Replace,
    ScoreAll,
    Sets,
    Use,
)
from pipelines.cli.stage_help import STAGE_HELP
from schemas.errors import StivError, TooManyErrorsError

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from pipelines.progress import Progress
    from pipelines.run import Options
    from schemas.recipe import CurateRecipe

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="VIDEOS...",
        help="Video files, folders (searched through), globs, or manifests (.txt, .csv, .jsonl, .parquet with a `uri` column; `caption`, `license`, `tags` and further columns are carried along).",
    ),
]
Out = Annotated[
    str,
    typer.Option(
        "--out", "-o", metavar="CORPUS", help="Corpus folder to make or to go on with. The scan settings belong to it."
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Only the first N sources of the listing.")
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Say what would be done; write nothing. Settings and models are checked as before a run."
    ),
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Do not write report.html at the end.")]


def register(app: typer.Typer) -> None:
    """Add the commands, in the order of the work."""
    app.command("curate", rich_help_panel="Make a corpus")(curate)
    app.command("plan", rich_help_panel="Make a corpus")(plan)
    app.command("retry", rich_help_panel="Make a corpus")(retry)
    for name, text in STAGE_HELP.items():
        app.command(name, help=text, rich_help_panel="Make a corpus")(_stage_command(name))
        if name == "scan":
            app.command("features", rich_help_panel="Make a corpus")(features)


def curate(
    videos: Inputs,
    out: Out,
    recipe: RecipeFile = None,
    set_: Sets = None,
    executor: ExecutorName = "ray",
    jobs: Jobs = None,
    ray_address: RayAddress = None,
    name: Name = "default",
    replace: Replace = False,
    score_all: ScoreAll = False,
    offline: Offline = False,
    limit: Limit = None,
    dry_run: DryRun = False,
    no_report: NoReport = False,
    as_json: AsJson = False,
) -> None:
    """Do the whole job: list, plan, scan, features, dedup, select, caption, check, judge and export; only what is missing.

    Run it again after an interruption, or with more videos: finished work is kept.

    [bold]Examples[/]

      stiv curate videos/ --out corpus

      stiv curate list.csv --out corpus --set scan.shots.max_s=10 --set select.still="motion < 0.5"

      stiv curate videos/ --out corpus --name strict --set select.blurred="sharpness < 0.3"
    """
    from curation.lock import hold
    from curation.storage import Store
    from pipelines import curate as job
    from pipelines.apps.plan_text import print_plan, print_planned
    from pipelines.apps.summary import print_summary, summarise
    from pipelines.progress import Progress

    options = _options(out, executor, jobs, ray_address, name, None, replace)
    effective = _recipe(out, name, recipe, _with_score_all(set_, score_all))
    left_out: Counter[str] = Counter()
    entries = job.list_and_check(videos, out, left_out)
    existing = job.existing(out, effective)
    job.check_before(existing, effective, job.ALL_STAGES, options)
    console = common.err_console if as_json else common.out_console
    if dry_run:
        report = {**job.dry_run(entries, existing, effective, options, limit), "left_out": dict(left_out)}
        common.print_json(report) if as_json else print_plan(report, console)
        return
    with Progress(console, limit=effective.scan, quiet=as_json) as progress, hold(Store(out), "stiv curate"):
        corpus, planned = job.plan(entries, out, effective, limit)
        if not as_json:
            print_planned(planned, left_out, console)
        _warn_environment(corpus, console)
        with _cost_told(progress):
            outcome = job.run(corpus, effective, job.ALL_STAGES, options, progress, "curate")
    summary = {**summarise(corpus, planned, outcome, progress.counts, name), "left_out": dict(left_out)}
    if not no_report:
        summary["report"] = _write_report(corpus, name, force=outcome.worked or bool(planned.parts))
    if as_json:
        common.print_json(summary)
    else:
        print_summary(summary, console)
    if summary["failed_cuts"]:
        raise typer.Exit(1)
    if (
        summary["sources"]
        and summary["by_status"].get("error") == summary["sources"]
        and effective.scan.error_rate_limit < 1
    ):
        raise TooManyErrorsError(
            "Not one source could be read.",
            fix='The report and `stiv query CORPUS "SELECT uri, error FROM sources"` say why.',
        )


def plan(
    videos: Inputs,
    out: Out,
    recipe: RecipeFile = None,
    set_: Sets = None,
    limit: Limit = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """List videos and append parts for those that the corpus does not know yet. Old parts stay untouched."""
    from curation.lock import hold
    from curation.storage import Store
    from pipelines import curate as job
    from pipelines.apps.plan_text import print_plan, print_planned
    from pipelines.run import Options

    effective = _recipe(out, "default", recipe, set_)
    left_out: Counter[str] = Counter()
    entries = job.list_and_check(videos, out, left_out)
    if dry_run:
        plan = job.dry_run(entries, job.existing(out, effective), effective, Options(), limit, wanted=())
        report = {**plan, "left_out": dict(left_out)}
        common.print_json(report) if as_json else print_plan(report, common.out_console)
        return
    with hold(Store(out), "stiv plan"):
        corpus, planned = job.plan(entries, out, effective, limit)
    if as_json:
        common.print_json({**asdict(planned), "left_out": dict(left_out)})
        return
    print_planned(planned, left_out, common.out_console)
    common.out_console.print(f"Next: stiv scan {corpus.store.uri}" if planned.parts else "Nothing new.", markup=False)


def retry(corpus: CorpusArg, as_json: AsJson = False) -> None:
    """Plan again the sources that failed for a reason that may have passed (not found, no permission, timeout, crash)."""
    from curation.corpus import Corpus
    from curation.planning import retry_failed
    from pipelines.dividing import Divider

    found = Corpus.open(corpus)
    with found.writing("stiv retry"), Divider() as divider:
        planned = retry_failed(found, divider)
    if as_json:
        common.print_json({"parts": planned.parts, "sources": planned.new})
    elif planned.new:
        common.out_console.print(f"Planned {plural(planned.new, 'source')} again.")
        common.out_console.print(
            f"Next: stiv scan {shlex.quote(found.store.uri)}, or the stiv curate command as before.", markup=False
        )
    else:
        common.out_console.print("No source failed for a reason that may have passed.")


def _stage_command(stage: str) -> Callable[..., None]:
    def command(
        corpus: CorpusArg,
        recipe: RecipeFile = None,
        set_: Sets = None,
        executor: ExecutorName = "ray",
        jobs: Jobs = None,
        ray_address: RayAddress = None,
        name: Name = "default",
        use: Use = None,
        replace: Replace = False,
        offline: Offline = False,
        as_json: AsJson = False,
    ) -> None:
        options = _options(corpus, executor, jobs, ray_address, name, use, replace)
        _run_stage(stage, corpus, recipe, set_, options, as_json)

    return command


def features(
    corpus: CorpusArg,
    recipe: RecipeFile = None,
    set_: Sets = None,
    executor: ExecutorName = "ray",
    jobs: Jobs = None,
    ray_address: RayAddress = None,
    name: Name = "default",
    replace: Replace = False,
    score_all: ScoreAll = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Measure what takes more than the scan, from stills: the area under text, a vector for likeness, and with OpenCLIP's weights
    aesthetics, tags and consistency; scorers of your own too.

    Only clips that the cheaper rules of `select` leave are looked at, unless --score-all is given; the others have NULL. What another
    name measured in the same way is taken over. `stiv models` says which weights there are, and how to get others.

    [bold]Examples[/]

      stiv features corpus

      stiv features corpus --name all --score-all

      stiv features corpus --name clip --set features.embeddings.backend=openclip --set features.embeddings.weights=laion2b_s34b_b79k

      stiv query corpus "SELECT clip_id, text_area FROM text ORDER BY text_area DESC LIMIT 10"
    """
    options = _options(corpus, executor, jobs, ray_address, name, None, replace)
    _run_stage("features", corpus, recipe, _with_score_all(set_, score_all), options, as_json)


def _with_score_all(sets: list[str] | None, score_all: bool) -> list[str] | None:
    sections = ("text", "embeddings", "scores")
    return [*(sets or []), *(f"features.{s}.score_all=true" for s in sections)] if score_all else sets


def _run_stage(
    stage: str, uri: str, recipe: Path | None, set_: list[str] | None, options: Options, as_json: bool
) -> None:
    from curation.corpus import Corpus
    from pipelines.progress import Progress
    from pipelines.run import run

    Corpus.open(uri)
    effective = _recipe(uri, options.name, recipe, set_)
    corpus = Corpus.open_or_create(uri, effective)
    console = common.err_console if as_json else common.out_console
    with Progress(console, limit=effective.scan, quiet=as_json) as progress, corpus.writing(f"stiv {stage}"):
        _warn_environment(corpus, console)
        with _cost_told(progress):
            outcome = run(corpus, effective, (stage,), options, progress, stage)
    if as_json:
        common.print_json(
            {
                "stage": stage,
                "worked": outcome.worked,
                "seconds": round(outcome.seconds, 2),
                "record": outcome.record,
                "failed_cuts": progress.counts.failed_cuts,
                "asked": {who: dict(told) for who, told in progress.counts.asked.items()},
            }
        )
    elif outcome.worked:
        from pipelines.apps.status import corpus_status, print_status

        _say_asked(progress)
        print_status(corpus_status(corpus), console)
    else:
        console.print(f"`{stage}` has nothing to do: everything is there.")
    if progress.counts.failed_cuts:
        raise typer.Exit(1)


@contextlib.contextmanager
def _cost_told(progress: Progress) -> Iterator[None]:
    """What chat models were asked is told where a run ends with an error as well: it was paid for."""
    try:
        yield
    except (StivError, KeyboardInterrupt):
        _say_asked(progress)
        raise


def _say_asked(progress: Progress) -> None:
    from pipelines.apps.summary import asked

    for who, told in progress.counts.asked.items():
        progress.say(f"Asked    {asked(who, told)}")


def _options(
    uri: str,
    executor: str,
    jobs: int | None,
    address: str | None,
    name: str,
    use: list[str] | None,
    replace: bool,
) -> Options:
    from pipelines.run import Options

    return Options(
        executor=common.check_executor(executor),
        jobs=common.jobs_or_all(jobs),
        ray_address=address,
        name=common.check_name(name),
        use=common.parse_use(use, uri),
        replace=replace,
    )


def _recipe(uri: str, name: str, path: Path | None, sets: list[str] | None) -> CurateRecipe:
    """The effective recipe: a file if given, else what the corpus was made with, else the defaults; then the --set values.

    A file that says nothing of `plan` or `scan` leaves these as the corpus has them: they belong to it.
    """
    from curation.corpus import Corpus
    from curation.storage import Store
    from pipelines.recipe_files import load_recipe
    from pipelines.run import stored_recipe

    base = None
    if Store(uri).exists("corpus.json"):
        base = stored_recipe(Corpus.open(uri), name)
    return load_recipe(path, sets or (), base)


def _warn_environment(corpus: Corpus, console: Console) -> None:
    changes = corpus.environment_changes()
    if changes:
        console.print(
            f"note: this machine differs from the one that began the corpus ({'; '.join(changes)}): "
            "new rows agree within tolerances, not to the bit.",
            style="yellow",
            markup=False,
        )


def _write_report(corpus: Corpus, name: str, *, force: bool) -> str:
    from pipelines.apps.names import of_name
    from pipelines.apps.report import write_report

    file = "report.html" if name == "default" else f"report-{name}.html"
    if not force and corpus.store.exists(file):
        return corpus.store.full(file)
    out = corpus.store.local / file if corpus.store.local is not None else None
    return str(write_report(corpus, out, use=of_name(corpus, name)))
