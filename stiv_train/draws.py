"""All randomness of a training step, drawn sample by sample.

Room: stiv_train. In: seed, step and each sample's place in the global batch; out: noise, times, dropout and kept tokens, on
the CPU. A sample's numbers depend on nothing else, so any division of a batch over processes draws the same, and a resumed
run draws what the undisturbed one would have.

The generator is Philox, which turns a key and a counter into random bits: (seed, purpose) are its key and (step, position) the
high words of its counter, so two samples never share a stream, by construction. PyTorch's CPU generator would not do: it
looks at the low 32 bits of a seed only, so a long run would draw the same noise again and again.

LEGEND  B batch; C, t, h, w latent channels, frames, rows, columns; K spatial tokens that stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from schemas.train_recipe import Conditioning, Flow
from stiv_train import conditioning as frames_given
from stiv_train import flow as flows
from stiv_train import masking

Purpose = Literal["train", "validation", "sample"]
_PURPOSES: tuple[Purpose, ...] = ("train", "validation", "sample")
_WORD = 2**64


@dataclass(frozen=True)
class Draws:
    """The random part of a batch."""

    noise: torch.Tensor
    """(B, C, t, h, w) float32, standard normal."""
    time: torch.Tensor
    """(B,) float32: 0 noise, 1 clean."""
    text_dropped: torch.Tensor
    """(B,) bool: give the empty caption."""
    given: torch.Tensor
    """(B, t) bool: latent frames given clean; none where the image is dropped."""
    keep: torch.Tensor | None
    """(B, K) int64, ascending: spatial tokens that stay in the main blocks; None for all."""

    def to(self, device: torch.device | str) -> Draws:
        keep = None if self.keep is None else self.keep.to(device)
        return Draws(
            self.noise.to(device), self.time.to(device), self.text_dropped.to(device), self.given.to(device), keep
        )


def stream(seed: int, step: int, position: int, purpose: Purpose = "train") -> np.random.Generator:
    """The random numbers of one sample, a stream of its own for every combination of the arguments (each below 2⁶⁴)."""
    key = np.array([seed % _WORD, _PURPOSES.index(purpose)], dtype=np.uint64)
    counter = np.array([0, 0, position % _WORD, step % _WORD], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def draw_noise(
    seed: int,
    step: int,
    positions: Sequence[int] | np.ndarray,
    latent_shape: tuple[int, int, int, int],
    purpose: Purpose = "sample",
) -> torch.Tensor:
    """Noise alone, as for generation. (B, C, t, h, w) float32, not that of :func:`draw`."""
    noise = np.empty((len(positions), *latent_shape), dtype=np.float32)
    for row, position in enumerate(positions):
        stream(seed, step, int(position), purpose).standard_normal(out=noise[row], dtype=np.float32)
    return torch.from_numpy(noise)


def draw(
    seed: int,
    step: int,
    positions: Sequence[int] | np.ndarray,
    latent_shape: tuple[int, int, int, int],
    spatial_tokens: int,
    flow: Flow,
    conditioning: Conditioning,
    purpose: Purpose = "train",
    *,
    tokens: int | None = None,
) -> Draws:
    """Draw a batch, or any part of one.

    Args:
        positions: (B,) each sample's place in its whole global batch.
        latent_shape: (C, t, h, w).
        spatial_tokens: Tokens of one latent frame.
        conditioning: Shares of dropout. ``purpose`` changes the stream and nothing else: for a measurement without dropout,
            pass shares of 0.
        tokens: Tokens of a whole sample; needed by ``flow.shift: resolution`` only.
    """
    kept = masking.tokens_kept(spatial_tokens, conditioning.token_drop) if conditioning.token_drop > 0 else 0
    uniform = torch.empty((len(positions), 3), dtype=torch.float64)
    noise = np.empty((len(positions), *latent_shape), dtype=np.float32)
    keep = torch.empty((len(positions), kept), dtype=torch.int64)
    for row, position in enumerate(positions):
        # Always in this order and number, so that changing one share leaves everything else as it was.
        generator = stream(seed, step, int(position), purpose)
        uniform[row] = torch.from_numpy(generator.random(3))
        generator.standard_normal(out=noise[row], dtype=np.float32)
        if kept:
            keep[row] = masking.keep_tokens(spatial_tokens, conditioning.token_drop, generator)
    return Draws(
        noise=torch.from_numpy(noise),
        time=flows.timesteps(uniform[:, 0], flow, tokens),
        text_dropped=uniform[:, 1] < conditioning.text_drop,
        given=frames_given.given_mask(conditioning.task, uniform[:, 2] < conditioning.image_drop, latent_shape[1]),
        keep=keep if kept else None,
    )
