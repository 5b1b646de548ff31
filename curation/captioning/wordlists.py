"""Word lists of the folder ``words``: plain text, words between blanks or line breaks, lines with ``#`` are remarks. Room: curation."""

from __future__ import annotations

import functools
from importlib import resources


@functools.cache
def word_lines(name: str) -> tuple[tuple[str, ...], ...]:
    """The words of each line of ``words/<name>.txt``, remarks and empty lines left out."""
    text = (resources.files("curation.captioning") / "words" / f"{name}.txt").read_text(encoding="utf-8")
    lines = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return tuple(tuple(line) for line in lines if line)


@functools.cache
def word_set(name: str) -> frozenset[str]:
    """All words of a list."""
    return frozenset(word for line in word_lines(name) for word in line)
