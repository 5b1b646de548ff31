"""Heavy libraries, imported where they are used, and what their errors say. Room: models.

In: a library's name. Out: the module, or an error that names the extra.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from schemas.errors import UsageError


def library(name: str) -> Any:
    """Import a library of the extra `models`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # the library is there; something of its own is missing
        raise _missing(name) from error


def need(name: str) -> None:
    """Raise UsageError unless a library is installed. It is not imported: that may take seconds."""
    if importlib.util.find_spec(name) is None:
        raise _missing(name)


def _missing(name: str) -> UsageError:
    return UsageError(f"The library {name} is not installed.", fix="Install it: pip install 'stiv[models]'.")


def reason(error: Exception) -> str:
    """The first line of a library's error, to stand within a sentence of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__
