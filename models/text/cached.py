"""Conditions that a frozen text encoder made before, in place of the encoder. Room: models.

In: captions. Out: what the encoder said of them, rounded to the type they were stored in. No weights are held and nothing is computed;
where the conditions lie is the affair of whoever hands in :class:`Stored`.

Legend: B batch, M text tokens, D width of the encoder, m tokens of one caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from models.text.contract import TextCondition
from models.text.frozen import Frozen


class Stored(Protocol):
    """Conditions by caption."""

    width: int
    """D."""
    max_tokens: int
    """Longest M."""

    def places(self, captions: Sequence[str]) -> np.ndarray:
        """(B,) int64: where each caption's condition lies.

        Raises:
            UsageError: one is not there; names it.
        """
        ...

    def read(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(m, D) tokens and (D,) pooled at a place, as they are stored."""
        ...


class CachedText(Frozen):
    """See :class:`models.text.contract.TextEncoder`; what :meth:`tokenize` gives are places, not tokens."""

    def __init__(self, stored: Stored) -> None:
        super().__init__()
        self.stored = stored
        self.width = stored.width
        self.max_tokens = stored.max_tokens

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        """(B, 1) int64: the place of each caption.

        Raises:
            UsageError: a caption was not encoded before; names it.
        """
        return torch.from_numpy(self.stored.places(captions))[:, None]

    def encode(self, ids: torch.Tensor) -> TextCondition:
        """Places of :meth:`tokenize` → float32 conditions on their device. Places on a GPU make the host wait for it."""
        found = [self.stored.read(place) for place in ids[:, 0].tolist()]
        lengths = torch.tensor([len(tokens) for tokens, _ in found], dtype=torch.int64)
        longest = max((len(tokens) for tokens, _ in found), default=1)
        tokens = torch.zeros(len(found), longest, self.width)
        pooled = torch.zeros(len(found), self.width)
        for n, (its_tokens, its_pooled) in enumerate(found):
            tokens[n, : len(its_tokens)] = its_tokens
            pooled[n] = its_pooled
        mask = torch.arange(longest) < lengths[:, None]
        return TextCondition(tokens, pooled, mask).to(ids.device)
