"""Commands that look: report, status, explain, query; and the golden videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from pipelines.cli import common
from pipelines.cli.common import AsJson, CorpusArg, Use


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for function in (status, report, explain):
        app.command(function.__name__, rich_help_panel="Look at a corpus")(function)
    app.command("query", cls=_Query, rich_help_panel="Look at a corpus")(query)
    app.command("golden", rich_help_panel="Try it")(golden)


class _Query(TyperCommand):
    """Names the views in its help. They are imported only then: that takes half a second."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from curation.views import VIEWS

        for parameter in self.params:
            if parameter.name == "sql" and isinstance(parameter, TyperArgument):
                parameter.help = f"{parameter.help} {', '.join(VIEWS[:-1])} and {VIEWS[-1]}."
        super().format_help(ctx, formatter)


def status(corpus: CorpusArg, as_json: AsJson = False) -> None:
    """Say what is done, missing and stale, and what to run next."""
    from dataclasses import asdict

    from curation.corpus import Corpus
    from pipelines.apps.status import corpus_status, print_status

    found = corpus_status(Corpus.open(corpus))
    common.print_json(asdict(found)) if as_json else print_status(found, common.out_console)


def report(
    corpus: CorpusArg,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where to write it. Default: report.html in the corpus."),
    ] = None,
    use: Use = None,
    as_json: AsJson = False,
) -> None:
    """Write report.html: funnel, reasons, histograms with thresholds, contact sheets, duplicates, captions, categories with the weights
    that even them out, errors, shards, and the recipe in force. One file, nothing from outside.

    [bold]Examples[/]

      stiv report corpus

      stiv report corpus --use strict --out strict.html
    """
    from curation.corpus import Corpus
    from pipelines.apps.report import write_report

    path = write_report(Corpus.open(corpus), out, common.parse_use(use, corpus))
    common.print_json({"report": str(path)}) if as_json else common.out_console.print(str(path), markup=False)


def explain(
    corpus: CorpusArg,
    what: Annotated[
        str,
        typer.Argument(
            metavar="CLIP_ID|URI",
            help="A clip id (or its beginning), a source id, or a source's path, relative path or file name.",
        ),
    ],
    use: Use = None,
    as_json: AsJson = False,
) -> None:
    """Tell the whole story of one clip or source: where from, every measurement, every rule, where it went."""
    from curation.corpus import Corpus
    from pipelines.apps.explain import explain as tell
    from pipelines.apps.explain import print_explanation

    story = tell(Corpus.open(corpus), what, common.parse_use(use, corpus))
    common.print_json(story.as_json()) if as_json else print_explanation(story, common.out_console)


def query(
    corpus: CorpusArg,
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SQL",
            help="A DuckDB query over the views",
        ),
    ],
    use: Use = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most rows to print as a table.")] = 100,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, all rows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per row, all rows.")] = False,
) -> None:
    """Run DuckDB SQL over the corpus.

    [bold]Examples[/]

      stiv query CORPUS "SELECT reason, count(*) FROM decisions GROUP BY reason ORDER BY 2 DESC"

      stiv query CORPUS "SELECT camera_motion, count(*), avg(camera_speed) FROM clips GROUP BY camera_motion"

      stiv query CORPUS "SELECT kept, count(*) FROM clips_all GROUP BY kept" --use strict
    """
    from curation.corpus import Corpus
    from pipelines.apps.query import run_query
    from pipelines.apps.query_text import print_table
    from schemas.errors import UsageError

    if csv and as_json:
        raise UsageError("--csv and --json are two forms of the same result.", fix="Give one of them.")
    table = run_query(Corpus.open(corpus), sql, common.parse_use(use, corpus))
    print_table(table, common.out_console, limit=limit, as_json=as_json, as_csv=csv)


def golden(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to.")],
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SET",
            help="Which set: demo, shots, signals, picture, odd, corrupt, shapes. May be repeated. Default: demo.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Another seed gives other pictures with the same kind of truth.")
    ] = 0,
    shapes: Annotated[int, typer.Option("--shapes", min=1, metavar="N", help="Clips in the set `shapes`.")] = 144,
) -> None:
    """Write golden videos: generated, with known cuts, motion, bars and more in golden.json."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from curation.golden.write import write_golden

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=common.err_console, transient=True) as progress:
        task = progress.add_task("golden", total=None)
        write_golden(
            out,
            tuple(sets or ("demo",)),
            seed=seed,
            shapes=shapes,
            on_done=lambda name, done, total: progress.update(task, description=name, completed=done, total=total),
        )
    common.out_console.print(f"{out}: golden videos with their truth in golden.json", markup=False)
