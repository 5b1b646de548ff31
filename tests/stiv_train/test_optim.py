"""AdaFactor against a slow reference in numpy, AdamW's settings, the learning rate and clipping."""

import copy
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from schemas.train_recipe import Optim
from stiv_train.optim import (
    AdaFactor,
    clip_gradients,
    factored_dims,
    learning_rate,
    make_optimiser,
    set_learning_rate,
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads only cost time on matrices this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SHAPES = [(1,), (7,), (3, 5), (8, 6), (4, 9, 6), (5, 4, 2, 2, 3), (2, 8, 3, 8), (1, 6), ()]


class Reference:
    """One parameter's AdaFactor, element by element from the formulas, in float64."""

    def __init__(self, value: np.ndarray, **settings: float) -> None:
        self.p = value.astype(np.float64)
        self.s = settings
        self.m = np.zeros_like(self.p)
        self.v = np.zeros_like(self.p)
        """Mean over the estimate's blocks is linear, so the whole second moment gives row and column means too."""

    def estimate(self) -> np.ndarray:
        order = sorted(range(self.p.ndim), key=lambda d: (self.p.shape[d], d))
        if self.p.ndim < 2 or self.p.shape[order[-2]] < self.s["factor_from"]:
            return self.v
        rows, columns = order[-2], order[-1]
        out = np.empty_like(self.v)
        for index in np.ndindex(*self.p.shape):
            block = list(index)
            row, column, all_of = list(block), list(block), list(block)
            row[columns] = column[rows] = slice(None)  # type: ignore[call-overload]
            all_of[rows] = all_of[columns] = slice(None)  # type: ignore[call-overload]
            out[index] = self.v[tuple(row)].mean() * self.v[tuple(column)].mean() / self.v[tuple(all_of)].mean()
        return out

    def step(self, gradient: np.ndarray, lr: float) -> None:
        g = gradient.astype(np.float64)
        self.v = self.s["beta2"] * self.v + (1 - self.s["beta2"]) * (g * g + 1e-30)
        update = g / np.sqrt(self.estimate())
        update = update / max(1.0, math.sqrt((update * update).mean()) / self.s["clip"])
        self.m = self.s["beta1"] * self.m + (1 - self.s["beta1"]) * lr * update
        self.p = self.p - self.m - lr * self.s["weight_decay"] * self.p


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "settings",
    [
        {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "clip": 1.0, "factor_from": 4},
        {"beta1": 0.0, "beta2": 0.9, "weight_decay": 0.1, "clip": 0.3, "factor_from": 2},
        {"beta1": 0.5, "beta2": 0.5, "weight_decay": 0.0, "clip": 100.0, "factor_from": 99},
    ],
)
def test_adafactor_equals_a_slow_reference(shape: tuple[int, ...], settings: dict[str, float]) -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape).astype(np.float32)
    p = nn.Parameter(torch.from_numpy(np.asarray(start)).clone())
    optimiser = AdaFactor([p], **settings)  # type: ignore[arg-type]
    reference = Reference(start, **settings)
    scales = np.exp(rng.normal(size=shape))
    for step in range(6):
        gradient = (rng.normal(size=shape) * scales * 10.0 ** -(step % 3)).astype(np.float32)
        lr = 0.01 * (step + 1)
        set_learning_rate(optimiser, lr)
        p.grad = torch.from_numpy(np.asarray(gradient))
        optimiser.step()
        reference.step(gradient, lr)
        np.testing.assert_allclose(p.detach().numpy(), reference.p, rtol=2e-5, atol=2e-6)


def test_many_parameters_do_not_mix() -> None:
    torch.manual_seed(0)
    together = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    apart = copy.deepcopy(together)
    one = AdaFactor(together, factor_from=4)
    each = [AdaFactor([p], factor_from=4) for p in apart]
    for _ in range(3):
        for a, b in zip(together, apart, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        together[2].grad = apart[2].grad = None
        one.step()
        for optimiser in each:
            optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(together, apart, strict=True))
    assert together[2] not in one.state


def test_gradients_are_left_as_they_were() -> None:
    p = nn.Parameter(torch.ones(4, 4))
    p.grad = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    before = p.grad.clone()
    AdaFactor([p], factor_from=2).step()
    assert torch.equal(p.grad, before)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((128, 128), (0, 1)),
        ((512, 128), (0, 1)),
        ((127, 4096), None),
        ((4096,), None),
        ((384, 16, 2, 2, 2), None),
        ((384, 256, 2, 2, 2), (0, 1)),
        ((3, 200, 2, 300), (1, 3)),
    ],
)
def test_the_two_largest_dimensions_are_factored(shape: tuple[int, ...], wanted: tuple[int, int] | None) -> None:
    assert factored_dims(shape, 128) == wanted


def test_the_state_of_a_matrix_is_two_vectors_and_the_momentum() -> None:
    p = nn.Parameter(torch.randn(256, 128))
    p.grad = torch.randn(256, 128)
    optimiser = AdaFactor([p])
    optimiser.step()
    assert {name: tuple(t.shape) for name, t in optimiser.state[p].items()} == {
        "row": (256, 1),
        "col": (1, 128),
        "momentum": (256, 128),
    }


def test_zero_gradients_move_nothing_and_spoil_nothing() -> None:
    p = nn.Parameter(torch.ones(6, 6))
    optimiser = AdaFactor([p], factor_from=2)
    p.grad = torch.zeros(6, 6)
    for _ in range(3):
        optimiser.step()
    assert torch.equal(p, torch.ones(6, 6))
    p.grad[2] = 1e-3
    optimiser.step()
    assert bool(p.isfinite().all())
    assert bool((p[2] < 1).all())


