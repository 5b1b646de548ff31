"""LAION's aesthetic predictors: small heads on the unit vectors of an OpenCLIP image tower. Room: models.

In: vectors. Out: scores, about 1 to 10. Two layouts of weights are known:

- linear (LAION-AI/aesthetic-predictor): `weight` (1, D) and `bias` (1,);
- MLP (christophschuhmann/improved-aesthetic-predictor): `layers.N.weight` and `layers.N.bias`, D → 1024 → 128 → 64 → 16 → 1, with
  dropout between the layers and no activation.

A head belongs to one image tower (ViT-B/32, ViT-L/14 …, with OpenAI's weights). The width is checked; whose weights a tower has is only
known where they have a tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from models.libraries import library, reason
from schemas.errors import UsageError

_KEY = "features.embeddings.aesthetic_head"

_MADE_FOR = "openai"
"""The tag of the weights that LAION's heads were fitted to."""


@dataclass(frozen=True)
class AestheticHead:
    """Layers one after the other: x → x · weightᵀ + bias."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """(weight (out, in), bias (out,)), float32."""

    @property
    def width(self) -> int:
        """D: the length of the vectors that it takes."""
        return int(self.layers[0][0].shape[1])

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """(n, D) unit vectors → (n,) float32."""
        x = np.asarray(vectors, np.float32)
        for weight, bias in self.layers:
            x = x @ weight.T + bias
        return x[:, 0]


def doubt(head: str | None, weights: str | None) -> str | None:
    """Why scores of this head would mean little over a tower with these weights; None where nothing is known against it."""
    if not head or not weights or weights == _MADE_FOR or Path(weights).suffix:
        return None
    return (
        f"`aesthetic_laion` may mean little: LAION's heads were fitted to vectors of OpenAI's weights, and `{weights}` are others. "
        f"Set features.embeddings.weights={_MADE_FOR}, unless {Path(head).name} was made for these."
    )


def read_head(path: str, width: int, model: str) -> AestheticHead:
    """Read a head for vectors of this width, made by ``model``.

    Raises:
        UsageError: it is not there, is no aesthetic predictor, or belongs to another model.
    """
    found = _read(path)
    if found.keys() == {"weight", "bias"}:
        names = [""]
    else:
        numbers = sorted({key.split(".")[1] for key in found if key.startswith("layers.")}, key=_number)
        names = [f"layers.{n}." for n in numbers]
    if not names or found.keys() != {f"{n}{part}" for n in names for part in ("weight", "bias")}:
        raise _unknown(path, f"it holds {', '.join(sorted(found)[:4]) or 'nothing'}")
    layers = tuple((found[f"{n}weight"], found[f"{n}bias"].reshape(-1)) for n in names)
    for weight, bias in layers:
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise _unknown(path, f"a weight of shape {weight.shape} has a bias of shape {bias.shape}")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise _unknown(path, "it holds values that are no finite numbers")
    sides = [weight.shape for weight, _ in layers]
    if sides[-1][0] != 1 or any(a[0] != b[1] for a, b in pairwise(sides)):
        raise _unknown(path, f"its layers are {' → '.join(f'{i}×{o}' for o, i in sides)}")
    head = AestheticHead(layers)
    if head.width != width:
        raise UsageError(
            f"The aesthetic head {path} takes vectors of width {head.width}, and {model} makes vectors of width {width}.",
            fix=f"Set `{_KEY}` to the head that belongs to the model (width 512: ViT-B/32; 768: ViT-L/14).",
        )
    return head


def _read(path: str) -> dict[str, np.ndarray]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"The aesthetic head {path} does not exist.", fix=f"Set `{_KEY}` to a file that does.")
    try:
        if file.suffix == ".safetensors":
            found = library("safetensors.torch").load_file(str(file))
        else:
            found = library("torch").load(file, map_location="cpu", weights_only=True)
        return {str(key): value.float().numpy() for key, value in found.items()}
    except Exception as error:  # whatever the unpickler, torch or safetensors raises on a file that is none of theirs
        raise _unknown(path, reason(error)) from error


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _unknown(path: str, why: str) -> UsageError:
    return UsageError(
        f"{path} is no aesthetic predictor of LAION's: {why}.",
        fix="Known are {weight, bias} and layers.N.{weight, bias}, as .safetensors or as .pth with tensors only.",
    )
