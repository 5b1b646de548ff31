"""Checkpoints: what comes back, what is kept, and what is said of damaged or foreign ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from schemas.errors import StorageError, UsageError
from schemas.train_recipe import Optim
from stiv_train import checkpoint
from stiv_train.checkpoint import Trained
from stiv_train.ema import Ema
from stiv_train.optim import make_optimiser
from stiv_train.trained import check_tensors, is_temporal


def made(seed: int, kind: str = "adamw", width: int = 160) -> Trained:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.SiLU(), nn.Linear(width, 130))
    optim = Optim.model_validate({"kind": kind, "lr": 1e-2, "warmup": 0})
    return Trained(model, Ema(model, 0.9), make_optimiser(model.parameters(), optim))


def step(trained: Trained, seed: int) -> None:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
    trained.optimiser.zero_grad()
    trained.model(x).square().mean().backward()
    trained.optimiser.step()
    trained.ema.update(trained.model)


def values(trained: Trained) -> dict[str, torch.Tensor]:
    """Everything that training changes."""
    found = {f"weights/{k}": v for k, v in trained.model.state_dict().items()}
    found |= {f"ema/{k}": v for k, v in trained.ema.state_dict().items()}
    for name, parameter in trained.model.named_parameters():
        state = trained.optimiser.state[parameter]
        found |= {f"optimiser/{name}/{k}": torch.as_tensor(v) for k, v in state.items()}
    return {k: v.clone() for k, v in found.items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.mark.parametrize("kind", ["adamw", "adafactor"])
def test_all_that_training_changes_comes_back_and_goes_on_alike(tmp_path: Path, kind: str) -> None:
    first = made(0, kind)
    for n in range(3):
        step(first, n)
    folder = checkpoint.save(tmp_path, 3, first, {"plan": "p"}, write=True)
    second = made(1, kind)
    checkpoint.restore(folder, second)
    assert same(values(first), values(second))
    assert second.ema.updates == 3
    for n in range(3, 6):
        step(first, n)
        step(second, n)
    assert same(values(first), values(second))


def test_only_safetensors_and_json_are_written(tmp_path: Path) -> None:
    trained = made(0)
    step(trained, 0)
    folder = checkpoint.save(tmp_path, 1, trained, {"plan": "p"}, write=True)
    assert sorted(p.name for p in folder.iterdir()) == [
        "ema.safetensors",
        "optimiser.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    facts = json.loads((folder / "state.json").read_text())
    assert (facts["step"], facts["plan"], facts["ema_updates"]) == (1, "p", 1)


def test_processes_that_do_not_write_leave_nothing(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, made(0), {}, write=False)
    assert checkpoint.steps_in(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_the_newest_are_kept_and_half_written_ones_do_not_count(tmp_path: Path) -> None:
    trained = made(0)
    for n in (5, 10, 100):
        checkpoint.save(tmp_path, n, trained, {}, write=True)
    (tmp_path / ".step-00000200").mkdir()
    (tmp_path / ".step-00000200" / "weights.safetensors").write_bytes(b"half")
    assert checkpoint.steps_in(tmp_path) == [5, 10, 100]
    checkpoint.prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000010", "step-00000100"]


def test_a_write_that_fails_leaves_the_older_checkpoint_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = made(0)
    checkpoint.save(tmp_path, 1, trained, {}, write=True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StorageError, match="disk is full"):
        checkpoint.save(tmp_path, 2, trained, {}, write=True)
    assert checkpoint.steps_in(tmp_path) == [1]
    checkpoint.read(tmp_path / "step-00000001", "weights")


@pytest.mark.parametrize("what", ["cut", "missing", "state"])
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path: Path, what: str) -> None:
    folder = checkpoint.save(tmp_path, 1, made(0), {}, write=True)
    path = folder / ("state.json" if what == "state" else "weights.safetensors")
    if what == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StorageError, match=r"is damaged.*Remove that folder"):
        checkpoint.restore(folder, made(1))


def test_tensors_of_another_shape_or_name_are_refused_by_name() -> None:
    small, large = made(0, width=160).model, made(0, width=192).model
    with pytest.raises(UsageError, match=r"`0\.weight` is 160 × 4 there and 192 × 4 here") as caught:
        check_tensors(small.state_dict(), large, "`RUN`")
    assert "recipe.yaml" in caught.value.fix
    lacking = {k: v for k, v in small.state_dict().items() if k != "2.bias"}
    with pytest.raises(UsageError, match=r"`2\.bias` is not there"):
        check_tensors(lacking, small, "`RUN`")
    check_tensors(lacking, small, "`RUN`", may_lack=lambda name: name == "2.bias")
    with pytest.raises(UsageError, match="`other` is there and not here"):
        check_tensors({**small.state_dict(), "other": torch.zeros(1)}, small, "`RUN`")


def test_only_temporal_attention_may_be_new() -> None:
    assert is_temporal("network.blocks.0.temporal.qkv.weight")
    assert is_temporal("network.temporal_place.bias")
    assert not is_temporal("network.blocks.0.attention.qkv.weight")


@pytest.mark.parametrize("what", ["lacking", "narrow", "average", "optimiser", "foreign"])
def test_a_checkpoint_that_does_not_fit_restores_nothing(tmp_path: Path, what: str) -> None:
    first = made(0)
    step(first, 0)
    folder = checkpoint.save(tmp_path, 1, first, {}, write=True)
    name = {"average": "ema", "optimiser": "optimiser", "foreign": "optimiser"}.get(what, "weights")
    tensors = load_file(folder / f"{name}.safetensors")
    if what == "lacking":
        del tensors["2.weight"]
    elif what == "narrow":
        tensors["2.bias"] = tensors["2.bias"][:1]  # would be broadcast
    elif what == "average":
        del tensors["2.weight"]
    elif what == "optimiser":
        tensors = {}
    else:
        tensors["9.weight/exp_avg"] = torch.zeros(3)
    save_file(tensors, folder / f"{name}.safetensors")
    second = made(1)
    before = values(second)
    with pytest.raises((UsageError, StorageError), match=r"2\.weight|2\.bias|not whole|is empty|9\.weight"):
        checkpoint.restore(folder, second)
    if name != "optimiser":
        assert same(before, values(second))
