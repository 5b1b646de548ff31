"""What a frozen text encoder is made of, as one hash: the same files give the same conditions, wherever they lie. Room: models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from models.hub import is_path
from models.text.openclip import configuration, find_weights
from models.text.t5 import T5Text, folders
from schemas.errors import UsageError
from schemas.ids import canonical
from schemas.train_recipe import Text

_WORDS = ("tokenizer.json", "spiece.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Files of a tokenizer of transformers; a folder has some of them."""
_AT_ONCE = 1 << 20


def content(recipe: Text, encoder: nn.Module | None = None) -> str | None:
    """SHA-256 over settings, weights and tokenizer of an `openclip` or `t5` encoder, read file by file, never held in memory.

    Args:
        encoder: the loaded one. What is named by a tag or by a name on the model hub has a content only with it; without it None
            comes back for what does not lie here under a path of its own.

    Raises:
        UsageError: with ``encoder``: a file cannot be found or read any more.
    """
    try:
        parts = _openclip(recipe, encoder) if recipe.kind == "openclip" else _t5(recipe, encoder)
        if parts is None:
            return None
        whole = hashlib.sha256()
        for part in parts:
            whole.update(_file(part) if isinstance(part, Path) else hashlib.sha256(part.encode()).digest())
    except UsageError:
        if encoder is not None:
            raise
        return None
    return whole.hexdigest()


def _openclip(recipe: Text, encoder: nn.Module | None) -> list[str | Path] | None:
    """The tower's settings and the file with its weights."""
    if encoder is None and not (recipe.weights_file or recipe.weights or "").endswith(".safetensors"):
        return None
    config = configuration(recipe.name or "")
    file, quick = find_weights(recipe.name or "", recipe.weights, recipe.weights_file)
    quick_gelu = bool(config.get("quick_gelu", False)) if quick is None else quick
    return [canonical({"text_cfg": config["text_cfg"], "quick_gelu": quick_gelu}), Path(file)]


def _t5(recipe: Text, encoder: nn.Module | None) -> list[str | Path] | None:
    """The encoder's configuration and weights, and the tokenizer's files; of the hub the loaded weights and words."""
    if is_path(recipe.name or ""):
        folder, words = (Path(path) for path in folders(recipe.name or ""))
        there = [words / file for file in _WORDS if (words / file).is_file()]
        return [folder / "config.json", *_weights(folder), *(part for path in there for part in (path.name, path))]
    if not isinstance(encoder, T5Text):
        return None
    # Where the hub's client keeps which file is its own affair.
    return [
        encoder.model.config.to_json_string(),
        _tensors(encoder.model),
        canonical(encoder.tokenizer.get_vocab()),
    ]


def _tensors(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _weights(folder: Path) -> list[Path]:
    """The files that transformers would load: one, or the shards that an index names."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return [folder / Path(name).name for name in sorted(set(index["weight_map"].values()))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return sorted(folder.glob("*.safetensors"))


def _file(path: Path) -> bytes:
    found = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            while piece := handle.read(_AT_ONCE):
                found.update(piece)
    except OSError as error:
        raise UsageError(
            f"`{path}` cannot be read: {error.strerror or error}.", fix="It belongs to the text encoder: restore it."
        ) from error
    return found.digest()
