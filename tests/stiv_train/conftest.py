"""A small real corpus to train on: golden shapes, curated and exported."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from rich.console import Console

from curation.corpus import Corpus
from curation.golden.write import write_golden
from curation.lock import hold
from curation.storage import Store
from pipelines import curate
from pipelines.progress import Progress
from pipelines.recipe_files import load_recipe
from pipelines.run import Options
from schemas.train_recipe import TrainRecipe

SHAPES = 12


@pytest.fixture(scope="session")
def shapes_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Twelve captioned clips of moving shapes (128 × 128 pixels, 16 frames per second), all exported, in three tars of four.

    Do not write to it: copy the folder (``shutil.copytree(corpus.store.uri, …)``) and open the copy.
    """
    folder = tmp_path_factory.mktemp("shapes")
    write_golden(folder / "videos", ["shapes"], shapes=SHAPES)
    # The default rules are for real footage: small pictures and flat grounds would be dropped.
    off = tuple(f"select.{rule.name}=off" for rule in load_recipe(None, ()).select.rules)
    recipe = load_recipe(None, (*off, "export.shard_samples=4"))
    out = str(folder / "corpus")
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        Progress(Console(file=nowhere), limit=recipe.scan, quiet=True) as progress,
        hold(Store(out), "test"),
    ):
        listed = curate.list_and_check([str(folder / "videos")], out)
        corpus, _ = curate.plan(listed, out, recipe, None)
        curate.run(corpus, recipe, curate.ALL_STAGES, Options(executor="inline", jobs=2), progress, "test")
    return Corpus.open(out)


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., TrainRecipe]:
    """Makes a recipe for a model that trains in milliseconds; settings by dotted path: ``tiny_recipe({"train.steps": 4})``."""

    def make(settings: Mapping[str, object] | None = None) -> TrainRecipe:
        recipe: dict[str, Any] = {
            "data": {
                "buckets": [{"frames": 4, "height": 32, "width": 32}],
                "validation_share": 0.2,
                "stride": 2,
                "workers": 0,
            },
            "model": {"width": 64, "depth": 2, "mask_blocks": 1},
            "latents": {"block": [1, 8, 8], "channels": 8, "fit_clips": 8},
            "text": {"width": 64, "depth": 1, "max_tokens": 16},
            "optim": {"lr": 1e-3, "warmup": 2, "ema": 0.9},
            "sampling": {"steps": 2},
            "train": {
                **{"steps": 4, "batch": 4, "precision": "fp32", "device": "cpu", "sample_prompts": 1},
                **{"log_every": 1, "validate_every": 100, "sample_every": 100, "save_every": 100},
            },
        }
        for path, value in (settings or {}).items():
            *sections, last = path.split(".")
            inner = recipe
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[last] = value
        return TrainRecipe.model_validate(recipe)

    return make
