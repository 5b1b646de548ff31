"""A linear autoencoder that needs no download: principal components of blocks of pixels, fitted on the selection. Room: models.

A block is (bt, bh, bw) frames, rows and columns of RGB in -1..1: D = 3·bt·bh·bw values. In: videos. Out: C normalised components
a block. What is lost is what was dropped: on the data of the fit, the mean squared error before clamping is the sum of the
dropped variances over D; nothing but rounding is lost with C = D.

Legend: B batch, T frames, H rows, W columns of pixels; C, t, h, w of latents; N blocks, D values in a block.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from models.latents.common import by_channel, checked, latent_frames, latent_side, no_videos, read, safe_std, write
from schemas.errors import UsageError

MOST_VALUES = 2048
"""Largest D: the covariance takes 8·D² bytes and its components D³ steps."""
CHUNK_VALUES = 1 << 22
"""Values that the fit holds in float64 at a time."""


def to_blocks(video: torch.Tensor, block: tuple[int, int, int]) -> torch.Tensor:
    """(B, 3, T, H, W) → (B, t, h, w, D); D runs over channel, frame, row, column."""
    bt, bh, bw = block
    batch, _, frames, height, width = video.shape
    parts = video.reshape(batch, 3, frames // bt, bt, height // bh, bh, width // bw, bw)
    return parts.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)


def from_blocks(blocks: torch.Tensor, block: tuple[int, int, int]) -> torch.Tensor:
    """The inverse of :func:`to_blocks`."""
    bt, bh, bw = block
    batch, t, h, w, _ = blocks.shape
    parts = blocks.reshape(batch, t, h, w, 3, bt, bh, bw).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return parts.reshape(batch, 3, t * bt, h * bh, w * bw)


class LinearLatents:
    """See :class:`models.latents.contract.Latents`. Raw latents are ``basis · (block - centre)``."""

    causal = False

    def __init__(
        self,
        block: tuple[int, int, int],
        basis: torch.Tensor,
        centre: torch.Tensor,
        variances: torch.Tensor,
        mean: torch.Tensor,
        std: torch.Tensor,
    ) -> None:
        """Take parts as fitted or loaded.

        Args:
            block: (bt, bh, bw).
            basis: (C, D) float32, rows orthonormal, by falling variance.
            centre: (D,) float32, the mean block.
            variances: (D,) float64, of all components, falling; the first C are kept.
            mean: (C,) float32.
            std: (C,) float32.
        """
        self.block = block
        self.temporal, self.spatial, _ = block
        self.basis, self.centre, self.variances, self.mean, self.std = basis, centre, variances, mean, std
        self.channels = basis.shape[0]

    @property
    def explained(self) -> float:
        """Share of the variance that the kept components hold; 1 where there is none at all."""
        total = float(self.variances.sum())
        return float(self.variances[: self.channels].sum()) / total if total > 0 else 1.0

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        t = latent_frames(frames, self.temporal, causal=False)
        return self.channels, t, latent_side(height, self.spatial, "height"), latent_side(width, self.spatial, "width")

    @torch.no_grad()
    def encode(self, video: torch.Tensor) -> torch.Tensor:
        _, _, frames, height, width = checked(video)
        self.latent_shape(frames, height, width)
        blocks = to_blocks(_lengthened(video.to(self.basis.device, torch.float32), self.temporal), self.block)
        with torch.autocast(blocks.device.type, enabled=False):  # bf16 would cost exactness, and gain no time here
            raw = ((blocks - self.centre) @ self.basis.T).permute(0, 4, 1, 2, 3)
        return (raw - by_channel(self.mean, raw)) / by_channel(self.std, raw)

    def decode(self, latents: torch.Tensor, frames: int | None = None) -> torch.Tensor:
        return self.project(latents, frames).clamp(-1, 1)

    @torch.no_grad()
    def project(self, latents: torch.Tensor, frames: int | None = None) -> torch.Tensor:
        """:meth:`decode` without the clamping: the exact inverse of :meth:`encode` on latents."""
        latents = latents.to(self.basis.device, torch.float32)
        raw = latents * by_channel(self.std, latents) + by_channel(self.mean, latents)
        with torch.autocast(raw.device.type, enabled=False):
            blocks = raw.permute(0, 2, 3, 4, 1) @ self.basis + self.centre
        return from_blocks(blocks, self.block)[:, :, :frames]

    def to(self, device: torch.device | str) -> LinearLatents:
        for name in ("basis", "centre", "mean", "std"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def save(self, folder: str) -> None:
        facts = {
            "kind": "linear",
            "block": list(self.block),
            "channels": self.channels,
            "explained": self.explained,
        }
        names = ("basis", "centre", "variances", "mean", "std")
        write(folder, facts, {name: getattr(self, name) for name in names})

    @classmethod
    def load(cls, folder: str) -> LinearLatents:
        """What :meth:`save` wrote."""
        facts, tensors = read(folder)
        frames, rows, columns = facts["block"]
        return cls((frames, rows, columns), **tensors)


def _lengthened(video: torch.Tensor, temporal: int) -> torch.Tensor:
    """An image (T = 1) as a block of equal frames; a video as it is."""
    return video.expand(-1, -1, temporal, -1, -1) if video.shape[2] == 1 and temporal > 1 else video


def fit_linear(block: tuple[int, int, int], channels: int, videos: Iterable[torch.Tensor]) -> LinearLatents:
    """Principal components of the blocks of many videos, from their mean and covariance in float64.

    Memory is bounded by the covariance (D² values), not by the number of videos.

    Args:
        block: (bt, bh, bw); bh and bw equal.
        channels: C, at most D.
        videos: (B, 3, T, H, W) floats in -1..1, of any shapes that fit the block.

    Raises:
        UsageError: the block is not square or too large, there is no video, or values are not finite.
        ValueError: a video does not fit the block.
    """
    bt, bh, bw = block
    values = 3 * bt * bh * bw
    if bh != bw:
        raise UsageError(
            f"A block of {bh} rows and {bw} columns is not square.", fix="Give `latents.block` equal rows and columns."
        )
    if values > MOST_VALUES:
        raise UsageError(
            f"A block of {bt} × {bh} × {bw} holds {values} values; more than {MOST_VALUES} are too many for a covariance.",
            fix="Give `latents.block` fewer frames, rows or columns, such as [1, 8, 8].",
        )
    if channels > values:
        raise UsageError(
            f"{channels} components were asked for, but a block of {bt} × {bh} × {bw} has only {values} values.",
            fix=f"Set `latents.channels` to {values} or less.",
        )
    mean, covariance = _moments(block, values, videos)
    found, vectors = torch.linalg.eigh(covariance)
    order = torch.argsort(found, descending=True, stable=True)
    variances = found[order].clamp(min=0)
    basis = _signed(vectors[:, order].T[:channels]).float().contiguous()
    return LinearLatents(block, basis, mean.float(), variances, torch.zeros(channels), safe_std(variances[:channels]))


def _moments(
    block: tuple[int, int, int], values: int, videos: Iterable[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (D,) and covariance (D, D) of all blocks, float64, over N (not N - 1: then the discarded variance is the error)."""
    count = 0
    total = torch.zeros(values, dtype=torch.float64)
    products = torch.zeros(values, values, dtype=torch.float64)
    for video in videos:
        _, _, frames, height, width = checked(video)
        latent_frames(frames, block[0], causal=False)
        latent_side(height, block[1], "height")
        latent_side(width, block[2], "width")
        for sample in video:
            blocks = to_blocks(_lengthened(sample[None].float(), block[0]), block).flatten(0, 3)  # (N, D)
            for chunk in blocks.split(max(1, CHUNK_VALUES // values)):
                exact = chunk.double()
                total += exact.sum(0).cpu()
                products += (exact.T @ exact).cpu()
                count += len(exact)
    if count == 0:
        raise no_videos()
    if not bool(products.isfinite().all()):
        raise UsageError("A video to fit the latents on holds values that are not finite.", fix="Check the shards.")
    mean = total / count
    return mean, products / count - torch.outer(mean, mean)


def _signed(basis: torch.Tensor) -> torch.Tensor:
    """Rows with their largest value positive: an eigenvector's sign is arbitrary, and a saved network depends on it."""
    largest = basis.gather(1, basis.abs().argmax(1, keepdim=True))
    return basis * torch.where(largest < 0, -1.0, 1.0)
