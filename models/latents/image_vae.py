"""Diffusers' AutoencoderKL, frame by frame, as in STIV (arXiv 2412.07730, sec. 3). Room: models.

In: videos in -1..1. Out: the mean of each frame's latent distribution, normalised by measured statistics of each channel (not by
the configuration's one `scaling_factor`). Runs in float32, or in the caller's autocast.

Legend: B batch, T frames, H rows, W columns of pixels; C, t, h, w of latents (t = T).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from models.latents import pretrained
from models.latents.common import by_channel, checked, latent_side
from models.latents.pretrained import Where
from schemas.errors import UsageError

CHUNK_PIXELS = 1 << 19
"""Pixels that pass at a time (8 frames of 256²): a usual autoencoder needs about 2 kB for each."""


class ImageLatents:
    """See :class:`models.latents.contract.Latents`."""

    temporal = 1
    causal = False

    def __init__(self, model: Any, where: Where, mean: torch.Tensor, std: torch.Tensor) -> None:
        self.model, self.where, self.mean, self.std = model, where, mean, std
        self.channels = int(model.config.latent_channels)
        self.spatial = 2 ** (len(model.config.block_out_channels) - 1)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        h, w = latent_side(height, self.spatial, "height"), latent_side(width, self.spatial, "width")
        return self.channels, frames, h, w

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        raw = self.encode_raw(video)
        return (raw - by_channel(self.mean, raw)) / by_channel(self.std, raw)

    @torch.no_grad()
    def encode_raw(self, video: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) → (B, C, t, h, w), not normalised."""
        _, _, frames, height, width = checked(video)
        self.latent_shape(frames, height, width)
        return self._each_frame(
            video.to(self.mean.device), height * width, lambda x: pretrained.mode(self.model.encode(x))
        )

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, frames: int | None = None) -> torch.Tensor:
        latents = latents.to(self.mean.device, torch.float32)
        raw = latents * by_channel(self.std, latents) + by_channel(self.mean, latents)
        pixels = latents.shape[-1] * latents.shape[-2] * self.spatial**2
        return self._each_frame(raw, pixels, lambda z: self.model.decode(z).sample).clamp(-1, 1)[:, :, :frames]

    def _each_frame(
        self, values: torch.Tensor, pixels: int, run: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Apply ``run`` (N, c, …) → (N, d, …) to the frames of (B, c, T, …), as many at a time as memory should allow."""
        frames = values.float().transpose(1, 2)  # (B, T, c, …)
        pieces = frames.flatten(0, 1).split(max(1, CHUNK_PIXELS // pixels))
        out = torch.cat([run(piece).float() for piece in pieces])
        return out.unflatten(0, frames.shape[:2]).transpose(1, 2)

    def to(self, device: torch.device | str) -> ImageLatents:
        self.model.to(device)
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        return self

    def save(self, folder: str) -> None:
        pretrained.write_reference(folder, "image_vae", self.where, {}, mean=self.mean, std=self.std)

    @classmethod
    def load(cls, folder: str) -> ImageLatents:
        """What :meth:`save` wrote; the autoencoder itself comes from where it lay."""
        where, _, statistics = pretrained.read_reference(folder)
        return cls(_model(where), where, **statistics)


def _model(where: Where) -> Any:
    model = pretrained.load(where)
    if type(model).__name__ != "AutoencoderKL":
        raise UsageError(
            f"{where} is a {type(model).__name__}, not an image autoencoder of class AutoencoderKL.",
            fix="Set `latents.kind: video_vae` for it, or name another.",
        )
    return model


def fit_image(where: Where, videos: Iterable[torch.Tensor]) -> ImageLatents:
    """Load an autoencoder and measure its channels on videos (B, 3, T, H, W) in -1..1; it runs where they lie.

    Raises:
        UsageError: it cannot be loaded, or there is no video.
    """
    model = _model(where)
    channels = int(model.config.latent_channels)
    latents = ImageLatents(model, where.settled(model), torch.zeros(channels), torch.ones(channels))
    mean, std = pretrained.measure(latents.encode_raw, channels, videos, latents.to, str(where))
    latents.mean, latents.std = mean.to(latents.mean.device), std.to(latents.std.device)
    return latents
