"""Broken samples: each is listed, left out and never replaced. Room: stiv_train.

RUN/quarantine.jsonl    one line for each visit: step (from 1), row of the data plan, clip_id, shard, error
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curation.storage import Store, storage_errors
from schemas.errors import TooManyErrorsError
from stiv_train.data.batch import Broken


class Quarantine:
    """The list of a run, written by one process and counted by all."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self._rows: set[int] = set()

    def __len__(self) -> int:
        """Different samples that were broken."""
        return len(self._rows)

    def go_on_from(self, done: int, *, write: bool) -> None:
        """Take up what the first ``done`` steps found, and forget what a killed run found after them."""
        if not self.path.exists():
            return
        kept = [line for line in read_lines(self.path) if line["step"] <= done]
        self._rows = {line["row"] for line in kept}
        if write:
            Store(self.path.parent).commit_bytes(self.path.name, "".join(map(_text, kept)).encode())

    def add(self, step: int, broken: list[Broken], *, write: bool) -> None:
        """List the broken samples of a step, those of all processes."""
        self._rows.update(sample.row for sample in broken)
        if write:
            with storage_errors(f"Writing `{self.path}`"), self.path.open("a", encoding="utf-8") as file:
                file.writelines(_text({"step": step, **asdict(sample)}) for sample in broken)

    @property
    def full(self) -> bool:
        """Whether more are broken than the recipe allows."""
        return len(self) > self.limit

    def error(self) -> TooManyErrorsError:
        """What to stop with when it is full."""
        return TooManyErrorsError(
            f"{len(self)} samples are broken, more than `train.quarantine_limit` ({self.limit}); `{self.path}` lists them.",
            fix="Export those shards again, or raise the limit, then go on with --resume.",
        )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON values of the lines that end: a killed run may leave half a line last."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def _text(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"
