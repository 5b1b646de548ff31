"""`stiv models`: what each learned step would use."""

from __future__ import annotations

import typer

from pipelines.cli import common
from pipelines.cli.common import AsJson, Offline, RecipeFile, Sets


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models", rich_help_panel="Try it")(models)


def models(recipe: RecipeFile = None, set_: Sets = None, offline: Offline = False, as_json: AsJson = False) -> None:
    """List every learned step: its model, where the weights are, how large, whether they are here, and how to get them.

    Nothing is fetched and no endpoint is asked, with --offline or without. Recipes of both kinds will do.

    [bold]Examples[/]

      stiv models --recipe curate.yaml

      stiv models --set features.embeddings.backend=openclip --set features.embeddings.weights=laion2b_s34b_b79k
    """
    from dataclasses import asdict

    from pipelines.apps.model_list import model_steps, print_steps

    steps = model_steps(recipe, set_ or ())
    common.print_json([asdict(step) for step in steps]) if as_json else print_steps(steps, common.out_console)
