"""The path, its conversions, the masked loss, timesteps and solvers against closed forms."""

import math
from collections.abc import Callable

import pytest
import torch

from schemas.errors import UsageError
from schemas.train_recipe import Flow
from stiv_train import flow

SHAPE = (3, 2, 4, 5, 6)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x1, noise = torch.randn(2, *SHAPE, generator=generator).double().unbind()
    return x1, noise, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


def test_the_path_runs_from_noise_to_clean_along_the_velocity(batch: tuple[torch.Tensor, ...]) -> None:
    x1, noise, time = batch
    assert torch.equal(flow.path(x1, noise, torch.zeros(3)), noise)
    assert torch.equal(flow.path(x1, noise, torch.ones(3)), x1)
    rise = (flow.path(x1, noise, time + 1e-3) - flow.path(x1, noise, time)) / 1e-3
    torch.testing.assert_close(rise, flow.velocity(x1, noise), rtol=1e-9, atol=1e-9)


def test_clean_and_velocity_convert_into_each_other(batch: tuple[torch.Tensor, ...]) -> None:
    x1, noise, time = batch
    x = flow.path(x1, noise, time)
    torch.testing.assert_close(flow.from_clean(x1, x, time), x1 - noise)
    torch.testing.assert_close(flow.to_clean(x1 - noise, x, time), x1)


def test_at_the_clean_end_the_conversion_stays_finite(batch: tuple[torch.Tensor, ...]) -> None:
    x1, _, _ = batch
    found = flow.from_clean(x1 + 1, x1, torch.ones(3))
    torch.testing.assert_close(found, torch.full_like(found, 1 / flow.NEAREST))


@pytest.mark.parametrize("target", ["velocity", "clean"])
def test_the_loss_is_the_velocitys_squared_error(batch: tuple[torch.Tensor, ...], target: flow.Target) -> None:
    x1, noise, time = batch
    prediction = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).double()
    x = flow.path(x1, noise, time)
    given = torch.zeros(3, 4, dtype=torch.bool)
    as_velocity = prediction if target == "velocity" else flow.from_clean(prediction, x, time)
    wanted = (as_velocity - (x1 - noise)).square().flatten(1).mean(1)
    found = flow.loss(prediction, x1, noise, time, given, target)
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("target", ["velocity", "clean"])
def test_given_frames_have_no_influence(batch: tuple[torch.Tensor, ...], target: flow.Target) -> None:
    x1, noise, time = batch
    given = torch.tensor([[True, False, False, False], [False] * 4, [True, False, True, True]])
    prediction = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    found = flow.loss(prediction, x1, noise, time, given, target)
    for row in range(3):
        rest = ~given[row]
        alone = flow.loss(
            prediction[row : row + 1, :, rest],
            x1[row : row + 1, :, rest],
            noise[row : row + 1, :, rest],
            time[row : row + 1],
            given[row : row + 1, rest],
            target,
        )
        torch.testing.assert_close(found[row : row + 1], alone)
    found.sum().backward()
    assert prediction.grad is not None
    per_frame = prediction.grad.abs().sum(dim=(1, 3, 4))
    assert torch.equal(per_frame == 0, given)

    broken = prediction.detach().clone()
    broken[0, :, 0] = float("nan")
    torch.testing.assert_close(flow.loss(broken, x1, noise, time, given, target), found.detach())


def test_a_sample_given_whole_is_an_error(batch: tuple[torch.Tensor, ...]) -> None:
    x1, noise, time = batch
    given = torch.tensor([[False] * 4, [True] * 4, [False] * 4])
    with pytest.raises(ValueError, match="nothing to predict"):
        flow.loss(x1, x1, noise, time, given)


def test_logit_normal_timesteps_have_their_density() -> None:
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    times = flow.timesteps(uniform, Flow(timesteps="logit_normal", mean=-0.5, std=0.8)).double()
    logits = torch.log(times / (1 - times))
    assert logits.mean().item() == pytest.approx(-0.5, abs=1e-3)
    assert logits.std().item() == pytest.approx(0.8, abs=1e-3)
    torch.testing.assert_close(flow.timesteps(uniform, Flow()), uniform.float())


