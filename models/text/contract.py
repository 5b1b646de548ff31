"""What every text encoder here can do. Legend: B batch, M text tokens, D width of the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class TextCondition:
    """Encoded captions. A sample without text is one with the empty caption."""

    tokens: torch.Tensor
    """(B, M, D) float: a vector per token."""
    pooled: torch.Tensor
    """(B, D) float: the last (end-of-text) token's vector, or the mean of the tokens where an encoder has no such token."""
    mask: torch.Tensor
    """(B, M) bool: True where a token is real. At least one per sample is."""

    def to(self, device: torch.device | str) -> TextCondition:
        return TextCondition(self.tokens.to(device), self.pooled.to(device), self.mask.to(device))


class TextEncoder(Protocol):
    """Captions to a :class:`TextCondition`. Every implementation is a ``torch.nn.Module`` too."""

    width: int
    """D."""
    max_tokens: int
    """Longest M."""
    trained: bool
    """True: its parameters are trained along with the network (and saved with it). False: frozen, run without gradients."""

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        """(B, max_tokens) int64 token ids on the CPU, padded; longer captions are cut, their end token kept."""
        ...

    def encode(self, ids: torch.Tensor) -> TextCondition:
        """Token ids of :meth:`tokenize` (moved to the encoder's device) → the condition.

        M is ``max_tokens``, or fewer where all the batch's captions are shorter (padding that no sample uses is cut off).
        """
        ...
