"""`stiv recipe`: show, explain and check settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli import common
from pipelines.cli.common import AsJson, RecipeFile, Sets
from schemas.errors import UsageError

if TYPE_CHECKING:
    from schemas.recipe import CurateRecipe
    from schemas.train_recipe import TrainRecipe

app = typer.Typer(help="Show, explain and check recipes.", no_args_is_help=True, rich_markup_mode="rich")

Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="curate|train",
        help="Which recipe: of `stiv curate`, or of `stiv train`. Default: curate, or what the file says.",
    ),
]


@app.command()
def show(recipe: RecipeFile = None, set_: Sets = None, kind: Kind = None, as_json: AsJson = False) -> None:
    """Print the effective recipe as YAML, each key with its meaning: a file to start from.

    [bold]Examples[/]

      stiv recipe show > curate.yaml

      stiv recipe show --kind train --set train.batch=32 > train.yaml
    """
    from pipelines.recipe_files import recipe_kind, to_yaml

    chosen = _check_kind(kind) or (recipe_kind(recipe) if recipe is not None else "curate")
    effective = _load(chosen, recipe, set_)
    if as_json:
        common.print_json(effective.model_dump(mode="json"))
    else:
        typer.echo(to_yaml(effective), nl=False)


@app.command()
def schema(kind: Kind = None) -> None:
    """Print the JSON schema of recipes: every key with type, limits, default and meaning."""
    from pipelines.recipe_files import KINDS

    common.print_json(KINDS[_check_kind(kind) or "curate"].model_json_schema())


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to check, of either kind.")],
    set_: Sets = None,
) -> None:
    """Say what is wrong with a recipe file, or that nothing is. The file's `kind` says whether it curates or trains.

    Prompts, plug-ins and the names and addresses of chat models are looked at as before a run; weights are not: `stiv models` lists them.

    [bold]Examples[/]

      stiv recipe check curate.yaml

      stiv recipe check curate.yaml --set chat.llm.model=Qwen/Qwen3-8B
    """
    from pipelines.recipe_files import recipe_kind
    from pipelines.variant_settings import check_complete
    from schemas.recipe import CurateRecipe

    kind = recipe_kind(file)
    recipe = _load(kind, file, set_)
    if isinstance(recipe, CurateRecipe):
        check_complete(recipe)
    words = {"curate": "curation", "train": "training"}
    common.out_console.print(f"`{file}` is a valid {words[kind]} recipe.", markup=False)


def _load(kind: str, file: Path | None, sets: list[str] | None) -> CurateRecipe | TrainRecipe:
    from pipelines.recipe_files import load_recipe, load_train_recipe

    return load_train_recipe(file, sets or ()) if kind == "train" else load_recipe(file, sets or ())


def _check_kind(kind: str | None) -> str | None:
    if kind not in (None, "curate", "train"):
        raise UsageError(f"There is no kind of recipe `{kind}`.", fix="Choose `curate` or `train`.")
    return kind
