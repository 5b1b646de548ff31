"""What the user named on the command line, as a list of sources: files, folders, globs, manifests."""

from __future__ import annotations

import csv
import glob
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pyarrow.parquet as pq

from curation.storage import is_uri
from schemas.errors import UsageError

MEDIA_EXTENSIONS = frozenset(
    "3g2 3gp 264 265 apng asf av1 avi divx dv f4v flv gif h264 h265 hevc ivf m1v m2ts m2v m4v mkv mov mp4 mpe mpeg mpg mts mxf nut obu ogm "
    "ogv rm rmvb ts vob webm wmv wtv y4m".split()
)
"""A file in a folder is a source when its name ends in one of these; what is inside decides later."""

csv.field_size_limit(1 << 24)  # long captions; Python's own limit is 128 KiB

MANIFESTS = {".txt", ".csv", ".jsonl", ".parquet"}


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


def list_inputs(inputs: Iterable[str], out: Path | None = None) -> list[Entry]:
    """All sources behind the given names, each file once, in a stable order.

    Raises:
        UsageError: something named is not there, cannot be read, or is or contains the output folder ``out``.
    """
    found: dict[str, Entry] = {}
    for text in inputs:
        try:
            for entry in _list_one(text, out):
                found[entry.uri] = _merged(found[entry.uri], entry) if entry.uri in found else entry
        except OSError as error:
            raise UsageError(
                f"`{text[:200]}` cannot be listed: {error.strerror}.", fix="Check the path and its permissions."
            ) from None
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


def _list_one(text: str, out: Path | None) -> Iterator[Entry]:
    if is_uri(text):
        raise UsageError(
            f"`{text}` is a remote address, and remote inputs are not read yet.",
            fix="Mount or copy the videos to a local folder and name that.",
        )
    path = Path(os.path.abspath(text.removeprefix("file://")))
    if path.is_dir():
        _refuse_output_inside(path, out)
        yield from _folder(path, path)
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
                yield from _folder(item, root)
            elif item.suffix.lower().lstrip(".") in MEDIA_EXTENSIONS:
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


def _folder(folder: Path, root: Path) -> Iterator[Entry]:
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
            if not name.startswith(".") and name.rpartition(".")[2].lower() in MEDIA_EXTENSIONS and "." in name:
                item = Path(here, name)
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


# Manifests -----------------------------------------------------------------------------------------------------------


def _manifest(path: Path) -> Iterator[Entry]:
    for number, row in enumerate(_manifest_rows(path), 1):
        _check_text(path, number, row)
        uri = row.pop("uri", None)
        if not isinstance(uri, str) or not uri.strip():
            raise UsageError(
                f"Manifest `{path}`, entry {number}: there is no `uri`.",
                fix="Each entry needs a column or key `uri` with the path of a video, absolute or relative to the manifest.",
            )
        uri = uri.strip()
        if is_uri(uri):
            raise UsageError(
                f"Manifest `{path}`, entry {number}: `{uri}` is a remote address, and remote inputs are not read yet.",
                fix="Use local paths.",
            )
        item = Path(os.path.normpath(path.parent / uri.removeprefix("file://")))
        yield _entry(
            item,
            _relative(item, path.parent),
            caption=_text(row.pop("caption", None)),
            license=_text(row.pop("license", None)),
            tags=_tags(row.pop("tags", None)),
            extra={
                str(k): t
                for k, v in sorted(row.items(), key=lambda kv: str(kv[0]))
                if k is not None and (t := _text(v)) is not None
            },
        )


def _check_text(path: Path, number: int, row: dict[str, Any]) -> None:
    """Refuse what no table and no path can hold: halves of surrogate pairs, and NUL in a path."""
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"Manifest `{path}`, entry {number}: it holds text that is not valid Unicode.", fix="Save it as UTF-8."
        ) from None
    if "\0" in str(row.get("uri", "")):
        raise UsageError(f"Manifest `{path}`, entry {number}: the uri holds a NUL character.", fix="Correct the path.")


def _manifest_rows(path: Path) -> Iterator[dict[str, Any]]:
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            yield from pq.read_table(path).to_pylist()
        elif kind == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as handle:
                reader = csv.DictReader(handle)
                if "uri" not in (reader.fieldnames or []):
                    raise UsageError(
                        f"Manifest `{path}` has no column `uri` (it has: {', '.join(reader.fieldnames or []) or 'none'}).",
                        fix="Name the column with the videos' paths `uri`.",
                    )
                yield from reader
        else:
            with path.open(encoding="utf-8-sig") as handle:
                for number, line in enumerate(handle, 1):
                    text = line.strip()
                    if not text or (kind == ".txt" and text.startswith("#")):
                        continue
                    yield {"uri": text} if kind == ".txt" else _json_row(path, number, text)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"Manifest `{path}` is not UTF-8 text ({error.reason} at byte {error.start}).", fix="Save it as UTF-8."
        ) from None
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise UsageError(
            f"Manifest `{path}` cannot be read: {error}.",
            fix="Check the file; .parquet, .csv, .jsonl and .txt are understood.",
        ) from None


def _json_row(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"Manifest `{path}`, line {number}: {error.msg} (column {error.colno}).",
            fix="Each line must be one JSON object.",
        ) from None
    if not isinstance(row, dict):
        raise UsageError(
            f"Manifest `{path}`, line {number}: a JSON {type(row).__name__} stands where an object should.",
            fix='Each line must be one JSON object, such as {"uri": "a.mp4"}.',
        )
    return row


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _tags(value: Any) -> tuple[str, ...] | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = value.replace(";", ",").split(",")
    if not isinstance(value, (list, tuple)):
        value = [value]
    return tuple(str(v).strip() for v in value if str(v).strip())


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
