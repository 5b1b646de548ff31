"""One block: spatial attention, temporal attention, attention to the text, feed-forward (STIV section 3.1, after PixArt-alpha).

Legend: B batch, T temporal tokens, S spatial tokens (those kept), M text tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from models.stiv.layers import CrossAttention, FeedForward, SelfAttention, plain_norm

Turn = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Around:
    """What every block of a pass is given beside the tokens."""

    shared: torch.Tensor
    """(B, 6, D): shift, scale and gate of attention, then of the feed-forward, before the block's own offsets."""
    text: torch.Tensor
    """(B, M, text width)."""
    text_mask: torch.Tensor
    """(B, 1, 1, M) bool."""
    space: Turn
    """Rotary turns of the spatial tokens, (B or 1, 1, S, d/2); with full attention of all T·S tokens."""
    time: Turn
    """Rotary turns of the temporal tokens, (1, 1, T, d/2)."""


class Block(nn.Module):
    """``x + gate · norm(layer(scale · norm(x) + shift))`` for attention and feed-forward ("sandwich"); temporal attention has none of
    the three (with them VBench and UCF-101 fell, STIV Fig. 6a) and an output that starts at zero, so that adding it to an image
    model changes nothing at first."""

    def __init__(self, width: int, text_width: int, *, full: bool, temporal: bool) -> None:
        super().__init__()
        self.full = full
        self.attention = SelfAttention(width)
        self.temporal = SelfAttention(width) if temporal and not full else None
        self.cross = CrossAttention(width, text_width)
        self.feed = FeedForward(width)
        self.offsets = nn.Parameter(torch.zeros(6, width))

    def forward(self, x: torch.Tensor, around: Around) -> torch.Tensor:
        """(B, T, S, D) → (B, T, S, D)."""
        b, t, s, d = x.shape
        shift, scale, gate, shift2, scale2, gate2 = (around.shared + self.offsets)[:, None, None].unbind(3)
        inner = plain_norm(x) * (1 + scale) + shift
        if self.full:
            mixed = self.attention(inner.reshape(b, t * s, d), around.space)
        else:
            mixed = self.attention(inner.reshape(b * t, s, d), _repeat(around.space, t))
        x = x + gate * plain_norm(mixed.reshape(b, t, s, d))
        if self.temporal is not None:
            rows = plain_norm(x).transpose(1, 2).reshape(b * s, t, d)
            x = x + self.temporal(rows, around.time).reshape(b, s, t, d).transpose(1, 2)
        x = x + self.cross(plain_norm(x).reshape(b, t * s, d), around.text, around.text_mask).reshape(b, t, s, d)
        return x + gate2 * plain_norm(self.feed(plain_norm(x) * (1 + scale2) + shift2))


def _repeat(turn: Turn, times: int) -> Turn:
    """Turns for each sample (B, ...) repeated for each of its frames (B·T, ...); those of all samples alike stay one."""
    cos, sin = turn
    return turn if cos.shape[0] == 1 else (cos.repeat_interleave(times, 0), sin.repeat_interleave(times, 0))
