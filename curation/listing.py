"""What the user named on the command line, as a list of sources: files, folders, globs, manifests."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from curation.manifests import MANIFESTS, manifest_lines
from curation.storage import is_uri
from curation.webp import animated_file
from schemas.errors import UsageError

MEDIA_EXTENSIONS = frozenset(
    "3g2 3gp 264 265 apng asf av1 avi divx dv f4v flv gif h264 h265 hevc ivf m1v m2ts m2v m4v mkv mov mp4 mpe mpeg mpg mts mxf nut obu ogm "
    "ogv rm rmvb ts vob webm wmv wtv y4m".split()
)
"""A file in a folder is a source when its name ends in one of these; what is inside decides later. A `.webp` is one when it moves;
other pictures beside videos are covers and thumbnails."""

SIDE_CARS = frozenset({".txt", ".json"})
"""Endings of what lies beside videos and belongs to them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One source as listed. ``size`` and ``mtime_ns`` are None where the file was not there to be looked at."""

    uri: str
    rel_path: str
    size: int | None
    mtime_ns: int | None
    caption: str | None = None
    license: str | None = None
    tags: tuple[str, ...] | None = None
    extra: dict[str, str] = field(default_factory=dict)


def path_to_uri(path: Path) -> str:
    """A local path as text that any table can hold; names that are not UTF-8 become percent-encoded ``file://`` addresses."""
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(text))
    return text


def uri_to_path(uri: str) -> Path:
    """The local path behind a listed uri."""
    if uri.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))))
    return Path(uri)


def list_inputs(inputs: Iterable[str], out: Path | None = None, left_out: Counter[str] | None = None) -> list[Entry]:
    """All sources behind the given names, each file once, in a stable order.

    Args:
        left_out: gets ending → files of folders and globs that are no sources because of it, side-cars and hidden files apart.

    Raises:
        UsageError: something named is not there, cannot be read, or is or contains the output folder ``out``.
    """
    found: dict[str, Entry] = {}
    others: set[Path] = set()
    inputs = list(inputs)
    for text in inputs:
        try:
            for entry in _list_one(text, out, others):
                found[entry.uri] = _merged(found[entry.uri], entry) if entry.uri in found else entry
        except OSError as error:
            raise UsageError(
                f"`{text[:200]}` cannot be listed: {error.strerror}.", fix="Check the path and its permissions."
            ) from None
    if left_out is not None:
        named = {Path(os.path.abspath(text)) for text in inputs}
        left_out.update(path.suffix.lower() for path in sorted(others - named))
    return _distinct(list(found.values()))


def _merged(first: Entry, second: Entry) -> Entry:
    """The same file named twice, as by a folder and a manifest: what either says of it counts."""
    if first.caption and second.caption and first.caption != second.caption:
        raise UsageError(
            f"`{first.uri}` is named twice with two captions: {first.caption[:60]!r} and {second.caption[:60]!r}.",
            fix="Leave one of them in the manifest.",
        )
    return replace(
        first,
        caption=first.caption or second.caption,
        license=first.license or second.license,
        tags=first.tags or second.tags,
        extra={**second.extra, **first.extra},
    )


def _list_one(text: str, out: Path | None, others: set[Path]) -> Iterator[Entry]:
    if is_uri(text):
        raise UsageError(
            f"`{text}` is a remote address, and remote inputs are not read yet.",
            fix="Mount or copy the videos to a local folder and name that.",
        )
    path = Path(os.path.abspath(text.removeprefix("file://")))
    if path.is_dir():
        _refuse_output_inside(path, out)
        yield from _folder(path, path, others)
    elif path.exists():
        if path.suffix.lower() in MANIFESTS:
            yield from _manifest(path)
        else:
            yield _entry(path, path.name)
    elif glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            raise UsageError(
                f"Nothing matches `{text}`.",
                fix="Check the pattern; in a shell, quote it so that it arrives here as it is.",
            )
        root = _plain_prefix(Path(os.path.abspath(text)))
        for match in matches:
            item = Path(os.path.abspath(match))
            if item.is_dir():
                _refuse_output_inside(item, out)
                yield from _folder(item, root, others)
            elif _is_media(item, others):
                yield _entry(item, _relative(item, root))
    else:
        raise UsageError(
            f"`{text}` is not there.",
            fix="Name a video, a folder, a glob, or a manifest (.txt, .csv, .jsonl, .parquet).",
        )


def _refuse_output_inside(folder: Path, out: Path | None) -> None:
    if out is not None and out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"The output folder `{out}` lies inside the input folder `{folder}`: the corpus would become its own input.",
            fix="Choose an --out folder outside the input.",
        )


def _is_media(path: Path, others: set[Path]) -> bool:
    """Whether a file is a source by its name's ending; notes those that are not."""
    ending = path.suffix.lower()
    if ending.lstrip(".") in MEDIA_EXTENSIONS or (ending == ".webp" and animated_file(path)):
        return True
    if ending not in SIDE_CARS:
        others.add(path)
    return False


def _folder(folder: Path, root: Path, others: set[Path]) -> Iterator[Entry]:
    """Media files below a folder, hidden ones left out, links followed once."""

    def refuse(error: OSError) -> None:
        raise UsageError(
            f"The folder `{error.filename}` cannot be listed: {error.strerror}.",
            fix="Change its permissions, or leave it out of the input.",
        )

    seen: set[str] = set()
    for here, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            item = Path(here, name)
            if not name.startswith(".") and _is_media(item, others):
                yield _entry(item, _relative(item, root))


def _entry(path: Path, rel_path: str, **more: Any) -> Entry:
    try:
        info = path.stat()
        size, mtime = info.st_size, info.st_mtime_ns
    except OSError:  # listed all the same: the scan records why it cannot be read
        size, mtime = None, None
    return Entry(uri=path_to_uri(path), rel_path=rel_path, size=size, mtime_ns=mtime, **more)


def _relative(path: Path, root: Path) -> str:
    rel = path.relative_to(root) if path.is_relative_to(root) else path.relative_to(path.anchor)
    return os.fsencode(rel.as_posix()).decode("utf-8", "backslashreplace")


def _plain_prefix(pattern: Path) -> Path:
    plain = list(_until_magic(pattern.parts))
    return Path(*plain) if plain else Path(pattern.anchor)


def _until_magic(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _manifest(path: Path) -> Iterator[Entry]:
    for line in manifest_lines(path):
        item = Path(os.path.normpath(path.parent / line.uri.removeprefix("file://")))
        rel_path = _relative(item, path.parent)
        yield _entry(item, rel_path, caption=line.caption, license=line.license, tags=line.tags, extra=line.extra)


def _distinct(entries: list[Entry]) -> list[Entry]:
    """Give sources that share a relative path (same name under two roots) longer ones, so that each has its own."""
    rel = [e.rel_path for e in entries]
    for _ in range(64):
        groups: dict[str, list[int]] = {}
        for index, name in enumerate(rel):
            groups.setdefault(name, []).append(index)
        clashes = [members for members in groups.values() if len(members) > 1]
        if not clashes:
            break
        for members in clashes:
            for index in members:
                rel[index] = _longer(entries[index].uri, rel[index])
    return [replace(e, rel_path=r) if e.rel_path != r else e for e, r in zip(entries, rel, strict=True)]


def _longer(uri: str, rel_path: str) -> str:
    depth = len(PurePosixPath(rel_path).parts) + 1
    path = uri_to_path(uri)
    parts = path.parts[1:] if path.is_absolute() else path.parts
    return os.fsencode("/".join(parts[-depth:])).decode("utf-8", "backslashreplace")
