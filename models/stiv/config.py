"""The shape of a STIV network: what it takes to build one again, and the presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from schemas.errors import UsageError
from schemas.train_recipe import Model

HEAD_WIDTH = 64
"""Of every preset (STIV Table 1: 1152 / 18, 1536 / 24, 3072 / 48)."""

PRESETS: dict[str, tuple[int, int]] = {
    "T": (128, 4),
    "S": (384, 12),
    "B": (768, 12),
    "XL": (1152, 28),
    "XXL": (1536, 38),
    "M": (3072, 46),
}
"""Name → (width, depth). XL, XXL and M are STIV's (Table 1); T, S and B are ours, for tests and for proof on one machine."""


@dataclass(frozen=True)
class STIVConfig:
    """All that decides which parameters a network has, and how it reads positions."""

    width: int
    depth: int
    channels: int
    """C: values per latent position."""
    text_width: int
    """Of the text encoder's tokens."""
    patch: tuple[int, int, int] = (2, 2, 2)
    """Latent frames, rows and columns in a token."""
    attention: str = "factorized"
    temporal: bool = True
    mask_blocks: int = 2
    skip: bool = False
    """Whether the prediction is added to :func:`models.stiv.network.linear_guess`."""
    rope_reference: tuple[int, int, int] | None = None
    """Tokens (frames, rows, columns) of the samples the network was first trained on: longer axes are squeezed into that range.
    None: positions go on as they are."""

    def __post_init__(self) -> None:
        if self.width % HEAD_WIDTH:
            raise UsageError(
                f"A network cannot be {self.width} wide: heads are {HEAD_WIDTH} wide.",
                fix=f"Choose a multiple of {HEAD_WIDTH}.",
            )
        if self.attention not in ("factorized", "full"):
            raise UsageError(f"There is no attention `{self.attention}`.", fix="Choose `factorized` or `full`.")

    @property
    def heads(self) -> int:
        return self.width // HEAD_WIDTH

    def tokens(self, frames: int, rows: int, columns: int) -> tuple[int, int, int]:
        """Tokens along frames, rows and columns of latents of that size; a last patch that is not full of frames counts.

        Raises:
            ValueError: rows or columns do not divide by the patch.
        """
        _, ph, pw = self.patch
        if rows % ph or columns % pw:
            raise ValueError(f"latents of {rows} × {columns} do not divide into patches of {ph} × {pw}")
        return -(-frames // self.patch[0]), rows // ph, columns // pw

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> STIVConfig:
        """What :meth:`to_json` gave."""
        reference = facts.get("rope_reference")
        return STIVConfig(
            **{
                **facts,
                "patch": tuple(facts["patch"]),
                "rope_reference": tuple(reference) if reference is not None else None,
            }
        )


def config_from_recipe(
    model: Model, channels: int, text_width: int, latent_shape: tuple[int, int, int, int]
) -> STIVConfig:
    """The network that a recipe asks for; ``latent_shape`` (C, t, h, w) is that of the recipe's first bucket."""
    width, depth = PRESETS[model.preset]
    config = STIVConfig(
        width=model.width or width,
        depth=model.depth or depth,
        channels=channels,
        text_width=text_width,
        patch=model.patch,
        attention=model.attention,
        temporal=model.temporal,
        mask_blocks=model.mask_blocks,
        skip=model.skip,
    )
    if not model.rope_interpolate:
        return config
    return STIVConfig(**{**config.__dict__, "rope_reference": config.tokens(*latent_shape[1:])})
