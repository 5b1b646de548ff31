"""Deterministic names: the same content, span or settings give the same id on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(*parts: str | int) -> str:
    """128-bit hex digest of an ordered list of texts and integers. Lengths are part of it, so no two lists run together."""
    state = hashlib.sha256()
    for part in parts:
        data = str(part).encode("utf-8", "surrogateescape")
        state.update(f"{len(data)}:".encode())
        state.update(data)
    return state.hexdigest()[:32]


def source_id(rel_path: str, sha256: str | None) -> str:
    """Id of a source: where it lies below its input root, and what is in it (``None``: it could not be read)."""
    return "s" + digest("source", rel_path, sha256 or "unread")[:31]


def clip_id(source: str, stream_index: int, start_pts: int, end_pts: int) -> str:
    """Id of a clip: its source, stream and half-open span in pts."""
    return "c" + digest("clip", source, stream_index, start_pts, end_pts)[:31]


def segment_id(rel_path: str, size: int | None, mtime_ns: int | None, segment: int, segments: int) -> str:
    """Id of a plan row. Only orders and names work; never ends up in a clip's identity."""
    return (
        "g"
        + digest(
            "segment",
            rel_path,
            size if size is not None else -1,
            mtime_ns if mtime_ns is not None else -1,
            segment,
            segments,
        )[:31]
    )


def canonical(value: Any) -> str:
    """JSON text with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: Any) -> str:
    """Short hash of any JSON-like value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]
