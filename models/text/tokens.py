"""OpenCLIP's byte-pair tokens, and which ids of a batch are real. Room: models. The vocabulary is in open_clip's wheel.

Legend: B batch, M text tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.libraries import library

VOCABULARY = 49408
END = VOCABULARY - 1
"""The end-of-text token; no id is higher."""


def tokenize(captions: Sequence[str], max_tokens: int) -> torch.Tensor:
    """(B, max_tokens) int64: start, caption in lower case, end, zeros. A longer caption is cut and keeps its end token."""
    if not captions:
        return torch.zeros(0, max_tokens, dtype=torch.int64)
    return library("open_clip").tokenize(list(captions), context_length=max_tokens)


def until_end(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where captions end.

    Padding is 0, which is also the id of "!", so that only the first end token tells real ids from padding.

    Args:
        ids: (B, M) of :func:`tokenize`.

    Returns:
        (B,) index of the end token, and (B, M') bool mask of the tokens up to it, where M' is the longest caption's length.
    """
    end = ids.argmax(1)
    longest = int(end.max()) + 1 if len(ids) else 1
    return end, torch.arange(longest, device=ids.device) <= end[:, None]


def pick(tokens: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """(B, M, D), (B,) → (B, D): one token of each sample."""
    return tokens[torch.arange(len(tokens), device=tokens.device), at]


def masked_mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, M, D), (B, M) bool → (B, D): the mean of the real tokens."""
    share = mask / mask.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bmd,bm->bd", tokens, share.to(tokens.dtype))
