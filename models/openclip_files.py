"""Architectures and weights of OpenCLIP: what a pair of names means. Room: models. Shared by the text encoder of the trainer and the embedder.

In: `name` (an architecture, a local JSON configuration, or `hf-hub:owner/name`, a repository with both configuration and weights),
`weights` (a pretrained tag, or a local .safetensors file; needless with a repository) and `weights_file` (a local file with the weights
of the tag). Out: a configuration, and a file. Nothing is fetched when offline.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import hub, offline
from models.libraries import library, reason
from schemas.errors import UsageError

HUB = "hf-hub:"
"""What open_clip puts before the name of a repository on the hub."""
HUB_CONFIGURATION = "open_clip_config.json"
HUB_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""As open_clip saves a model to the hub; the first that is there counts."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Keys:
    """What the settings are called in the recipe at hand, for messages."""

    name: str
    weights: str
    example: str
    """An architecture that would do."""

    @property
    def file(self) -> str:
        """Of the local file that holds a tag's weights."""
        return f"{self.weights}_file"


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
    """The whole file of a local JSON or of a repository's, or ``{"model_cfg": …}`` of an architecture that open_clip knows.

    Raises:
        UsageError: there is none, or it is not in open_clip's format; or it cannot be fetched.
    """
    file = configuration_file(name, keys)
    if file is not None:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
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


def configuration_file(name: str, keys: Keys) -> Path | None:
    """The JSON file that a name means, fetched if need be; None for an architecture.

    Raises:
        UsageError: it lies on the hub and cannot be fetched.
    """
    repo = repository(name)
    if repo is not None:
        return Path(_from_hub(repo, (HUB_CONFIGURATION,), keys))
    return Path(name).expanduser() if name.endswith(".json") else None


def repository(name: str) -> str | None:
    """`owner/name` where a model's name means a repository on the hub.

    Raises:
        UsageError: nothing on the hub can be called that.
    """
    if not name.startswith(HUB):
        return None
    repo = name.removeprefix(HUB)
    if not _REPOSITORY.fullmatch(repo):
        raise UsageError(f"{name} names no repository on the hub.", fix=f"Write {HUB}owner/name.")
    return repo


def published(name: str, tag: str) -> Published | None:
    """The weights that open_clip knows under an architecture and a tag."""
    found = library("open_clip").get_pretrained_cfg(_plain(name), tag)
    return Published(dict(found)) if found else None


def weights_file(name: str, weights: str | None, own: str | None, keys: Keys) -> tuple[str, Published | None]:
    """A local file with the weights, fetched if need be; and what open_clip knows of them, where they have a tag.

    Args:
        own: a local file that holds the weights of a tag.

    Raises:
        UsageError: there are none, or they cannot be fetched, or are of a kind that is not read.
    """
    repo = repository(name)
    if repo is not None and not weights:
        return _from_hub(repo, HUB_WEIGHTS, keys), None
    if weights and not own and (_is_file_name(weights) or Path(weights).expanduser().is_file()):
        return _local(weights, keys.weights), None
    tags = list(library("open_clip").list_pretrained_tags_by_model(_plain(name)))
    some = f" Tags for {name}: {', '.join(tags)}." if tags else ""
    if not weights:
        raise UsageError(
            f"The OpenCLIP model {name} needs weights.",
            fix=f"Set `{keys.weights}` to a tag or a local .safetensors file.{some}",
        )
    found = published(name, weights)
    if found is None:
        raise UsageError(f"{name} has no weights {weights}.", fix=f"Set `{keys.weights}` to a tag it has.{some}")
    return _local(own, keys.file) if own else _fetched(name, weights, found, keys), found


def _is_file_name(path: str) -> bool:
    """Whether a file is meant, of whatever kind, and no tag."""
    return path.endswith((".safetensors", *_PICKLED))


def _local(file: str, key: str) -> str:
    """A file that a setting names."""
    path = Path(file).expanduser()
    if path.suffix != ".safetensors":
        raise UsageError(
            f"The weights {file} are no .safetensors file; other kinds can hold code and are not read.",
            fix="Convert them: safetensors.torch.save_file(torch.load(…, weights_only=True), 'weights.safetensors').",
        )
    if not path.is_file():
        raise UsageError(f"The weights {file} do not exist.", fix=f"Set `{key}` to a file that does.")
    return str(path)


def _from_hub(repo: str, files: Sequence[str], keys: Keys) -> str:
    """The first of some files that a repository has, fetched if none of them has been before."""
    here = next((found for file in files if (found := hub.cached_file(repo, file)) is not None), None)
    if here is not None:
        return str(here)
    if offline.is_offline():
        raise UsageError(
            f"{files[0]} of {repo} is not on this machine, and the network is not to be tried.",
            fix=f"With a network: {hub.download_command(repo)}.",
        )
    client = library("huggingface_hub")
    cause: Exception | None = None
    for file in files:
        try:
            return str(client.hf_hub_download(repo, file))
        except (
            Exception
        ) as error:  # whatever the hub's client raises: no network, no such repository, no right to read it
            cause = cause or error
            # The client says of a file that it could not ask for that it is not here: a kind of the same error.
            if not isinstance(error, client.errors.EntryNotFoundError) or isinstance(
                error, client.errors.LocalEntryNotFoundError
            ):
                break
    assert cause is not None
    raise UsageError(
        f"{files[0]} of {repo} could not be fetched: {reason(cause)}.",
        fix=f"Correct `{keys.name}`; or without a network, copy the model here, and name its JSON configuration and its .safetensors file.",
    ) from cause


def _fetched(name: str, tag: str, found: Published, keys: Keys) -> str:
    here = found.here()
    if here is not None:
        return str(here)
    if offline.is_offline():
        raise UsageError(
            f"The weights {tag} of {name} ({found.files[0]}) are not on this machine, and the network is not to be tried.",
            fix=f"With a network: {found.command()}. Without one: {_by_hand(tag, found, keys)}",
        )
    try:
        return str(library("open_clip").download_pretrained(found.facts))
    except Exception as error:  # whatever the hub's client or urllib raises
        raise UsageError(
            f"The weights {tag} of {name} could not be fetched: {reason(error)}.",
            fix=f"Without a network: {_by_hand(tag, found, keys)}",
        ) from error


def _by_hand(tag: str, found: Published, keys: Keys) -> str:
    """What to do without a network. By its path alone the file would be built as the architecture says, which may be another network."""
    return (
        f"copy {found.files[0]} here, as .safetensors, and set `{keys.file}` to it; leave `{keys.weights}` at {tag}, "
        "which says what activation it has and how pictures are prepared."
    )


def _plain(name: str) -> str:
    """An architecture as open_clip lists it."""
    return name.replace("/", "-")
