"""A small text encoder that needs no download and is trained along with the network. Room: models.

In: captions. Out: one state per OpenCLIP token, from a causal transformer as in CLIP (Radford et al., 2021); pooled is the end
token's. There is no table of trained token vectors: with 49,408 rows it would be most of a small model, and gradient, optimiser and
average would pass over all of it in every step. Each token has a fixed random code instead, and two trained layers turn codes into
vectors. Measured at width 128 with two layers and AdamW, on captions with two of 1,024 words of arbitrary meaning: a trained table
(6.3M parameters) took 1.5 times the CPU per step and more steps; one trained layer in place of two took 0.9 times the CPU per step
and about twice the steps.

Legend: B batch, M text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.text.contract import TextCondition
from models.text.tokens import VOCABULARY, masked_mean, pick, tokenize, until_end

CODE = 256
"""Bits in a token's code: of two tokens, no more than about three quarters agree."""
HEAD = 64


@lru_cache
def token_codes(device: torch.device) -> torch.Tensor:
    """(VOCABULARY, CODE) int8 of ±1: the bits of a hash (splitmix64) of each token's id, so the same everywhere and for ever.

    They are no buffer of the module: DDP would send 12.6 MB of them round at every step, and they need no saving.
    """
    with np.errstate(over="ignore"):
        x = np.arange(1, VOCABULARY * CODE // 64 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    bits = np.unpackbits(x.astype("<u8").view(np.uint8)).reshape(VOCABULARY, CODE)
    return torch.from_numpy(bits.astype(np.int8) * 2 - 1).to(device)


class Layer(nn.Module):
    """Causal self-attention and feed-forward, each normalised before and added after."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, M, D) → (B, M, D)."""
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, HEAD)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, M, 64)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.feed_norm(x))))


class SmallText(nn.Module):
    """See :class:`models.text.contract.TextEncoder`. Weights come from torch's global generator."""

    trained = True

    def __init__(self, width: int, depth: int, max_tokens: int) -> None:
        super().__init__()
        self.width = width
        self.max_tokens = max_tokens
        self.embed = nn.Sequential(nn.Linear(CODE, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.position = nn.Parameter(torch.empty(max_tokens, width))
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self._initialise()

    def _initialise(self) -> None:
        """Variances of about 1 on the way; what is added to the stream is smaller the more layers add to it, as in CLIP."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(
                    parameter, std=(2 * len(self.layers) if residual else 1) ** -0.5 * parameter.shape[1] ** -0.5
                )

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        return tokenize(captions, self.max_tokens)

    def encode(self, ids: torch.Tensor) -> TextCondition:
        end, mask = until_end(ids)
        length = mask.shape[1]
        x = self.embed(token_codes(ids.device)[ids[:, :length]].to(self.position.dtype)) + self.position[:length]
        for layer in self.layers:
            x = layer(x)
        tokens = self.norm(x)
        # Without a layer the end token knows nothing of its caption.
        return TextCondition(tokens, pick(tokens, end) if len(self.layers) else masked_mean(tokens, mask), mask)

    def forward(self, ids: torch.Tensor) -> TextCondition:
        """:meth:`encode`, for wrappers that call a module."""
        return self.encode(ids)
