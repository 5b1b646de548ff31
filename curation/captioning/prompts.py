"""Prompts are files: those that come with the engine, the user's own, or the text itself in the recipe. Room: curation.

In: what a recipe says. Out: the text, with places such as ``{duration}`` that are filled in for each clip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from schemas.errors import RecipeError

MAX_BYTES = 1 << 18
"""A prompt file larger than this is something else."""

_PLACE = re.compile(r"\{([a-z_]+)\}")


def prompt_names() -> list[str]:
    """Names of the embedded prompts."""
    return sorted(f.name[:-3] for f in _folder().iterdir() if f.name.endswith(".md"))


def load_prompt(value: str, where: str = "prompt") -> str:
    """The text of a prompt, stripped, with one line break at its end.

    So the text itself is a prompt, too, and stays what it is when it is loaded again.

    Args:
        value: name of an embedded prompt, path of a file, or (with a line break in it) the text.
        where: key of the recipe, for errors.

    Raises:
        RecipeError: there is no such prompt or file, or nothing is in it.
    """
    if "\n" in value:
        text = value
    elif value in prompt_names():
        text = (_folder() / f"{value}.md").read_text(encoding="utf-8")
    else:
        text = _read(value, where)
    if not text.strip():
        raise RecipeError(f"The prompt of {where} is empty.", fix="Write what the model should be asked.")
    return text.strip() + "\n"


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with ``{name}`` replaced for the names in ``values``. All other braces stay, also those in the values."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), text)


def _folder() -> resources.abc.Traversable:
    return resources.files("curation.captioning") / "prompts"


def _read(path: str, where: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise RecipeError(
            f"{where} is `{path}`, and there is neither an embedded prompt nor a file of that name.",
            fix=f"Embedded are {', '.join(prompt_names())}; else give a file, or the text itself with a line break in it.",
        ) from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RecipeError(
            f"The prompt file `{path}` of {where} cannot be read: {reason}.", fix="Give a text file in UTF-8."
        ) from None
