"""Validation loss: held-out clips at fixed timesteps with fixed noise. Room: stiv_train.

The loss of a random timestep swings by more than training gains in a day; at fixed timesteps, with the same noise for the same clip each
time, what changes is the model alone. Nothing is dropped: neither text, given frames nor tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from curation.corpus import Corpus
from stiv_train.data.batch import Batch
from stiv_train.data.loader import load_rows
from stiv_train.data.plan import DataPlan
from stiv_train.distributed import World
from stiv_train.objective import Inputs, Objective

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass
class HeldOut:
    """The held-out clips of a plan, and what of them is measured and shown."""

    objective: Objective
    plan: DataPlan
    corpus: Corpus
    world: World

    @cached_property
    def rows(self) -> np.ndarray:
        """(n,) int64 rows of the plan, at most `data.validation_clips`."""
        held = np.flatnonzero(np.asarray(self.plan.table["validation"].combine_chunks()))
        most = self.objective.recipe.data.validation_clips
        # Spread evenly over the plan where there are more: rows are in the order of the shards.
        return held if len(held) <= most else held[np.linspace(0, len(held) - 1, most).round().astype(int)]

    @torch.no_grad()
    def measure(self, model: nn.Module) -> dict[str, Any]:
        """Losses as a line of metrics has them, with the weights that the model has now. All processes must call it."""
        sums = torch.zeros(len(TIMES) + 1, dtype=torch.float64, device=self.objective.device)
        for inputs, present in self._chunks:
            for index, time in enumerate(TIMES):
                losses = self.objective.losses(model, inputs.to(self.objective.device).at(time))
                sums[index] += losses[:present].double().sum()
            sums[-1] += present
        *losses_at, clips = self.world.sum_tensor(sums).tolist()
        by_time = {str(t): total / max(clips, 1) for t, total in zip(TIMES, losses_at, strict=True)}
        return {
            "validation_loss": sum(by_time.values()) / len(TIMES),
            "validation_by_time": by_time,
            "validation_clips": int(clips),
        }

    @cached_property
    def _chunks(self) -> list[tuple[Inputs, int]]:
        """This process' share, encoded once and kept in main memory: inputs and how many of them count.

        As many chunks in every process, because sharded models need all of them to take part in each call.
        """
        chunks: list[tuple[Inputs, int]] = []
        buckets = np.asarray(self.plan.table["bucket"].combine_chunks())[self.rows]
        for bucket, size in enumerate(self.objective.recipe.data.buckets):
            rows = self.rows[buckets == bucket]
            positions = np.flatnonzero(buckets == bucket)
            share = -(-(size.batch or self.objective.recipe.train.batch) // self.world.size)
            step = self.world.size * -(-share // self.objective.recipe.train.accumulate)
            for first in range(0, len(rows), step):
                mine = slice(first + self.world.rank, first + step, self.world.size)
                chunks.append(self._encoded(bucket, rows[mine], positions[mine]))
        return chunks

    def _encoded(self, bucket: int, rows: np.ndarray, positions: np.ndarray) -> tuple[Inputs, int]:
        batch = self.load(rows) if len(rows) else None
        if batch is None or not len(batch.rows):
            return self.objective.stand_in(bucket).to("cpu"), 0
        place = dict(zip(rows.tolist(), positions.tolist(), strict=True))
        batch.positions[:] = [place[row] for row in batch.rows.tolist()]
        still = self.objective.recipe.conditioning.model_copy(
            update={"text_drop": 0.0, "image_drop": 0.0, "token_drop": 0.0}
        )
        return self.objective.inputs(batch, conditioning=still, purpose="validation").to("cpu"), len(batch.rows)

    def load(self, rows: np.ndarray) -> Batch:
        """Rows of one bucket; those that are broken are left out."""
        return load_rows(self.plan, self.corpus, self.objective.recipe, rows)
