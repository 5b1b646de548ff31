"""The `stiv` command: curation of video for generative models, and training of one.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 too many errors, 130 interrupted.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Annotated, Any

import typer

from models.offline import is_offline, set_offline
from pipelines.children import close_stdin
from pipelines.cli.common import INTERRUPTED, Stopped, err_console, print_error
from pipelines.cli.shadow import check_rooms
from pipelines.failures import internal_error
from schemas.errors import StivError

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong use, 3 too many errors, 130 interrupted. Every command takes --help."

KEPT = "[bold]Interrupted.[/] What is finished is kept: run the same command again to go on."

app = typer.Typer(
    name="stiv",
    help="Turn raw video into explainable, reproducible training shards, and train a video model on them.\n\n"
    "Begin with: [bold]stiv curate VIDEOS --out CORPUS[/], then [bold]stiv train CORPUS --out RUN[/]",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from curation.environment import engine_version

        typer.echo(f"stiv {engine_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options before the command."""


def _register() -> None:
    if app.registered_commands:
        return
    from pipelines.cli import (
        embed_text_command,
        forget_command,
        inspect_commands,
        model_commands,
        recipe_commands,
        train_commands,
        work_commands,
    )

    work_commands.register(app)
    forget_command.register(app)
    train_commands.register(app)
    embed_text_command.register(app)
    inspect_commands.register(app)
    model_commands.register(app)
    app.add_typer(recipe_commands.app, name="recipe")


def _on_terminate(number: int, frame: Any) -> None:
    # A scheduler's polite end is treated like Ctrl-C: children stop, what is finished is kept.
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    close_stdin()  # nothing here asks; see there why
    code = run(arguments)
    # Not sys.exit: what Ray keeps of our classes outlives the modules, and native libraries then report leaks on the terminal.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    try:
        check_rooms()
        if is_offline():
            set_offline()  # one variable is enough, for every library
        _register()
        signal.signal(signal.SIGTERM, _on_terminate)
        result = app(arguments, standalone_mode=False, prog_name="stiv")
        if result == INTERRUPTED:  # typer has turned Ctrl-C into this
            err_console.print(KEPT)
        return result if isinstance(result, int) else 0
    except StivError as error:
        print_error(error)
        return error.exit_code
    except Stopped as stop:
        if str(stop):
            err_console.print(str(stop), markup=False)
        return INTERRUPTED
    except typer.TyperException as error:
        error.show() if hasattr(error, "show") else err_console.print(error.format_message(), markup=False)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        err_console.print(KEPT)
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # the reader of our output, such as `head`, has seen enough
    except Exception as error:
        found = internal_error(error)
        print_error(found)
        return found.exit_code


if __name__ == "__main__":
    main()
