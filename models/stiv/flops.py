"""What a pass of the network costs, for model FLOP/s use (MFU).

The formula counts the matrix products of attention, cross-attention and feed-forward; embeddings, modulation and the last layer are
under one per cent and left out. Recomputed activations do not count: that is what tells MFU from HFU.

Legend: D width, L blocks, S spatial tokens a frame (K of them kept), T temporal tokens, N = S·T, M text tokens, d_t text width.
"""

from __future__ import annotations

from models.stiv.config import STIVConfig


def block_flops(config: STIVConfig, temporal: int, spatial: int, text: int) -> int:
    """Floating-point operations (two per multiply-add) of one block's forward pass for one sample."""
    d, n = config.width, temporal * spatial
    if config.attention == "full":
        attention = 8 * n * d * d + 4 * n * n * d
    else:
        attention = 8 * n * d * d + 4 * n * spatial * d
        if config.temporal:
            attention += 8 * n * d * d + 4 * n * temporal * d
    cross = 4 * n * d * d + 4 * n * text * d + 4 * text * config.text_width * d
    return attention + cross + 16 * n * d * d


def forward_flops(config: STIVConfig, latent_shape: tuple[int, int, int], text: int, kept: int | None = None) -> int:
    """Floating-point operations of the forward pass of one sample.

    Args:
        latent_shape: latent frames, rows and columns.
        text: text tokens.
        kept: spatial tokens in the main blocks; None means all.
    """
    temporal, rows, columns = config.tokens(*latent_shape)
    spatial = rows * columns
    main = block_flops(config, temporal, spatial if kept is None else kept, text)
    return config.depth * main + config.mask_blocks * block_flops(config, temporal, spatial, text)


def train_flops(config: STIVConfig, latent_shape: tuple[int, int, int], text: int, kept: int | None = None) -> int:
    """Of forward and backward pass: three times the forward pass."""
    return 3 * forward_flops(config, latent_shape, text, kept)
