"""Where a local chat model's weights are, and which they are: a folder here, or a commit of a repository on the hub. Room: models.

In: a model's name: a folder, `owner/name`, or `owner/name@revision`. Out: what loads it, and what tells it from others. A repository that
was fetched before is used as it is here; the network is only tried for what is not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from models import hub, offline
from models.libraries import library, reason
from schemas.errors import UsageError

_KINDS = (".safetensors", ".json", ".jinja", ".model", ".txt")

_CONFIGURATION = "config.json"


@dataclass(frozen=True)
class Located:
    """A model that was found."""

    place: str
    """A folder, or a repository on the hub."""
    commit: str | None
    """Of the repository; None for a folder."""

    def identity(self) -> dict[str, str]:
        """Settings in the place of the name: the same weights in another folder are the same model."""
        if self.commit is None:
            return {"model": "", "weights": folder_fingerprint(Path(self.place))}
        return {"model": self.place, "weights": self.commit}


def locate(name: str, where: str) -> Located:
    """Find a model. Of one that is on the hub only the configuration is fetched, where it is not here: it tells the commit.

    Args:
        where: key of the recipe, such as ``chat.vlm``, for errors.

    Raises:
        UsageError: there is none, or it is on the hub and cannot be asked for.
    """
    if hub.is_path(name):
        folder = Path(name).expanduser()
        if not (folder / _CONFIGURATION).is_file():
            state = f"has no {_CONFIGURATION}" if folder.is_dir() else "does not exist"
            raise UsageError(
                f"The folder {name} of {where}.model {state}.",
                fix=f"Name a folder that `save_pretrained` wrote, or a model on the hub, with --set {where}.model=…; `stiv models` says what is there.",
            )
        return Located(str(folder), None)
    repo, revision = hub.split_revision(name)
    found = hub.cached_file(repo, _CONFIGURATION, revision)
    if offline.is_offline() and (found is None or not hub.weights_bytes(found.parent)):
        raise UsageError(
            f"The model {name} of {where} is not on this machine, or not all of it, and the network is not to be tried.",
            fix=f"With a network: {hub.download_command(repo, revision=revision)}. Or name a local folder with --set {where}.model=…",
        )
    return Located(repo, (found or _fetched(repo, revision, where)).parent.name)


def _fetched(repo: str, revision: str | None, where: str) -> Path:
    try:
        return Path(library("huggingface_hub").hf_hub_download(repo, _CONFIGURATION, revision=revision))
    except UsageError:
        raise
    except Exception as error:  # whatever the hub's client raises: no network, no such repository, no right to read it
        raise UsageError(
            f"The model {repo} of {where} could not be fetched: {reason(error)}.",
            fix=f"Correct {where}.model; or without a network, copy the model here and name its folder.",
        ) from error


def folder_fingerprint(folder: Path) -> str:
    """Hash over names and contents of a model's files."""
    files = sorted(p for p in folder.iterdir() if p.suffix in _KINDS and p.is_file())
    state = hashlib.sha256()
    for path in files:
        state.update(f"{path.name}:{hub.file_fingerprint(path)};".encode())
    return state.hexdigest()[:16]
