"""Which OpenCLIP model the settings mean, before anything of it is built. Room: models.

In: `model`, `weights` and `weights_file` of the recipe's `features.embeddings`. Out: configuration, preparation of pictures, the file with the weights,
and a fingerprint that does not depend on where files lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from models.hub import file_fingerprint
from models.openclip_files import Keys, configuration_file, read_configuration, weights_file
from schemas.errors import UsageError
from schemas.ids import fingerprint

KEYS = Keys("features.embeddings.model", "features.embeddings.weights", "ViT-B-32")


@dataclass(frozen=True)
class Spec:
    """A model of OpenCLIP, named and found."""

    model: str
    """An architecture that open_clip knows, the path of a JSON configuration, or `hf-hub:owner/name`."""
    weights: str
    """As the settings name them: a tag, or a path; empty where the model's repository has them."""
    config: dict[str, Any]
    """The architecture in open_clip's format, with the activation that the weights were trained with."""
    preparation: dict[str, Any]
    """How pictures are prepared, where that differs from open_clip's defaults: mean, std, interpolation, resize_mode …"""
    file: str
    """The weights, on this machine."""
    folder: Path | None
    """Where the JSON configuration lies; None for an architecture that open_clip knows."""

    @property
    def name(self) -> str:
        """Architecture and weights, without folders."""
        return "/".join(_short(part) for part in (self.model, self.weights) if part)

    @cached_property
    def fingerprint(self) -> str:
        """Of all that a vector depends on beside the picture."""
        return fingerprint(
            {"config": self.config, "preparation": self.preparation, "weights": file_fingerprint(self.file)}
        )


def find(model: str, weights: str | None, own: str | None = None) -> Spec:
    """Find a model's configuration and weights; weights with a tag are fetched if need be.

    Args:
        own: a local file that holds the weights of the tag.

    Raises:
        UsageError: one of them is not there, cannot be fetched, or is of no use here.
    """
    whole = read_configuration(model, KEYS)
    config = dict(whole["model_cfg"])
    if not isinstance(config.get("vision_cfg"), dict):
        raise UsageError(
            f"The configuration {model} lacks `vision_cfg`.", fix="Name a JSON file in open_clip's format."
        )
    file, known = weights_file(model, weights, own, KEYS)
    preparation = dict(whole.get("preprocess_cfg") or {})
    if known is not None:
        # A tag says what its weights were trained with; the architecture of the same name may say otherwise.
        config["quick_gelu"] = bool(known.facts.get("quick_gelu", False))
        preparation = {k: v for k, v in known.facts.items() if k in _PREPARATION}
    configuration = configuration_file(model, KEYS)
    return Spec(
        model, weights or "", config, preparation, file, None if configuration is None else configuration.parent
    )


_PREPARATION = frozenset({"mean", "std", "interpolation", "resize_mode", "fill_color"})


def _short(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix in (".json", ".safetensors") else name
