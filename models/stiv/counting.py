"""How many parameters a network has, by part: counted on the network itself without memory for it."""

from __future__ import annotations

import torch

from models.stiv.config import STIVConfig
from models.stiv.network import STIV


def count_parameters(config: STIVConfig) -> dict[str, int]:
    """Parameters by part: ``blocks`` (the main ones), ``tail`` (those after masking), ``other`` (embeddings, modulation, last layer),
    and ``total``."""
    with torch.device("meta"):
        network = STIV(config)
    blocks, tail, total = (
        sum(p.numel() for p in module.parameters()) for module in (network.blocks, network.tail, network)
    )
    return {"blocks": blocks, "tail": tail, "other": total - blocks - tail, "total": total}
