"""What the steps since the last line of metrics gave, and whether all of it was finite. Room: stiv_train.

Losses and gradient norms stay on the device until :meth:`Meter.settle`, the one place where the loop waits for it.
Legend: B samples of this process in a step.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from curation.storage import Store
from schemas.errors import StivError
from stiv_train.data.batch import Batch
from stiv_train.distributed import World
from stiv_train.events import Progress


class NotFiniteError(StivError):
    """A loss or gradient is infinite or not a number: going on would spoil the weights. Exit code 1."""


@dataclass(frozen=True)
class _Step:
    step: int
    batch: Batch
    losses: torch.Tensor
    norm: torch.Tensor


@dataclass
class Meter:
    """Adds up steps."""

    world: World
    run: Path
    steps: int = 0
    loss: float = 0.0
    norm: float = 0.0
    samples: int = 0
    tokens: int = 0
    broken: int = 0
    busy_s: float = 0.0
    waited_s: float = 0.0
    _unsettled: list[_Step] = field(default_factory=list)

    def add(self, step: int, batch: Batch, losses: torch.Tensor, norm: torch.Tensor) -> None:
        """A step's losses (B,) and gradient norm (), on the device, before the optimiser's step."""
        self._unsettled.append(_Step(step, batch, losses.detach(), norm.detach()))

    def settle(self) -> None:
        """Wait for the device and look at the steps added since the last call. All processes must call it.

        Raises:
            NotFiniteError: a loss or gradient is not finite. A report with the batch lies in the run's folder.
        """
        if not self._unsettled:
            return
        sums = self.world.sum_tensor(torch.stack([s.losses.sum() for s in self._unsettled]).double())
        norms = torch.stack([s.norm for s in self._unsettled]).double()
        for taken, loss, norm in zip(self._unsettled, sums.tolist(), norms.tolist(), strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._stop(taken, loss, norm)
            self.loss += loss
            self.norm = norm
        self._unsettled = []

    def took(self, samples: int, tokens: int, broken: int, waited_s: float, step_s: float) -> None:
        """A step is over: what it trained on, over all processes, how long it waited for data and how long it took in all."""
        self.steps += 1
        self.samples += samples
        self.tokens += tokens
        self.broken += broken
        self.waited_s += waited_s
        self.busy_s += step_s

    def report(self, done: int, steps: int, lr: float, epoch: int) -> tuple[dict[str, Any], Progress]:
        """A line of metrics over the settled steps, and the same for whoever watches; starts afresh."""
        seconds = max(self.busy_s, 1e-9)
        line = {
            "loss": self.loss / max(1, self.samples),
            "lr": lr,
            "grad_norm": self.norm,
            "samples_per_s": self.samples / seconds,
            "tokens_per_s": self.tokens / seconds,
            "data_wait_share": self.waited_s / seconds,
            "epoch": epoch,
            "broken": self.broken,
        }
        left = (steps - done) * seconds / max(1, self.steps)
        self.steps = self.samples = self.tokens = self.broken = 0
        self.loss = self.busy_s = self.waited_s = 0.0
        return line, Progress(done, steps, line["loss"], line["samples_per_s"], line["data_wait_share"], left)

    def _stop(self, taken: _Step, loss: float, norm: float) -> None:
        mine = [
            {"clip_id": clip, "row": int(row), "loss": _number(value)}
            for clip, row, value in zip(taken.batch.clip_ids, taken.batch.rows, taken.losses.tolist(), strict=True)
        ]
        clips = sorted(
            (clip for part in self.world.gather_json(mine) for clip in part), key=lambda clip: clip["loss"] is not None
        )
        name = f"not-finite-step-{taken.step:08d}.json"
        if self.world.main:
            report = {"step": taken.step, "loss": _number(loss), "grad_norm": _number(norm), "clips": clips}
            Store(self.run).commit_bytes(name, (json.dumps(report, indent=2) + "\n").encode())
        listed = ", ".join(clip["clip_id"] for clip in clips[:8]) + (f" and {len(clips) - 8} more" if clips[8:] else "")
        what = "loss" if not math.isfinite(loss) else "gradient"
        raise NotFiniteError(
            f"The {what} of step {taken.step} is not finite. Its batch: {listed}; `{self.run / name}` lists all with their losses.",
            fix=f"Look at those clips. The checkpoints before this step are sound: start another run from them with --init {self.run}, "
            "leaving the clips out (--select) or with a lower optim.lr or a longer optim.warmup.",
        )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
