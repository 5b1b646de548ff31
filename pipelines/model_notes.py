"""What people should know of a run's models before it begins, though nothing is wrong with its recipe."""

from __future__ import annotations

from collections.abc import Collection

from schemas.recipe import CurateRecipe


def model_notes(recipe: CurateRecipe, tables: Collection[str]) -> list[str]:
    """Notes in words.

    Args:
        tables: that have still to be made.
    """
    section = recipe.features.embeddings
    if "embeddings" not in tables or section.backend != "openclip":
        return []
    from models.vision.aesthetic import doubt

    found = doubt(section.aesthetic_head, section.weights)
    return [found] if found is not None else []
