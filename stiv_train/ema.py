"""Exponential moving average of the trained weights, in float32.

Room: stiv_train. In: a module after each optimiser step; out: averaged weights to validate, sample and start the next stage
with (STIV: decay 0.9999).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from schemas.errors import UsageError


class Ema:
    """Averages of all floating-point parameters that are trained; a frozen one is its own average.

    The n-th update (from 0) decays by min(decay, (1 + n) / (10 + n)): with 0.9999 from the start, the random weights of the
    beginning would still weigh a third after 10,000 steps, and the average of a short run would be of no use.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._shadows = {name: p.detach().float().clone() for name, p in _trained(module).items()}

    def decay_now(self) -> float:
        """Decay of the next update."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move every average towards the module's parameters."""
        if self._shadows:
            weights = _trained(module)
            now = [weights[name].detach().float() for name in self._shadows]
            torch._foreach_lerp_(list(self._shadows.values()), now, 1 - self.decay_now())
        self.updates += 1

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Overwrite the module's parameters by the averages."""
        for name, parameter in _trained(module).items():
            parameter.copy_(self._shadows[name])

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Within it the module has the averaged weights; afterwards its own again, bit for bit."""
        own = {name: p.detach().clone() for name, p in _trained(module).items()}
        self.copy_to(module)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in _trained(module).items():
                    parameter.copy_(own[name])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Name of parameter → average, under the module's own names. :attr:`updates` must be kept beside it."""
        return dict(self._shadows)

    def load(self, tensors: Mapping[str, torch.Tensor], updates: int) -> None:
        """Go on from :meth:`state_dict` and :attr:`updates`.

        Raises:
            UsageError: names or shapes are not those of the module.
        """
        wrong = sorted(self._shadows.keys() ^ tensors.keys()) or sorted(
            name for name, shadow in self._shadows.items() if shadow.shape != tensors[name].shape
        )
        if wrong:
            raise UsageError(
                f"The saved average does not fit the model: {wrong[0]}"
                + (f" and {len(wrong) - 1} more differ." if len(wrong) > 1 else " differs."),
                fix="Use the recipe that the average was trained with.",
            )
        with torch.no_grad():
            for name, shadow in self._shadows.items():
                shadow.copy_(tensors[name])
        self.updates = updates


def _trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad and p.is_floating_point()}
