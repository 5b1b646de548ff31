"""WebP pictures: told from videos, and the animated from the still, by their first bytes."""

from __future__ import annotations

from pathlib import Path

from curation.regular import check_regular

HEAD = 21
"""Bytes that decide."""


def is_webp(head: bytes) -> bool:
    """Whether a file that begins so is a WebP picture."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def is_animated(head: bytes) -> bool:
    """Whether a WebP picture that begins so moves: a flag of the extended format's first chunk."""
    return is_webp(head) and len(head) >= HEAD and head[12:16] == b"VP8X" and bool(head[20] & 2)


def animated_file(path: Path) -> bool:
    """Whether a file is an animated WebP; no where it cannot be read."""
    try:
        check_regular(path)
        with path.open("rb") as handle:
            return is_animated(handle.read(HEAD))
    except OSError:
        return False
