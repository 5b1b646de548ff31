"""`stiv recipe`: show, explain and check settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli import common
from pipelines.cli.common import AsJson, RecipeFile, Sets

app = typer.Typer(help="Show, explain and check recipes.", no_args_is_help=True, rich_markup_mode="rich")


@app.command()
def show(recipe: RecipeFile = None, set_: Sets = None, as_json: AsJson = False) -> None:
    """Print the effective recipe as YAML, each key with its meaning: a file to start from."""
    from pipelines.recipe_files import load_recipe, to_yaml

    effective = load_recipe(recipe, set_ or ())
    if as_json:
        common.print_json(effective.model_dump(mode="json"))
    else:
        typer.echo(to_yaml(effective), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes: every key with type, limits, default and meaning."""
    from schemas.recipe import CurateRecipe

    common.print_json(CurateRecipe.model_json_schema())


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to check.")], set_: Sets = None
) -> None:
    """Say what is wrong with a recipe file, or that nothing is."""
    from pipelines.recipe_files import load_recipe

    load_recipe(file, set_ or ())
    common.out_console.print(f"`{file}` is a valid recipe.", markup=False)
