"""What of the model hub is on this machine already. Room: models. Nothing here tries the network.

In: names on the hub, or paths. Out: files in the hub's cache, and the command that puts a missing one there.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from models.libraries import library

_READ = 1 << 20


def is_path(name: str) -> bool:
    """Whether a model's name is meant as a local path, there or not; a name on the hub is `owner/name` or `owner/name@revision`."""
    path = os.path.expanduser(name)
    return os.path.exists(path) or path.startswith((".", os.sep)) or path.partition("@")[0].count("/") > 1


def split_revision(name: str) -> tuple[str, str | None]:
    """`owner/name@revision` taken apart: a branch, a tag or a commit; None for the main branch."""
    repo, _, revision = name.partition("@")
    return repo, revision or None


def cached_file(repo: str, file: str, revision: str | None = None) -> Path | None:
    """A file of a repository in the hub's cache. Its folder is named by the commit, or lies in one that is."""
    found = library("huggingface_hub").try_to_load_from_cache(repo, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def cached_folder(repo: str, subfolder: str = "", revision: str | None = None) -> Path | None:
    """A model's folder in the newest snapshot of a repository in the hub's cache; its weights may be missing."""
    inner = f"{subfolder}/" if subfolder else ""
    found = cached_file(repo, f"{inner}config.json", revision)
    return found.parent if found is not None else None


def weights_bytes(folder: Path) -> int:
    """Bytes of the .safetensors files in a folder; 0 where there are none, or not all that its index names."""
    there = {file.name: file.stat().st_size for file in folder.glob("*.safetensors") if file.is_file()}
    for index in folder.glob("*.safetensors.index.json"):
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return 0
        if not named <= there.keys():
            return 0
    return sum(there.values())


def download_command(repo: str, file: str = "", subfolder: str = "", revision: str | None = None) -> str:
    """What to type, on a machine with a network, to have a file, a folder or a whole repository in the hub's cache."""
    which = f" --include '{subfolder}/*'" if subfolder else f" {file}" if file else ""
    return f"hf download {repo}{which}" + (f" --revision {revision}" if revision else "")


def file_fingerprint(path: str | os.PathLike[str]) -> str:
    """Hash of a file's content: equal weights are equal wherever they lie. Read once in a process while the file stays as it is."""
    real = os.path.realpath(path)
    facts = os.stat(real)
    key = (real, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
    if key not in _known:
        digest = hashlib.sha256()
        with open(real, "rb") as opened:
            while block := opened.read(_READ):
                digest.update(block)
        _known[key] = digest.hexdigest()[:16]
    return _known[key]


_known: dict[tuple[str, int, int, int, int], str] = {}
"""Identity of a file → fingerprint of its content."""