def test_the_first_steps_are_held_by_the_clip() -> None:
    p = nn.Parameter(torch.zeros(64, 64))
    p.grad = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) * 1e-6
    AdaFactor([p], lr=1.0, beta1=0.0).step()
    assert p.detach().square().mean().sqrt().item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", ["adafactor", "adamw"])
def test_optimisers_learn_and_resume_bit_for_bit(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 160), nn.Tanh(), nn.Linear(160, 130), nn.Tanh(), nn.Linear(130, 1))
    settings = Optim.model_validate({"kind": kind, "lr": 3e-3})
    x = torch.randn(64, 8)
    y = x.prod(dim=1, keepdim=True).tanh()

    def go(module: nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            optimiser.zero_grad()
            loss = (module(x) - y).square().mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return losses

    optimiser = make_optimiser(net.parameters(), settings)
    losses = go(net, optimiser, 40)
    assert losses[-1] < 0.3 * losses[0]
    twin = copy.deepcopy(net)
    resumed = make_optimiser(twin.parameters(), settings)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    assert go(net, optimiser, 5) == go(twin, resumed, 5)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))


def test_settings_reach_the_optimiser_and_only_matrices_decay() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    net[1].weight.requires_grad_(False)
    adamw = make_optimiser(net.parameters(), Optim(kind="adamw", lr=0.5, beta1=0.8, beta2=0.7, weight_decay=0.1))
    assert isinstance(adamw, torch.optim.AdamW)
    assert [(len(g["params"]), g["weight_decay"], g["lr"], g["betas"], g["fused"]) for g in adamw.param_groups] == [
        (1, 0.1, 0.5, (0.8, 0.7), True),
        (2, 0.0, 0.5, (0.8, 0.7), True),
    ]
    adafactor = make_optimiser(net.parameters(), Optim(lr=0.5, beta1=0.8, beta2=0.7, weight_decay=0.1, clip=3.0))
    assert isinstance(adafactor, AdaFactor)
    names = ("weight_decay", "lr", "beta1", "beta2", "clip", "factor_from")
    assert [[g[name] for name in names] for g in adafactor.param_groups] == [
        [0.1, 0.5, 0.8, 0.7, 3.0, 128],
        [0.0, 0.5, 0.8, 0.7, 3.0, 128],
    ]


def test_lower_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="float32"):
        AdaFactor([nn.Parameter(torch.ones(2, dtype=torch.bfloat16))])


def test_the_learning_rate_warms_up_then_stays_or_falls() -> None:
    constant = Optim(lr=2.0, warmup=4)
    assert [learning_rate(s, constant, 100) for s in (0, 1, 3, 4, 99)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    cosine = Optim(lr=2.0, warmup=4, decay="cosine")
    assert [learning_rate(s, cosine, 104) for s in (0, 3, 4, 54, 104, 200)] == pytest.approx([0.5, 2.0, 2.0, 1.0, 0, 0])
    falling = [learning_rate(s, cosine, 104) for s in range(4, 104)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] > 0
    assert learning_rate(0, Optim(lr=2.0, warmup=0), 1) == 2.0


def test_clipping_is_over_all_gradients_together() -> None:
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    for largest, factor in ((2.5, 0.5), (10.0, 1.0)):
        a.grad, b.grad = torch.tensor([0.0, 3.0]), torch.tensor([4.0])
        assert clip_gradients([a, b], largest).item() == pytest.approx(5.0)
        torch.testing.assert_close(a.grad, factor * torch.tensor([0.0, 3.0]))
        torch.testing.assert_close(b.grad, factor * torch.tensor([4.0]))
    a.grad = torch.tensor([float("nan"), 0.0])
    assert math.isnan(clip_gradients([a, b], 1.0).item())


SHARDED = """
import copy, sys
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from schemas.train_recipe import Optim
from stiv_train.ema import Ema
from stiv_train.optim import clip_gradients, make_optimiser

store, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
torch.manual_seed(0)
whole = nn.Sequential(nn.Linear(7, 131), nn.LayerNorm(131), nn.Linear(131, 150), nn.Tanh(), nn.Linear(150, 1))
sharded = fully_shard(copy.deepcopy(whole), mesh=init_device_mesh("cpu", (2,)))
optim = Optim(lr=1e-2, weight_decay=0.1)
both = [(net, make_optimiser(net.parameters(), optim), Ema(net, 0.9)) for net in (whole, sharded)]
for _ in range(4):
    x = torch.randn(8, 7)
    for net, optimiser, ema in both:
        optimiser.zero_grad()
        (net(x) - x.sum(1, keepdim=True)).square().mean().backward()
        clip_gradients(net.parameters(), 0.1)
        optimiser.step()
        ema.update(net)
for a, b in zip(whole.parameters(), sharded.parameters(), strict=True):
    torch.testing.assert_close(b.full_tensor(), a, rtol=1e-5, atol=1e-6)
for a, b in zip(both[0][2].state_dict().values(), both[1][2].state_dict().values(), strict=True):
    torch.testing.assert_close(b.full_tensor(), a, rtol=1e-5, atol=1e-6)
state = both[1][1].state[sharded[2].weight]
assert state["momentum"].to_local().shape[0] == 75 and state["col"].to_local().shape == (1, 131)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_weights_sharded_over_two_processes_take_the_same_steps(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHARDED, str(tmp_path / "store")]
    running = [
        subprocess.Popen([*command, str(rank)], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
