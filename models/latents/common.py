"""What the autoencoders share: channel statistics, shapes, and the folder they are saved in. Room: models.

Legend: B batch, T frames, H rows, W columns of pixels; C, t, h, w of latents.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from schemas.errors import StorageError, UsageError

FACTS = "latents.json"
TENSORS = "latents.safetensors"
LEAST_STD = 1e-4
"""A channel that varies less is constant but for rounding (8-bit pixels in -1..1 are 8e-3 apart); it is not scaled."""


def safe_std(variance: torch.Tensor) -> torch.Tensor:
    """(C,) float64 variances → (C,) float32 to divide by: 1 where a channel is constant, so that rounding is not blown up."""
    std = variance.clamp(min=0).sqrt()
    return torch.where(std < LEAST_STD, torch.ones_like(std), std).float()


class ChannelStatistics:
    """Streaming mean and variance per channel, in float64 (Chan et al., 1983: stable for any order and size of pieces)."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self._squares = torch.zeros(channels, dtype=torch.float64)

    def add(self, latents: torch.Tensor) -> None:
        """Take in (B, C, t, h, w), raw."""
        values = latents.detach().transpose(0, 1).flatten(1).double()
        count = values.shape[1]
        mean = values.mean(1).cpu()
        squares = (values - mean.to(values.device)[:, None]).square().sum(1).cpu()
        delta = mean - self.mean
        total = self.count + count
        self._squares += squares + delta.square() * (self.count * count / total)
        self.mean += delta * (count / total)
        self.count = total

    @property
    def variance(self) -> torch.Tensor:
        """(C,) float64."""
        return self._squares / max(1, self.count)

    def finish(self, what: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(mean, std), each (C,) float32.

        Args:
            what: the autoencoder, for the message.

        Raises:
            UsageError: nothing was added, or latents were not finite.
        """
        if self.count == 0:
            raise no_videos()
        if not bool((self.mean.isfinite() & self._squares.isfinite()).all()):
            raise UsageError(
                f"{what} gives latents that are not finite.", fix="Check its weights: encode one video by itself."
            )
        return self.mean.float(), safe_std(self.variance)


def no_videos() -> UsageError:
    """The error for a fit without a single video."""
    return UsageError(
        "There is no video to fit the latents on.",
        fix="Look at what `stiv data-plan` selects; at least one clip must be left for training.",
    )


def by_channel(values: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """(C,) → (1, C, 1, 1, 1) where the latents are."""
    return values.to(latents.device).view(1, -1, 1, 1, 1)


def latent_frames(frames: int, temporal: int, causal: bool) -> int:
    """Latent frames of T frames. One frame is an image and has one latent frame with any autoencoder.

    Raises:
        ValueError: T does not fit.
    """
    if frames == 1:
        return 1
    rest = frames - 1 if causal else frames
    if rest < 1 or rest % temporal:
        form = f"1 + a multiple of {temporal}" if causal else f"a multiple of {temporal}"
        raise ValueError(f"{frames} frames do not fit the latents: the number must be 1, or {form}.")
    return rest // temporal + (1 if causal else 0)


def latent_side(size: int, spatial: int, name: str) -> int:
    """Latent rows or columns of a picture's height or width.

    Raises:
        ValueError: it is no multiple of the factor.
    """
    if size < 1 or size % spatial:
        raise ValueError(f"A {name} of {size} pixels does not fit the latents: it must be a multiple of {spatial}.")
    return size // spatial


def checked(video: torch.Tensor) -> tuple[int, int, int, int, int]:
    """Shape of a (B, 3, T, H, W) video.

    Raises:
        ValueError: it has another form.
    """
    if video.ndim != 5 or video.shape[1] != 3 or not video.is_floating_point():
        raise ValueError(f"A video must be (B, 3, T, H, W) floats in -1..1, not {tuple(video.shape)} of {video.dtype}.")
    batch, _, frames, height, width = video.shape
    return batch, 3, frames, height, width


def write(folder: str, facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write an autoencoder's folder; the JSON file comes last, so a folder with it is whole."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        part = Path(folder) / f"{TENSORS}.part"
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, part)
        os.replace(part, Path(folder) / TENSORS)
        part = Path(folder) / f"{FACTS}.part"
        part.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        os.replace(part, Path(folder) / FACTS)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"{folder} could not be written: {error}.", fix="Check free space and permissions."
        ) from error


def read(folder: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What :func:`write` wrote.

    Raises:
        UsageError: it is not there, or not whole.
    """
    fix = "Name a run's own `latents` folder, or train again; the folder is written when a run begins."
    try:
        facts = json.loads((Path(folder) / FACTS).read_text(encoding="utf-8"))
        tensors = load_file(Path(folder) / TENSORS)
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no latents: {error.filename or error} is missing.", fix=fix) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"The latents in {folder} cannot be read: {error}.", fix=fix) from error
    return facts, tensors
