"""Compilation, activation checkpointing and processes, applied to a model from outside. Room: stiv_train.

The network knows of none of the three. Names of parameters stay as they are, so a checkpoint fits whatever was applied.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from schemas.train_recipe import Train
from stiv_train.distributed import World
from stiv_train.trained import VideoModel

ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
}
"""What `scaled_dot_product_attention` becomes, by device."""


def parallelize(model: VideoModel, train: Train, world: World) -> nn.Module:
    """Apply what the recipe asks for; the model itself is changed.

    Returns:
        What to call for a training step: the model, or DDP around it.
    """
    blocks = [*model.network.blocks, *model.network.tail]
    if train.checkpointing != "none":
        for block in blocks:
            recompute(block, keep_attention=train.checkpointing == "attention")
    if train.compile:
        for block in blocks:
            block.compile()
    if world.size == 1:
        return model
    if train.sharding == "fsdp":
        mesh = init_device_mesh(world.device.type, (world.size,))
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        register_fsdp_forward_method(model, "encode")
        return model
    return DistributedDataParallel(
        model,
        device_ids=[world.device] if world.device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )


def recompute(block: nn.Module, *, keep_attention: bool) -> None:
    """Let a block keep its input only, and compute what lies between again in the backward pass.

    Args:
        keep_attention: keep the outputs of self-attention too, by far the dearest to compute again (STIV section 2.1).
    """
    contexts = partial(create_selective_checkpoint_contexts, _keep_self_attention) if keep_attention else None
    extra: dict[str, Any] = {"context_fn": contexts} if contexts is not None else {}
    # No dropout inside, so no random state need be kept.
    wrapped = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False, **extra)
    object.__setattr__(block, "forward", wrapped)


def _keep_self_attention(context: SelectiveCheckpointContext, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    # Self-attention has as many keys as queries; attention to the text, cheap to redo, has not.
    if op in ATTENTION and args[0].shape == args[1].shape:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


def shard_again(model: nn.Module) -> None:
    """Drop what the last forward pass put together: FSDP keeps the outermost weights whole for a backward pass that may not come."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextlib.contextmanager
def gradients_meet(called: nn.Module, now: bool) -> Iterator[None]:
    """Within it a backward pass adds gradients up over the processes only if ``now``: once for all pieces of a batch."""
    if isinstance(called, FSDPModule):
        called.set_requires_gradient_sync(now)
        yield
    elif isinstance(called, DistributedDataParallel) and not now:
        with called.no_sync():
            yield
    else:
        yield
