"""Whether a run can go on: with this recipe, these tars and this checkpoint. Room: stiv_train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from curation import variants
from curation.corpus import Corpus, differences
from curation.shard_plan import tar_path, tar_sizes
from schemas.errors import StorageError, UsageError
from schemas.ids import fingerprint
from schemas.train_recipe import TrainRecipe
from stiv_train.data.plan import DataPlan
from stiv_train.run_folder import Run

MAY_CHANGE = {
    "train": (
        *("steps", "log_every", "validate_every", "sample_every", "sample_prompts", "save_every", "keep"),
        *("quarantine_limit", "accumulate", "device", "compile", "checkpointing", "sharding"),
    ),
    "data": ("workers", "prefetch"),
    "text": ("precomputed",),
    "sampling": ("solver", "steps", "guidance", "image_guidance", "renormalise"),
}
"""Settings that may differ on resuming: they change neither what is learnt from which samples nor in which order."""


def recipe_identity(recipe: TrainRecipe) -> dict[str, Any]:
    """What of a recipe must stay the same for a run to go on."""
    settings = recipe.model_dump(mode="json")
    for section, names in MAY_CHANGE.items():
        for name in names:
            # On a cosine the number of steps bends the learning rate of all of them.
            if (section, name) != ("train", "steps") or recipe.optim.decay == "constant":
                settings[section].pop(name)
    return settings


def identity(plan: DataPlan, recipe: TrainRecipe) -> dict[str, Any]:
    """What a checkpoint records of the data and settings it belongs to."""
    return {"plan": plan.hash, "recipe": fingerprint(recipe_identity(recipe)), "seed": recipe.train.seed}


def reopen(out: str | Path, recipe: TrainRecipe | None, select: str | None) -> tuple[Run, TrainRecipe]:
    """The run, and the recipe with which it goes on.

    Raises:
        UsageError: there is no run, or the recipe differs in what must stay.
    """
    run = Run.open(out)
    wanted = recipe or run.recipe
    # A selection given on the command line when the run was made is not in the file that its recipe came from.
    chosen = select or wanted.data.select or run.recipe.data.select
    wanted = wanted.model_copy(update={"data": wanted.data.model_copy(update={"select": chosen})})
    if changes := differences(recipe_identity(run.recipe), recipe_identity(wanted)):
        raise UsageError(
            f"`{run.path}` was trained with another recipe: {'; '.join(changes)}.",
            fix="Resume with the old settings, or start another run from its weights (--init RUN --out OTHER).",
        )
    return run, wanted


def check_state(state: dict[str, Any], plan: DataPlan, recipe: TrainRecipe, run: Run) -> None:
    """Raise UsageError when a checkpoint belongs to other data or settings than the folder around it."""
    if wrong := [name for name, value in identity(plan, recipe).items() if state.get(name) != value]:
        raise UsageError(
            f"The newest checkpoint of `{run.path}` was made with another {' and '.join(wrong)}.",
            fix="Files of the run were changed or mixed with another's: restore them, or start another run from its weights (--init).",
        )


def check_tars(corpus: Corpus, plan: DataPlan, recipe: TrainRecipe) -> None:
    """Raise StorageError when a tar that the plan reads from is no longer there, or is shorter than it was."""
    shards = variants.need(corpus, "shards", recipe.data.shards)
    sizes = tar_sizes(corpus, shards)
    ends = plan.table.select(["shard"]).append_column("end", pc.add(plan.table["byte_offset"], plan.table["byte_size"]))
    for row in ends.group_by("shard").aggregate([("end", "max")]).sort_by("shard").to_pylist():
        shard = row["shard"]
        if sizes.get(shard, 0) < row["end_max"]:
            what = "is shorter than the run's data plan says" if shard in sizes else "is not there, or has no index"
            raise StorageError(
                f"The tar `{corpus.store.uri}/{tar_path(shards, shard)}` {what}, and the run reads clips from it.",
                fix="Restore it from a copy; or delete its index (.parquet) and run "
                f"`stiv export {corpus.store.uri} --name {shards.name}`, which makes that tar anew.",
            )
