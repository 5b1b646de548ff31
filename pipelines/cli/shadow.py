"""Notices when another package of the same name hides one of ours: `schemas` and `models` are names that others use too."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pipelines
from schemas.errors import UsageError

ROOMS = ("schemas", "curation", "models", "stiv_train")


def check_rooms() -> None:
    """Raise UsageError when a room is found elsewhere than beside `pipelines`."""
    home = Path(pipelines.__file__).resolve().parent.parent
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        if spec is None or spec.origin is None:
            continue
        place = Path(spec.origin).resolve().parent
        if place != home / room and (home / room).is_dir():
            raise UsageError(
                f"Another package named `{room}` ({place}) hides ours ({home / room}).",
                fix="Run from another folder, or remove that package or its place from PYTHONPATH.",
            )
