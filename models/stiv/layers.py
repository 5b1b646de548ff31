"""Parts of a block: attention with normalised queries and keys, and the feed-forward layer.

Legend: B batch, N tokens, M text tokens, D width, d head width (64).
"""

from __future__ import annotations

import torch
import torch.nn.functional as fun
from torch import nn

from models.stiv.config import HEAD_WIDTH
from models.stiv.rope import rotate

EPS = 1e-6
_MOST_ROWS = 65_535


def plain_norm(x: torch.Tensor) -> torch.Tensor:
    """LayerNorm over the last axis without parameters ("stateless", STIV section 3.1)."""
    return fun.layer_norm(x, (x.shape[-1],), eps=EPS)


def _heads(x: torch.Tensor) -> torch.Tensor:
    """(B, N, D) → (B, heads, N, d)."""
    return x.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)


class SelfAttention(nn.Module):
    """Attention among the N tokens of each row: RMSNorm on queries and keys, then rotary positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.q_norm = nn.RMSNorm(HEAD_WIDTH, eps=EPS)
        self.k_norm = nn.RMSNorm(HEAD_WIDTH, eps=EPS)

    def forward(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """(B, N, D) → (B, N, D). ``turn``: cosines and sines that broadcast to (B, heads, N, d/2)."""
        q, k, v = (_heads(part) for part in self.qkv(x).chunk(3, -1))
        q, k = rotate(self.q_norm(q), turn), rotate(self.k_norm(k), turn)
        # CUDA's kernels take at most 65,535 sequences in one call; temporal attention can have more.
        parts = zip(q.split(_MOST_ROWS), k.split(_MOST_ROWS), v.split(_MOST_ROWS), strict=True)
        mixed = torch.cat([fun.scaled_dot_product_attention(*part) for part in parts])
        return self.out(mixed.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Attention of the N tokens to the M text tokens; keys and values come straight from the text encoder's width."""

    def __init__(self, width: int, text_width: int) -> None:
        super().__init__()
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(text_width, 2 * width)
        self.out = nn.Linear(width, width)
        self.q_norm = nn.RMSNorm(HEAD_WIDTH, eps=EPS)
        self.k_norm = nn.RMSNorm(HEAD_WIDTH, eps=EPS)

    def forward(self, x: torch.Tensor, text: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, N, D) with text (B, M, text width) → (B, N, D). ``mask`` (B, 1, 1, M) bool is True where text is real."""
        q = self.q_norm(_heads(self.q(x)))
        k, v = (_heads(part) for part in self.kv(text).chunk(2, -1))
        mixed = fun.scaled_dot_product_attention(q, self.k_norm(k), v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers, four times as wide between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., D) → (..., D)."""
        return self.down(fun.gelu(self.up(x), approximate="tanh"))
