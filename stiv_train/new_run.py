"""A new run's folder, made when all that could be refused has been checked. Room: stiv_train.

In: a corpus, a recipe and maybe a run to start from. Out: the folder with plan, autoencoder and the network's shape; no weights yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from curation.corpus import Corpus, differences
from curation.environment import engine_version
from models.latents.contract import Latents
from models.latents.make import fit_latents
from models.stiv.config import STIVConfig, config_from_recipe
from models.stiv.counting import count_parameters
from models.stiv.network import STIV
from models.text.contract import TextEncoder
from schemas.errors import UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train import memory
from stiv_train.data.loader import load_rows
from stiv_train.data.plan import DataPlan, build_plan
from stiv_train.distributed import World
from stiv_train.events import Note, OnEvent
from stiv_train.objective import pixels
from stiv_train.run_folder import Run
from stiv_train.trained import VideoModel, check_tensors, is_temporal

_FIT_AT_ONCE = 8


def new_plan(corpus: Corpus, recipe: TrainRecipe, out: str | Path, on_event: OnEvent) -> DataPlan:
    """What would be trained on.

    Raises:
        UsageError: nothing can be, or ``out`` is taken.
    """
    Run.check_new(out)
    plan = build_plan(corpus, recipe)
    for warning in plan.facts["warnings"]:
        on_event(Note(warning))
    return plan


def make_run(
    corpus: Corpus,
    recipe: TrainRecipe,
    plan: DataPlan,
    out: str | Path,
    init: str | Path | None,
    text: nn.Module,
    world: World,
    on_event: OnEvent,
) -> Run:
    """Fit, check, and then write.

    Args:
        init: the run to start from.
        text: the recipe's text encoder.

    Raises:
        UsageError: nothing was written.
    """
    target = Run.check_new(out)
    before = _init_run(init, recipe) if init is not None else None
    latents = before.latents() if before else _fitted(corpus, plan, recipe, world.device)
    bucket = recipe.data.buckets[0]
    # Stills teach no positions in time: those are read off the first bucket with more than one frame.
    moving = next((b for b in recipe.data.buckets if b.frames > 1), bucket)
    shape = latents.latent_shape(moving.frames, bucket.height, bucket.width)
    config = config_from_recipe(recipe.model, latents.channels, cast(TextEncoder, text).width, shape)
    if before:
        config = replace(config, rope_reference=_reference(config, before.config))
        with torch.device("meta"):
            shell = VideoModel(STIV(config), text)
        check_tensors(before.weights(), shell, f"`{before.path}`", may_lack=new_names(config, before.config))
    check_memory(config, recipe, latents, text, world)
    parameters = {**count_parameters(config), "text": _trained_values(text)}
    on_event(
        Note(
            f"The network has {parameters['total']:,} parameters ({parameters['blocks']:,} in its blocks, {parameters['tail']:,} "
            f"in those after masking); the text encoder trained along has {parameters['text']:,}."
        )
    )
    facts = {
        "engine": engine_version(),
        "corpus": corpus.store.uri,
        "plan": plan.hash,
        "init": {"run": str(before.path), "step": before.steps()[-1]} if before else None,
        "network": config.to_json(),
        "parameters": parameters,
    }
    return Run.create(target, facts, recipe, plan, latents)


def _fitted(corpus: Corpus, plan: DataPlan, recipe: TrainRecipe, device: torch.device) -> Latents:
    return fit_latents(recipe.latents, fitting_videos(corpus, plan, recipe, device)).to("cpu")


def fitting_videos(corpus: Corpus, plan: DataPlan, recipe: TrainRecipe, device: torch.device) -> Iterator[torch.Tensor]:
    """(B, 3, T, H, W) in -1..1 of a few training clips, the same for the same plan and seed."""
    training = np.flatnonzero(~np.asarray(plan.table["validation"].combine_chunks()))
    count = min(recipe.latents.fit_clips, len(training))
    rows = np.sort(np.random.default_rng(recipe.train.seed).choice(training, count, replace=False))
    buckets = np.asarray(plan.at(rows, ["bucket"])["bucket"])
    for bucket in range(len(recipe.data.buckets)):
        of_bucket = rows[buckets == bucket]
        for first in range(0, len(of_bucket), _FIT_AT_ONCE):
            batch = load_rows(plan, corpus, recipe, of_bucket[first : first + _FIT_AT_ONCE])
            if len(batch.rows):
                yield pixels(batch.pixels, device)


def check_memory(config: STIVConfig, recipe: TrainRecipe, latents: Latents, text: nn.Module, world: World) -> None:
    """Raise UsageError when training would not fit into memory."""
    trained = _trained_values(text)
    foreseen = memory.foresee(
        config,
        recipe,
        world,
        parameters=count_parameters(config)["total"] + trained,
        frozen=sum(p.nbytes for module in _frozen(text, latents) for p in module.parameters()),
        latent_sizes=[latents.latent_shape(b.frames, b.height, b.width)[1:] for b in recipe.data.buckets],
    )
    where = "GPU memory" if world.device.type == "cuda" else "memory"
    memory.check(foreseen, memory.available(world), where)


def _trained_values(text: nn.Module) -> int:
    return sum(p.numel() for p in text.parameters()) if cast(TextEncoder, text).trained else 0


def _frozen(text: nn.Module, latents: Latents) -> list[nn.Module]:
    """Networks that run without being trained."""
    inside = [part for part in vars(latents).values() if isinstance(part, nn.Module)]
    return inside if cast(TextEncoder, text).trained else [text, *inside]


# From another run ------------------------------------------------------------------------------------------------------


def _init_run(init: str | Path, recipe: TrainRecipe) -> Run:
    """The run to start from.

    Raises:
        UsageError: it has no checkpoint, or its weights take other latents or text, or predict something else.
    """
    before = Run.open(init)
    before.checkpoint()
    parts = {
        "latents": ("kind", "block", "channels", "path", "subfolder", "model_class"),
        "text": ("kind", "name", "weights"),
        "model": ("skip", "patch", "attention"),
        "flow": ("target",),
    }
    old, new = (
        {s: {k: v for k, v in r.model_dump(mode="json")[s].items() if k in names} for s, names in parts.items()}
        for r in (before.recipe, recipe)
    )
    if changes := differences(old, new):
        raise UsageError(
            f"The weights of `{before.path}` take or predict something else: {'; '.join(changes)}.",
            fix="Give the recipe these settings as they are in that run's recipe.yaml.",
        )
    return before


def new_names(config: STIVConfig, before: STIVConfig) -> Callable[[str], bool]:
    """Which tensors the other run need not have: those of temporal attention where it had none."""
    return is_temporal if config.temporal and not before.temporal else lambda name: False


def _reference(config: STIVConfig, before: STIVConfig) -> tuple[int, int, int] | None:
    """The range of positions that the weights know. Stills teach none in time, so there the new samples' range counts."""
    old, new = before.rope_reference, config.rope_reference
    if old is None or new is None:
        return None
    return (old[0] if old[0] > 1 else new[0], old[1], old[2])
