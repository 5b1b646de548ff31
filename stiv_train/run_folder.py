"""The folder of a training run: what lies where, and how to get a trained model out of it. Room: stiv_train.

RUN/run.json            format, versions, corpus, plan hash, the network's shape and parameter counts, what it started from
RUN/recipe.yaml         the recipe as it was last trained with
RUN/data_plan.*         what it trains on
RUN/latents/            the autoencoder
RUN/checkpoints/…       see `checkpoint`
RUN/ledger/…            see `ledger`
RUN/metrics.jsonl  RUN/quarantine.jsonl  RUN/samples/step-00000200.png  RUN/tensorboard/

All but `run.json` and what training adds is written aside and renamed into place, so a run exists whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from curation.storage import Store, is_uri, storage_errors, sync_folder
from models.latents.contract import Latents
from models.latents.make import load_latents
from models.stiv.config import STIVConfig
from models.stiv.network import STIV
from models.text.make import make_text
from schemas.errors import UsageError
from schemas.train_recipe import TrainRecipe
from stiv_train import checkpoint
from stiv_train.checkpoint import Tensors
from stiv_train.data.plan import DataPlan, load_plan
from stiv_train.trained import VideoModel, check_tensors

RUN_FORMAT = 1


class Run:
    """One run. Opening it reads one small file."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.facts = facts

    # Making and opening ----------------------------------------------------------------------------------------------

    @staticmethod
    def check_new(path: str | os.PathLike[str]) -> Path:
        """The folder for a new run.

        Raises:
            UsageError: something is there already, or it is not on a local disk.
        """
        if is_uri(os.fspath(path)):
            raise UsageError(f"A run cannot be written to `{path}`.", fix="Give a local folder to --out.")
        target = Path(path).absolute()
        if (target / "run.json").exists():
            raise UsageError(
                f"`{target}` already holds a run.", fix="Go on with it (--resume), or give another folder to --out."
            )
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(
                f"`{target}` exists and is not an empty folder.", fix="Give an empty or new folder to --out."
            )
        return target

    @staticmethod
    def create(
        path: str | os.PathLike[str], facts: dict[str, Any], recipe: TrainRecipe, plan: DataPlan, latents: Latents
    ) -> Run:
        """Make a run's folder in one step.

        Raises:
            UsageError: see :meth:`check_new`.
        """
        target = Run.check_new(path)
        aside = target.parent / f".{target.name}.making"
        facts = {"format": RUN_FORMAT, **facts}
        with storage_errors(f"Creating `{target}`"):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            plan.save(aside)
            latents.save(str(aside / "latents"))
            (aside / "recipe.yaml").write_text(recipe_text(recipe), encoding="utf-8")
            (aside / "run.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            for folder in ("checkpoints", "ledger", "samples"):
                (aside / folder).mkdir()
            if target.exists():
                target.rmdir()
            aside.rename(target)
            sync_folder(target.parent)
        return Run(target, facts)

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Run:
        """Open an existing run.

        Raises:
            UsageError: there is none, or it is of a format that this version does not read.
        """
        folder = Path(path).absolute()
        if not (folder / "run.json").is_file():
            raise UsageError(
                f"`{folder}` is not a run (it has no run.json).", fix="Make one with `stiv train CORPUS --out FOLDER`."
            )
        try:
            facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            if not isinstance(facts, dict):
                raise TypeError("it is no mapping")
            if facts.get("format") == RUN_FORMAT:
                _check_shape(facts)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UsageError(
                f"`{folder}/run.json` is damaged.", fix="Restore it from a copy, or train into another folder."
            ) from None
        if facts.get("format") != RUN_FORMAT:
            raise UsageError(
                f"`{folder}` has run format {facts.get('format')}, this version reads format {RUN_FORMAT}.",
                fix="Use the version of stiv that made it, or train into another folder.",
            )
        return Run(folder, facts)

    # What it holds ---------------------------------------------------------------------------------------------------

    @cached_property
    def recipe(self) -> TrainRecipe:
        """The recipe as it was last trained with."""
        try:
            return TrainRecipe.model_validate(yaml.safe_load((self.path / "recipe.yaml").read_text(encoding="utf-8")))
        except (OSError, ValidationError, yaml.YAMLError) as error:
            raise UsageError(
                f"`{self.path}/recipe.yaml` cannot be read: {str(error).splitlines()[0]}.",
                fix="Restore it from a copy, or use the version of stiv that made the run.",
            ) from None

    def set_recipe(self, recipe: TrainRecipe) -> None:
        """Record a recipe that differs in what may change on the way."""
        Store(self.path).commit_bytes("recipe.yaml", recipe_text(recipe).encode())
        self.__dict__["recipe"] = recipe

    @property
    def config(self) -> STIVConfig:
        """The network's shape."""
        return STIVConfig.from_json(self.facts["network"])

    def plan(self) -> DataPlan:
        """What it trains on, memory-mapped."""
        return load_plan(self.path)

    def latents(self) -> Latents:
        """Its autoencoder, on the CPU."""
        return load_latents(str(self.path / "latents"))

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def steps(self) -> list[int]:
        """Steps after which a checkpoint was saved and is still there, ascending."""
        return checkpoint.steps_in(self.checkpoints)

    def checkpoint(self, step: int | None = None) -> Path:
        """Folder of a checkpoint; None is the newest.

        Raises:
            UsageError: it is not there.
        """
        steps = self.steps()
        if not steps:
            raise UsageError(
                f"`{self.path}` has no checkpoint yet.", fix="Train on with `stiv train … --resume` until one is saved."
            )
        if step is not None and step not in steps:
            raise UsageError(
                f"`{self.path}` has no checkpoint of step {step}.",
                fix=f"There are those of {', '.join(str(s) for s in steps)}.",
            )
        return checkpoint.folder_of(self.checkpoints, steps[-1] if step is None else step)

    def new_model(self) -> VideoModel:
        """A model of this run's shape with weights as they come, on the CPU."""
        return VideoModel(STIV(self.config), make_text(self.recipe.text))

    def model(self, *, ema: bool = True, step: int | None = None) -> VideoModel:
        """The trained model, on the CPU, ready to predict.

        Args:
            ema: the average of the weights rather than the last ones.
            step: of which checkpoint; None is the newest.
        """
        tensors = self.weights(ema=ema, step=step)
        model = self.new_model()
        check_tensors(tensors, model, f"Checkpoint `{self.checkpoint(step)}`")
        checkpoint.fill(model.state_dict(), tensors)
        return model.eval().requires_grad_(False)

    def weights(self, *, ema: bool = True, step: int | None = None) -> Tensors:
        """Name → tensor of a checkpoint; with ``ema`` averages stand in place of the parameters that have one."""
        folder = self.checkpoint(step)
        tensors = checkpoint.read(folder, "weights")
        return {**tensors, **checkpoint.read(folder, "ema")} if ema else tensors


def _check_shape(facts: dict[str, Any]) -> None:
    """Raise one of several errors where something that is read later on is not there, or of another type."""
    STIVConfig.from_json(facts["network"])
    if facts["init"] is not None:
        str(facts["init"]["run"]), int(facts["init"]["step"])
    if not isinstance(facts.get("corpus", ""), str):
        raise TypeError("the corpus is no text")


def recipe_text(recipe: TrainRecipe) -> str:
    """As YAML, every setting written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
