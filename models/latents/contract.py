"""What every autoencoder here can do. Legend: B batch, T frames, H rows, W columns of pixels; C, t, h, w of latents."""

from __future__ import annotations

from typing import Protocol

import torch


class Latents(Protocol):
    """Pixels to normalised latents and back.

    Latents have about zero mean and unit variance in every channel: ``(raw - mean) / std`` with the statistics below. They do
    not move with a network's parameters: nothing here is trained along.
    """

    channels: int
    """C: values per latent position."""
    spatial: int
    """Rows (and columns) of pixels per latent row (and column)."""
    temporal: int
    """Frames per latent frame; the first latent frame of an autoencoder with ``causal`` stands for one frame alone."""
    causal: bool
    """True: T = 1 + (t - 1) · temporal. False: T = t · temporal."""
    mean: torch.Tensor
    """(C,) float32, of the raw latents."""
    std: torch.Tensor
    """(C,) float32, of the raw latents."""

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) float in -1..1 → (B, C, t, h, w) float32, normalised. No randomness: the mean where there is a distribution.

        Raises:
            ValueError: T, H or W do not fit the factors; says which.
        """
        ...

    def decode(self, latents: torch.Tensor, frames: int | None = None) -> torch.Tensor:
        """(B, C, t, h, w) normalised → (B, 3, T, H, W) float32, clamped to -1..1.

        Args:
            latents: as :meth:`encode` makes them.
            frames: keep only this many from the start. Needed for an image (1) where ``temporal`` is over 1 and not ``causal``:
                it was encoded as a block of equal frames, and its one latent frame looks like a video's.
        """
        ...

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, t, h, w) for a video of that shape.

        Raises:
            ValueError: see :meth:`encode`.
        """
        ...

    def to(self, device: torch.device | str) -> Latents:
        """The same, there."""
        ...

    def save(self, folder: str) -> None:
        """Write all that is needed to load it again (:func:`models.latents.make.load_latents`): safetensors and JSON.

        An autoencoder that lies elsewhere writes its name or path and its statistics only.
        """
        ...
