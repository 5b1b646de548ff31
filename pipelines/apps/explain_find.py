"""What a person meant: a clip id or its beginning, a source id, or a source by address, path or file name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import quote_from_bytes

import duckdb

from schemas.errors import UsageError

LEAST = 6
"""Fewest characters of an id that may stand for it."""

_ID = re.compile(rf"([cs])[0-9a-f]{{{LEAST - 1},31}}")


@dataclass(frozen=True)
class Target:
    """One clip, or one source by its address (which it has from the plan on, before it is read)."""

    clip_id: str | None
    uri: str
    part: int | None
    """Of the clip; None for a source."""


def find_target(db: duckdb.DuckDBPyConnection, what: str) -> Target:
    """The one thing that ``what`` names.

    Raises:
        UsageError: nothing or more than one thing is named so; close ones are suggested.
    """
    ask = _Ask(db)
    match = _ID.fullmatch(what.strip())
    if match:
        table, column = ("_clips", "clip_id") if match[1] == "c" else ("_sources", "source_id")
        found = ask(
            f"SELECT {column}, max(part), arg_max(source_id, part) FROM {table} WHERE starts_with({column}, ?) GROUP BY 1 ORDER BY 1 LIMIT 6",
            match[0],
        )
        if len(found) > 1:
            raise _ambiguous(match[0], [row[0] for row in found])
        if found:
            name, part, source = found[0]
            uri = ask("SELECT uri FROM _sources WHERE source_id = ? ORDER BY part DESC LIMIT 1", source)[0][0]
            return Target(name, uri, part) if match[1] == "c" else Target(None, uri, None)
    return Target(None, _find_source(ask, what), None)


class _Ask:
    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self._db = db

    def __call__(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, list(values)).fetchall()


def _find_source(ask: _Ask, what: str) -> str:
    path = what.removeprefix("file://")
    what = printable(what).strip()
    for name in dict.fromkeys((path, path.replace("\\", "/"))):  # a backslash may be part of a name, or divide folders
        whole, ends = _spellings(name)
        exact = ask(
            "SELECT DISTINCT uri FROM plan WHERE list_contains($1, uri) OR list_contains($1, rel_path) ORDER BY 1 LIMIT 6",
            whole,
        )
        # The end of a path, from any folder on: `a.mp4`, `day1/a.mp4`.
        found = exact or ask(
            "SELECT DISTINCT uri FROM plan "
            "WHERE len(list_filter($1, lambda e: ends_with(uri, e) OR ends_with(rel_path, e))) > 0 ORDER BY 1 LIMIT 6",
            ends,
        )
        if len(found) > 1:
            raise _ambiguous(what, [r[0] for r in found])
        if found:
            return str(found[0][0])
    near = _near(ask, what)
    if re.fullmatch(r"[cs][0-9a-f]+", what) and len(what) < LEAST:
        raise UsageError(f"`{what}` is too short for an id.", fix=f"Give at least {LEAST} characters of it.")
    raise UsageError(
        f"There is no clip and no source `{what}` in this corpus.",
        fix=f"Did you mean {' or '.join(f'`{n}`' for n in near)}?"
        if near
        else "Give a clip id, a source id, or a source's path, relative path or file name.",
    )


def printable(text: str) -> str:
    """A name as tables have it and terminals can show it: bytes that are no UTF-8 are spelled out, as in `caf\\xe9.mp4`."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _spellings(name: str) -> tuple[list[str], list[str]]:
    """(Whole addresses and paths, ends of them) that a name may stand for."""
    given = dict.fromkeys(text for text in (name, name.strip(), name.strip().removeprefix("./")) if text)
    plain = [printable(text) for text in given]
    # Where a path is not UTF-8, its address has the bytes in percent.
    quoted = [quote_from_bytes(os.fsencode(text)) for text in given]
    return [*plain, *(f"file://{text}" for text in (*plain, *quoted))], [f"/{text}" for text in (*plain, *quoted)]


def _near(ask: _Ask, what: str) -> list[str]:
    """Up to three sources with a similar name, best first. DuckDB compares, so that no list of names is held here."""
    name = PurePath(what.replace("\\", "/")).name.lower()
    if not name:
        return []
    close = ask(
        "SELECT rel_path FROM (SELECT DISTINCT rel_path, greatest("
        "jaro_winkler_similarity(lower(rel_path), lower(?)), jaro_winkler_similarity(lower(regexp_replace(rel_path, '^.*/', '')), ?)) AS score FROM plan) "
        "WHERE score > 0.8 ORDER BY score DESC, rel_path LIMIT 3",
        what,
        name,
    )
    return [r[0] for r in close]


def _ambiguous(what: str, found: list[str]) -> UsageError:
    shown = ", ".join(f"`{f}`" for f in found[:5]) + (", …" if len(found) > 5 else "")
    return UsageError(f"`{what}` may be any of {shown}.", fix="Give more of the name.")
