"""Which spatial tokens stay in the main blocks during training (MaskDiT, arXiv 2306.09305; STIV section 2.1).

Room: stiv_train. In: the number of spatial tokens of a latent frame; out: sorted indices of those that stay, the same for all
latent frames of a sample. STIV drops in space only: dropping in time cost quality in its figure 6a.

LEGEND  K spatial tokens that stay.
"""

from __future__ import annotations

import numpy as np
import torch


def tokens_kept(tokens: int, drop_share: float) -> int:
    """K: a fixed number for a share, so that samples stack; at least one."""
    return max(1, tokens - round(tokens * drop_share))


def keep_tokens(tokens: int, drop_share: float, generator: np.random.Generator) -> torch.Tensor:
    """A random choice of the tokens. (K,) int64, ascending."""
    chosen = generator.permutation(tokens)[: tokens_kept(tokens, drop_share)]
    return torch.from_numpy(np.sort(chosen).astype(np.int64))
