"""The STIV network (arXiv 2412.07730 section 3.1): latents, a time and a condition in, the prediction of the flow out.

It knows nothing of devices, losses or sampling. Legend: B batch, C channels, t h w latent frames, rows and columns; T temporal and S
spatial tokens, K of them kept; M text tokens; D width. Images are videos of one frame.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as fun
from torch import nn

from models.stiv.block import Around, Block
from models.stiv.condition import Singleton
from models.stiv.config import HEAD_WIDTH, STIVConfig
from models.stiv.layers import plain_norm
from models.stiv.rope import positions, turns
from models.text.contract import TextCondition

_PLACE_WAVES = 32
"""Values of a place along one axis."""


class STIV(nn.Module):
    """``blocks`` are the main ones; ``tail`` follows where dropped tokens have come back (MaskDiT)."""

    def __init__(self, config: STIVConfig) -> None:
        super().__init__()
        self.config = config
        d = config.width
        values = config.channels * config.patch[0] * config.patch[1] * config.patch[2]
        full = config.attention == "full"
        self.embed = nn.Linear(values, d)
        self.place = nn.Linear(2 * _PLACE_WAVES, d)
        self.temporal_place = nn.Linear(_PLACE_WAVES, d) if config.temporal else None
        self.singleton = Singleton(d, config.text_width)
        self.modulation = nn.Linear(d, 6 * d)  # one for all blocks; each adds offsets of its own
        make = [
            Block(d, config.text_width, full=full, temporal=config.temporal)
            for _ in range(config.depth + config.mask_blocks)
        ]
        self.blocks = nn.ModuleList(make[: config.depth])
        self.tail = nn.ModuleList(make[config.depth :])
        self.last_modulation = nn.Linear(d, 2 * d)
        self.last = nn.Linear(d, values)
        self._start()

    def _start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        # Gates start at zero, so every block starts as the identity and the prediction as zero (DiT's AdaLN-Zero).
        for layer in (self.modulation, self.last_modulation, self.last):
            nn.init.zeros_(layer.weight)
        for block in (*self.blocks, *self.tail):
            nn.init.zeros_(block.cross.out.weight)
            if block.temporal is not None:
                nn.init.zeros_(block.temporal.out.weight)

    def forget_time(self) -> None:
        """Make places in time count for nothing at first: for a network grown from one of images, which then starts as that was."""
        if self.temporal_place is not None:
            nn.init.zeros_(self.temporal_place.weight)
            nn.init.zeros_(self.temporal_place.bias)

    def spatial_tokens(self, rows: int, columns: int) -> int:
        """S for latents of that many rows and columns."""
        _, height, width = self.config.tokens(1, rows, columns)
        return height * width

    def forward(
        self,
        latents: torch.Tensor,
        time: torch.Tensor,
        text: TextCondition,
        micro: torch.Tensor,
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict.

        Args:
            latents: (B, C, t, h, w) on the way from noise to data.
            time: (B,) in 0 (noise) .. 1 (data).
            text: tokens (B, M, text width), pooled, mask.
            micro: (B, 6) original height and width, top and left of the crop, stride, frames.
            keep: (B, K) int64, sorted: spatial tokens that the main blocks see, the same in all frames; None keeps all.

        Returns:
            (B, C, t, h, w): velocity or clean latents, whichever it is trained for.
        """
        frames, rows, columns = latents.shape[2:]
        size = self.config.tokens(frames, rows, columns)
        x = self._placed(self.embed(_patches(latents, self.config.patch)), size)
        condition = fun.silu(self.singleton(time, text.pooled, micro))
        all_tokens = self._around(x, size, condition, text, None)
        if keep is None:
            for block in self.blocks:
                x = block(x, all_tokens)
        else:
            seen = self._around(x, size, condition, text, keep)
            kept = take(x, keep)
            for block in self.blocks:
                kept = block(kept, seen)
            x = put_back(x, kept, keep)
        for block in self.tail:
            x = block(x, all_tokens)
        shift, scale = self.last_modulation(condition)[:, None, None].chunk(2, -1)
        x = self.last(plain_norm(x) * (1 + scale) + shift)
        found = _pictures(x, self.config.patch, self.config.channels, size)[:, :, :frames]
        return linear_guess(found, latents, time) if self.config.skip else found

    def _placed(self, x: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
        """Tokens (B, T, S, D) with where they are added.

        Rotary positions tell distances only; that a shape which will move to the right begins on the left takes a place. PixArt adds
        such embeddings in space; what a direction means takes a place in time as well.
        """
        rows, columns = (waves(n, _PLACE_WAVES, x) for n in size[1:])
        grid = torch.cat((rows[:, None].expand(-1, size[2], -1), columns.expand(size[1], -1, -1)), -1)
        x = x + self.place(grid.flatten(0, 1))
        if self.temporal_place is not None:
            x = x + self.temporal_place(waves(size[0], _PLACE_WAVES, x))[:, None]
        return x

    def _around(
        self,
        x: torch.Tensor,
        size: tuple[int, int, int],
        condition: torch.Tensor,
        text: TextCondition,
        keep: torch.Tensor | None,
    ) -> Around:
        d, reference = self.config.width, self.config.rope_reference
        in_time = positions(size[:1], reference and reference[:1], x.device)
        if self.config.attention == "full":
            places = positions(size, reference, x.device).reshape(1, size[0], -1, 3)
        else:
            places = positions(size[1:], reference and reference[1:], x.device)[None, None]
        if keep is not None:
            places = take(places.expand(x.shape[0], -1, -1, -1), keep)
        around = Around(
            shared=self.modulation(condition).reshape(-1, 6, d),
            # The text encoder's scale is its own affair: tokens come in with unit variance whatever made them.
            text=plain_norm(text.tokens),
            text_mask=text.mask[:, None, None],
            space=turns(places.flatten(1, 2)[:, None], HEAD_WIDTH),
            time=turns(in_time[None, None], HEAD_WIDTH),
        )
        if around.shared.dtype == torch.float32:
            return around
        return replace(around, text=around.text.to(around.shared.dtype))


def linear_guess(output: torch.Tensor, latents: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """The velocity x1 - noise from what the network makes of x_t = t·x1 + (1 - t)·noise: (B, C, t, h, w) each, time (B,).

    For x1 and noise of unit variance the best linear guess from x_t alone is (2t - 1) / q · x_t with q = t² + (1 - t)², and what
    it leaves has variance 1 / q: that is left to the network, at unit variance for every t (after EDM, Karras et al. 2022, section 5).
    """
    t = time.float().reshape(-1, 1, 1, 1, 1)
    q = t.square() + (1 - t).square()
    return (2 * t - 1) / q * latents + output / q.sqrt()


def waves(count: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(count, width): where along an axis of ``count`` tokens each lies, as cos(π k u) of its relative place u in 0..1, k = 1..width.

    Relative, so that a larger picture or longer video is described as the one that the network was trained on.
    """
    u = (torch.arange(count, dtype=torch.float32, device=like.device) + 0.5) / count
    k = torch.arange(1, width + 1, dtype=torch.float32, device=like.device)
    return torch.cos(torch.pi * u[:, None] * k).to(like.dtype)


def take(x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """(B, T, S, D) → (B, T, K, D): the spatial tokens ``keep`` (B, K) of every frame."""
    return x.gather(2, keep[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))


def put_back(x: torch.Tensor, kept: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """(B, T, S, D) with the tokens ``keep`` (B, K) replaced by ``kept`` (B, T, K, D); the others are as they were before the main
    blocks, so that what follows sees their own latents."""
    # Under autocast the blocks' sum is of higher precision than the embeddings it began with, and stays so.
    return x.to(kept.dtype).scatter(2, keep[:, None, :, None].expand_as(kept), kept)


def _patches(latents: torch.Tensor, patch: tuple[int, int, int]) -> torch.Tensor:
    """(B, C, t, h, w) → (B, T, S, values of a patch). Where the last patch lacks frames the last frame stands in for them."""
    pt, ph, pw = patch
    missing = -latents.shape[2] % pt
    if missing:
        latents = torch.cat((latents, latents[:, :, -1:].expand(-1, -1, missing, -1, -1)), 2)
    b, c, t, h, w = latents.shape
    x = latents.reshape(b, c, t // pt, pt, h // ph, ph, w // pw, pw)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, t // pt, (h // ph) * (w // pw), c * pt * ph * pw)


def _pictures(x: torch.Tensor, patch: tuple[int, int, int], channels: int, size: tuple[int, int, int]) -> torch.Tensor:
    """(B, T, S, values of a patch) → (B, C, T·pt, h, w)."""
    pt, ph, pw = patch
    t, h, w = size
    x = x.reshape(-1, t, h, w, channels, pt, ph, pw)
    return x.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(-1, channels, t * pt, h * ph, w * pw)
