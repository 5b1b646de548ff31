"""A recipe's latents: fitted on videos, or loaded from where they were saved. Room: models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch

from models.latents.common import read
from models.latents.contract import Latents
from models.latents.image_vae import ImageLatents, fit_image
from models.latents.linear import LinearLatents, fit_linear
from models.latents.pretrained import Where
from models.latents.video_vae import VideoLatents, fit_video
from schemas.errors import UsageError
from schemas.train_recipe import Latents as Section

_LOADERS: dict[str, Callable[[str], Latents]] = {
    "linear": LinearLatents.load,
    "image_vae": ImageLatents.load,
    "video_vae": VideoLatents.load,
}


def fit_latents(recipe: Section, videos: Iterable[torch.Tensor]) -> Latents:
    """Make the latents a recipe asks for.

    `linear` fits its components on the videos; the pretrained ones only measure their channels' mean and standard deviation.

    Args:
        recipe: its `latents` section.
        videos: (B, 3, T, H, W) floats in -1..1, of any shapes that fit; taken one by one. Work is done where they lie, and the
            result lies there too.

    Raises:
        UsageError: no video, an unfit block, or an autoencoder that cannot be loaded.
        ValueError: a video whose shape does not fit.
    """
    if recipe.kind == "linear":
        device = torch.device("cpu")

        def noted() -> Iterator[torch.Tensor]:
            nonlocal device
            for video in videos:
                device = video.device
                yield video

        return fit_linear(recipe.block, recipe.channels, noted()).to(device)
    where = Where(recipe.path or "", recipe.subfolder, recipe.model_class if recipe.kind == "video_vae" else None)
    return fit_image(where, videos) if recipe.kind == "image_vae" else fit_video(where, videos)


def load_latents(folder: str) -> Latents:
    """What a :meth:`Latents.save` wrote, on the CPU.

    Raises:
        UsageError: the folder is not there or not whole, or the autoencoder it names has gone.
    """
    kind = read(folder)[0].get("kind")
    if kind not in _LOADERS:
        raise UsageError(
            f"{folder} holds latents of kind {kind!r}, which this version does not know.",
            fix=f"Known are {', '.join(_LOADERS)}; use the version of stiv that wrote it.",
        )
    return _LOADERS[kind](folder)
