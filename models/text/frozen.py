"""What frozen text encoders share: they never train, whatever is asked of the module around them. Room: models."""

from __future__ import annotations

from torch import nn


class Frozen(nn.Module):
    """A module without gradients that stays in evaluation mode: dropout in a frozen tower would blur its captions."""

    trained = False

    def freeze(self) -> None:
        """Call when all is in place."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)
