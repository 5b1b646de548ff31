"""Metrics of a run: lines of JSON always, TensorBoard where it is installed. Room: stiv_train.

RUN/metrics.jsonl    one JSON object a line; `step` counts steps done. Two kinds of lines:
    training      loss, lr, grad_norm, samples_per_s, tokens_per_s, data_wait_share, epoch, broken, time (seconds since 1970)
    validation    validation_loss, validation_by_time (timestep → loss), time
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from curation.storage import Store, storage_errors
from stiv_train.events import Note, OnEvent
from stiv_train.quarantine import read_lines


class Metrics:
    """Writes the metrics of a run; does nothing in processes other than the main one."""

    def __init__(self, folder: Path, done: int, on_event: OnEvent, *, write: bool) -> None:
        """``done``: steps that the checkpoint to go on from has seen; what a killed run wrote after them is removed."""
        self.path = folder / "metrics.jsonl"
        self.write_here = write
        self.board: Any = None
        if not write:
            return
        if self.path.exists():
            kept = [line for line in read_lines(self.path) if line["step"] <= done]
            Store(folder).commit_bytes(self.path.name, "".join(json.dumps(line) + "\n" for line in kept).encode())
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            on_event(Note("TensorBoard is not installed: metrics go to metrics.jsonl only."))
            return
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Add a line; numbers in it, and in the objects in it, go to TensorBoard too."""
        if not self.write_here:
            return
        line = {"step": step, **values, "time": round(time.time(), 3)}
        with storage_errors(f"Writing `{self.path}`"), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.board is not None:
            for name, value in values.items():
                for inner, number in value.items() if isinstance(value, dict) else (("", value),):
                    self.board.add_scalar(f"{name}/{inner}" if inner else name, number, step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
