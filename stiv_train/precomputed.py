"""Whether precomputed text conditions are those that a training needs. Room: stiv_train. In: a recipe, its data plan, the folder it names.

No weights are loaded. The encoder's files are hashed where they lie here; else names stand for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from models.text.content import content
from schemas.errors import UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train.data.plan import DataPlan
from stiv_train.text_store import TextStore

_AT_ONCE = 8192


def open_store(recipe: TrainRecipe) -> TextStore:
    """The conditions that `text.precomputed` names.

    Raises:
        UsageError: there are none.
    """
    return TextStore.open(recipe.text.precomputed or "")


def check_store(store: TextStore, recipe: TrainRecipe, plan: DataPlan, corpus: str) -> None:
    """Raise UsageError unless conditions are of the recipe's encoder and there is one for every caption of the plan.

    Args:
        corpus: for the message: the folder or address.
    """
    text = recipe.text
    changes = store.encoder.unlike(
        {
            "kind": text.kind,
            "name": text.name,
            "weights": text.weights,
            "content": content(text),
            "max_tokens": text.max_tokens,
        }
    )
    if store.encoder.precision == "bf16" and recipe.train.precision == "fp32":
        changes.append('precision: "bf16" → "fp32"')  # the other way round, what was made is only better
    if changes:
        raise UsageError(
            f"The text conditions in `{store.folder.uri}` are not of this recipe's encoder: {'; '.join(changes)}.",
            fix=f"Make others: stiv embed-text {corpus} --recipe RECIPE --out OTHER; or train with the settings they were made with.",
        )
    missing, first = 0, ""
    for captions in itertools.chain([[""]], plan_captions(plan)):
        lacking = np.flatnonzero(store.find(captions) < 0)
        if len(lacking) and not missing:
            first = captions[lacking[0]]
        missing += len(lacking)
    if missing:
        raise store.missing(first, missing - 1, corpus)


def plan_captions(plan: DataPlan) -> Iterator[list[str]]:
    """All captions of a plan, held-out clips' too, some at a time."""
    for batch in plan.table.select(["caption"]).to_batches(max_chunksize=_AT_ONCE):
        yield batch.column(0).to_pylist()
