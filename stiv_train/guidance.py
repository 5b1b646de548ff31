"""Classifier-free guidance over text and given frames, and renormalisation. STIV (arXiv 2412.07730), section 2.2.

Room: stiv_train. In: velocities that the network predicts under two or three conditions; out: the one to follow. With F the
network, T the text, I the given frames, and 0 where one is left out:

    joint (JIT-CFG, two passes)       F(0, 0) + s · (F(T, I) - F(0, 0))
    separate (SIT-CFG, three passes)  F(0, 0) + s_img · (F(0, I) - F(0, 0)) + s_txt · (F(T, I) - F(0, I))
    renormalised                      guided · |F(T, I)| / |guided|

From the second formula: equal scales are joint guidance, and with s_img = 1 F(0, 0) cancels. A pass whose weight is zero is
not run, and both scales 1 give F(T, I) bit for bit.

LEGEND  B batch; C, t, h, w latent channels, frames, rows, columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

Pass = Literal["both", "image_only", "null"]
"""Text and given frames; given frames alone; neither."""


def joint(cond: torch.Tensor, null: torch.Tensor, scale: float) -> torch.Tensor:
    """null + scale · (cond - null). (B, …) each."""
    return cond if scale == 1 else null + scale * (cond - null)


def separate(
    null: torch.Tensor, image_only: torch.Tensor, both: torch.Tensor, s_img: float, s_txt: float
) -> torch.Tensor:
    """null + s_img · (image_only - null) + s_txt · (both - image_only). (B, …) each."""
    if s_img == s_txt:
        return joint(both, null, s_txt)
    if s_img == 1:
        return joint(both, image_only, s_txt)
    return null + s_img * (image_only - null) + s_txt * (both - image_only)


def renormalise(guided: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
    """``guided`` with the norm of ``cond``, per sample over all other axes. The paper does not name the axes; this is our reading.

    Norms are taken in float32. A guided prediction of zeros stays one.
    """
    axes = tuple(range(1, guided.ndim))
    wanted = torch.linalg.vector_norm(cond.float(), dim=axes, keepdim=True)
    had = torch.linalg.vector_norm(guided.float(), dim=axes, keepdim=True)
    factor = torch.where(had > 0, wanted / had, 1.0)
    return (guided.float() * factor).to(guided.dtype)


def passes(guidance: float, image_guidance: float | None, image_given: bool) -> tuple[Pass, ...]:
    """The passes that have a weight, "both" first. Without given frames "image_only" would repeat "null"."""
    if image_guidance is None or not image_given or image_guidance == guidance:
        return ("both",) if guidance == 1 else ("both", "null")
    return ("both", "image_only") if image_guidance == 1 else ("both", "image_only", "null")


def guide(
    predictions: Mapping[Pass, torch.Tensor], guidance: float, image_guidance: float | None, renorm: bool
) -> torch.Tensor:
    """Join the predictions of :func:`passes` by the formulas above. (B, …) each → (B, …)."""
    both = predictions["both"]
    if len(predictions) == 1:
        return both
    if len(predictions) == 3 and image_guidance is not None:
        guided = separate(predictions["null"], predictions["image_only"], both, image_guidance, guidance)
    else:
        guided = joint(both, predictions["image_only" if "image_only" in predictions else "null"], guidance)
    return renormalise(guided, both) if renorm else guided
