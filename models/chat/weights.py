"""What a local folder of transformers holds, as a fingerprint. Room: models."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.hub import file_fingerprint

_KINDS = (".safetensors", ".json", ".jinja", ".model", ".txt")


def folder_fingerprint(name: str) -> str | None:
    """Hash over names and contents of a model's files; None where the name is no folder here (then it is one on the hub)."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return None
    files = sorted(p for p in folder.iterdir() if p.suffix in _KINDS and p.is_file())
    state = hashlib.sha256()
    for path in files:
        state.update(f"{path.name}:{file_fingerprint(path)};".encode())
    return state.hexdigest()[:16]
