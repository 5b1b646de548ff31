"""The singleton condition: one vector for a whole sample, which scales, shifts and gates every block.

The sum of embeddings of the timestep, the pooled text and the micro-conditions, each normalised before the sum (STIV section 3.1).
Legend: B batch, D width.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from models.stiv.layers import plain_norm

_WAVES = 256
_MICRO_WAVES = 64
MICRO_GROUPS: dict[str, tuple[int, ...]] = {"size": (0, 1), "crop": (2, 3), "stride": (4,), "frames": (5,)}
"""Micro-condition → its columns in the (B, 6) tensor: original height and width, top and left of the crop, stride, frames."""


def sinusoid(values: torch.Tensor, width: int) -> torch.Tensor:
    """(...,) → (..., width) float32: cosines and sines of the values at geometric rates from 1 down to 1 / 10,000."""
    rates = torch.exp(
        torch.arange(width // 2, dtype=torch.float32, device=values.device) * (-math.log(10_000.0) / (width // 2))
    )
    angle = values.float()[..., None] * rates
    return torch.cat((angle.cos(), angle.sin()), -1)


def _mlp(inner: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inner, width), nn.SiLU(), nn.Linear(width, width))


class Singleton(nn.Module):
    """Timestep, pooled text and micro-conditions to one vector."""

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.time = _mlp(_WAVES, width)
        self.text = _mlp(text_width, width)
        self.micro = nn.ModuleDict(
            {name: _mlp(_MICRO_WAVES * len(columns), width) for name, columns in MICRO_GROUPS.items()}
        )

    def forward(self, time: torch.Tensor, pooled: torch.Tensor, micro: torch.Tensor) -> torch.Tensor:
        """Times (B,) in 0..1, pooled text (B, text width), micro-conditions (B, 6) → (B, D)."""
        dtype = pooled.dtype
        # Sinusoids tell times a thousandth apart from each other: 0..1 is spread as DDPM's steps were.
        total = plain_norm(self.time(sinusoid(1000 * time, _WAVES).to(dtype))) + plain_norm(self.text(pooled))
        for name, columns in MICRO_GROUPS.items():
            waves = sinusoid(micro[:, list(columns)], _MICRO_WAVES).flatten(1)
            total = total + plain_norm(self.micro[name](waves.to(dtype)))
        return total
