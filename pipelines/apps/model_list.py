"""`stiv models`: the learned steps of a recipe as a table, and what to type for those whose weights are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation import plugins
from models.asking import caption_steps, check_steps, duplicate_steps
from models.registry import Step, chat_steps, measuring_steps, training_steps
from pipelines.recipe_files import load_recipe, load_train_recipe, recipe_kind
from pipelines.variant_settings import chats_of
from schemas.errors import UsageError
from schemas.recipe import CurateRecipe

_OWN = frozenset({"sidecar", "describe", "vlm", "openai", "frames+llm"})


def model_steps(file: Path | None, settings: Sequence[str] = ()) -> list[Step]:
    """The learned steps under a recipe file of either kind, or under the defaults of curation.

    Raises:
        RecipeError: the file or a setting is wrong.
    """
    if file is not None and recipe_kind(file) == "train":
        return list(training_steps(load_train_recipe(file, settings)))
    recipe = load_recipe(file, settings)
    asked = {*chats_of(recipe, "captions"), *(chats_of(recipe, "checks") if recipe.check.enabled else ())}
    measuring, chats = list(measuring_steps(recipe)), list(chat_steps(recipe, asked))
    models = {step.step: step for step in (*measuring, *chats)}
    return [
        *measuring,
        *duplicate_steps(recipe, models),
        *caption_steps(recipe, models),
        *check_steps(recipe, models),
        *chats,
        *_plugins(recipe),
    ]


def _plugins(recipe: CurateRecipe) -> list[Step]:
    """What comes from other packages: they find their weights by themselves."""
    found = []
    for kind, names in (("captions", recipe.captions.captioners), ("scores", recipe.features.scores.scorers)):
        for name in (n for n in names if kind == "scores" or n not in _OWN):
            try:
                given = plugins.scorer_inputs([name]) if kind == "scores" else plugins.captioner_inputs([name])
                models = ", ".join(model["name"] for model in given.values()) or name
                found.append(Step(f"{kind}: {name}", True, models, "wheel", here=True))
            except UsageError as error:
                found.append(Step(f"{kind}: {name}", True, name, "wheel", here=False, get=error.fix))
    return found


def print_steps(steps: Sequence[Step], console: Console) -> None:
    """A table that fits 100 columns, and below it what to do about what is missing."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, width=min(console.width, 140))
    for column in ("Step", "Model"):
        table.add_column(column, overflow="fold")
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("Here", no_wrap=True)
    table.add_column("Weights", overflow="fold", ratio=1)
    for step in steps:
        size = "" if step.mb is None else f"about {step.mb:,.0f}" if step.about else f"{step.mb:,.1f}"
        cells = (step.step, step.model, size, _here(step), _weights(step))
        table.add_row(*(Text(cell) for cell in cells), style="" if step.used else "dim")
    console.print(table)
    if any(not step.used for step in steps):
        console.print("`not used`: a step that this recipe does not do.", style="dim")
    for step in steps:
        if step.note:
            console.print(f"note: {step.note}", style="yellow", markup=False)
    missing = [step for step in steps if step.used and step.get]
    if missing:
        console.print("\nTo get what this recipe needs and is not here:", style="bold")
        for step in missing:
            console.print(f"  {step.step}: {step.get}", markup=False)
    optional = [step for step in steps if not step.used and step.get]
    if optional:
        console.print("\nFor steps that it does not do:", style="dim")
        for step in optional:
            console.print(f"  {step.step}: {step.get}", markup=False, style="dim")


def _here(step: Step) -> str:
    if not step.used:
        return "not used"
    if step.source == "none":
        return "built in"
    if step.source == "endpoint":
        return "not asked"
    return "yes" if step.here else "no"


def _weights(step: Step) -> str:
    if step.by is not None:
        return f"as {step.by}"
    if step.where is not None:
        return _short(step.where) if step.source != "wheel" else f"wheel: {step.where.rpartition('site-packages/')[2]}"
    return {"none": "needs none", "wheel": "wheel", "hub": "on the hub", "endpoint": "no address", "file": ""}[
        step.source
    ]


def _short(path: str) -> str:
    """With `~` for the home folder."""
    home = str(Path.home())
    return f"~{path[len(home) :]}" if path.startswith(f"{home}/") else path
