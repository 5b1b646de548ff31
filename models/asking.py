"""Which learned steps of a recipe use which model: semantic duplicates, captioners, rewriting, checks. Room: models.

In: a recipe, and the steps with a model of their own by their names. Out: one :class:`Step` for each that points to one of those, or
needs none.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from models.registry import Step, file_step
from schemas.recipe import CurateRecipe

_WEIGHTLESS = {"sidecar": "texts beside the videos", "describe": "what was measured, in words"}


def duplicate_steps(recipe: CurateRecipe, models: Mapping[str, Step]) -> Iterator[Step]:
    """Semantic duplicates: exact and near ones need no model."""
    used = recipe.dedup.enabled and recipe.dedup.semantic.enabled and recipe.features.embeddings.enabled
    yield _by("dedup: semantic", used, models["embeddings"])


def caption_steps(recipe: CurateRecipe, models: Mapping[str, Step]) -> Iterator[Step]:
    """The engine's own captioners, in the recipe's order, and rewriting."""
    section = recipe.captions
    for name in section.captioners:
        if name in _WEIGHTLESS:
            yield Step(f"captions: {name}", True, _WEIGHTLESS[name], "none")
        elif name in ("vlm", "openai"):
            yield _by(f"captions: {name}", True, models[f"chat: {name}"])
        elif name == "frames+llm":
            yield _by("captions: frames", True, models[f"chat: {section.vision}"])
            yield _by("captions: merging", True, models[f"chat: {section.language}"])
    yield _by("captions: rewriting", section.rewrite.enabled, models[f"chat: {section.rewrite.language}"])


def check_steps(recipe: CurateRecipe, models: Mapping[str, Step]) -> Iterator[Step]:
    """Language, agreement, the two parts of DSG-Video, and categories."""
    section = recipe.check
    found = importlib.util.find_spec("py3langid")
    folders = found.submodule_search_locations if found is not None else None
    file = Path(folders[0]) / "data" / "model.npz.xz" if folders else None
    yield file_step("checks: language", section.enabled, "py3langid", "wheel", file, "pip install stiv")
    vectors = recipe.features.embeddings
    reads_texts = vectors.enabled and vectors.backend == "openclip"
    agreement = _by("checks: agreement", section.enabled and section.agreement and reads_texts, models["embeddings"])
    yield agreement if reads_texts else replace(agreement, model="none: OpenCLIP's vectors alone know text", by=None)
    dsg = section.enabled and section.dsg.enabled
    yield _by("checks: DSG language", dsg, models[f"chat: {section.dsg.language}"])
    yield _by("checks: DSG vision", dsg, models[f"chat: {section.dsg.vision}"])
    if section.categories.backend == "chat":
        yield _by("checks: categories", section.enabled, models[f"chat: {section.categories.language}"])
    else:
        yield Step("checks: categories", section.enabled, "keywords", "none")


def _by(step: str, used: bool, model: Step) -> Step:
    """A step that uses the model of another. What is missing is told there, once."""
    return Step(step, used, model.model, model.source, here=model.here, by=model.step)