def test_a_lower_mean_means_more_noise() -> None:
    uniform = torch.rand(100, generator=torch.Generator().manual_seed(0))
    times = [flow.timesteps(uniform, Flow(timesteps="logit_normal", mean=m)) for m in (-1.0, 0.0)]
    assert bool((times[0] < times[1]).all())


def test_the_shift_multiplies_the_noise_to_signal_ratio() -> None:
    resolution = Flow(shift="resolution", shift_tokens=100)
    uniform = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    times = flow.timesteps(uniform, resolution, tokens=900).double()
    torch.testing.assert_close(((1 - times) / times)[1:], (3 * (1 - uniform) / uniform)[1:], rtol=1e-5, atol=1e-6)
    assert (times[0].item(), times[-1].item()) == (0.0, 1.0)
    assert bool((times[1:-1] < uniform[1:-1]).all()), "more tokens: towards noise"
    assert bool((flow.timesteps(uniform, resolution, tokens=25)[1:-1] > uniform[1:-1]).all())
    assert torch.equal(flow.timesteps(uniform, resolution, tokens=100), uniform.float())
    with pytest.raises(UsageError, match="tokens"):
        flow.timesteps(uniform, resolution)


def test_the_schedule_has_the_same_shift_and_both_ends() -> None:
    recipe = Flow(shift="resolution", shift_tokens=100)
    times = flow.schedule(10, recipe, tokens=400)
    assert len(times) == 11
    assert (times[0].item(), times[-1].item()) == (0.0, 1.0)
    assert bool((times.diff() > 0).all())
    torch.testing.assert_close(times.float(), flow.timesteps(torch.linspace(0, 1, 11), recipe, tokens=400))


def gaussian_field(mean: float, std: float) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """The exact velocity E[x1 - noise | x_t] where x1 is N(mean, std²): a linear field with a known flow."""

    def field(x: torch.Tensor, t: float) -> torch.Tensor:
        variance = t * t * std * std + (1 - t) ** 2
        return mean + (t * std * std - (1 - t)) / variance * (x - t * mean)

    return field


def gaussian_error(solver: flow.Solver, steps: int, *, euler_last: bool = False) -> float:
    start = torch.linspace(-3, 3, 31, dtype=torch.float64)
    end = flow.integrate(gaussian_field(2.0, 0.5), start, flow.schedule(steps, Flow()), solver, euler_last=euler_last)
    return (end - (2.0 + 0.5 * start)).abs().max().item()


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_solvers_recover_an_analytic_field_with_their_order(solver: flow.Solver, order: int) -> None:
    coarse, fine = gaussian_error(solver, 200), gaussian_error(solver, 400)
    assert fine < (2e-2 if solver == "euler" else 2e-4)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


def test_an_euler_step_at_the_end_keeps_heuns_order() -> None:
    coarse, fine = gaussian_error("heun", 200, euler_last=True), gaussian_error("heun", 400, euler_last=True)
    assert coarse != gaussian_error("heun", 200)
    assert math.log2(coarse / fine) == pytest.approx(2, abs=0.15)


def test_a_straight_field_needs_one_step(batch: tuple[torch.Tensor, ...]) -> None:
    x1, noise, _ = batch
    torch.testing.assert_close(flow.integrate(lambda x, t: x1 - noise, noise, [0.0, 1.0]), x1)


def test_progress_and_the_times_asked_for() -> None:
    asked: list[float] = []
    steps: list[tuple[int, int]] = []

    def field(x: torch.Tensor, t: float) -> torch.Tensor:
        asked.append(t)
        return x

    flow.integrate(
        field,
        torch.ones(1),
        [0.0, 0.5, 1.0],
        "heun",
        euler_last=True,
        on_step=lambda done, total: steps.append((done, total)),
    )
    assert asked == [0.0, 0.5, 0.5], "never at the last time"
    assert steps == [(1, 2), (2, 2)]
