"""Some of many, evenly. Room: curation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly(things: Sequence[T], most: int) -> list[T]:
    """At most so many of the things, in order, spread evenly: the middle of each of as many equal shares."""
    wanted = min(most, len(things))
    return [things[(2 * i + 1) * len(things) // (2 * wanted)] for i in range(wanted)]
