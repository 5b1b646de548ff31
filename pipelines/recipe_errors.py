"""What is wrong with a recipe, in words: which key, what is wrong with it, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from schemas.recipe import CurateRecipe


def explain_validation(error: ValidationError, recipe: type[BaseModel] = CurateRecipe) -> str:
    """Pydantic's findings in one paragraph: which key, what is wrong, what was meant."""
    parts = []
    findings = error.errors()
    for item in findings:
        if any(len(o["loc"]) > len(item["loc"]) and o["loc"][: len(item["loc"])] == item["loc"] for o in findings):
            continue  # a list is also called too short when its items are wrong
        key = ".".join(str(p) for p in item["loc"]) or "(top)"
        if item["type"] == "extra_forbidden":
            known = _keys_at(item["loc"][:-1], recipe)
            given = tuple(str(p) for p in item["loc"])
            meant = _meant(given, _only_keys(item["input"]), known, list(_all_keys(recipe)))
            parts.append(
                f"unknown key `{key}`"
                + (f" (did you mean `{meant}`?)" if meant else f" (known there: {', '.join(known)})")
            )
        else:
            message = item["msg"].removeprefix("Value error, ")
            parts.append(
                f"`{key}`: {message[:1].lower()}{message[1:]}"
                + (f", not {item['input']!r}" if item["loc"] and not isinstance(item["input"], dict) else "")
            )
    return "; ".join(parts) + "."


def _meant(given: tuple[str, ...], below: tuple[str, ...], known: list[str], keys: list[tuple[str, ...]]) -> str | None:
    """The key, with its sections, that an unknown key was meant to be: one of its section spelt nearly so, else one elsewhere.

    `text.stills` is `features.text.stills`: of the keys that end in the same word, the one with most of the given words above it,
    if that is one only. ``below`` is what was set inside the unknown key.
    """
    near = difflib.get_close_matches(given[-1], known, n=1, cutoff=0.75)
    if near:
        mended = (*given[:-1], near[0])
        return ".".join((*mended, *below) if (*mended, *below) in keys else mended)
    for path in ((*given, *below), given):
        shared = {key: len(set(path) & set(key)) for key in keys if key[-1] == path[-1]}
        best = [key for key, count in shared.items() if count == max(shared.values())]
        if len(best) == 1:
            return ".".join(best[0])
    return None


def _only_keys(value: Any) -> tuple[str, ...]:
    """The way down through mappings of one key, as ``--set`` makes them."""
    if not isinstance(value, dict) or len(value) != 1:
        return ()
    ((name, inner),) = value.items()
    return (str(name), *_only_keys(inner))


def _all_keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a recipe with the sections above it; not those of the items of lists."""
    for name, info in model.model_fields.items():
        yield (*above, name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _all_keys(info.annotation, (*above, name))


def _keys_at(path: tuple[int | str, ...], recipe: type[BaseModel]) -> list[str]:
    """The keys that the section or list item at ``path`` may have."""
    model = recipe
    for name in path:
        if isinstance(name, int):
            continue  # an item of the list just passed: its model was taken there
        info = model.model_fields.get(name)
        inner = _model_in(info.annotation) if info is not None else None
        if inner is None:
            return []
        model = inner
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section's model, or that of a list's items."""
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
