"""AdaFactor as STIV uses it, fused AdamW, the learning rate and gradient clipping.

Room: stiv_train. In: parameters with gradients and the recipe's ``optim`` section; out: changed parameters. Weights are
float32; lower precision is autocast's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch.distributed.tensor import DTensor, Replicate
from torch.optim import Optimizer

from schemas.train_recipe import Optim


class AdaFactor(Optimizer):
    """AdaFactor in the form of axlearn's ``adafactor_optimizer``, without parameter scale. For a parameter p with gradient g:

        v ← β2·v + (1 - β2)·(g² + eps)         β2 constant, no bias correction
        u = g / sqrt(v)
        u ← u / max(1, rms(u) / clip)          over the whole parameter
        m ← β1·m + (1 - β1)·lr·u               no bias correction
        p ← p - m - lr·weight_decay·p

    It is neither ``torch.optim.Adafactor`` nor that of transformers: those have no momentum, let β2 and lr run with the step
    and scale by the parameter. Without bias correction the first u are about 1 / sqrt(1 - β2) too large; ``clip`` is what
    holds them, so with β2 = 0.999 the first steps all move by about lr, whatever the gradient.

    Where the two largest dimensions R and C of a parameter are at least ``factor_from`` each, v is not stored but estimated
    as ``row · col / mean(row)`` from its means over C (``row``) and over R (``col``); other dimensions, as of a convolution,
    keep estimates of their own. axlearn marks each parameter by hand; the size and the limit of 128 are optax's rule. Biases,
    norms and small tables so keep the whole v, which costs next to nothing.

    State, float32: ``momentum`` like p (absent with beta1 = 0), and ``row`` and ``col`` (p's shape with 1 for the averaged
    dimension) or ``square`` (p's shape). Parameters sharded by FSDP2 work: sums over a sharded dimension are reduced.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-4,
        beta1: float = 0.9,
        beta2: float = 0.999,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        eps: float = 1e-30,
        factor_from: int = 128,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "beta1": beta1,
                "beta2": beta2,
                "weight_decay": weight_decay,
                "clip": clip,
                "eps": eps,
                "factor_from": factor_from,
            },
        )
        if any(p.dtype != torch.float32 for group in self.param_groups for p in group["params"]):
            raise ValueError("AdaFactor needs float32 parameters; use autocast for lower precision.")

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step for every parameter that has a gradient."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step(params, group)
        return result

    def _step(self, params: list[torch.Tensor], group: dict[str, Any]) -> None:
        updates = [_scaled(p, self.state[p], group["beta2"], group["eps"], group["factor_from"]) for p in params]
        torch._foreach_mul_(updates, _clipped(updates, group["clip"], group["lr"]))
        if group["beta1"] > 0:
            for p, update in zip(params, updates, strict=True):
                if "momentum" not in self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(update)
            momenta = [self.state[p]["momentum"] for p in params]
            torch._foreach_lerp_(momenta, updates, 1 - group["beta1"])
            updates = momenta
        if group["weight_decay"] > 0:
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_sub_(params, updates)


def factored_dims(shape: torch.Size | tuple[int, ...], factor_from: int) -> tuple[int, int] | None:
    """The two largest dimensions in their order, or None where the second is under the limit. Of equal ones, the later."""
    if len(shape) < 2:
        return None
    second, largest = sorted(range(len(shape)), key=lambda dim: (shape[dim], dim))[-2:]
    return None if shape[second] < factor_from else (min(second, largest), max(second, largest))


def _scaled(
    p: torch.Tensor, state: dict[str, torch.Tensor], beta2: float, eps: float, factor_from: int
) -> torch.Tensor:
    """Renew the second moment in ``state``; the gradient over its root, a new tensor."""
    assert p.grad is not None
    square = p.grad.square()
    dims = factored_dims(p.shape, factor_from)
    if dims is None:
        if "square" not in state:
            state["square"] = torch.zeros_like(square)
        return state["square"].lerp_(square.add_(eps), 1 - beta2).rsqrt().mul_(p.grad)
    row, col = _mean(square, dims[1]) + eps, _mean(square, dims[0]) + eps
    if "row" not in state:
        state["row"], state["col"] = torch.zeros_like(row), torch.zeros_like(col)
    state["row"].lerp_(row, 1 - beta2)
    state["col"].lerp_(col, 1 - beta2)
    return p.grad * (state["row"] / _mean(state["row"], dims[0])).rsqrt_() * state["col"].rsqrt()


def _mean(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Mean over a dimension that stays with size 1; whole on every process where that dimension is sharded."""
    total = x.sum(dim=dim, keepdim=True)
    if isinstance(total, DTensor):
        total = total.redistribute(placements=[Replicate() if p.is_partial() else p for p in total.placements])
    return total / x.shape[dim]


def _clipped(updates: list[torch.Tensor], clip: float, lr: float) -> list[torch.Tensor]:
    """lr / max(1, rms / clip) for each update, as scalars on its device: no value travels to the CPU."""
    norms = torch.stack(torch._foreach_norm(updates))
    if isinstance(norms, DTensor):
        norms = norms.full_tensor()
    roots = torch.tensor([math.sqrt(max(1, u.numel())) for u in updates]).to(norms.device, non_blocking=True)
    return list((lr / (norms / roots / clip).clamp_min(1.0)).unbind())


def make_optimiser(params: Iterable[torch.nn.Parameter], optim: Optim) -> Optimizer:
    """The recipe's optimiser over the parameters that are trained. Weight decay acts on those of two dimensions and more.

    Set each group's ``lr`` to :func:`learning_rate` before every step (:func:`set_learning_rate`).
    """
    trained = [p for p in params if p.requires_grad]
    matrices, others = [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]
    groups: list[dict[str, Any]] = [
        {"params": members, "weight_decay": decay}
        for members, decay in ((matrices, optim.weight_decay), (others, 0.0))
        if members
    ]
    if optim.kind == "adafactor":
        return AdaFactor(groups, lr=optim.lr, beta1=optim.beta1, beta2=optim.beta2, clip=optim.clip)
    fused = all(p.device.type in ("cpu", "cuda") for p in trained)
    return torch.optim.AdamW(groups, lr=optim.lr, betas=(optim.beta1, optim.beta2), fused=fused)


def learning_rate(step: int, optim: Optim, total_steps: int) -> float:
    """Of step 0, 1, …: rises by lr / warmup a step to lr, then stays, or falls on a half cosine to reach 0 at ``total_steps``."""
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    if optim.decay == "constant":
        return optim.lr
    done = (step - optim.warmup) / max(1, total_steps - optim.warmup)
    return optim.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """For all parameter groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def clip_gradients(params: Iterable[torch.nn.Parameter], largest: float) -> torch.Tensor:
    """Scale all gradients down together where their joint norm is over ``largest``; the norm before, a 0-d tensor.

    It stays on the device. Where it is not finite the gradients are spoilt too: look at it before the optimiser's step.
    """
    norm = torch.nn.utils.clip_grad_norm_(list(params), largest)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
