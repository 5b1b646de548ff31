"""Everything the loop works with, made and filled before the first step. Room: stiv_train.

In: what :func:`stiv_train.loop.train` was asked. Out: model, optimiser and average as the newest checkpoint, the run to start from or
the seed leaves them. With several processes the main one makes a new run's folder and the others open it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from curation.corpus import Corpus
from models.stiv.network import STIV
from models.text.cached import CachedText
from models.text.make import make_text
from schemas.errors import UsageError
from schemas.ids import digest
from schemas.train_recipe import TrainRecipe
from stiv_train import checkpoint
from stiv_train.checkpoint import Trained
from stiv_train.data.plan import DataPlan
from stiv_train.distributed import World
from stiv_train.ema import Ema
from stiv_train.events import OnEvent
from stiv_train.new_run import check_memory, make_run, new_names, new_plan
from stiv_train.objective import Objective
from stiv_train.optim import make_optimiser
from stiv_train.parallelize import parallelize
from stiv_train.precomputed import check_store, open_store
from stiv_train.resuming import check_state, check_tars, reopen
from stiv_train.run_folder import Run
from stiv_train.trained import VideoModel, check_tensors


@dataclass(frozen=True)
class Started:
    """A run that is ready for its next step."""

    run: Run
    recipe: TrainRecipe
    plan: DataPlan
    corpus: Corpus
    model: VideoModel
    called: nn.Module
    """What a training step calls: the model, or DDP around it."""
    trained: Trained
    objective: Objective
    done: int
    """Steps that the weights have seen."""


def start(
    corpus_uri: str | None,
    recipe: TrainRecipe | None,
    out: str | Path,
    *,
    select: str | None,
    resume: bool,
    init: str | Path | None,
    world: World,
    on_event: OnEvent,
) -> Started:
    """Make a new run, or take one up where its newest checkpoint left it.

    Raises:
        UsageError: what was asked for cannot be trained; nothing was written.
    """
    if resume:
        run, recipe = reopen(out, recipe, select)
        corpus = Corpus.open(corpus_uri or run.facts["corpus"])
        check_tars(corpus, run.plan(), recipe)
        text = _text(recipe, run.plan(), corpus, world)
        check_memory(run.config, recipe, run.latents(), text, world)
        if world.main and recipe != run.recipe:
            run.set_recipe(recipe)
    else:
        if recipe is None or corpus_uri is None:
            raise UsageError(
                "A new run needs a corpus and a recipe.", fix="Name both, or go on with a run by --resume."
            )
        if select is not None:
            recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"select": select})})
        corpus = Corpus.open(corpus_uri)
        # A misspelt column is told before a text encoder of gigabytes is fetched.
        plan = new_plan(corpus, recipe, out, on_event) if world.main else None
        text = _text(recipe, plan, corpus, world)
        if plan is not None:
            make_run(corpus, recipe, plan, out, init, text, world, on_event)
        world.wait()
        run = Run.open(out)
    plan, steps = run.plan(), run.steps()
    model = _model(run, recipe, text, fresh=not steps).to(world.device)
    called = parallelize(model, recipe.train, world)
    trained = Trained(model, Ema(model, recipe.optim.ema), make_optimiser(model.parameters(), recipe.optim))
    if steps:
        check_state(checkpoint.state(run.checkpoint()), plan, recipe, run)
        checkpoint.restore(run.checkpoint(), trained)
    objective = Objective(recipe, run.config, run.latents().to(world.device), model.encoder, world.device)
    return Started(run, recipe, plan, corpus, model, called, trained, objective, steps[-1] if steps else 0)


def _text(recipe: TrainRecipe, plan: DataPlan | None, corpus: Corpus, world: World) -> nn.Module:
    """The recipe's text encoder, or what it said before where that was precomputed; a trained one starts from the recipe's seed.

    Args:
        plan: what is trained on, in the main process at least, which checks for all that everything was precomputed.
    """
    if recipe.text.precomputed is not None:
        stored = open_store(recipe)
        if world.main and plan is not None:
            check_store(stored, recipe, plan, corpus.store.uri)
        return CachedText(stored)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed("text", recipe))
        return make_text(recipe.text)


def _model(run: Run, recipe: TrainRecipe, text: nn.Module, *, fresh: bool) -> VideoModel:
    """Seeded weights, or for a run without a checkpoint those it was to start from. Made on the CPU, so the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed("network", recipe))
        model = VideoModel(STIV(run.config), text)
    init = run.facts["init"]
    if fresh and init is not None:
        before = Run.open(init["run"])
        weights = before.weights(step=init["step"])
        check_tensors(weights, model, f"`{before.path}`", may_lack=new_names(run.config, before.config))
        if run.config.temporal and not before.config.temporal:
            model.network.forget_time()
        checkpoint.fill(model.state_dict(), weights)
    return model


def _seed(what: str, recipe: TrainRecipe) -> int:
    return int(digest(what, recipe.train.seed)[:8], 16)
