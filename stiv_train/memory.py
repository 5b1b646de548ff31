"""Memory that training will need, foreseen by arithmetic before anything is made. Room: stiv_train. Bytes throughout.

Per parameter: 4 for the weight, 4 for its gradient, 4 for its average, and 8 (AdamW) or 4 (AdaFactor: momentum; its factored second
moments are next to nothing) for the optimiser. FSDP divides all of these by the number of processes. AdaFactor's updates, 4 more, come
when activations are gone, so the larger of the two counts.

Per sample at a time, that is per piece of a process' share of a batch: each block keeps for the backward pass, per token and unit of
width, 182 bytes in fp32 and 130 under bf16 autocast (counted by saved-tensor hooks on a factorised block: 45 values); with
`checkpointing: full` its 4-byte input only, with `attention` two outputs of self-attention besides; one block more is at work in the
backward pass. Dropped tokens count in the tail only.

Legend: D width, N tokens of a sample, B samples at a time.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch

from models.stiv.config import STIVConfig
from schemas.errors import UsageError
from schemas.train_recipe import Bucket, TrainRecipe
from stiv_train.distributed import World
from stiv_train.masking import tokens_kept

KEPT = {"fp32": 182, "bf16": 130}
"""Bytes that a block keeps per token and unit of width."""
_CGROUP = Path("/sys/fs/cgroup")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


LIBRARIES = 2**28
"""What loading libraries, their caches and allocators took beside all that: about 250 MiB."""


@dataclass(frozen=True)
class Foreseen:
    """What one process will need on its device."""

    weights: int
    gradients: int
    average: int
    optimiser: int
    activations: int
    batches: int
    """Pictures: decoded ones that wait, where the device is the CPU, and those at work as floats."""
    frozen: int
    """Frozen text encoder and autoencoder; what they need while they work is not known here."""
    libraries: int = LIBRARIES

    @property
    def total(self) -> int:
        return sum(asdict(self).values())

    def text(self) -> str:
        """The parts in words, largest first."""
        parts = sorted(asdict(self).items(), key=lambda part: -part[1])
        return ", ".join(f"{name} {_size(value)}" for name, value in parts if value * 50 >= self.total)


def foresee(
    config: STIVConfig,
    recipe: TrainRecipe,
    world: World,
    *,
    parameters: int,
    frozen: int = 0,
    latent_sizes: list[tuple[int, int, int]],
) -> Foreseen:
    """What a process will need.

    Args:
        parameters: that are trained.
        frozen: bytes of what is not.
        latent_sizes: (t, h, w) of each of the recipe's buckets.
    """
    shards = world.size if recipe.train.sharding == "fsdp" else 1
    state = 4 * -(-parameters // shards)
    samples = [_at_a_time(bucket, recipe, world) for bucket in recipe.data.buckets]
    pictures = [3 * b.frames * b.height * b.width for b in recipe.data.buckets]
    waiting = 0
    if world.device.type == "cpu":
        ahead = 1 + max(1, recipe.data.workers) * recipe.data.prefetch
        shares = [-(-(b.batch or recipe.train.batch) // world.size) for b in recipe.data.buckets]
        waiting = ahead * max(share * size for share, size in zip(shares, pictures, strict=True))
    return Foreseen(
        weights=state,
        gradients=state,
        average=state,
        optimiser=state * (2 if recipe.optim.kind == "adamw" else 1),
        activations=max(
            state if recipe.optim.kind == "adafactor" else 0,
            *(count * activations(config, recipe, size) for count, size in zip(samples, latent_sizes, strict=True)),
        ),
        batches=waiting + max(2 * 4 * count * size for count, size in zip(samples, pictures, strict=True)),
        frozen=frozen,
    )


def activations(config: STIVConfig, recipe: TrainRecipe, latent_size: tuple[int, int, int]) -> int:
    """Bytes that a sample with latents of (t, h, w) keeps for the backward pass, at the worst moment of it."""
    t, h, w = config.tokens(*latent_size)
    seen = tokens_kept(h * w, recipe.conditioning.token_drop) if recipe.conditioning.token_drop > 0 else h * w
    whole = KEPT[recipe.train.precision]
    half = 2 if recipe.train.precision == "bf16" else 4
    attentions = 1 if config.attention == "full" or not config.temporal else 2
    block = {"none": whole, "attention": 4 + attentions * half, "full": 4}[recipe.train.checkpointing]
    tokens = t * (config.depth * seen + config.mask_blocks * h * w)  # that pass through blocks
    ends = 24 * t * h * w  # embedding, last layer, loss
    return config.width * (block * tokens + whole * t * h * w + ends)


def check(foreseen: Foreseen, available: int, where: str) -> None:
    """Raise UsageError when the memory will not do.

    Args:
        available: bytes this process may use.
        where: `memory` or `GPU memory`.
    """
    if foreseen.total > available:
        raise UsageError(
            f"Training would need about {_size(foreseen.total)} of {where} ({foreseen.text()}), and {_size(available)} are free.",
            fix="Choose a smaller model.preset; or for activations a smaller train.batch, a larger train.accumulate or "
            "train.checkpointing=full; for waiting batches smaller data.prefetch and data.workers.",
        )


def available(world: World) -> int:
    """Bytes this process may still use on its device: free memory, or what its container allows, shared with its neighbours."""
    if world.device.type == "cuda":
        kept = torch.cuda.memory_reserved(world.device) - torch.cuda.memory_allocated(world.device)
        return torch.cuda.mem_get_info(world.device)[0] + kept
    return int(min(psutil.virtual_memory().available, *(_left(*group) for group in _groups()))) // world.beside


def _groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Folders of the control groups that this process is in, and the names of limit, use and cached files there."""
    yield _CGROUP, _V2
    yield _CGROUP / "memory", _V1
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if not kinds:
                yield _CGROUP / path.strip("/"), _V2
            elif "memory" in kinds.split(","):
                yield _CGROUP / "memory" / path.strip("/"), _V1


def _left(group: Path, names: tuple[str, str, str]) -> float:
    """Bytes that a control group still allows, infinite where it sets no limit. Cached files give way, so they count as free."""
    try:
        limit, used = (int((group / name).read_text()) for name in names[:2])
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # there is no such group, or its limit reads `max`
        return math.inf
    return limit - used + int(facts.get(names[2], 0))


def _at_a_time(bucket: Bucket, recipe: TrainRecipe, world: World) -> int:
    """B: samples of a bucket that a process holds activations of at the same time."""
    return math.ceil(math.ceil((bucket.batch or recipe.train.batch) / world.size) / recipe.train.accumulate)


def _size(value: int) -> str:
    return f"{value / 2**30:.1f} GiB" if value >= 2**29 else f"{value / 2**20:.0f} MiB"
