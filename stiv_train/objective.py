"""From a batch of pixels to a loss per sample. Room: stiv_train.

The one place where latents, text, draws, flow and given frames come together; training and validation share it.

Legend: B samples, T H W frames, rows and columns of pixels; C t h w of latents; M text tokens; K spatial tokens kept.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from models.latents.contract import Latents
from models.stiv.config import STIVConfig
from models.text.cached import CachedText
from models.text.contract import TextCondition, TextEncoder
from schemas.train_recipe import Conditioning, TrainRecipe
from stiv_train import flow
from stiv_train.conditioning import put
from stiv_train.data.batch import Batch
from stiv_train.draws import Draws, Purpose, draw


@dataclass(frozen=True)
class Inputs:
    """Samples as the network meets them."""

    clean: torch.Tensor
    """(B, C, t, h, w) float32: the latents."""
    draws: Draws
    text: torch.Tensor | TextCondition
    """Captions, or the empty caption where the text is dropped: (B, M) int64 token ids, or precomputed conditions."""
    micro: torch.Tensor
    """(B, 6) float32."""

    def at(self, time: float) -> Inputs:
        """The same with one time for all samples."""
        return replace(self, draws=replace(self.draws, time=torch.full_like(self.draws.time, time)))

    def to(self, device: torch.device | str) -> Inputs:
        draws = self.draws
        there = Draws(
            noise=moved(draws.noise, device),
            time=moved(draws.time, device),
            text_dropped=moved(draws.text_dropped, device),
            given=moved(draws.given, device),
            keep=None if draws.keep is None else moved(draws.keep, device),
        )
        return Inputs(moved(self.clean, device), there, _text_moved(self.text, device), moved(self.micro, device))


@dataclass(frozen=True)
class Objective:
    """What samples are turned into, and how a prediction is judged."""

    recipe: TrainRecipe
    config: STIVConfig
    latents: Latents
    encoder: TextEncoder
    device: torch.device

    def autocast(self) -> torch.autocast:
        """bf16 where the recipe asks for it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.train.precision == "bf16")

    @torch.no_grad()
    def inputs(
        self,
        batch: Batch,
        part: slice = slice(None),
        *,
        conditioning: Conditioning | None = None,
        purpose: Purpose = "train",
    ) -> Inputs:
        """Encode some samples of a batch and draw their random part.

        Args:
            part: which of them.
            conditioning: dropout other than the recipe's.
        """
        clean = self.latents.encode(pixels(batch.pixels[part], self.device))
        return self._with_draws(
            clean,
            batch.positions[part],
            batch.captions[part],
            torch.from_numpy(batch.micro[part]),
            batch.step,
            conditioning or self.recipe.conditioning,
            purpose,
        )

    def stand_in(self, bucket: int) -> Inputs:
        """One sample of zeros, to go through the motions where a process has none: its loss must be multiplied by 0."""
        size = self.recipe.data.buckets[bucket]
        shape = self.latents.latent_shape(size.frames, size.height, size.width)
        clean = torch.zeros((1, *shape), device=self.device)
        return self._with_draws(
            clean, np.zeros(1, np.int64), [""], torch.zeros(1, 6), 0, self.recipe.conditioning, "train"
        )

    def _with_draws(
        self,
        clean: torch.Tensor,
        positions: np.ndarray,
        captions: list[str],
        micro: torch.Tensor,
        step: int,
        conditioning: Conditioning,
        purpose: Purpose,
    ) -> Inputs:
        c, t, h, w = clean.shape[1:]
        size = self.config.tokens(t, h, w)
        draws = draw(
            self.recipe.train.seed,
            step,
            positions,
            (c, t, h, w),
            size[1] * size[2],
            self.recipe.flow,
            conditioning,
            purpose,
            tokens=math.prod(size),
        )
        said = ["" if gone else caption for caption, gone in zip(captions, draws.text_dropped, strict=True)]
        ids = self.encoder.tokenize(said)
        # Conditions in files are read here: places that went to a GPU would have to come back first.
        text = self.encoder.encode(ids) if isinstance(self.encoder, CachedText) else ids
        return Inputs(clean, draws, text, micro).to(self.device)

    def losses(self, model: nn.Module, x: Inputs) -> torch.Tensor:
        """Flow-matching loss of each sample, (B,) float32."""
        noised = flow.path(x.clean, x.draws.noise, x.draws.time)
        seen = put(noised, x.clean, x.draws.given)
        with self.autocast():
            predicted = model(seen, x.draws.time, x.text, x.micro, x.draws.keep)
        return flow.loss(predicted, x.clean, x.draws.noise, x.draws.time, x.draws.given, self.recipe.flow.target)

    def tokens(self, bucket: int) -> int:
        """Tokens of one sample of a bucket, dropped ones included."""
        size = self.recipe.data.buckets[bucket]
        return math.prod(self.config.tokens(*self.latents.latent_shape(size.frames, size.height, size.width)[1:]))


def pixels(video: np.ndarray, device: torch.device) -> torch.Tensor:
    """(B, T, H, W, 3) uint8 → (B, 3, T, H, W) float32 in -1..1, on the device."""
    return moved(torch.from_numpy(video), device).permute(0, 4, 1, 2, 3).float().div_(127.5).sub_(1)


def moved(x: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """The same there. A copy to a GPU out of pinned memory does not make the host wait for the step before."""
    if torch.device(device).type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def _text_moved(text: torch.Tensor | TextCondition, device: torch.device | str) -> torch.Tensor | TextCondition:
    if isinstance(text, torch.Tensor):
        return moved(text, device)
    return TextCondition(moved(text.tokens, device), moved(text.pooled, device), moved(text.mask, device))


def pieces(count: int, number: int) -> list[slice]:
    """``count`` samples in ``number`` runs, as even as can be; the last ones are empty where there are fewer samples."""
    ends = [-(-count * k // number) for k in range(number + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]
