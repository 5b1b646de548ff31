"""The processes that train together, and what they tell each other. Room: stiv_train.

One code path: plain Python is a world of one; torchrun (and whatever else sets RANK and WORLD_SIZE, or has made a process group
already) gives more. Numbers that steer the loop travel over gloo between host memories, so that asking never waits for a GPU.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from schemas.errors import UsageError

PATIENCE = timedelta(hours=2)
"""How long one process waits for another: the first fits the codec and measures while the others wait."""


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    device: torch.device
    rank: int = 0
    size: int = 1
    beside: int = 1
    """Processes on this machine."""

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, *values: int) -> list[int]:
        """Each number summed over all processes; all must call it. Waits for the slowest."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(total)
        return total.tolist()

    def sum_tensor(self, values: torch.Tensor) -> torch.Tensor:
        """A tensor on this process' device summed over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        self.sum(0)

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """(n,) int64 or uint8 of every process, in order of rank, to every process; n may differ."""
        if self.size == 1:
            return [values]
        lengths = [0] * self.size
        lengths[self.rank] = len(values)
        lengths = self.sum(*lengths)
        mine = torch.zeros(max(1, *lengths), dtype=torch.from_numpy(values[:0]).dtype)
        mine[: len(values)] = torch.from_numpy(np.ascontiguousarray(values))
        found = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(found, mine)
        return [part[:n].numpy() for part, n in zip(found, lengths, strict=True)]

    def gather_json(self, value: Any) -> list[Any]:
        """A JSON value of every process, in order of rank."""
        text = np.frombuffer(json.dumps(value).encode(), dtype=np.uint8).copy()
        return [json.loads(part.tobytes()) for part in self.gather(text)]


@contextlib.contextmanager
def joined(device: str) -> Iterator[World]:
    """Join the other processes, if there are any, for as long as the block lasts.

    Args:
        device: `auto`, `cpu` or `cuda`, as in the recipe.

    Raises:
        UsageError: a GPU is asked for and there is none for this process.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = choose_device(device, local)
    ours = False
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if place.type == "cuda":
            torch.cuda.set_device(place)
        dist.init_process_group("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo", timeout=PATIENCE)
        ours = True
    try:
        if dist.is_initialized():
            beside = int(os.environ.get("LOCAL_WORLD_SIZE", str(dist.get_world_size())))
            yield World(place, dist.get_rank(), dist.get_world_size(), beside)
        else:
            yield World(place)
    finally:
        if ours:
            dist.destroy_process_group()


def choose_device(wanted: str, local: int = 0) -> torch.device:
    """The device of the process that is number ``local`` on its machine."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    found = torch.cuda.device_count()
    if local >= found:
        raise UsageError(
            f"A GPU is asked for by process {local} of this machine, and {found or 'none'} can be used.",
            fix="Start as many processes as there are GPUs, or set train.device=cpu.",
        )
    return torch.device("cuda", local)
