"""A recipe's text encoder. Room: models."""

from __future__ import annotations

from torch import nn

from models.text.openclip import OpenClipText
from models.text.small import SmallText
from models.text.t5 import T5Text
from schemas.train_recipe import Text


def make_text(recipe: Text) -> nn.Module:
    """The encoder, a :class:`models.text.contract.TextEncoder`, on the CPU: `small` with new weights from torch's global generator, the others with their own.

    Raises:
        UsageError: weights cannot be found or fetched, or do not fit; or a library is missing.
    """
    if recipe.kind == "small":
        return SmallText(recipe.width, recipe.depth, recipe.max_tokens)
    if recipe.kind == "openclip":
        return OpenClipText(recipe.name or "", recipe.weights, recipe.max_tokens, recipe.weights_file)
    return T5Text(recipe.name or "", recipe.max_tokens)
