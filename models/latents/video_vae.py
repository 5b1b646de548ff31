"""Video autoencoders of diffusers: AutoencoderKLWan, …HunyuanVideo, …LTXVideo, …CogVideoX and their like. Room: models.

In: videos in -1..1. Out: the mean of the latent distribution, normalised by measured statistics of each channel. Factors are not
looked up in a list of models but measured once, by sending a short black video there and back. Runs in float32, or in the
caller's autocast.

Legend: B batch, T frames, H rows, W columns of pixels; C, t, h, w of latents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from models.latents import pretrained
from models.latents.common import by_channel, checked, latent_frames, latent_side
from models.latents.pretrained import Where
from models.libraries import reason
from schemas.errors import UsageError

PROBE_SIDE = 64
_HINTS = ("temporal_compression_ratio", "scale_factor_temporal", "time_compression_ratio")
_USUAL = (4, 8, 2, 6, 1, 16)
_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError)
"""What a network raises for a shape that it cannot take."""


@dataclass(frozen=True)
class Factors:
    """Shape of an autoencoder's latents; names as in the contract."""

    channels: int
    spatial: int
    temporal: int
    causal: bool


class VideoLatents:
    """See :class:`models.latents.contract.Latents`."""

    def __init__(self, model: Any, where: Where, factors: Factors, mean: torch.Tensor, std: torch.Tensor) -> None:
        self.model, self.where, self.factors, self.mean, self.std = model, where, factors, mean, std
        self.channels, self.spatial = factors.channels, factors.spatial
        self.temporal, self.causal = factors.temporal, factors.causal

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        t = latent_frames(frames, self.temporal, self.causal)
        return self.channels, t, latent_side(height, self.spatial, "height"), latent_side(width, self.spatial, "width")

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        raw = self.encode_raw(video)
        return (raw - by_channel(self.mean, raw)) / by_channel(self.std, raw)

    @torch.no_grad()
    def encode_raw(self, video: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) → (B, C, t, h, w), not normalised; one video at a time, as one alone can fill the memory."""
        _, _, frames, height, width = checked(video)
        self.latent_shape(frames, height, width)
        video = video.to(self.mean.device, torch.float32)
        if frames == 1 and not self.causal and self.temporal > 1:
            video = video.expand(-1, -1, self.temporal, -1, -1)
        return torch.cat([pretrained.mode(self.model.encode(sample)).float() for sample in video.split(1)])

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, frames: int | None = None) -> torch.Tensor:
        latents = latents.to(self.mean.device, torch.float32)
        raw = latents * by_channel(self.std, latents) + by_channel(self.mean, latents)
        return torch.cat([_decoded(self.model, z).clamp(-1, 1) for z in raw.split(1)])[:, :, :frames]

    def to(self, device: torch.device | str) -> VideoLatents:
        self.model.to(device)
        self.mean, self.std = self.mean.to(device), self.std.to(device)
        return self

    def save(self, folder: str) -> None:
        pretrained.write_reference(
            folder, "video_vae", self.where, {"factors": asdict(self.factors)}, mean=self.mean, std=self.std
        )

    @classmethod
    def load(cls, folder: str) -> VideoLatents:
        """What :meth:`save` wrote; the autoencoder itself comes from where it lay."""
        where, facts, statistics = pretrained.read_reference(folder)
        return cls(pretrained.load(where), where, Factors(**facts["factors"]), **statistics)


def _decoded(model: Any, latents: torch.Tensor) -> torch.Tensor:
    """(1, C, t, h, w) → (1, 3, T, H, W) float32."""
    # LTX's later decoders remove noise as well and ask how much is left; their pipeline's default is none.
    noise = {"temb": latents.new_zeros(len(latents))} if model.config.get("timestep_conditioning") else {}
    return model.decode(latents, **noise).sample.float()


@torch.no_grad()
def measure_factors(model: Any, what: str) -> Factors:
    """Send short black videos through an autoencoder until one comes back with as many frames as it had.

    Three latent frames tell T = 1 + 2·k (causal) from T = 3·k, whatever the configuration calls k.

    Raises:
        UsageError: none does.
    """
    hints = [model.config.get(name) or getattr(model, name, None) for name in _HINTS]
    tried = dict.fromkeys([int(hint) for hint in hints if hint] + list(_USUAL))
    refusal: Exception | None = None
    for temporal in tried:
        for causal in (True, False) if temporal > 1 else (False,):
            shape = (1, 3, 1 + 2 * temporal if causal else 3 * temporal, PROBE_SIDE, PROBE_SIDE)
            try:
                latents = pretrained.mode(model.encode(torch.zeros(shape)))
                if latents.ndim != 5 or latents.shape[2] != 3 or _decoded(model, latents.float()).shape != shape:
                    continue
            except _REFUSALS as error:
                refusal = error
                continue
            return Factors(latents.shape[1], PROBE_SIDE // latents.shape[3], temporal, causal)
    raise UsageError(
        f"{type(model).__name__} of {what} does not take a video of RGB there and back"
        + (f" ({reason(refusal)})." if refusal else "."),
        fix="For an AutoencoderKL set `latents.kind: image_vae`; else name a video autoencoder such as AutoencoderKLWan.",
    )


def fit_video(where: Where, videos: Iterable[torch.Tensor]) -> VideoLatents:
    """Load an autoencoder, measure its factors, and its channels on videos (B, 3, T, H, W) in -1..1; it runs where they lie.

    Raises:
        UsageError: it cannot be loaded, is no video autoencoder, or there is no video.
    """
    model = pretrained.load(where)
    factors = measure_factors(model, str(where))
    channels = factors.channels
    latents = VideoLatents(model, where.settled(model), factors, torch.zeros(channels), torch.ones(channels))
    mean, std = pretrained.measure(latents.encode_raw, channels, videos, latents.to, str(where))
    latents.mean, latents.std = mean.to(latents.mean.device), std.to(latents.std.device)
    return latents
