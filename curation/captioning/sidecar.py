"""Captions that came with the video: from its manifest, or from a .txt or .json file of the same name beside it."""

from __future__ import annotations

import codecs
import errno
import json
from collections.abc import Callable, Sequence

from curation.captioning.contract import CaptionText, ClipFacts
from curation.captioning.text import clean_text
from curation.listing import uri_to_path

MAX_BYTES = 1 << 20
"""A side-car file larger than this is no caption."""

CAPTION_KEYS = ("caption", "text", "description")
SHORT_KEY = "caption_short"

ReadText = Callable[[str], str | None]
"""URI → text, or None where there is no such file. Raises SidecarError where the file cannot be used."""

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class SidecarError(ValueError):
    """A side-car file is there but of no use: too large, not readable, broken. Its clips have no caption from it."""


def decode_text(data: bytes) -> str:
    """UTF-8, with or without a byte order mark, or UTF-16 with one; what does not decode becomes U+FFFD."""
    if len(data) > MAX_BYTES:
        raise SidecarError(f"larger than {MAX_BYTES} bytes")
    return data.decode("utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig", errors="replace")


def read_local_text(uri: str) -> str | None:
    """Reads a path or ``file:`` URI of this machine; None where there is no such file.

    Raises SidecarError for a file over MAX_BYTES, a folder, or one that may not be read; OSError where reading fails.
    """
    try:
        with uri_to_path(uri).open("rb") as file:
            return decode_text(file.read(MAX_BYTES + 1))
    except (IsADirectoryError, PermissionError) as error:
        raise SidecarError(str(error.strerror)) from error
    except OSError as error:
        # The name of the side-car may be longer than that of the video, and than the file system allows.
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return None
        raise


class SidecarCaptioner:
    """The manifest's caption first, then ``<stem>.txt``, then ``<stem>.json``. All are about the whole source.

    A file that cannot be used is no error of the run: ``warnings`` says so in words, once. Files are read once per source,
    and what they held is kept as long as the captioner.
    """

    name = "sidecar"
    fingerprint = "sidecar-1"

    def __init__(self, read_text: ReadText = read_local_text) -> None:
        self.warnings: list[str] = []
        self._read_text = read_text
        self._known: dict[str, CaptionText | None] = {}

    async def caption(self, clips: Sequence[ClipFacts]) -> list[CaptionText | None]:
        """One text per clip. OSError from reading is let through: the part is repeated."""
        return [self._caption(clip) for clip in clips]

    def _caption(self, clip: ClipFacts) -> CaptionText | None:
        given = clean_text(clip.manifest_caption or "")
        if given:
            return CaptionText(given, scope="source")
        if clip.source_uri not in self._known:
            self._known[clip.source_uri] = self._beside(clip.source_uri)
        return self._known[clip.source_uri]

    def _beside(self, source_uri: str) -> CaptionText | None:
        stem = _stem(source_uri)
        for uri, parse in ((f"{stem}.txt", _from_text), (f"{stem}.json", _from_json)):
            try:
                text = self._read_text(uri)
                found = parse(text) if text is not None else None
            except SidecarError as error:
                self.warnings.append(f"{uri}: not used as a caption: {error}")
                continue
            if found is not None:
                return found
        return None


def _stem(uri: str) -> str:
    """The URI without the file's ending; dots in folders' names and a leading dot are no endings."""
    folder, slash, name = uri.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem if dot and stem else name}"


def _from_text(text: str) -> CaptionText | None:
    caption = clean_text(text)
    return CaptionText(caption, scope="source") if caption else None


def _from_json(text: str) -> CaptionText | None:
    """The first of CAPTION_KEYS that holds a text; None for a file about other things. Raises SidecarError if broken."""
    if not clean_text(text):
        return None
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SidecarError(f"broken JSON ({error})") from error
    if not isinstance(held, dict):
        return None
    for key in CAPTION_KEYS:
        caption = held.get(key)
        if isinstance(caption, str) and clean_text(caption):
            short = held.get(SHORT_KEY)
            short = clean_text(short) if isinstance(short, str) else ""
            return CaptionText(clean_text(caption), short or None, scope="source")
    return None
