"""JSON in a model's answer, wherever it stands between other words, code fences and thoughts. Room: curation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_TRIES = 64
"""Most brackets of an answer at which a JSON value is looked for."""

_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_OPENING = re.compile(r"[\[{]")


def without_thought(text: str) -> str:
    """An answer without the model's reasoning before it."""
    return _THOUGHT.sub("", text)


def json_values(text: str) -> Iterator[Any]:
    """The objects and lists of JSON that begin at the first brackets of an answer, outer ones first.

    One that stands inside a value already given is not given again. A broken one is passed over, so that of a list cut short its
    whole members still come.
    """
    decoder = json.JSONDecoder(strict=False, parse_constant=lambda name: None)
    said = without_thought(text)
    start = 0
    for _ in range(_TRIES):
        opening = _OPENING.search(said, start)
        if opening is None:
            return
        start = opening.start() + 1
        try:
            value, start = decoder.raw_decode(said, opening.start())
        except (ValueError, RecursionError):
            continue
        yield value
