"""Architectures and weights of OpenCLIP: what a pair of names means. Room: models. Shared by the text encoder of the trainer and the embedder.

In: `name` (an architecture, or a local JSON configuration) and `weights` (a pretrained tag, or a local .safetensors file).
Out: a configuration, and a file. Nothing is fetched when offline.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import hub, offline
from models.libraries import library, reason
from schemas.errors import UsageError

_PICKLED = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Keys:
    """What the settings are called in the recipe at hand, for messages."""

    name: str
    weights: str
    example: str
    """An architecture that would do."""


@dataclass(frozen=True)
class Published:
    """Weights that open_clip knows by a tag."""

    facts: dict[str, Any]
    """As open_clip lists them: where they lie, what they were trained with, how pictures are prepared."""

    @property
    def repo(self) -> str:
        """On the hub; empty where they lie elsewhere."""
        return str(self.facts.get("hf_hub") or "").rpartition("/")[0]

    @property
    def files(self) -> list[str]:
        """Names of the file, in the order in which open_clip looks for them."""
        if not self.repo:
            return [str(self.facts.get("url") or "").rpartition("/")[2]]
        named = str(self.facts["hf_hub"]).rpartition("/")[2]
        if not named:
            return ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
        stem, dot, kind = named.rpartition(".")
        return [f"{stem}.safetensors", named] if dot and kind in ("bin", "pth") else [named]

    def here(self) -> Path | None:
        """The file, where it has been fetched before."""
        if self.repo:
            found = (hub.cached_file(self.repo, file) for file in self.files)
            return next((file for file in found if file is not None), None)
        path = Path("~/.cache/clip").expanduser() / self.files[0]
        return path if self.files[0] and path.is_file() else None

    def command(self) -> str:
        """What to type to have it."""
        if self.repo:
            return hub.download_command(self.repo, self.files[0])
        return f"curl -L --create-dirs -o ~/.cache/clip/{self.files[0]} {self.facts.get('url')}"


def read_configuration(name: str, keys: Keys) -> dict[str, Any]:
    """The whole file of a local JSON, or ``{"model_cfg": …}`` of an architecture that open_clip knows.

    Raises:
        UsageError: there is none, or it is not in open_clip's format.
    """
    if name.endswith(".json"):
        try:
            found = json.loads(Path(name).expanduser().read_text(encoding="utf-8"))
            whole = found if "model_cfg" in found else {"model_cfg": found}
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(
                f"The configuration {name} cannot be read: {error}.", fix="Name a JSON file in open_clip's format."
            ) from error
    else:
        known = library("open_clip").get_model_config(_plain(name)) if ":" not in name else None
        if known is None:
            raise UsageError(
                f"open_clip knows no architecture {name}.",
                fix=f"Set `{keys.name}` to one of `open_clip.list_models()`, such as {keys.example}, or to a local JSON configuration.",
            )
        whole = {"model_cfg": known}
    model = whole["model_cfg"]
    if not isinstance(model, dict) or not {"embed_dim", "text_cfg"} <= model.keys():
        raise UsageError(
            f"The configuration {name} lacks `embed_dim` or `text_cfg`.", fix="Name a JSON file in open_clip's format."
        )
    return whole


def published(name: str, tag: str) -> Published | None:
    """The weights that open_clip knows under an architecture and a tag."""
    found = library("open_clip").get_pretrained_cfg(_plain(name), tag)
    return Published(dict(found)) if found else None


def weights_file(name: str, weights: str | None, keys: Keys) -> tuple[str, Published | None]:
    """A local file with the weights, fetched if need be; and what open_clip knows of them, where they have a tag.

    Raises:
        UsageError: there are none, or they cannot be fetched, or are of a kind that is not read.
    """
    tags = list(library("open_clip").list_pretrained_tags_by_model(_plain(name)))
    some = f" Tags for {name}: {', '.join(tags)}." if tags else ""
    if not weights:
        raise UsageError(
            f"The OpenCLIP model {name} needs weights.",
            fix=f"Set `{keys.weights}` to a tag or a local .safetensors file.{some}",
        )
    path = Path(weights).expanduser()
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise UsageError(f"The weights {weights} do not exist.", fix=f"Set `{keys.weights}` to a file that does.")
        return str(path), None
    if path.exists() or path.suffix in _PICKLED:
        raise UsageError(
            f"The weights {weights} are no .safetensors file; other kinds can hold code and are not read.",
            fix="Convert them: safetensors.torch.save_file(torch.load(…, weights_only=True), 'weights.safetensors').",
        )
    found = published(name, weights)
    if found is None:
        raise UsageError(f"{name} has no weights {weights}.", fix=f"Set `{keys.weights}` to a tag it has.{some}")
    return _fetched(name, weights, found, keys), found


def _fetched(name: str, tag: str, found: Published, keys: Keys) -> str:
    here = found.here()
    if here is not None:
        return str(here)
    if offline.is_offline():
        raise UsageError(
            f"The weights {tag} of {name} ({found.files[0]}) are not on this machine, and the network is not to be tried.",
            fix=f"With a network: {found.command()}. Or set `{keys.weights}` to a local .safetensors file.",
        )
    try:
        return str(library("open_clip").download_pretrained(found.facts))
    except Exception as error:  # whatever the hub's client or urllib raises
        raise UsageError(
            f"The weights {tag} of {name} could not be fetched: {reason(error)}.",
            fix=f"Without a network, copy the .safetensors file here and set `{keys.weights}` to it.",
        ) from error


def _plain(name: str) -> str:
    """An architecture as open_clip lists it."""
    return name.replace("/", "-")
