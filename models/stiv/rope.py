"""Rotary position embedding along one, two or three axes (RoPE: Su et al. 2021; STIV section 3.1: 2D in space, 1D in time).

Legend: N tokens, P axes, d head width. A head's d / 2 pairs of values are shared out among the axes; the pair of values i and i + d/2
turns by an angle that grows with the token's position along the pair's axis.
"""

from __future__ import annotations

import torch

_BASE = 10_000.0


def positions(size: tuple[int, ...], reference: tuple[int, ...] | None, device: torch.device) -> torch.Tensor:
    """(N, P) float32 positions of a grid in row-major order. An axis longer than its reference is squeezed into that range."""
    axes = []
    for k, n in enumerate(size):
        step = 1.0 if reference is None or n <= reference[k] else reference[k] / n
        axes.append(torch.arange(n, dtype=torch.float32, device=device) * step)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(size))


def pair_shares(pairs: int, axes: int) -> list[int]:
    """How many of a head's pairs each axis has: equal but for the first, which has a half more or less where they do not divide."""
    if axes == 3:  # time needs fewer: there are fewer frames than rows
        space = pairs * 3 // 8
        return [pairs - 2 * space, space, space]
    return [pairs // axes] * axes


def turns(places: torch.Tensor, head_width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions (..., N, P) → cosines and sines (..., N, d/2) of the angles."""
    angles = []
    for axis, count in enumerate(pair_shares(head_width // 2, places.shape[-1])):
        rates = _BASE ** (-torch.arange(count, dtype=torch.float32, device=places.device) / count)
        angles.append(places[..., axis : axis + 1] * rates)
    angle = torch.cat(angles, -1)
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """(..., N, d) turned by cosines and sines (..., N, d/2), which broadcast over heads."""
    cos, sin = turn
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)
