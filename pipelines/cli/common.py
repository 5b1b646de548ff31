"""What every command shares: how options read, how errors and results are printed, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipelines.children import available_cpus
from schemas.errors import StivError, UsageError

# Into a file or pipe there is no width to fit: tables are then made wide enough to be read.
out_console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
err_console = Console(stderr=True, highlight=False, soft_wrap=True)

INTERRUPTED = 130


class Stopped(Exception):
    """A command was told to stop and did so in good order; its text, if any, says how to go on. Exit code 130."""


RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        "-r",
        metavar="FILE",
        help="Recipe in YAML or JSON. Without one: the settings the corpus was made with, else the defaults.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting, such as scan.shots.max_s=10 or select.still='motion < 0.5' (a rule; =off removes it). May be repeated.",
    ),
]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="ray|inline",
        help="`ray`: actor pools on this machine or a cluster. `inline`: a plain loop in this process.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes on this machine. Default: all processors."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="ADDRESS",
        help="Ray cluster to use, such as `auto` or ray://host:10001. Default: a local Ray for the run.",
    ),
]
Name = Annotated[
    str,
    typer.Option(
        "--name", metavar="NAME", help="Name of what is written; other settings need another name, or --replace."
    ),
]
Use = Annotated[
    list[str] | None,
    typer.Option(
        "--use",
        metavar="[TABLE=]NAME",
        help="Variant to read, such as captions=v2; a bare name stands for every table that has it. May be repeated or comma-separated. Default: the same name, else `default`.",
    ),
]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace",
        help="Rebuild a name that was made with other settings; it is switched over when the new one is finished.",
    ),
]
ScoreAll = Annotated[
    bool,
    typer.Option(
        "--score-all",
        help="Measure features of every clip, not only of those that the rules over cheaper signals leave.",
    ),
]


def _go_offline(wanted: bool) -> bool:
    if wanted:
        from models.offline import set_offline

        set_offline()
    return wanted


Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        callback=_go_offline,
        help="Never try the network for weights, configurations and tokenizers of models: what is not here is an error. An endpoint in `chat` is asked all the same.",
    ),
]
"""Heeded as soon as it is read; the command itself has nothing to do."""
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output; nothing else goes there.")
]
CorpusArg = Annotated[str, typer.Argument(metavar="CORPUS", help="The corpus folder.")]


def parse_use(values: list[str] | None, uri: str) -> dict[str, str]:
    """``--use strict,captions=v2`` as a mapping: a bare name stands for every table of the corpus that has it.

    A table that is named wins over a bare name, wherever it stands.
    """
    from curation.corpus import VARIANT_TABLES

    named: dict[str, str] = {}
    bare: dict[str, str] = {}
    for text in (item.strip() for item in ",".join(values or []).split(",")):
        if not text:
            continue
        table, sign, name = text.partition("=")
        if not sign:
            bare |= _tables_of(text, uri)
        elif table in (*VARIANT_TABLES, "shards") and name:
            named[table] = name
        else:
            raise UsageError(
                f"`--use {text}` is not of the form NAME or TABLE=NAME.",
                fix=f"Tables are {', '.join(VARIANT_TABLES)} and shards; for example --use captions=v2.",
            )
    return bare | named


def _tables_of(name: str, uri: str) -> dict[str, str]:
    from curation.corpus import Corpus
    from curation.views import NAMED
    from pipelines.apps.names import of_name

    corpus = Corpus.open(uri)
    found = of_name(corpus, name)
    if not found:
        there = sorted({n for table in NAMED for n in corpus.variants(table)})
        raise UsageError(
            f"`--use {name}`: nothing in `{uri}` has that name.",
            fix=f"Names are: {', '.join(there)}." if there else "Nothing there has a name yet.",
        )
    return found


def check_executor(name: str) -> str:
    if name not in ("ray", "inline"):
        raise UsageError(f"There is no executor `{name}`.", fix="Choose `ray` or `inline`.")
    return name


def check_name(name: str) -> str:
    """A variant's name becomes a folder: letters, digits, dash and underscore only."""
    if (
        not name
        or len(name) > 64
        or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
        or not name[0].isalnum()
    ):
        raise UsageError(
            f"`{name}` cannot be a name.", fix="Use letters, digits, `-` and `_`, beginning with a letter or digit."
        )
    return name


def jobs_or_all(jobs: int | None) -> int:
    return jobs if jobs is not None else available_cpus()


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_error(error: StivError) -> None:
    """One paragraph: what, why, and the fix."""
    err_console.print("[bold red]Error:[/] ", end="")
    err_console.print(error.message, markup=False, end=" " if error.fix else "\n")
    if error.fix:
        err_console.print(error.fix, markup=False, style="bold")
