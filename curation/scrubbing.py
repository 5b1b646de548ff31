"""Names of a forgotten source outside the tables: records of runs, kept answers, the report, unfinished work. Room: curation."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from curation.storage import Store, storage_errors

INSTEAD = "(forgotten)"
"""Stands in records where a text named a forgotten source."""

_ID = re.compile(r"(?<![0-9A-Za-z])[csg][0-9a-f]{31}(?![0-9A-Za-z])")
_ID_IN_BYTES = re.compile(_ID.pattern.encode())
"""Ids of clips, sources and segments; see :mod:`schemas.ids`."""

_PART = re.compile(r"part-(\d{6,})\.")


class Names:
    """What must not be found any more: ids anywhere, paths where they stand by themselves."""

    def __init__(self, ids: Iterable[str], paths: Iterable[str]) -> None:
        self.ids = frozenset(ids)
        spelled = sorted({s for path in paths for s in _spellings(path)}, key=lambda text: (-len(text), text))
        # `a.mp4` is not meant where `banana.mp4`, `b/a.mp4` or `a.mp4.txt` stands; what is before the root of a path is an address.
        each = [rf"(?<![\w.{'' if s.startswith('/') else '/'}-]){re.escape(s)}" for s in spelled]
        pattern = rf"(?:{'|'.join(each)})(?![\w/-]|\.\w)" if each else "(?!)"
        self._paths, self._paths_in_bytes = re.compile(pattern), re.compile(pattern.encode())

    def within(self, data: bytes) -> bool:
        """Whether a file's content names one."""
        ids = (m.group().decode() for m in _ID_IN_BYTES.finditer(data))
        return any(i in self.ids for i in ids) or self._paths_in_bytes.search(data) is not None

    def named(self, text: str) -> bool:
        return any(m.group() in self.ids for m in _ID.finditer(text)) or self._paths.search(text) is not None

    def scrub(self, value: Any) -> Any:
        """A JSON-like value, with other words in the place of every text that names one; keys too."""
        if isinstance(value, str):
            return INSTEAD if self.named(value) else value
        if isinstance(value, list):
            return [self.scrub(v) for v in value]
        if isinstance(value, dict):
            return {self.scrub(k): self.scrub(v) for k, v in value.items()}
        return value


def _spellings(path: str) -> set[str]:
    """A path as it may stand in a text: plain, or with what JSON escapes."""
    return {path, json.dumps(path)[1:-1], json.dumps(path, ensure_ascii=False)[1:-1]}


def scrub_runs(store: Store, names: Names) -> None:
    """Records of runs keep their numbers; texts that name a forgotten source are replaced."""
    for name in store.names("runs"):
        path = f"runs/{name}"
        data = store.read_bytes(path)
        if names.within(data):
            clean = json.dumps(names.scrub(json.loads(data)), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            store.commit_bytes(path, clean.encode())


def scrub_answers(store: Store, names: Names, parts: Collection[int]) -> None:
    """Answers of models about forgotten clips go; they are kept by clip, one a line or one a row."""
    for path in files_below(store, "answers"):
        number = _PART.search(path)
        if number and int(number[1]) not in parts:
            continue
        if path.endswith(".parquet"):
            table = store.read_table(path)
            kept = _without_ids(table, names.ids)
            if kept.num_rows < table.num_rows:
                store.commit_table(path, kept) if kept.num_rows else store.remove(path)
            continue
        data = store.read_bytes(path)
        if names.within(data):
            left = b"".join(line for line in data.splitlines(keepends=True) if not names.within(line))
            store.commit_bytes(path, left) if left else store.remove(path)


def _without_ids(table: pa.Table, ids: Collection[str]) -> pa.Table:
    found = pa.array(sorted(ids), pa.string())
    for column in [f.name for f in table.schema if pa.types.is_string(f.type)]:
        table = table.filter(pc.invert(pc.is_in(table[column], found)))
    return table


def files_below(store: Store, folder: str) -> Iterator[str]:
    """Relative paths of all files below a folder, sorted."""
    selector = pafs.FileSelector(store.full(folder), recursive=True, allow_not_found=True)
    with storage_errors(f"Listing `{store.uri}/{folder}`"):
        found = store.fs.get_file_info(selector)
    base = store.full("")
    yield from sorted(f.path[len(base) :].lstrip("/") for f in found if f.type == pafs.FileType.File)


def scrub_scratch(store: Store, names: Names) -> None:
    """Unfinished work of this machine: what belongs to a forgotten clip or segment, and any file that names one."""
    base = store.scratch()
    for here, inner, outer in os.walk(base):
        for name in [n for n in inner if _stem(n) in names.ids]:
            shutil.rmtree(Path(here, name), ignore_errors=True)
            inner.remove(name)
        for name in outer:
            path = Path(here, name)
            if _stem(name) in names.ids or name.endswith((".tar", ".tmp")) or _names(path, names):
                path.unlink(missing_ok=True)
    store.clear_scratch("commit")
    store.clear_scratch("forget")


def _stem(name: str) -> str:
    """`<segment>-whole`, `<clip>.mp4`, `<clip>.json` → the id."""
    return re.split(r"[.-]", name, maxsplit=1)[0]


def _names(path: Path, names: Names) -> bool:
    return path.suffix not in (".mp4", ".bin") and path.name != "lock" and names.within(path.read_bytes())
