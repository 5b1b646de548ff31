"""Network and text encoder as one module, and weights of another run put into it. Room: stiv_train.

Training, its average, its optimiser and its checkpoints see one module: what is trained is in its state dict, what is frozen is not.

Legend: B batch, M text tokens; C channels, t h w latent frames, rows and columns; K spatial tokens kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import nn

from models.stiv.network import STIV
from models.text.contract import TextCondition, TextEncoder
from schemas.errors import UsageError


class VideoModel(nn.Module):
    """Latents, a time and a caption in, the network's prediction out."""

    text: nn.Module

    def __init__(self, network: STIV, text: nn.Module) -> None:
        super().__init__()
        self.network = network
        if cast(TextEncoder, text).trained:
            self.text = text
        else:
            # Past nn.Module's registry: a frozen encoder is no part of the state dict, of DDP or of the optimiser.
            self.__dict__["text"] = text.requires_grad_(False).eval()

    @property
    def encoder(self) -> TextEncoder:
        """The text encoder by its contract."""
        return cast(TextEncoder, self.text)

    def encode(self, ids: torch.Tensor) -> TextCondition:
        """(B, M) int64 token ids → the condition; a frozen encoder runs without gradients."""
        if self.encoder.trained:
            return self.encoder.encode(ids)
        with torch.no_grad():
            return self.encoder.encode(ids)

    def forward(
        self,
        latents: torch.Tensor,
        time: torch.Tensor,
        text: torch.Tensor | TextCondition,
        micro: torch.Tensor,
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict.

        Args:
            latents: (B, C, t, h, w) on the way from noise to data.
            time: (B,) in 0 (noise) .. 1 (data).
            text: (B, M) int64 token ids, or what :meth:`encode` made of them.
            micro: (B, 6), as in :class:`stiv_train.data.batch.Batch`.
            keep: (B, K) spatial tokens that the main blocks see; None keeps all.
        """
        condition = self.encode(text) if isinstance(text, torch.Tensor) else text
        return cast(torch.Tensor, self.network(latents, time, condition, micro, keep))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> VideoModel:
        super()._apply(fn, recurse)
        if not self.encoder.trained:  # `.to(device)` moves a frozen encoder too
            self.text._apply(fn, recurse)
        return self


def check_tensors(
    found: Mapping[str, torch.Tensor],
    model: nn.Module,
    where: str,
    *,
    may_lack: Callable[[str], bool] = lambda _: False,
) -> None:
    """Raise UsageError unless tensors fit a model by name and shape.

    Args:
        found: what a file holds.
        where: what the file is, for the message.
        may_lack: names that the model may have and the file not.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    problems = [
        f"`{name}` is {_shape(found[name].shape)} there and {_shape(shape)} here"
        for name, shape in wanted.items()
        if name in found and tuple(found[name].shape) != shape
    ]
    problems += [f"`{name}` is not there" for name in wanted if name not in found and not may_lack(name)]
    problems += [f"`{name}` is there and not here" for name in found if name not in wanted]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UsageError(
            f"{where} is of another shape than this recipe's model: {'; '.join(problems[:3])}{more}.",
            fix="Use the model, latents and text sections of the recipe it was trained with (recipe.yaml in its run).",
        )


def is_temporal(name: str) -> bool:
    """Whether a parameter belongs to what a video model adds to an image model, and what starts as if it were not there."""
    return any(part.startswith("temporal") for part in name.split("."))


def _shape(shape: Any) -> str:
    return " × ".join(str(n) for n in shape) or "a number"
