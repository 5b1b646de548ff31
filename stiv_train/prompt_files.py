"""Files of prompts: text with one a line, or CSV or JSON lines with columns. Room: stiv_train. In: a path. Out: prompts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UsageError

ENDINGS = (".txt", ".csv", ".jsonl")


@dataclass(frozen=True)
class PromptLine:
    """One video to make."""

    prompt: str
    seed: int | None = None
    """Of its noise; None leaves it to the command."""
    image: Path | None = None
    """Its first frame. In a file, relative to the file's folder."""


def read_prompts(path: Path) -> list[PromptLine]:
    """The prompts of a file, in its order. ``.txt``: one a line, empty lines skipped. ``.csv`` (with a header) and ``.jsonl``: the
    columns `prompt` and, if there, `seed` and `image`; others are ignored.

    Raises:
        UsageError: the file cannot be read, has no prompt, or a line is wrong; names the line.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"`{path}` is no file of prompts.", fix=f"End it with {', '.join(ENDINGS)}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"The file of prompts `{path}` is not there.", fix="Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"`{path}` cannot be read: {error}.", fix="It must be UTF-8 text.") from None
    if path.suffix.lower() == ".txt":
        found = [PromptLine(line.strip()) for line in text.splitlines() if line.strip()]
    else:
        rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, text)
        found = [_line(path, number, row) for number, row in rows]
    if not found:
        raise UsageError(f"`{path}` holds no prompt.", fix="Write one a line.")
    return found


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if "prompt" not in (reader.fieldnames or ()):
        raise UsageError(
            f"`{path}` has no column `prompt` (its columns: {', '.join(reader.fieldnames or ()) or 'none'}).",
            fix="Begin it with a header such as prompt,seed,image.",
        )
    for row in reader:
        yield reader.line_num, row


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UsageError(f"`{path}`, line {number}: no JSON ({error.msg}).", fix="One object a line.") from None
        if not isinstance(row, dict) or "prompt" not in row:
            raise UsageError(
                f"`{path}`, line {number}: no object with a `prompt`.", fix='Write {"prompt": "…", "seed": 1} a line.'
            )
        yield number, row


def _line(path: Path, number: int, row: Mapping[str, Any]) -> PromptLine:
    prompt, seed, image = row["prompt"], row.get("seed"), row.get("image")
    if not isinstance(prompt, str):
        raise UsageError(f"`{path}`, line {number}: the prompt is no text.", fix="Put it in quotes.")
    number_of_seed = None
    if seed not in (None, ""):
        try:
            number_of_seed = int(str(seed))
        except ValueError:
            number_of_seed = -1
        if not 0 <= number_of_seed <= 2**62:
            raise UsageError(
                f"`{path}`, line {number}: the seed {seed!r} is no whole number from 0.",
                fix="Leave it empty or give one.",
            )
    return PromptLine(prompt.strip(), number_of_seed, path.parent / str(image) if image else None)
