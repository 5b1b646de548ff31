"""Flow matching: the path from noise to a clean latent, the loss, the timesteps and the solvers.

Room: stiv_train. In: latents, normalised to about unit variance; out: latents, velocities, losses. Time runs from 0 (noise)
to 1 (clean), the way STIV has it; Stable Diffusion 3 and others count the other way.

LEGEND  B batch; C, t, h, w latent channels, frames, rows, columns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from schemas.errors import UsageError
from schemas.train_recipe import Flow

Target = Literal["velocity", "clean"]
Solver = Literal["euler", "heun"]
Field = Callable[[torch.Tensor, float], torch.Tensor]

NEAREST = 0.05
"""Smallest 1 - t by which a training loss on the clean latent is divided: no sample weighs more than 1 / NEAREST² = 400."""


def _like(time: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """(B,) → (B, 1, 1, 1, 1), in the precision of the latents."""
    return time.to(latents.dtype).reshape(-1, *[1] * (latents.ndim - 1))


def path(x1: torch.Tensor, noise: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """x_t = t·x1 + (1 - t)·noise (STIV section 2.2). x1, noise (B, C, t, h, w), time (B,)."""
    t = _like(time, x1)
    return t * x1 + (1 - t) * noise


def velocity(x1: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """dx_t/dt = x1 - noise, the same at every time."""
    return x1 - noise


def from_clean(clean: torch.Tensor, x: torch.Tensor, time: torch.Tensor, nearest: float = NEAREST) -> torch.Tensor:
    """The velocity that a prediction of the clean latent stands for: (clean - x_t) / (1 - t).

    1 - t is clamped from below by ``nearest``: at t = 1 both differences vanish, and just before it their quotient blows up
    every error of the prediction. Sampling passes 0: it never asks at t = 1, and only the unclamped quotient lands its last
    step on the prediction.
    """
    return (clean - x) / (1 - _like(time, x)).clamp_min(nearest)


def to_clean(velocity: torch.Tensor, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """The clean latent to which a velocity leads: x_t + (1 - t)·v."""
    return x + (1 - _like(time, x)) * velocity


def loss(
    prediction: torch.Tensor,
    x1: torch.Tensor,
    noise: torch.Tensor,
    time: torch.Tensor,
    given: torch.Tensor,
    target: Target = "velocity",
) -> torch.Tensor:
    """Mean squared error of the velocity over the latent frames that were not given. In float32.

    A prediction of the clean latent errs in the velocity by (prediction - x1) / (1 - t), so its squares are weighted by
    1 / max(1 - t, NEAREST)². The mask is per latent frame, after tokens were unfolded: with two frames in a token, the given
    frame is left out and its neighbour is not.

    Args:
        prediction, x1, noise: (B, C, t, h, w).
        time: (B,).
        given: (B, t) bool, True where a frame was given clean. What is predicted there has no influence at all.

    Returns:
        (B,) float32.

    Raises:
        ValueError: all frames of a sample are given. Only where ``given`` is on the CPU: elsewhere looking would stall the
            device, and the sample's loss is NaN.
    """
    if given.device.type == "cpu" and bool(given.all(dim=1).any()):
        raise ValueError("All latent frames of a sample are given, so there is nothing to predict.")
    wanted = x1 if target == "clean" else velocity(x1, noise)
    error = (prediction.float() - wanted.float()).square()
    if target == "clean":
        error = error / (1 - _like(time, error)).clamp_min(NEAREST).square()
    frames = error.mean(dim=(1, 3, 4)).masked_fill(given, 0.0)
    return frames.sum(dim=1) / (~given).sum(dim=1)


def shift_factor(flow: Flow, tokens: int | None) -> float:
    """How many times the ratio of noise to signal grows: sqrt(tokens / shift_tokens), or 1 without a shift.

    Args:
        tokens: of one sample, over all its frames.
    """
    if flow.shift == "none":
        return 1.0
    if tokens is None:
        raise UsageError(
            "`flow.shift: resolution` needs the number of tokens of a sample.",
            fix="Pass `tokens`, or set the shift to none.",
        )
    return math.sqrt(tokens / flow.shift_tokens)


def shifted(time: torch.Tensor, factor: float) -> torch.Tensor:
    """Move times towards noise: t / (t + factor·(1 - t)), which multiplies (1 - t) / t by ``factor``. 0 and 1 stay.

    The shift of Stable Diffusion 3 (arXiv 2403.03206, section 5.3.2), a·s / (1 + (a - 1)·s), written for t = 1 - s.
    """
    return time if factor == 1.0 else time / (time + factor * (1 - time))


def timesteps(uniform: torch.Tensor, flow: Flow, tokens: int | None = None) -> torch.Tensor:
    """Uniform numbers in 0..1 → training times of the recipe's density, by its quantile function. (B,) → (B,) float32."""
    times = uniform.double()
    if flow.timesteps == "logit_normal":
        times = torch.sigmoid(flow.mean + flow.std * torch.special.ndtri(times))
    return shifted(times, shift_factor(flow, tokens)).float()


def schedule(steps: int, flow: Flow, tokens: int | None = None) -> torch.Tensor:
    """Times from 0 to 1 between which a solver steps, spaced evenly before the shift that training had. (steps + 1,) float64."""
    return shifted(torch.linspace(0, 1, steps + 1, dtype=torch.float64), shift_factor(flow, tokens))


def euler_step(field: Field, x: torch.Tensor, start: float, stop: float) -> torch.Tensor:
    """One call of the field; the error over the whole way falls with the step."""
    return x + (stop - start) * field(x, start)


def heun_step(field: Field, x: torch.Tensor, start: float, stop: float) -> torch.Tensor:
    """Two calls, at both ends of the step; the error over the whole way falls with the square of the step."""
    first = field(x, start)
    second = field(x + (stop - start) * first, stop)
    return x + (stop - start) / 2 * (first + second)


def integrate(
    field: Field,
    x: torch.Tensor,
    times: torch.Tensor | Sequence[float],
    solver: Solver = "euler",
    *,
    euler_last: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Follow dx/dt = field(x, t) from the first to the last of the times.

    Args:
        euler_last: Take the last step with one call at its start, for fields that mean nothing at the last time. Heun stays
            of second order: one step's error is already of that size.
        on_step: Called with the steps done and the steps in all.
    """
    points = [float(t) for t in times]
    total = len(points) - 1
    for index, (start, stop) in enumerate(itertools.pairwise(points)):
        step = euler_step if solver == "euler" or (euler_last and index == total - 1) else heun_step
        x = step(field, x, start, stop)
        if on_step is not None:
            on_step(index + 1, total)
    return x
