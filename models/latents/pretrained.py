"""Autoencoders of diffusers, from a local folder or the model hub. Room: models. Weights are safetensors or an error: no pickles.

In: a path or hub name, a subfolder, a class name. Out: a frozen module in float32, with its latents' statistics measured by us.

Legend: B batch, T frames, H rows, W columns of pixels; C, t, h, w of latents.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from models.hub import is_path
from models.latents.common import ChannelStatistics, no_videos, read, write
from models.libraries import library, reason
from schemas.errors import UsageError


@dataclass(frozen=True)
class Where:
    """Where an autoencoder lies."""

    path: str
    """A local folder or a name on the hub."""
    subfolder: str | None = None
    model_class: str | None = None
    """Its class in diffusers; None: as its configuration says."""

    def __str__(self) -> str:
        return f"{self.path}/{self.subfolder}" if self.subfolder else self.path

    def settled(self, model: Any) -> Where:
        """To be saved: a local folder by its full path, and the class that was found."""
        path = os.path.abspath(os.path.expanduser(self.path)) if self.local else self.path
        return Where(path, self.subfolder, type(model).__name__)

    @property
    def local(self) -> bool:
        """True for a folder, there or not; a name on the hub is `owner/name`."""
        return is_path(self.path)


def load(where: Where) -> Any:
    """The autoencoder, frozen, in evaluation mode, float32, on the CPU.

    Raises:
        UsageError: it cannot be found or fetched, or is of no use here; says which.
    """
    diffusers = library("diffusers")
    if where.local:
        _check_folder(where)
    name = where.model_class or str(_configuration(where, diffusers).get("_class_name"))
    kind = getattr(diffusers, name, None) if name.startswith("Autoencoder") else None
    if kind is None:
        raise UsageError(
            f"{name} is no autoencoder of diffusers {diffusers.__version__} ({where}).",
            fix="Set `latents.model_class` to a class such as AutoencoderKLWan; its name begins with Autoencoder.",
        )
    try:
        model, found = kind.from_pretrained(
            os.path.expanduser(where.path),
            subfolder=where.subfolder,
            use_safetensors=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,  # else it asks for accelerate
            local_files_only=where.local,
            output_loading_info=True,
        )
        if found["missing_keys"]:  # they would be random
            raise ValueError(f"its weights lack {', '.join(sorted(found['missing_keys'])[:3])}")
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        raise _unreadable(where, error) from error
    return model.eval().requires_grad_(False)


def _check_folder(where: Where) -> None:
    """Raise UsageError unless a local folder holds a configuration and safetensors."""
    root = Path(where.path).expanduser()
    folder = root / where.subfolder if where.subfolder else root
    if not folder.is_dir():
        raise UsageError(
            f"The autoencoder's folder {folder} does not exist.",
            fix="Set `latents.path` to a folder in diffusers' format, or to a hub name such as stabilityai/sd-vae-ft-ema.",
        )
    if not (folder / "config.json").is_file():
        inside = [child.parent.name for child in sorted(folder.glob("*/config.json"))]
        fix = "Name the folder that holds config.json, as `save_pretrained` of diffusers writes it."
        if inside:
            fix = f"Perhaps it is a whole pipeline: set `latents.subfolder` to one of {', '.join(inside)}."
        raise UsageError(f"The autoencoder's folder {folder} has no config.json.", fix=fix)
    if not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"The autoencoder's folder {folder} has no .safetensors weights (other kinds can hold code and are not read).",
            fix="Save it with `save_pretrained(folder, safe_serialization=True)` and name that folder.",
        )


def _configuration(where: Where, diffusers: Any) -> dict[str, Any]:
    """The autoencoder's config.json."""
    try:
        if where.local:
            root = Path(where.path).expanduser()
            file = (root / where.subfolder if where.subfolder else root) / "config.json"
            return dict(json.loads(file.read_text(encoding="utf-8")))
        return dict(diffusers.AutoencoderKL.load_config(where.path, subfolder=where.subfolder))
    except (OSError, ValueError) as error:
        raise _unreadable(where, error) from error


def _unreadable(where: Where, error: Exception) -> UsageError:
    if where.local:
        fix = "Check that configuration, class (`latents.model_class`) and safetensors weights belong together."
    else:
        fix = (
            "If this machine has no network, copy the folder here and set `latents.path` to it; "
            "else check the name, and set `latents.subfolder` if it is a whole pipeline."
        )
    return UsageError(f"The autoencoder {where} could not be loaded: {reason(error)}.", fix=fix)


def measure(
    encode_raw: Callable[[torch.Tensor], torch.Tensor],
    channels: int,
    videos: Iterable[torch.Tensor],
    move: Callable[[torch.device], object],
    what: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per-channel (mean, std) of raw latents, each (C,).

    Args:
        encode_raw: (B, 3, T, H, W) → (B, C, t, h, w), not normalised.
        channels: C.
        videos: (B, 3, T, H, W) in -1..1.
        move: takes the autoencoder to where the first video lies.
        what: its name, for messages.
    """
    statistics = ChannelStatistics(channels)
    for video in videos:
        if statistics.count == 0:
            move(video.device)
        statistics.add(encode_raw(video))
    if statistics.count == 0:
        raise no_videos()
    return statistics.finish(what)


def mode(encoded: Any) -> torch.Tensor:
    """The mean of the latents' distribution; the latents themselves of an autoencoder without one."""
    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.mode()
    found = getattr(encoded, "latent", None)
    return encoded.latents if found is None else found


def write_reference(folder: str, kind: str, where: Where, facts: dict[str, Any], **statistics: torch.Tensor) -> None:
    """Save what loads a pretrained autoencoder again: where it lies, facts about it, and statistics."""
    write(folder, {"kind": kind, **asdict(where), **facts}, statistics)


def read_reference(folder: str) -> tuple[Where, dict[str, Any], dict[str, torch.Tensor]]:
    """The inverse of :func:`write_reference`."""
    facts, statistics = read(folder)
    where = Where(facts.pop("path"), facts.pop("subfolder"), facts.pop("model_class"))
    return where, facts, statistics
