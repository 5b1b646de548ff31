"""Checkpoints: weights, their average and the optimiser's state as safetensors, the few integers as JSON. Room: stiv_train.

A checkpoint is written aside, made durable and renamed into place: one that is there is whole. Nothing is pickled.

RUN/checkpoints/step-00000200/
    weights.safetensors    the model's state dict
    ema.safetensors        the average of its parameters, float32
    optimiser.safetensors  `parameter/key` → tensor
    state.json             step, plan and recipe fingerprints, seed, updates of the average, the optimiser's plain numbers
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from curation.storage import storage_errors, sync_folder
from schemas.errors import StorageError
from stiv_train.ema import Ema
from stiv_train.trained import check_tensors

Tensors = dict[str, torch.Tensor]
_PREFIX = "step-"


@dataclass(frozen=True)
class Trained:
    """What training changes, step by step."""

    model: nn.Module
    ema: Ema
    optimiser: torch.optim.Optimizer


def folder_of(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"{_PREFIX}{step:08d}"


def steps_in(checkpoints: Path) -> list[int]:
    """Steps after which a whole checkpoint was saved, ascending."""
    if not checkpoints.is_dir():
        return []
    names = [p.name.removeprefix(_PREFIX) for p in checkpoints.iterdir() if p.name.startswith(_PREFIX)]
    return sorted(int(n) for n in names if n.isdigit())


def save(checkpoints: Path, step: int, trained: Trained, facts: Mapping[str, Any], *, write: bool) -> Path:
    """Commit a checkpoint. Every process must call it (sharded tensors are put together); only one has ``write``."""
    tensors, numbers = _optimiser_state(trained)
    parts = {
        "weights": _whole(trained.model.state_dict(), write),
        "ema": _whole(trained.ema.state_dict(), write),
        "optimiser": _whole(tensors, write),
    }
    target = folder_of(checkpoints, step)
    if not write:
        return target
    with storage_errors(f"Saving checkpoint `{target}`"):
        aside = checkpoints / f".{target.name}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for name, content in parts.items():
            _save(content, aside / f"{name}.safetensors")
        facts = {"step": step, **facts, "ema_updates": trained.ema.updates, "optimiser": numbers}
        (aside / "state.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        for path in aside.iterdir():
            _sync(path)
        sync_folder(aside)
        if target.exists():
            shutil.rmtree(target)
        aside.rename(target)
        sync_folder(checkpoints)
    return target


def prune(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints, and what killed runs left half-way."""
    for step in steps_in(checkpoints)[:-keep]:
        shutil.rmtree(folder_of(checkpoints, step), ignore_errors=True)
    for path in checkpoints.glob(f".{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def state(folder: Path) -> dict[str, Any]:
    """What state.json says.

    Raises:
        StorageError: the file is missing or damaged.
    """
    with storage_errors(f"Reading checkpoint `{folder}`"):
        text = (folder / "state.json").read_text(encoding="utf-8")
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        raise _damaged(folder, "state.json is not JSON") from None
    return found


def read(folder: Path, name: str) -> Tensors:
    """Tensors of `weights`, `ema` or `optimiser`, on the CPU.

    Raises:
        StorageError: the file is missing or damaged.
    """
    path = folder / f"{name}.safetensors"
    with storage_errors(f"Reading checkpoint `{folder}`"):
        if not path.is_file():
            raise _damaged(folder, f"{path.name} is missing")
        try:
            return load_file(path)
        except SafetensorError as error:
            raise _damaged(folder, f"{path.name}: {error}") from None


def restore(folder: Path, trained: Trained) -> None:
    """Put a checkpoint into a model, its average and its optimiser.

    Raises:
        UsageError: it is of another shape than the model.
        StorageError: it is not whole.
    """
    weights, average, facts = read(folder, "weights"), read(folder, "ema"), state(folder)
    check_tensors(weights, trained.model, f"Checkpoint `{folder}`")
    check_tensors({**weights, **average}, trained.model, f"The average in `{folder}`")
    if average.keys() != trained.ema.state_dict().keys():
        raise _damaged(folder, "ema.safetensors is not whole")
    fill(trained.model.state_dict(), weights)
    fill(trained.ema.state_dict(), average)
    trained.ema.updates = facts["ema_updates"]
    _fill_optimiser(folder, trained, read(folder, "optimiser"), facts["optimiser"])


def fill(targets: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into those of the same name, sharded ones too; names that were not found stay."""
    with torch.no_grad():
        for name, target in targets.items():
            if name in found:
                target.copy_(_like(found[name], target))


# The optimiser ----------------------------------------------------------------------------------------------------------


def _parameters(trained: Trained) -> Iterator[tuple[str, torch.Tensor, dict[str, Any]]]:
    """Name, parameter and group of everything the optimiser steps."""
    names = {parameter: name for name, parameter in trained.model.named_parameters()}
    for group in trained.optimiser.param_groups:
        for parameter in group["params"]:
            yield names[parameter], parameter, group


def _optimiser_state(trained: Trained) -> tuple[Tensors, dict[str, dict[str, Any]]]:
    tensors: Tensors = {}
    numbers: dict[str, dict[str, Any]] = {}
    for name, parameter, _ in _parameters(trained):
        for key, value in trained.optimiser.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}/{key}"] = value
            else:
                numbers.setdefault(name, {})[key] = value
    return tensors, numbers


def _fill_optimiser(folder: Path, trained: Trained, tensors: Tensors, numbers: Mapping[str, Mapping[str, Any]]) -> None:
    owned: dict[str, Tensors] = {}
    for full, value in tensors.items():
        owner, _, key = full.rpartition("/")
        owned.setdefault(owner, {})[key] = value
    # Before the first step there is nothing; a parameter without gradient never has anything.
    if trained.ema.updates and not owned:
        raise _damaged(folder, "optimiser.safetensors is empty")
    if strangers := owned.keys() - {name for name, _, _ in _parameters(trained)}:
        raise _damaged(folder, f"optimiser.safetensors holds `{min(strangers)}`, which the model has not")
    for name, parameter, group in _parameters(trained):
        found: dict[str, Any] = dict(numbers.get(name, {}))
        for key, value in owned.get(name, {}).items():
            if value.ndim:
                found[key] = _like(value, parameter)
            else:  # AdamW counts its steps on the host unless it is fused
                found[key] = value.to(parameter.device) if group.get("fused") else value
        if found:
            trained.optimiser.state[parameter] = found


# Tensors and files ------------------------------------------------------------------------------------------------------


def _whole(tensors: Mapping[str, torch.Tensor], keep: bool) -> Tensors:
    """On the CPU, in one piece. Sharded ones are put together one at a time, in all processes; only one keeps them."""
    found: Tensors = {}
    for name, tensor in tensors.items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if keep:
            found[name] = whole.detach().cpu().contiguous()
    return found


def _like(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A whole tensor, on the target's device and sharded as the target is, but for dimensions in which it is smaller."""
    if not isinstance(target, DTensor):
        return value.to(target.device)
    layout = [
        Replicate() if isinstance(p, Shard) and value.shape[p.dim] != target.shape[p.dim] else p
        for p in target.placements
    ]
    return distribute_tensor(value.to(target.device), target.device_mesh, layout)


def _save(tensors: Tensors, path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # its I/O errors, such as a full disk, come so
        raise OSError(str(error)) from error


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _damaged(folder: Path, what: str) -> StorageError:
    return StorageError(
        f"Checkpoint `{folder}` is damaged ({what}).",
        fix="Remove that folder: `--resume` goes on from the one before it.",
    )
