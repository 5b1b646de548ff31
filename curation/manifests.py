"""Manifests: lists of videos with what is known of them, as .txt, .csv, .jsonl or .parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curation.storage import is_uri
from schemas.errors import UsageError

csv.field_size_limit(1 << 24)  # long captions; Python's own limit is 128 KiB

MANIFESTS = {".txt", ".csv", ".jsonl", ".parquet"}


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a manifest."""

    uri: str
    """As written: absolute, or relative to the manifest."""
    caption: str | None
    license: str | None
    tags: tuple[str, ...] | None
    extra: dict[str, str]
    """Further columns."""


def manifest_lines(path: Path) -> Iterator[Line]:
    """The entries of a manifest, in order.

    Raises:
        UsageError: it cannot be read, or an entry names no local file.
    """
    for number, row in enumerate(_rows(path), 1):
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
        yield Line(
            uri,
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


def _rows(path: Path) -> Iterator[dict[str, Any]]:
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
